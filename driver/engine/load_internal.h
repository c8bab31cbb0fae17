/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by load.c (the whole image at once) and load_lazy.c (while the guest runs). */

#include <pthread.h>
#include <stdatomic.h>

#include "driver/engine/fault.h"
#include "driver/engine/load.h"
#include "driver/engine/page_state.h"
#include "driver/engine/ram_block.h"
#include "driver/engine/worker.h"
#include "driver/image/image_reader.h"

#define LOAD_WORKERS_MAX 4
#define LOAD_PIECE_CHUNKS (RAM_BLOCK_LARGE_BYTES / IMAGE_CHUNK_DATA_BYTES)

typedef struct LoadBlock {
        RamBlock ram;
        PageStates states; /* lazy */
        uint64_t n_pieces; /* of LOAD_PIECE_CHUNKS */
        uint64_t *asked;   /* lazy, fault thread: a bit per chunk that is in the order already */
} LoadBlock;

/* What each thread that reads chunks has of its own. */
typedef struct LoadThread {
        ImageScratch *scratch;
        unsigned char *bounce; /* a chunk */
} LoadThread;

struct Load {
        /* fixed after load_start() */
        Ctl *ctl;
        CtlCall *call; /* the lead thread answers it */
        LoadBlock *blocks;
        unsigned n_blocks;
        int image_fd, device_fd, uffd;
        pid_t qemu_pid;
        bool wants_lazy, adopts, keeps_order;
        Worker lead;
        uint64_t total_bytes;
        /* lead thread; for all from before the workers start */
        ImageReader *reader;
        uint64_t data_bytes;
        /* main thread, and the lead thread before it answers */
        Worker workers[LOAD_WORKERS_MAX];
        Fault *fault;         /* lazy */
        bool going, ended;    /* lazy: the guest runs; everything was told */
        /* any thread */
        atomic_uint_fast64_t next_piece, next_order;
        atomic_bool cancelled, finished, failed, complete, lazy;
        atomic_uint_fast64_t read_bytes, told_usec;
        /* under lock */
        pthread_mutex_t lock;
        GError *error; /* the first */
        /* lazy: the order of the last restore, fixed; and what is added to it: fault thread */
        ImageOrder *order;
        unsigned n_known;
        LoadThread fault_thread;
};

/* The first error wins. Any thread. */
void load_fail(Load *load, unsigned block, uint64_t index, int error);
bool load_stopped(Load *load);
/* The next piece of 2 MiB; false after the last. Any thread. */
bool load_take_piece(Load *load, unsigned *ret_block, uint64_t *ret_piece);
/* Numbers for the daemon, from time to time. Any thread. */
void load_tell(Load *load);
/* Takes memory for the pages of a chunk at `at`, so that too little of it is an error and no signal. 0 or negative
 * errno. */
int load_populate(const ImageChunk *chunk, unsigned char *at);
/* Starts func on as many threads as there are processors, at most LOAD_WORKERS_MAX. */
int load_start_workers(Load *load, void (*func)(void *userdata), GError **reterr);

/* load_lazy.c. Lead thread: says what is missing, and has faults answered from now on. 1, 0 if that cannot be done
 * here, or negative with reterr. */
int load_lazy_begin(Load *load, GError **reterr);
/* Main thread: the guest runs: read the rest. */
int load_lazy_go(Load *load, GError **reterr);
/* Main thread, often: ends it when everything is there. */
void load_lazy_tick(Load *load);
void load_lazy_free(Load *load);
