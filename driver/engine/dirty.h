/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Dirty tracking of a running guest's RAM, from outside its process.
 *
 * A tracker is an op table: dirty_scan.c (asynchronous write protection and PAGEMAP_SCAN) or dirty_sync.c (each first
 * write to a page faults and a thread answers it; for kernels before 6.7). What both share is here: which pages exist
 * in the RAM file at all. A hole is never protected; a page that has appeared in one since the last sync is dirty.
 *
 * Theory of a sync, which must not lose a write: (1) find what was written, (2) protect exactly those pages again, (3)
 * only then may they be read and sent. A write before (2) is in what (3) reads; a write after (2) is found by the next
 * sync. A page that was written between (1) and (2) but not found by (1) is not touched by (2), so it is still marked
 * for the next sync.
 *
 * All calls on one thread (the sender).
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "driver/engine/page_set.h"
#include "driver/engine/ram_block.h"

typedef struct Dirty Dirty;

typedef struct DirtyBlock {
        const RamBlock *ram;
        uint64_t address;        /* in the guest's process */
        PageSet known;           /* allocated in the file, as of the last sync */
        PageSet moved;           /* watched by the throttle instead of the tracker; no words: there is none */
        PageSet *dirty;          /* where a sync adds to; set for its duration */
} DirtyBlock;

typedef struct DirtyOps {
        const char *name;
        int (*start)(Dirty *dirty, GError **reterr);                    /* register, protect `known` */
        /* adds written pages; protects all of block->dirty unless final */
        int (*sync)(Dirty *dirty, DirtyBlock *block, bool final, GError **reterr);
        void (*stop)(Dirty *dirty);                                    /* no protection is left; idempotent */
        void (*free)(Dirty *dirty);
} DirtyOps;

struct Dirty {
        const DirtyOps *ops;
        DirtyBlock *blocks;
        unsigned n_blocks;
        pid_t pid;
        int uffd; /* owned */
        void *state;
        struct Throttle *throttle; /* owned; NULL: none */
};

typedef enum DirtyMode {
        DIRTY_AUTO, /* asynchronous where the kernel can */
        DIRTY_ASYNC,
        DIRTY_SYNC,
} DirtyMode;

/*
 * Finds the blocks in process pid, fills each block's `known` with what exists and starts tracking: every write after
 * this call is found by a sync, everything in `known` may be read. uffds are dup'ed. -ENOTSUP when neither way works
 * here.
 */
int dirty_new(const RamBlock *blocks, unsigned n_blocks, pid_t pid, int uffd_async, int uffd_sync, DirtyMode mode,
              Dirty **ret_dirty, GError **reterr);

/* One exact sync: adds to sets[i] what was written in block i (or has appeared in it, or vanished from it) since the
 * last one. final: the guest is stopped for good; several threads, and nothing is protected again. -ESRCH when the
 * process is gone. */
int dirty_sync(Dirty *dirty, bool final, PageSet *sets, GError **reterr);

/* Ends tracking and takes off all write protection. */
Dirty *dirty_free(Dirty *dirty);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Dirty, dirty_free)

/* Slows writers down to so many pages a second (throttle.h); 0: no more. -EOPNOTSUPP where that is not possible. */
int dirty_throttle(Dirty *dirty, int uffd_sync, uint64_t pages_per_sec, GError **reterr);

/* UFFDIO_API with features; a context that has had it before is fine. */
int dirty_uffd_enable(int uffd, uint64_t features);
/* UFFDIO_WRITEPROTECT over pages of a block, retried while the address space changes. 0, -ESRCH. */
int dirty_protect(int uffd, uint64_t address, uint64_t length, bool on);

extern const DirtyOps dirty_scan_ops;
extern const DirtyOps dirty_sync_ops;
