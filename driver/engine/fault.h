/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The fault core: a guest runs while content of its memory is still missing. Its RAM is registered, in its own
 * process and from outside, for missing and minor faults; a thread here answers each of them from the page table.
 * What is missing comes from a page source: the peer (dest_postcopy.c) or a snapshot file.
 *
 * Pages are of the block's own size: 4 KiB, or a huge page. States (page_state.h):
 *
 *      NEVER, VALID   memory is right as it is, and mapped at once. A hole is a zero page: it was never sent, or the
 *                     guest has given it back
 *      STALE          the content is with the page source, which is asked for it
 *      INFLIGHT       somebody has claimed the page and is writing it
 *
 * Placing a page goes in this order, and in no other:
 *
 *      fault_claim()  ->  write it in place, through the block's own mapping  ->  fault_placed()
 *
 * A page is claimed once; whoever comes second must put what he has elsewhere. Only fault_placed() lets the guest see
 * it.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "driver/engine/engine.h"
#include "driver/engine/page_state.h"
#include "driver/engine/ram_block.h"

typedef struct Fault Fault;

/* Where missing content comes from. */
typedef struct FaultSource {
        /* A thread of the guest waits for this page, which was STALE when it was looked at: see to it that it is
         * placed. Called on the fault thread, which answers nobody else meanwhile: either place it here (with
         * neighbours, if that is quick), or send for it and return. Called once per page, and again after
         * fault_ask_again(). May be a page that has become INFLIGHT or VALID since. */
        void (*request)(void *userdata, unsigned block, uint64_t page);
        /* Optional: no fault waits to be read any more; what request() has gathered should go out now. Fault thread. */
        void (*flush)(void *userdata);
        /* Nothing is STALE or INFLIGHT any more. Called once, by the thread that placed the last page (or by
         * fault_start()); do not free the core in it. */
        void (*complete)(void *userdata);
        /* The core cannot go on (the guest is gone: -ESRCH), or memory is short (-ENOMEM, -ENOSPC, -EFAULT): then it
         * tries again and again. Called at most once for either, any thread that answers or places. */
        void (*failed)(void *userdata, int error);
} FaultSource;

typedef struct FaultBlock {
        const RamBlock *ram; /* outlives the core; mapped for writing */
        PageStates *states;  /* likewise */
} FaultBlock;

/*
 * Finds the blocks in process pid and registers them with uffd (which is dup'ed; UFFDIO_API is done here, or was done
 * by an earlier engine with the same features). From now on every fault is answered as the page table says, on a
 * thread of its own. As long as fault_start() was not called, the page table may still change in any way, and what
 * the guest's process touches is mapped as it is. -ENOTSUP: the kernel or the uffd cannot do it.
 */
int fault_new(const FaultBlock *blocks, unsigned n_blocks, pid_t pid, int uffd, const FaultSource *source,
              void *userdata, Fault **ret_fault, GError **reterr);
/* Ends the threads, unregisters and wakes everybody. Call it when nothing is missing; then fault_claim() and
 * fault_stats() still work. */
void fault_finish(Fault *fault);
/* Unregisters and wakes everybody, whatever is missing; call it only when nothing is, or when no guest will run. */
Fault *fault_free(Fault *fault);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fault, fault_free)
/* As fault_free(), but leaves the registration as it is: threads that touch missing pages go on waiting for the next
 * engine. */
Fault *fault_detach(Fault *fault);

/* The page table says what is missing: call when it is final (NEVER, VALID, STALE; INFLIGHT is what a dead engine had
 * claimed, and becomes STALE). From now on pages become valid only by fault_claim() and fault_placed(). Takes away what
 * the guest's process has already mapped of STALE pages, wakes threads that wait for an answer of an earlier engine,
 * and starts a thread that maps what is valid. Not on the fault thread. 0 or negative errno. */
int fault_start(Fault *fault);

/* All of the following: after fault_start(), any thread. */

/* STALE -> INFLIGHT, for the caller alone. False: it is somebody else's, or valid. */
bool fault_claim(Fault *fault, unsigned block, uint64_t page);
/* Gives claimed pages back, unwritten or half written. */
void fault_unclaim(Fault *fault, unsigned block, uint64_t first, uint64_t count);
/* The content of claimed pages is in place: they become VALID and mapped, and whoever waits runs. */
void fault_placed(Fault *fault, unsigned block, uint64_t first, uint64_t count);
/* Makes claimed pages zero (holes where the block's policy allows it), then as fault_placed(). counts is added to. 0 or
 * negative errno: then they stay claimed. */
int fault_place_zero(Fault *fault, unsigned block, uint64_t first, uint64_t count, ZeroCounts *counts);

/* Calls request() again, on the calling thread, for every page that somebody waits for: a broken link is back. */
void fault_ask_again(Fault *fault);
/* How many pages are STALE or INFLIGHT. */
uint64_t fault_lacking(const Fault *fault);
/* Adds fault_*, faults* and *_pages to stats. */
void fault_stats(Fault *fault, EngineStats *stats);

/* The features of userfaultfd that we want and this kernel has: a context gets them once, so everybody must ask for the
 * same. */
uint64_t fault_uffd_features(void);
