/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by fault.c (the handler, placing), fault_map.c (what the kernel is told) and fault_wait.c (who waits, and the
 * numbers). */

#include <pthread.h>
#include <stdatomic.h>

#include "driver/engine/fault.h"
#include "driver/engine/worker.h"

/* A thread of the guest that waits for content. */
typedef struct FaultWait {
        unsigned block;
        uint32_t thread; /* as the kernel reports it; 0: it does not */
        uint64_t page;
        uint64_t start_usec;
} FaultWait;

typedef struct FaultThread {
        uint32_t thread;
        uint64_t block_usec, count;
} FaultThread;

typedef struct FaultGuestBlock {
        const RamBlock *ram;
        PageStates *states;
        uint64_t address; /* in the guest's process */
} FaultGuestBlock;

struct Fault {
        /* fixed after fault_new() */
        FaultGuestBlock *blocks;
        unsigned n_blocks;
        pid_t pid;
        int uffd, stop_fd; /* stop_fd: eventfd, readable when the threads must end, or retry is set */
        const FaultSource *source;
        void *userdata;
        Worker handler, mapper;

        /* any thread */
        atomic_bool started; /* the page table is final; set under start_lock */
        atomic_bool complete_told, failed_told, passing_told;
        atomic_bool retry; /* a fault could not be answered: who waits must come again */
        atomic_bool stopping;
        atomic_uint_least64_t lacking, inflight; /* pages */
        atomic_uint_least64_t faults, present, zero, requested;
        atomic_uint n_waits;
        uint64_t n_pages, n_never; /* fixed after fault_start() */

        /* held while a fault is answered before the start */
        pthread_mutex_t start_lock;

        /* under lock */
        pthread_mutex_t lock;
        GArray *waits; /* FaultWait */
        FaultThread threads[ENGINE_THREADS_MAX];
        unsigned n_threads;
        uint64_t latency[ENGINE_LATENCY_BUCKETS];
        uint64_t block_usec, max_usec;
};

/* fault_map.c. All return 0 or negative errno; -ESRCH: the guest's process is gone. */

/* UFFDIO_API, finding the blocks, UFFDIO_REGISTER. */
int fault_map_register(Fault *fault, GError **reterr);
/* Undoes it and wakes everybody. */
void fault_map_unregister(Fault *fault);
/* All threads that wait look again, and fault again if they must. */
void fault_map_wake(Fault *fault);
/* Maps what the file holds of these pages and wakes who waits for them. Holes are passed over. */
int fault_map_pages(Fault *fault, unsigned block, uint64_t first, uint64_t count);
/* Maps this page, with a new zero page if the file has a hole there. */
int fault_map_one(Fault *fault, unsigned block, uint64_t page, bool *ret_was_hole);
/* Takes away, from the file and so from everybody, what the guest's process has mapped of STALE pages: they must fault.
 * */
int fault_map_forget_stale(Fault *fault, unsigned block);

/* fault_wait.c */

/* Notes that thread waits. True if nobody has waited for this page yet. */
bool fault_wait_add(Fault *fault, unsigned block, uint64_t page, uint32_t thread);
/* These pages are there: who waited does not any more. */
void fault_wait_done(Fault *fault, unsigned block, uint64_t first, uint64_t count);
/* The pages that somebody waits for in [first, first + count), without order, each once. The caller frees it. */
GArray *fault_wait_pages(Fault *fault, unsigned block, uint64_t first, uint64_t count);
