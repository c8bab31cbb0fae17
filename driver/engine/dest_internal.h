/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by dest.c (states, requests, connections) and dest_recv.c (frames). Nobody else includes it. */

#include <pthread.h>
#include <stdatomic.h>

#include "driver/engine/channel.h"
#include "driver/engine/dest.h"
#include "driver/engine/fault.h"
#include "driver/engine/page_set.h"
#include "driver/engine/page_state.h"
#include "driver/engine/populate.h"
#include "driver/engine/ram_block.h"
#include "driver/engine/wire.h"
#include "driver/engine/worker.h"

/* LISTENING -> RECEIVING -> LOADING -> LOADED -> READY -> COMMITTED -> RUNNING -> DONE, or REFUSED or FAILED before
 * COMMITTED. */
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
        PageSet stale;     /* what STALE frames have named so far */
} DestBlock;

#define DEST_KNOCKS_MAX 8

/* A connection that has not proven the token yet, and later perhaps the one that has. */
typedef struct DestKnock {
        struct Dest *dest;
        Worker worker;
        Channel *channel; /* made before the thread; freed after it was joined */
        atomic_bool ended;
} DestKnock;

#define DEST_REQUESTS_MAX 64 /* gathered before they must go out; WIRE_REQUESTS_MAX */

struct Dest {
        /* fixed after dest_new() */
        Ctl *ctl;
        DestBlock *blocks;
        unsigned n_blocks;
        /* like the next one, and unix_path, new in each recovery, while nobody is connected */
        unsigned char token[ENGINE_TOKEN_BYTES];
        uint64_t idle_timeout_usec;
        uint64_t device_max_bytes;
        Fault *fault;     /* NULL without postcopy */
        int guest_pidfd;  /* with postcopy */
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
        struct PlaceFrame *place; /* after the switch */

        /* under lock */
        pthread_mutex_t lock;
        DestState state;
        Channel *channel; /* the one that proved the token; NULL before */
        bool daemon_gone, link_lost;
        bool said_why;         /* FAILED, and the source has been told */
        EngineStats stats;
        Channel *urgent;       /* the second one, for pages that somebody waits for; NULL without postcopy */
        bool switched;         /* POSTCOPY has arrived: the fault core owns the page table */
        bool finished;         /* everything is here, and nothing is registered any more */
        bool accepting_again;  /* the next source must say RESUME */
        bool paused;           /* told so */
        bool resuming;         /* the bulk channel is back, the urgent one not yet */
        unsigned n_links;      /* receiver threads */
        GError *link_error;    /* why the first of them ended */
        uint64_t old_received_bytes, n_recoveries;

        /* any thread */
        atomic_bool complete; /* nothing is missing */

        /* under request_lock */
        pthread_mutex_t request_lock;
        WireRun requests[DEST_REQUESTS_MAX];
        unsigned n_requests;
};

const char *dest_doing(DestState state);
/* Any thread. False if that step is not allowed. Takes the lock. */
bool dest_set_state(Dest *dest, DestState state);
DestState dest_get_state(Dest *dest);
/* Any thread. First error wins; tells the source if it can be told. */
void dest_fail(Dest *dest, const GError *error);

/* A reference to the channel, or NULL. */
Channel *dest_get_channel(Dest *dest);
Channel *dest_get_urgent(Dest *dest);
/* Under the lock. */
bool dest_set_state_locked(Dest *dest, DestState state);

/* dest_accept.c */

/* Starts to listen as args say. */
int dest_accept_start(Dest *dest, const EngineDestArgs *args, unsigned *ret_port, GError **reterr);
/* Stops listening; what is connected stays. Not on the acceptor. */
void dest_accept_stop(Dest *dest);
/* Cuts all connections, and waits until their threads have ended. */
void dest_accept_cut(Dest *dest);

/* dest_postcopy.c; the fault core's page source is the peer. */
extern const FaultSource dest_fault_source;
/* Receiver: STALE and POSTCOPY frames, before the switch. Channel's errors, or *reterr. */
int dest_take_stale(Dest *dest, const WireHeader *header);
int dest_take_postcopy(Dest *dest, GError **reterr);
/* Both receivers: a PAGES frame after the switch. frame is the caller's scratch space. */
struct PlaceFrame *dest_place_frame_new(void);
void dest_place_frame_free(struct PlaceFrame *frame);
int dest_place_pages(Dest *dest, Channel *channel, struct PlaceFrame *frame, const WireHeader *header, GError **reterr);
/* The urgent channel's receiver, until its end. */
void dest_urgent_receive(Dest *dest, Channel *channel);
/* Receiver, after the RAM table: RESUME, and the answer. */
int dest_take_resume(Dest *dest, Channel *channel);
/* A receiver has ended. error: why, NULL if it was done. */
void dest_link_ended(Dest *dest, const GError *error);

/* dest_recv.c: from the RAM table to the end; on the thread whose connection has proven the token. */
/* again: after a broken link. */
void dest_receive(Dest *dest, bool again);
void dest_frame_free(struct DestFrame *frame);
