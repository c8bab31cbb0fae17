/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by dest.c (states, requests, connections) and dest_recv.c (frames). Nobody else includes it. */

#include <pthread.h>
#include <stdatomic.h>

#include "driver/engine/channel.h"
#include "driver/engine/dest.h"
#include "driver/engine/page_set.h"
#include "driver/engine/page_state.h"
#include "driver/engine/populate.h"
#include "driver/engine/ram_block.h"
#include "driver/engine/wire.h"
#include "driver/engine/worker.h"

/* LISTENING -> RECEIVING -> LOADING -> LOADED -> READY -> COMMITTED -> RUNNING -> DONE, or REFUSED or FAILED before COMMITTED. */
typedef enum DestState {
        DEST_LISTENING, /* nobody has proven the token yet */
        DEST_RECEIVING, /* pages and device state arrive */
        DEST_LOADING,   /* END has arrived; the device state is handed to QEMU */
        DEST_LOADED,    /* handed over; waits for the daemon to say that QEMU took it */
        DEST_READY,     /* READY is out; waits for COMMIT */
        DEST_COMMITTED, /* the guest belongs here, whatever happens now */
        DEST_RUNNING,   /* and runs */
        DEST_DONE,      /* the source knows, or cannot be told any more */
        DEST_REFUSED,
        DEST_FAILED,
        DEST_STATE_MAX_,
} DestState;

typedef struct DestBlock {
        RamBlock ram;
        WireBlock wire;
        /* receiver only */
        PageStates states;
        PageSet announced; /* per 2 MiB: being populated as one folio; no data has come yet */
        PageSet large;     /* per 2 MiB: populated as one folio, received through map_large */
} DestBlock;

#define DEST_KNOCKS_MAX 8

/* A connection that has not proven the token yet, and later perhaps the one that has. */
typedef struct DestKnock {
        struct Dest *dest;
        Worker worker;
        Channel *channel; /* made before the thread; freed after it was joined */
        atomic_bool ended;
} DestKnock;

struct Dest {
        /* fixed after dest_new() */
        Ctl *ctl;
        DestBlock *blocks;
        unsigned n_blocks;
        unsigned char token[ENGINE_TOKEN_BYTES];
        uint64_t idle_timeout_usec, device_max_bytes;
        int stop_fd;      /* eventfd: the acceptor must end */
        char *unix_path;

        /* acceptor thread, then (after it was joined) main */
        Worker acceptor;
        int listen_fd;
        DestKnock knocks[DEST_KNOCKS_MAX];

        /* receiver only: the one knock that proved the token */
        int device_fd, spool_fd, commit_fd;
        bool ram_final;         /* no page may come any more */
        off_t device_written;   /* of the device state, to QEMU */
        uint64_t device_bytes, data_pages, zero_pages;
        Populate *populate; /* from its first announcement on */
        ZeroCounts zero;
        struct DestFrame *frame;

        /* under lock */
        pthread_mutex_t lock;
        DestState state;
        Channel *channel; /* the one that proved the token; NULL before */
        bool daemon_gone, link_lost;
        EngineStats stats;
};

const char *dest_doing(DestState state);
/* Any thread. False if that step is not allowed. Takes the lock. */
bool dest_set_state(Dest *dest, DestState state);
DestState dest_get_state(Dest *dest);
/* Any thread. First error wins; tells the source if it can be told. */
void dest_fail(Dest *dest, const GError *error);

/* dest_recv.c: from the RAM table to the end; on the thread whose connection has proven the token. */
void dest_receive(Dest *dest);
void dest_frame_free(struct DestFrame *frame);
