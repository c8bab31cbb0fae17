/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the kernel is told about the guest's address space. docs/postcopy-engine.md lists the facts that this rests on;
 * tests/kernel/test-minor.c holds them.
 *
 * UFFDIO_CONTINUE maps what the file holds; at the first page that it cannot map it stops, and says which: EEXIST, it
 * is mapped; EFAULT, the file has a hole there. UFFDIO_ZEROPAGE puts a zero page of 4 KiB into a hole of shared memory
 * and maps it; it fails with EEXIST when there is a page by now. For hugetlbfs it does not exist: there the page is
 * made through our own mapping.
 */

#include "driver/engine/fault_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/kernel.h"
#include "driver/base/uapi.h"
#include "driver/engine/guest_map.h"

#define WANTED_FEATURES                                                                                                \
        (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_SHMEM |                      \
         UFFD_FEATURE_MINOR_HUGETLBFS | UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_PAGEFAULT_FLAG_WP |                      \
         UFFD_FEATURE_WP_HUGETLBFS_SHMEM)
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_BATCH 4096u /* entries read at once */

uint64_t fault_uffd_features(void) {
        /* A context says what the kernel has only when it is made, so one of our own is asked. */
        _cleanup_fd_ int fd = kernel_userfaultfd(false);
        struct uffdio_api api = { .api = UFFD_API };
        if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
                return WANTED_FEATURES;
        return WANTED_FEATURES & api.features;
}

static int register_block(Fault *fault, FaultGuestBlock *block, GError **reterr) {
        const RamBlock *ram = block->ram;
        int r = guest_map_find(fault->pid, ram->fd, ram->size_bytes, ram->id, &block->address, reterr);
        if (r < 0)
                return r;
        struct uffdio_register reg = {
                .range = { block->address, block->ram->size_bytes },
                .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
        };
        if (ioctl(fault->uffd, UFFDIO_REGISTER, &reg) >= 0)
                return 0;
        r = -errno;
        if (r != -EINVAL)
                return error_set_errno(reterr, r, _("cannot register RAM block '%s' for page faults"), block->ram->id);
        error_set(reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                  _("this kernel cannot report page faults of RAM block '%s' (it takes Linux 5.14): postcopy is not "
                    "possible here"),
                  block->ram->id);
        return -ENOTSUP;
}

int fault_map_register(Fault *fault, GError **reterr) {
        uint64_t features = fault_uffd_features();
        if (!(features & UFFD_FEATURE_MINOR_SHMEM) || !kernel_has(KERNEL_UFFD_MINOR)) {
                error_set(reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                          _("this kernel does not report minor faults of shared memory (it takes Linux 5.14): "
                            "postcopy is not possible here"));
                return -ENOTSUP;
        }
        struct uffdio_api api = { .api = UFFD_API, .features = features };
        /* EINVAL: done before, by an earlier engine. */
        if (ioctl(fault->uffd, UFFDIO_API, &api) < 0 && errno != EINVAL)
                return error_set_errno(reterr, errno, _("cannot use the guest's userfaultfd"));
        for (unsigned i = 0; i < fault->n_blocks; i++) {
                int r = register_block(fault, &fault->blocks[i], reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

void fault_map_wake(Fault *fault) {
        for (unsigned i = 0; i < fault->n_blocks; i++) {
                struct uffdio_range range = { fault->blocks[i].address, fault->blocks[i].ram->size_bytes };
                (void) ioctl(fault->uffd, UFFDIO_WAKE, &range);
        }
}

void fault_map_unregister(Fault *fault) {
        for (unsigned i = 0; i < fault->n_blocks; i++) {
                struct uffdio_range range = { fault->blocks[i].address, fault->blocks[i].ram->size_bytes };
                (void) ioctl(fault->uffd, UFFDIO_UNREGISTER, &range);
        }
        /* Unregistering alone does not wake everybody who waits. */
        fault_map_wake(fault);
}

/* UFFDIO_CONTINUE as far as it goes. Returns the bytes that are mapped now (maybe all), or why there are none. */
static int64_t map_some(Fault *fault, const FaultGuestBlock *block, uint64_t at, uint64_t length) {
        for (;;) {
                struct uffdio_continue arg = { .range = { block->address + at, length } };
                if (ioctl(fault->uffd, UFFDIO_CONTINUE, &arg) >= 0)
                        return (int64_t) length;
                if (arg.mapped > 0)
                        return arg.mapped;
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
        }
}

static void wake(Fault *fault, const FaultGuestBlock *block, uint64_t at) {
        struct uffdio_range range = { block->address + at, block->ram->page_bytes };
        (void) ioctl(fault->uffd, UFFDIO_WAKE, &range);
}

int fault_map_pages(Fault *fault, unsigned index, uint64_t first, uint64_t count) {
        const FaultGuestBlock *block = &fault->blocks[index];
        uint64_t page_bytes = block->ram->page_bytes, at = first * page_bytes, end = (first + count) * page_bytes;
        while (at < end) {
                int64_t n = map_some(fault, block, at, end - at);
                if (n == -EEXIST)
                        wake(fault, block, at); /* mapped between somebody's fault and our look at it */
                else if (n < 0 && n != -EFAULT)
                        return (int) n;
                at += n > 0 ? (uint64_t) n : page_bytes;
        }
        return 0;
}

/* Puts a zero page into a hole. */
static int fill_hole(Fault *fault, const FaultGuestBlock *block, uint64_t at) {
        if (block->ram->page_bytes > 4096) {
                /* hugetlbfs; the page itself is zero, the next UFFDIO_CONTINUE finds it. */
                if (madvise(block->ram->map + at, block->ram->page_bytes, MADV_POPULATE_WRITE) < 0)
                        return -errno;
                return 0;
        }
        struct uffdio_zeropage arg = { .range = { block->address + at, block->ram->page_bytes } };
        while (ioctl(fault->uffd, UFFDIO_ZEROPAGE, &arg) < 0)
                if (errno == EEXIST)
                        return 0;
                else if (errno != EAGAIN && errno != EINTR)
                        return -errno;
        return 1;
}

int fault_map_one(Fault *fault, unsigned index, uint64_t page, bool *ret_was_hole) {
        const FaultGuestBlock *block = &fault->blocks[index];
        uint64_t at = page * block->ram->page_bytes;
        bool hole = false;
        for (;;) {
                int64_t n = map_some(fault, block, at, block->ram->page_bytes);
                if (n == -EEXIST)
                        wake(fault, block, at);
                else if (n == -EFAULT) {
                        hole = true;
                        int r = fill_hole(fault, block, at);
                        if (r < 0)
                                return r;
                        if (r == 0) /* there is a page now, but not mapped */
                                continue;
                } else if (n < 0)
                        return (int) n;
                *ret_was_hole = hole;
                return 0;
        }
}

static int punch(const FaultGuestBlock *block, uint64_t first, uint64_t count) {
        uint64_t page_bytes = block->ram->page_bytes;
        while (fallocate(block->ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) (first * page_bytes),
                         (off_t) (count * page_bytes)) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

/* [first, first + count) are STALE. */
static int forget_range(const FaultGuestBlock *block, int pagemap, uint64_t first, uint64_t count) {
        g_autofree uint64_t *entries = g_new(uint64_t, PAGEMAP_BATCH);
        uint64_t small = (uint64_t) sysconf(_SC_PAGESIZE), per_page = block->ram->page_bytes / small;
        for (uint64_t page = first; page < first + count;) {
                /* A huge page has an entry for each of its parts; the first will do, but they are read together. */
                uint64_t n = MIN(MAX(PAGEMAP_BATCH / per_page, 1), first + count - page);
                uint64_t wanted = MIN(n * per_page, PAGEMAP_BATCH);
                off_t where = (off_t) ((block->address / small + page * per_page) * sizeof(uint64_t));
                if (pread(pagemap, entries, wanted * sizeof(uint64_t), where) != (ssize_t) (wanted * sizeof(uint64_t)))
                        return errno ? -errno : -ESRCH;
                for (uint64_t i = 0; i < n;) {
                        uint64_t run = 0;
                        while (i + run < n && (entries[MIN((i + run) * per_page, wanted - 1)] & PAGEMAP_PRESENT))
                                run++;
                        int r = run > 0 ? punch(block, page + i, run) : 0;
                        if (r < 0)
                                return r;
                        i += run > 0 ? run : 1;
                }
                page += n;
        }
        return 0;
}

int fault_map_forget_stale(Fault *fault, unsigned index) {
        const FaultGuestBlock *block = &fault->blocks[index];
        char path[64];
        /* What the file does not hold cannot be mapped. */
        if (ram_block_allocated(block->ram) == 0)
                return 0;
        snprintf(path, sizeof(path), "/proc/%d/pagemap", (int) fault->pid);
        _cleanup_fd_ int pagemap = open(path, O_RDONLY | O_CLOEXEC);
        if (pagemap < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        for (uint64_t page = 0; page < block->ram->n_pages;) {
                if (page_states_get(block->states, page) != PAGE_STALE) {
                        page++;
                        continue;
                }
                uint64_t end = page;
                while (end < block->ram->n_pages && page_states_get(block->states, end) == PAGE_STALE)
                        end++;
                int r = forget_range(block, pagemap, page, end - page);
                if (r < 0)
                        return r;
                page = end;
        }
        return 0;
}
