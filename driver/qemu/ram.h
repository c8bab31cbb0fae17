/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The RAM of one domain: files that Ferry makes from the definition and QEMU maps shared (memory-backend-file). They
 * outlive QEMU.
 *
 *   no guest NUMA cells      one block "ram0"
 *   guest NUMA cells         one block "ram-nodeN" per cell, N the cell's id
 *
 * docs/memory.md has the table of what each setting of <memoryBacking> and <numatune> becomes.
 */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/qemu/settings.h"
#include "xml/def.h"

typedef enum QemuRamKind {
        QEMU_RAM_TMPFS,     /* a file on our own tmpfs */
        QEMU_RAM_MEMFD,     /* memfd, ordinary pages */
        QEMU_RAM_HUGETLBFS, /* a file on hugetlbfs */
        QEMU_RAM_HUGEMEMFD, /* memfd of huge pages */
        _QEMU_RAM_KIND_MAX,
        _QEMU_RAM_KIND_INVALID = -22,
} QemuRamKind;

typedef enum QemuRamPolicy { /* values of set_mempolicy(2) */
                             QEMU_RAM_POLICY_DEFAULT = 0,
                             QEMU_RAM_POLICY_PREFERRED = 1,
                             QEMU_RAM_POLICY_BIND = 2,
                             QEMU_RAM_POLICY_INTERLEAVE = 3,
} QemuRamPolicy;

typedef struct QemuRamBlock {
        char *id; /* id of the QEMU object and of the RAM block in migration; equal on both hosts */
        QemuRamKind kind;
        int fd;      /* read-write, CLOEXEC, owned by the QemuRam */
        char *path;  /* the file, or NULL for a memfd */
        int qemu_fd; /* memfd: its number inside QEMU (path there: /proc/self/fd/N); -EBADF for files */
        uint64_t size_bytes;
        uint64_t page_bytes; /* 4096, or the huge page's size */
        int cell;            /* guest NUMA cell, -1: none */
        bool populated;      /* prealloc or locked: everything is allocated and stays so (EngineRamPolicy POPULATED) */
        bool discard;        /* <discard/> */
        QemuRamPolicy policy;
        Bitset *nodes;       /* host nodes of the policy, NULL without one */
        bool policy_in_qemu; /* also passed on as host-nodes=,policy=; not for mode 'restrictive' */
} QemuRamBlock;

typedef struct QemuRam {
        QemuRamBlock *blocks;
        unsigned n_blocks;
        GPtrArray *dirs; /* the domain's folders on tmpfs and hugetlbfs, removed with the RAM */
        bool locked;     /* -overcommit mem-lock=on */
        unsigned prealloc_processes;
        bool merge; /* false: mem-merge=off */
} QemuRam;

/* Mounts our tmpfs at state_dir/ram if it is not there (privileged mode; does nothing otherwise), with huge= and size=
 * as set, mode 0700. A mount of an earlier run, or of a mount unit, is kept with all its files, and changed to
 * what is set. Call once at start. */
int qemu_ram_mount(const QemuSettings *settings, GError **reterr);
/* Unmounts it if no domain has RAM there; a mount unit's stays. 0, or -EBUSY. */
int qemu_ram_unmount(const QemuSettings *settings);

/* What the definition asks for, without making anything: fds are -EBADF, paths NULL. Pure. CONFIG_UNSUPPORTED for what
 * cannot be. */
int qemu_ram_plan(const QemuSettings *settings, const DomainDef *def, QemuRam **ret_ram, GError **reterr);
/* Whether this host has what a plan needs: free huge pages (and what to set if not), host NUMA nodes, the right to lock
 * memory. Waits for nothing. */
int qemu_ram_check(const QemuRam *plan, GError **reterr);
/* RLIMIT_MEMLOCK that QEMU needs: 0 leaves it, UINT64_MAX is unlimited. */
uint64_t qemu_ram_memlock_limit(const QemuRam *ram);

/*
 * Plans, checks and makes the RAM: files of the right size, NUMA policy, and populates it if the definition says so
 (allocation immediate, hugepages, locked); this runs in
 * a helper process, the loop goes on. Fiber. Errors name what is missing and what to set: huge pages, mount, node.
 Needs qemu_ram_mount() to have run.
 */
int qemu_ram_new(const QemuSettings *settings, const DomainDef *def, QemuRam **ret_ram, GError **reterr);

/* Description that survives a daemon restart, and back. For a memfd, QEMU's copy is taken with pidfd_getfd(2):
 * qemu_pidfd. */
json_object *qemu_ram_save(const QemuRam *ram);
int qemu_ram_load(json_object *saved, int qemu_pidfd, QemuRam **ret_ram, GError **reterr);

/* The page table of a block while it arrives by postcopy: a file beside the RAM file on our tmpfs, in dir for RAM that
 * has no file there. Opened, and made if it is not there; the caller closes it. */
int qemu_ram_open_table(const QemuRam *ram, unsigned block, const char *dir, GError **reterr);
/* Removes the page tables. Harmless if there are none. */
void qemu_ram_remove_tables(const QemuRam *ram, const char *dir);

/* Bytes that the files really hold now (st_blocks). */
uint64_t qemu_ram_allocated(const QemuRam *ram);

/* Removes the files: their pages are freed once QEMU and the engine have let go. Idempotent. */
void qemu_ram_remove(QemuRam *ram);
/* Closes our descriptors; files stay. */
QemuRam *qemu_ram_free(QemuRam *ram);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QemuRam, qemu_ram_free)
