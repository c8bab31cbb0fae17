/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * Guest RAM is a set of files that belong to Ferry. QEMU maps them shared and named (memory-backend-file with share=on,
 * for a memfd by way of /proc/self/fd/N), because only RAM that is both stays out of QEMU's own migration stream
 * (capability x-ignore-shared, QEMU 9 and later).
 *
 *   state_dir/ram                     our tmpfs: mode 0700, no size limit, huge=advise
 *   state_dir/ram/NAME-UUID8/ram0     system mode, ordinary pages
 *   HUGETLBFS/ferry/NAME-UUID8/ram0   system mode, huge pages, if a hugetlbfs of that page size is mounted
 *   memfd                             session mode; <source type='memfd'/>; huge pages without a mount
 *
 * A plan (qemu_ram_plan) says what is wanted; making it (qemu_ram_new) opens files, sets their NUMA policy and
 * populates them. The policy is set on a mapping of ours: for tmpfs and memfd the kernel keeps it with the inode, so it
 * holds for whoever touches a page first: QEMU, the engine, or the prealloc helper. For hugetlbfs it holds for the
 * mapping only; those are always populated here, under the policy.
 *
 * huge=advise: QEMU advises huge pages for its mapping by itself, so guests get large folios; the engine's mapping
 * decides for itself, piece by piece.
 */

#include "driver/qemu/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/spawn.h"
#include "driver/base/units.h"
#include "driver/qemu/host.h"
#include "driver/qemu/names.h"

#define RAM_PAGE_BYTES 4096
#define RAM_MAX_BLOCKS 1024
#define RAM_PREALLOC_MAX_PROCESSES 256
/* A process more is worth its fork from this size on. */
#define RAM_PREALLOC_BYTES_PER_PROCESS (256 * MIB)
#define RAM_PREALLOC_DEFAULT_PROCESSES 8
/* 0.05-0.7 s per GiB were measured; a host that swaps or compacts needs longer. */
#define RAM_PREALLOC_USEC_PER_GIB (20 * USEC_PER_SEC)
#define RAM_MOUNT_SOURCE "ferry-ram"
#define RAM_MOUNT_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME)
#define RAM_NODE_MASK_WORDS (BITSET_MAX / (sizeof(unsigned long) * CHAR_BIT))

static const char *const ram_kind_names[] = {
        [QEMU_RAM_TMPFS] = "tmpfs",
        [QEMU_RAM_MEMFD] = "memfd",
        [QEMU_RAM_HUGETLBFS] = "hugetlbfs",
        [QEMU_RAM_HUGEMEMFD] = "hugememfd",
};
G_STATIC_ASSERT(G_N_ELEMENTS(ram_kind_names) == _QEMU_RAM_KIND_MAX);

static QemuRamKind ram_kind_from_string(const char *name) {
        for (int i = 0; name && i < _QEMU_RAM_KIND_MAX; i++)
                if (g_str_equal(ram_kind_names[i], name))
                        return i;
        return _QEMU_RAM_KIND_INVALID;
}

static bool ram_kind_is_memfd(QemuRamKind kind) {
        return kind == QEMU_RAM_MEMFD || kind == QEMU_RAM_HUGEMEMFD;
}

/* ---- the mount ---- */

static char *ram_mount_path(const QemuSettings *settings) {
        return g_build_filename(settings->state_dir, "ram", NULL);
}

static bool ram_is_mounted(const QemuSettings *settings, const char *path) {
        struct stat here, parent;
        struct statfs fs;

        return stat(path, &here) >= 0 && stat(settings->state_dir, &parent) >= 0 && here.st_dev != parent.st_dev &&
               statfs(path, &fs) >= 0 && fs.f_type == TMPFS_MAGIC;
}

/* A mount that is there, perhaps made by a mount unit, follows the configuration. */
static int ram_remount(const QemuSettings *settings, const char *path, GError **reterr) {
        g_autofree char *huge = settings->ram_huge ? g_strconcat(",huge=", settings->ram_huge, NULL) : NULL;
        g_autofree char *size = settings->ram_size ? g_strconcat(",size=", settings->ram_size, NULL) : NULL;
        g_autofree char *options = g_strconcat("mode=0700", size ?: "", huge ?: "", NULL);

        if (!huge && !size)
                return 0;
        if (mount(NULL, path, NULL, MS_REMOUNT | RAM_MOUNT_FLAGS, options) < 0)
                return error_set_errno(reterr, errno,
                                       _("cannot change the tmpfs for guest memory at '%s' to '%s': check ram_size and "
                                         "ram_huge in virtferryd.conf"),
                                       path, options);
        return 0;
}

int qemu_ram_mount(const QemuSettings *settings, GError **reterr) {
        if (!settings->privileged)
                return 0;

        g_autofree char *path = ram_mount_path(settings);
        int r = dir_make(path, 0700, reterr);
        if (r < 0)
                return r;
        if (ram_is_mounted(settings, path))
                return ram_remount(settings, path, reterr);

        /* size and inodes 0: no limit of ours; what the host has is the limit. */
        g_autofree char *plain = g_strdup_printf("mode=0700,size=%s,nr_inodes=0", settings->ram_size ?: "0");
        g_autofree char *options = g_strdup_printf("%s,huge=%s", plain, settings->ram_huge ?: "advise");
        if (mount(RAM_MOUNT_SOURCE, path, "tmpfs", RAM_MOUNT_FLAGS, options) >= 0)
                return 0;
        /* A kernel without transparent huge pages knows no huge=. */
        if (errno == EINVAL && mount(RAM_MOUNT_SOURCE, path, "tmpfs", RAM_MOUNT_FLAGS, plain) >= 0)
                return 0;
        return error_set_errno(reterr, errno, _("cannot mount a tmpfs for guest memory at '%s' with '%s'"), path,
                               options);
}

/* Whether an earlier qemu_ram_mount() made the mount: a mount unit's has another source, and stays. */
static bool ram_mount_is_ours(const char *path) {
        FILE *mounts = setmntent("/proc/self/mounts", "re");
        struct mntent entry;
        char buffer[4096];
        bool ours = false;

        while (mounts && getmntent_r(mounts, &entry, buffer, sizeof(buffer)))
                if (strcmp(entry.mnt_dir, path) == 0)
                        ours = strcmp(entry.mnt_fsname, RAM_MOUNT_SOURCE) == 0;
        if (mounts)
                endmntent(mounts);
        return ours;
}

int qemu_ram_unmount(const QemuSettings *settings) {
        g_autofree char *path = ram_mount_path(settings);
        g_autoptr(GDir) dir = NULL;

        if (!settings->privileged || !ram_is_mounted(settings, path) || !ram_mount_is_ours(path))
                return 0;
        dir = g_dir_open(path, 0, NULL);
        if (dir && g_dir_read_name(dir))
                return -EBUSY;
        g_clear_pointer(&dir, g_dir_close);
        return umount2(path, UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

/* ---- the plan ---- */

/* Default huge page size of the host; 0 if it has none. */
static uint64_t ram_default_huge_bytes(void) {
        g_autofree char *text = NULL;

        if (file_read("/proc/meminfo", 1 * MIB, &text, NULL, NULL) < 0)
                return 0;
        const char *line = strstr(text, "\nHugepagesize:");
        return line ? g_ascii_strtoull(line + strlen("\nHugepagesize:"), NULL, 10) * KIB : 0;
}

/* Page size of a guest cell: the <page> whose nodeset has it, else the <page> without a nodeset, else (without any
 * <page>) the host's default. */
static int ram_plan_pages(const DomainDef *def, int cell, uint64_t *ret_bytes, GError **reterr) {
        const MemoryBackingDef *backing = &def->backing;
        uint64_t bytes = RAM_PAGE_BYTES;

        if (backing->hugepages && backing->pages->len == 0) {
                bytes = ram_default_huge_bytes();
                if (bytes == 0)
                        return error_set(
                                reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                _("the host's kernel has no huge pages, but the domain asks for <hugepages/>"));
        }
        for (unsigned i = 0; backing->hugepages && i < backing->pages->len; i++) {
                const HugepageDef *page = backing->pages->pdata[i];
                if (page->nodeset && bitset_has(page->nodeset, cell < 0 ? 0 : (unsigned) cell)) {
                        bytes = page->size_bytes;
                        break;
                }
                if (!page->nodeset)
                        bytes = page->size_bytes;
        }
        if (bytes < RAM_PAGE_BYTES || (bytes & (bytes - 1)) != 0)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("%" G_GUINT64_FORMAT " KiB is not a huge page size"), bytes / KIB);
        *ret_bytes = bytes;
        return 0;
}

static void ram_plan_policy(const DomainDef *def, QemuRamBlock *block) {
        NumaMode mode = NUMA_MODE_UNSET;
        const Bitset *nodes = NULL;

        if (def->numatune.memory) {
                mode = def->numatune.mode == NUMA_MODE_UNSET ? NUMA_MODE_STRICT : def->numatune.mode;
                nodes = def->numatune.nodeset;
        }
        for (unsigned i = 0; def->numatune.memnodes && i < def->numatune.memnodes->len; i++) {
                const MemnodeDef *memnode = def->numatune.memnodes->pdata[i];
                if (memnode->cellid == block->cell) {
                        mode = memnode->mode == NUMA_MODE_UNSET ? NUMA_MODE_STRICT : memnode->mode;
                        nodes = memnode->nodeset;
                }
        }
        if (!nodes)
                return;

        static const QemuRamPolicy policies[] = {
                [NUMA_MODE_STRICT] = QEMU_RAM_POLICY_BIND,
                [NUMA_MODE_PREFERRED] = QEMU_RAM_POLICY_PREFERRED,
                [NUMA_MODE_INTERLEAVE] = QEMU_RAM_POLICY_INTERLEAVE,
                [NUMA_MODE_RESTRICTIVE] = QEMU_RAM_POLICY_BIND,
        };
        block->policy = mode < (NumaMode) G_N_ELEMENTS(policies) ? policies[mode] : QEMU_RAM_POLICY_DEFAULT;
        block->nodes = bitset_copy(nodes);
        block->policy_in_qemu = mode != NUMA_MODE_RESTRICTIVE;
}

static int ram_plan_block(const QemuSettings *settings, const DomainDef *def, const NumaCellDef *cell,
                          QemuRamBlock *block, GError **reterr) {
        const MemoryBackingDef *backing = &def->backing;

        *block = (QemuRamBlock){
                .id = cell ? g_strdup_printf("ram-node%d", cell->id) : g_strdup("ram0"),
                .fd = -EBADF,
                .qemu_fd = -EBADF,
                .size_bytes = cell ? cell->memory_bytes : def->memory.total_bytes,
                .cell = cell ? cell->id : -1,
                .discard = cell ? tri_state_or(cell->discard, backing->discard) : backing->discard,
        };
        int r = ram_plan_pages(def, block->cell, &block->page_bytes, reterr);
        if (r < 0)
                return r;
        if (block->size_bytes == 0 || block->size_bytes % block->page_bytes != 0)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("memory size of '%s' (%" G_GUINT64_FORMAT
                                   " KiB) must be a multiple of the page size %" G_GUINT64_FORMAT " KiB"),
                                 block->id, block->size_bytes / KIB, block->page_bytes / KIB);

        bool huge = block->page_bytes != RAM_PAGE_BYTES;
        bool memfd = !settings->privileged || backing->source == MEMORY_SOURCE_MEMFD;
        block->kind =
                huge ? (memfd ? QEMU_RAM_HUGEMEMFD : QEMU_RAM_HUGETLBFS) : (memfd ? QEMU_RAM_MEMFD : QEMU_RAM_TMPFS);
        block->populated = backing->allocation == MEMORY_ALLOCATION_IMMEDIATE || backing->locked || huge;
        ram_plan_policy(def, block);
        return 0;
}

int qemu_ram_plan(const QemuSettings *settings, const DomainDef *def, QemuRam **ret_ram, GError **reterr) {
        const GPtrArray *cells = def->cpu.cells;
        g_autoptr(QemuRam) ram = g_new0(QemuRam, 1);

        ram->dirs = g_ptr_array_new_with_free_func(g_free);
        if (def->backing.hugepages && def->backing.allocation == MEMORY_ALLOCATION_ONDEMAND)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("hugepages are not allowed with memory allocation ondemand"));
        if (cells && cells->len > RAM_MAX_BLOCKS)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("%u NUMA cells are more than the %d that can be"), cells->len, RAM_MAX_BLOCKS);

        unsigned n = cells && cells->len > 0 ? cells->len : 1;
        uint64_t total = 0;
        ram->blocks = g_new0(QemuRamBlock, n);
        ram->locked = def->backing.locked;
        ram->merge = !def->backing.nosharepages;
        for (unsigned i = 0; i < n; i++) {
                ram->n_blocks = i + 1;
                int r = ram_plan_block(settings, def, cells && cells->len > 0 ? cells->pdata[i] : NULL, &ram->blocks[i],
                                       reterr);
                if (r < 0)
                        return r;
                total += ram->blocks[i].size_bytes;
        }

        unsigned wanted = def->backing.allocation_threads;
        if (wanted == 0)
                wanted = MIN(MIN(qemu_host_cpus(), RAM_PREALLOC_DEFAULT_PROCESSES),
                             (unsigned) MIN(total / RAM_PREALLOC_BYTES_PER_PROCESS, UINT_MAX));
        ram->prealloc_processes = CLAMP(wanted, 1, RAM_PREALLOC_MAX_PROCESSES);
        *ret_ram = g_steal_pointer(&ram);
        return 0;
}

/* ---- what the host must have ---- */

static bool ram_read_count(const char *dir, const char *name, uint64_t *ret) {
        g_autofree char *path = g_build_filename(dir, name, NULL);
        g_autofree char *text = NULL;

        if (file_read(path, 4096, &text, NULL, NULL) < 0)
                return false;
        *ret = g_ascii_strtoull(text, NULL, 10);
        return true;
}

/* Huge pages of this size that a new file can still get; on certain nodes if nodes is set. */
static bool ram_free_huge_pages(uint64_t page_bytes, const Bitset *nodes, uint64_t *ret_pages) {
        g_autofree char *size = g_strdup_printf("hugepages-%" G_GUINT64_FORMAT "kB", page_bytes / KIB);
        uint64_t free_pages = 0, reserved = 0, overcommit = 0, surplus = 0;

        if (!nodes) {
                g_autofree char *dir = g_build_filename("/sys/kernel/mm/hugepages", size, NULL);
                if (!ram_read_count(dir, "free_hugepages", &free_pages))
                        return false;
                ram_read_count(dir, "resv_hugepages", &reserved);
                ram_read_count(dir, "nr_overcommit_hugepages", &overcommit);
                ram_read_count(dir, "surplus_hugepages", &surplus);
                *ret_pages = (free_pages > reserved ? free_pages - reserved : 0) +
                             (overcommit > surplus ? overcommit - surplus : 0);
                return true;
        }
        for (int node = bitset_next(nodes, 0); node >= 0; node = bitset_next(nodes, (unsigned) node + 1)) {
                g_autofree char *dir = g_strdup_printf("/sys/devices/system/node/node%d/hugepages/%s", node, size);
                uint64_t here = 0;
                if (!ram_read_count(dir, "free_hugepages", &here))
                        return false;
                free_pages += here;
        }
        *ret_pages = free_pages;
        return true;
}

static int ram_check_huge(const QemuRam *plan, const QemuRamBlock *block, GError **reterr) {
        const Bitset *nodes = block->policy == QEMU_RAM_POLICY_BIND ? block->nodes : NULL;
        uint64_t needed = 0, free_pages = 0;

        /* All blocks that draw from the same pool count together. */
        for (unsigned i = 0; i < plan->n_blocks; i++) {
                const QemuRamBlock *other = &plan->blocks[i];
                if (other->page_bytes == block->page_bytes &&
                    (!nodes || (other->policy == QEMU_RAM_POLICY_BIND && bitset_equal(other->nodes, nodes))))
                        needed += other->size_bytes / other->page_bytes;
        }
        if (!ram_free_huge_pages(block->page_bytes, nodes, &free_pages))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("the host has no huge pages of %" G_GUINT64_FORMAT " KiB"), block->page_bytes / KIB);
        if (free_pages >= needed)
                return 0;

        g_autofree char *where = nodes ? bitset_format(nodes) : NULL;
        g_autofree char *knob =
                where ? g_strdup_printf("/sys/devices/system/node/node%d/hugepages/hugepages-%" G_GUINT64_FORMAT
                                        "kB/nr_hugepages",
                                        bitset_next(nodes, 0), block->page_bytes / KIB)
                      : g_strdup_printf("/sys/kernel/mm/hugepages/hugepages-%" G_GUINT64_FORMAT "kB/nr_hugepages",
                                        block->page_bytes / KIB);
        return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                         _("the domain needs %" G_GUINT64_FORMAT " huge pages of %" G_GUINT64_FORMAT
                           " KiB, but only %" G_GUINT64_FORMAT
                           " are free%s%s: raise the number in '%s' by at least %" G_GUINT64_FORMAT),
                         needed, block->page_bytes / KIB, free_pages, where ? _(" on host node ") : "", where ?: "",
                         knob, needed - free_pages);
}

static int ram_check_nodes(const QemuRamBlock *block, GError **reterr) {
        for (int node = bitset_next(block->nodes, 0); node >= 0;
             node = bitset_next(block->nodes, (unsigned) node + 1)) {
                g_autofree char *dir = g_strdup_printf("/sys/devices/system/node/node%d", node);
                if (access(dir, F_OK) < 0 && !(node == 0 && access("/sys/devices/system/node", F_OK) < 0))
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("<numatune> asks for host NUMA node %d, which this host does not have"),
                                         node);
        }
        return 0;
}

/* Whether this process has a capability (linux/capability.h), which QEMU then has too. */
static bool ram_has_capability(unsigned capability) {
        g_autofree char *text = NULL;

        if (file_read("/proc/self/status", 1 * MIB, &text, NULL, NULL) < 0)
                return false;
        const char *line = strstr(text, "\nCapEff:");
        return line && (g_ascii_strtoull(line + strlen("\nCapEff:\t"), NULL, 16) >> capability & 1) != 0;
}

uint64_t qemu_ram_memlock_limit(const QemuRam *ram) {
        struct rlimit limit;

        /* With CAP_IPC_LOCK the limit does not count. */
        if (!ram->locked || ram_has_capability(CAP_IPC_LOCK))
                return 0;
        if (ram_has_capability(CAP_SYS_RESOURCE) || getrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
            limit.rlim_max == RLIM_INFINITY)
                return UINT64_MAX;
        return limit.rlim_max;
}

static int ram_check_locked(const QemuRam *plan, GError **reterr) {
        uint64_t limit = qemu_ram_memlock_limit(plan), needed = GIB;

        if (limit == 0 || limit == UINT64_MAX)
                return 0;
        /* QEMU locks all of itself; what it has beside guest RAM stays below a GiB by far. */
        for (unsigned i = 0; i < plan->n_blocks; i++)
                needed += plan->blocks[i].size_bytes;
        if (limit >= needed)
                return 0;
        return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                         _("<locked/> needs a locked-memory limit of %" G_GUINT64_FORMAT
                           " KiB, but the limit is %" G_GUINT64_FORMAT
                           " KiB: raise 'memlock' in /etc/security/limits.conf or LimitMEMLOCK= of the service"),
                         needed / KIB, limit / KIB);
}

int qemu_ram_check(const QemuRam *plan, GError **reterr) {
        for (unsigned i = 0; i < plan->n_blocks; i++) {
                const QemuRamBlock *block = &plan->blocks[i];
                int r = block->nodes ? ram_check_nodes(block, reterr) : 0;
                if (r >= 0 && block->page_bytes != RAM_PAGE_BYTES)
                        r = ram_check_huge(plan, block, reterr);
                if (r < 0)
                        return r;
        }
        return plan->locked ? ram_check_locked(plan, reterr) : 0;
}

/* ---- making it ---- */

/* The hugetlbfs to use for this page size: the configured one if it fits, else the first in the mount table; NULL if
 * there is none. */
static char *ram_find_hugetlbfs(const QemuSettings *settings, uint64_t page_bytes) {
        struct statfs fs;

        if (settings->hugetlbfs && statfs(settings->hugetlbfs, &fs) >= 0 && fs.f_type == HUGETLBFS_MAGIC &&
            (uint64_t) fs.f_bsize == page_bytes)
                return g_strdup(settings->hugetlbfs);

        FILE *mounts = setmntent("/proc/self/mounts", "re");
        char *found = NULL;
        struct mntent *entry;
        while (mounts && !found && (entry = getmntent(mounts)))
                if (g_str_equal(entry->mnt_type, "hugetlbfs") && access(entry->mnt_dir, W_OK | X_OK) >= 0 &&
                    statfs(entry->mnt_dir, &fs) >= 0 && (uint64_t) fs.f_bsize == page_bytes)
                        found = g_strdup(entry->mnt_dir);
        if (mounts)
                endmntent(mounts);
        return found;
}

static int ram_open_file(QemuRamBlock *block, const char *dir, GError **reterr) {
        int r = dir_make(dir, 0700, reterr);
        if (r < 0)
                return r;

        block->path = g_build_filename(dir, block->id, NULL);
        /* A file of an earlier run may still be mapped by a QEMU that nobody could end: leave that one its pages, take
         * a new inode. */
        if (unlink(block->path) < 0 && errno != ENOENT)
                return error_set_errno(reterr, errno, _("cannot remove the old RAM file '%s'"), block->path);
        block->fd = open(block->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (block->fd < 0)
                return error_set_errno(reterr, errno, _("cannot create the RAM file '%s'"), block->path);
        return 0;
}

static int ram_open_memfd(QemuRamBlock *block, GError **reterr) {
        unsigned flags = MFD_CLOEXEC;

        if (block->kind == QEMU_RAM_HUGEMEMFD)
                flags |= MFD_HUGETLB | ((unsigned) (63 - __builtin_clzll(block->page_bytes)) << MAP_HUGE_SHIFT);
        block->fd = memfd_create(block->id, flags);
        if (block->fd < 0)
                return error_set_errno(reterr, errno, _("cannot create a memfd for '%s'"), block->id);
        block->qemu_fd = block->fd; /* keeps its number in QEMU */
        return 0;
}

/* Sets the policy on a mapping of ours; for tmpfs and memfd it stays with the file. */
static int ram_bind(const QemuRamBlock *block, GError **reterr) {
        unsigned long mask[RAM_NODE_MASK_WORDS] = {};

        if (block->policy == QEMU_RAM_POLICY_DEFAULT)
                return 0;
        for (int node = bitset_next(block->nodes, 0); node >= 0; node = bitset_next(block->nodes, (unsigned) node + 1))
                mask[(unsigned) node / (sizeof(unsigned long) * CHAR_BIT)] |=
                        1UL << ((unsigned) node % (sizeof(unsigned long) * CHAR_BIT));

        void *memory = mmap(NULL, block->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, block->fd, 0);
        if (memory == MAP_FAILED)
                return error_set_errno(reterr, errno, _("cannot map the RAM file of '%s'"), block->id);
        /* The kernel takes at most a page of mask bits, and one bit less than it is told. */
        long rc = syscall(SYS_mbind, memory, block->size_bytes, (int) block->policy, mask, (unsigned long) BITSET_MAX,
                          0U);
        int saved = errno;
        munmap(memory, block->size_bytes);
        if (rc >= 0)
                return 0;
        if (saved == ENOSYS && bitset_count(block->nodes) == 1 && bitset_has(block->nodes, 0))
                return 0; /* A kernel without NUMA: all memory is on node 0. */
        g_autofree char *nodes = bitset_format(block->nodes);
        return error_set_errno(reterr, saved, _("cannot bind '%s' to the host's NUMA nodes %s"), block->id, nodes);
}

/* Populating takes what there is until the host has nothing left for anybody; hugetlbfs has its own pool and says so at
 * once. */
static int ram_check_room(const QemuRamBlock *block, GError **reterr) {
        uint64_t available = 0;

        if (block->page_bytes != RAM_PAGE_BYTES || qemu_host_available_memory(&available, NULL) < 0 ||
            block->size_bytes <= available)
                return 0;
        return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                         _("the host has not enough memory for '%s': %" G_GUINT64_FORMAT
                           " MiB are to be allocated at once, %" G_GUINT64_FORMAT
                           " MiB are available; give the domain less memory, or allocation mode='ondemand'"),
                         block->id, block->size_bytes / MIB, available / MIB);
}

static int ram_populate(const QemuSettings *settings, const QemuRam *ram, const QemuRamBlock *block, GError **reterr) {
        g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
        _cleanup_fd_ int pidfd = -EBADF, errors = -EBADF;
        pid_t pid;
        int status = 0;

        g_ptr_array_add(argv, g_strdup(settings->prealloc_helper));
        g_ptr_array_add(argv, g_strdup("3"));
        g_ptr_array_add(argv, g_strdup_printf("%" G_GUINT64_FORMAT, block->size_bytes));
        g_ptr_array_add(argv, g_strdup_printf("%" G_GUINT64_FORMAT, block->page_bytes));
        g_ptr_array_add(argv, g_strdup_printf("%u", ram->prealloc_processes));
        g_ptr_array_add(argv, g_strdup_printf("%d", (int) block->policy));
        for (int node = block->policy == QEMU_RAM_POLICY_DEFAULT ? -1 : bitset_next(block->nodes, 0); node >= 0;
             node = bitset_next(block->nodes, (unsigned) node + 1))
                g_ptr_array_add(argv, g_strdup_printf("%d", node));
        g_ptr_array_add(argv, NULL);

        errors = memfd_create("prealloc-stderr", MFD_CLOEXEC);
        SpawnFd ram_fd = {.fd = block->fd, .target = 3};
        SpawnArgs args = {
                .argv = (const char *const *) argv->pdata,
                .fds = &ram_fd,
                .n_fds = 1,
                .stdin_fd = -1,
                .stdout_fd = -1,
                .stderr_fd = errors,
                .die_with_parent = true,
        };
        int r = spawn(&args, &pid, &pidfd, reterr);
        if (r < 0)
                return r;
        r = spawn_wait(pidfd, 60 * USEC_PER_SEC + block->size_bytes / GIB * RAM_PREALLOC_USEC_PER_GIB, &status);
        if (r < 0) {
                (void) spawn_end(pidfd, 0, NULL);
                return error_set(reterr, VIR_ERR_OPERATION_TIMEOUT, _("allocating the memory of '%s' took too long"),
                                 block->id);
        }
        if (status == 0)
                return 0;

        char text[512] = "";
        ssize_t n = pread(errors, text, sizeof(text) - 1, 0);
        text[MAX(n, 0)] = '\0';
        return error_set(reterr, VIR_ERR_NO_MEMORY,
                         _("cannot allocate %" G_GUINT64_FORMAT " KiB for '%s' in advance: %s"),
                         block->size_bytes / KIB, block->id, text[0] ? g_strstrip(text) : _("the helper was killed"));
}

static int ram_make_block(const QemuSettings *settings, QemuRam *ram, QemuRamBlock *block, const char *folder,
                          GError **reterr) {
        int r;

        if (block->kind == QEMU_RAM_HUGETLBFS) {
                g_autofree char *mount_dir = ram_find_hugetlbfs(settings, block->page_bytes);
                if (!mount_dir) {
                        block->kind = QEMU_RAM_HUGEMEMFD;
                } else {
                        g_autofree char *dir = g_build_filename(mount_dir, "ferry", folder, NULL);
                        g_ptr_array_add(ram->dirs, g_strdup(dir));
                        r = ram_open_file(block, dir, reterr);
                        if (r < 0)
                                return r;
                }
        }
        if (block->kind == QEMU_RAM_TMPFS) {
                g_autofree char *dir = g_build_filename(settings->state_dir, "ram", folder, NULL);
                g_ptr_array_add(ram->dirs, g_strdup(dir));
                r = ram_open_file(block, dir, reterr);
                if (r < 0)
                        return r;
        }
        if (ram_kind_is_memfd(block->kind)) {
                r = ram_open_memfd(block, reterr);
                if (r < 0)
                        return r;
        }
        if (ftruncate(block->fd, (off_t) block->size_bytes) < 0)
                return error_set_errno(reterr, errno, _("cannot give '%s' its size of %" G_GUINT64_FORMAT " KiB"),
                                       block->id, block->size_bytes / KIB);
        r = ram_bind(block, reterr);
        if (r >= 0 && block->populated)
                r = ram_check_room(block, reterr);
        if (r >= 0 && block->populated)
                r = ram_populate(settings, ram, block, reterr);
        return r;
}

int qemu_ram_new(const QemuSettings *settings, const DomainDef *def, QemuRam **ret_ram, GError **reterr) {
        g_autoptr(QemuRam) ram = NULL;

        int r = qemu_ram_plan(settings, def, &ram, reterr);
        if (r >= 0)
                r = qemu_ram_check(ram, reterr);
        if (r < 0)
                return r;

        g_autofree char *folder = qemu_name_folder(def);
        for (unsigned i = 0; i < ram->n_blocks; i++) {
                r = ram_make_block(settings, ram, &ram->blocks[i], folder, reterr);
                if (r < 0) {
                        qemu_ram_remove(ram);
                        return r;
                }
        }
        *ret_ram = g_steal_pointer(&ram);
        return 0;
}

/* ---- keeping it across a restart of the daemon ---- */

json_object *qemu_ram_save(const QemuRam *ram) {
        json_object *blocks = json_object_new_array(), *dirs = json_object_new_array();
        json_object *saved = json_object_new_object();

        for (unsigned i = 0; i < ram->n_blocks; i++) {
                const QemuRamBlock *block = &ram->blocks[i];
                g_autofree char *nodes = block->nodes ? bitset_format(block->nodes) : NULL;
                json_object *entry = json_object_new_object();

                json_add_string(entry, "id", block->id);
                json_add_string(entry, "kind", ram_kind_names[block->kind]);
                json_add_string(entry, "path", block->path);
                json_add_int64(entry, "qemu-fd", block->qemu_fd);
                json_add_uint64(entry, "size", block->size_bytes);
                json_add_uint64(entry, "page", block->page_bytes);
                json_add_int64(entry, "cell", block->cell);
                json_add_bool(entry, "populated", block->populated);
                json_add_bool(entry, "discard", block->discard);
                json_add_int64(entry, "policy", block->policy);
                json_add_string(entry, "nodes", nodes);
                json_add_bool(entry, "policy-in-qemu", block->policy_in_qemu);
                json_object_array_add(blocks, entry);
        }
        for (unsigned i = 0; i < ram->dirs->len; i++)
                json_object_array_add(dirs, json_object_new_string(ram->dirs->pdata[i]));
        json_add(saved, "blocks", blocks);
        json_add(saved, "dirs", dirs);
        json_add_bool(saved, "locked", ram->locked);
        json_add_bool(saved, "merge", ram->merge);
        return saved;
}

static int ram_load_block(json_object *entry, int qemu_pidfd, QemuRamBlock *block, GError **reterr) {
        const char *id = json_get_string(entry, "id"), *nodes = json_get_string(entry, "nodes");
        struct stat st;

        *block = (QemuRamBlock){
                .id = g_strdup(id),
                .kind = ram_kind_from_string(json_get_string(entry, "kind")),
                .fd = -EBADF,
                .path = g_strdup(json_get_string(entry, "path")),
                .qemu_fd = (int) json_get_int64(entry, "qemu-fd", -EBADF),
                .size_bytes = json_get_uint64(entry, "size", 0),
                .page_bytes = json_get_uint64(entry, "page", RAM_PAGE_BYTES),
                .cell = (int) json_get_int64(entry, "cell", -1),
                .populated = json_get_bool(entry, "populated", false),
                .discard = json_get_bool(entry, "discard", false),
                .policy = (QemuRamPolicy) json_get_int64(entry, "policy", QEMU_RAM_POLICY_DEFAULT),
                .policy_in_qemu = json_get_bool(entry, "policy-in-qemu", false),
        };
        if (!id || (int) block->kind < 0 || (!block->path && !ram_kind_is_memfd(block->kind)))
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("the saved state of the domain's RAM is damaged"));
        if (nodes && bitset_parse(nodes, &block->nodes) < 0)
                block->policy = QEMU_RAM_POLICY_DEFAULT;
        if (qemu_pidfd < 0)
                return 0;

        block->fd = ram_kind_is_memfd(block->kind) ? pidfd_getfd(qemu_pidfd, block->qemu_fd, 0)
                                                   : open(block->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (block->fd < 0)
                return error_set_errno(reterr, errno, _("cannot open the RAM '%s' of the running domain again"),
                                       block->path ?: block->id);
        if (fstat(block->fd, &st) < 0 || (uint64_t) st.st_size != block->size_bytes)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR,
                                 _("the RAM '%s' of the running domain has another size than it was started with"),
                                 block->path ?: block->id);
        return 0;
}

int qemu_ram_load(json_object *saved, int qemu_pidfd, QemuRam **ret_ram, GError **reterr) {
        json_object *blocks = json_get(saved, "blocks"), *dirs = json_get(saved, "dirs");
        g_autoptr(QemuRam) ram = g_new0(QemuRam, 1);

        ram->dirs = g_ptr_array_new_with_free_func(g_free);
        ram->locked = json_get_bool(saved, "locked", false);
        ram->merge = json_get_bool(saved, "merge", true);
        size_t n = json_object_is_type(blocks, json_type_array) ? json_object_array_length(blocks) : 0;
        if (n == 0 || n > RAM_MAX_BLOCKS)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("the saved state of the domain's RAM is damaged"));

        ram->blocks = g_new0(QemuRamBlock, n);
        for (size_t i = 0; i < n; i++) {
                ram->n_blocks = (unsigned) i + 1;
                int r = ram_load_block(json_object_array_get_idx(blocks, i), qemu_pidfd, &ram->blocks[i], reterr);
                if (r < 0)
                        return r;
        }
        n = json_object_is_type(dirs, json_type_array) ? json_object_array_length(dirs) : 0;
        for (size_t i = 0; i < n && i < RAM_MAX_BLOCKS; i++)
                g_ptr_array_add(ram->dirs, g_strdup(json_object_get_string(json_object_array_get_idx(dirs, i))));
        *ret_ram = g_steal_pointer(&ram);
        return 0;
}

/* ---- the end ---- */

uint64_t qemu_ram_allocated(const QemuRam *ram) {
        uint64_t bytes = 0;

        for (unsigned i = 0; i < ram->n_blocks; i++) {
                struct stat st;
                if (fstat(ram->blocks[i].fd, &st) >= 0)
                        bytes += (uint64_t) st.st_blocks * 512;
        }
        return bytes;
}

static char *ram_table_path(const QemuRamBlock *block, const char *dir) {
        if (block->kind == QEMU_RAM_TMPFS && block->path)
                return g_strconcat(block->path, ".pages", NULL);
        return dir ? g_strdup_printf("%s/%s.pages", dir, block->id) : NULL;
}

int qemu_ram_open_table(const QemuRam *ram, unsigned block, const char *dir, GError **reterr) {
        g_autofree char *path = ram_table_path(&ram->blocks[block], dir);
        int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;

        return fd >= 0 ? fd : error_set_errno(reterr, errno, _("Cannot create the page table '%s'"), path ?: "?");
}

void qemu_ram_remove_tables(const QemuRam *ram, const char *dir) {
        for (unsigned i = 0; i < ram->n_blocks; i++) {
                g_autofree char *path = ram_table_path(&ram->blocks[i], dir);

                if (path)
                        (void) unlink(path);
        }
}

void qemu_ram_remove(QemuRam *ram) {
        if (ram)
                qemu_ram_remove_tables(ram, NULL);
        for (unsigned i = 0; ram && i < ram->n_blocks; i++)
                if (ram->blocks[i].path)
                        (void) unlink(ram->blocks[i].path);
        for (unsigned i = 0; ram && i < ram->dirs->len; i++)
                (void) rmdir(ram->dirs->pdata[i]);
}

QemuRam *qemu_ram_free(QemuRam *ram) {
        if (!ram)
                return NULL;
        for (unsigned i = 0; i < ram->n_blocks; i++) {
                QemuRamBlock *block = &ram->blocks[i];
                fd_close(block->fd);
                bitset_free(block->nodes);
                g_free(block->id);
                g_free(block->path);
        }
        g_free(ram->blocks);
        g_clear_pointer(&ram->dirs, g_ptr_array_unref);
        g_free(ram);
        return NULL;
}
