/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by source.c (states, requests), source_send.c (frames of pages), source_return.c (the return path) and
 * source_pending.c. Nobody else includes it. */

#include <pthread.h>
#include <stdatomic.h>

#include "driver/base/clock.h"
#include "driver/base/units.h"
#include "driver/engine/channel.h"
#include "driver/engine/dirty.h"
#include "driver/engine/pace.h"
#include "driver/engine/page_set.h"
#include "driver/engine/ram_block.h"
#include "driver/engine/source.h"
#include "driver/engine/wire.h"
#include "driver/engine/worker.h"

/*
 * SETUP -> PRECOPY -> STOPPING -> SENT -> READY -> COMMITTING -> COMMITTED -> DONE, and from each of them FAILED or
 * (before COMMITTING) CANCELLED. With postcopy COMMITTED -> POSTCOPY -> DONE, and from COMMITTING on PAUSED in place
 * of FAILED.
 */
typedef enum SourceState {
        SOURCE_SETUP,      /* connecting, agreeing; answers nothing but cancel */
        SOURCE_PRECOPY,    /* the guest runs; rounds */
        SOURCE_STOPPING,   /* the guest is stopped; the rest and the device state are on their way */
        SOURCE_SENT,       /* END is on the wire; waits for READY */
        SOURCE_READY,      /* the destination waits for COMMIT */
        SOURCE_COMMITTING, /* COMMIT may be out: who owns the guest is open until the answer */
        SOURCE_COMMITTED,  /* acknowledged: the guest belongs to the destination, whatever happens now */
        SOURCE_POSTCOPY,   /* the guest runs there, and pages follow */
        SOURCE_PAUSED,     /* after COMMIT in postcopy, and the link is broken */
        SOURCE_DONE,       /* the destination runs it */
        SOURCE_CANCELLED,
        SOURCE_FAILED,
        SOURCE_STATE_MAX_,
} SourceState;

#define SOURCE_FRAME_BYTES (1 * MIB)
#define SOURCE_KEEPALIVE_USEC USEC_PER_SEC
#define SOURCE_TIMEOUT_USEC (10 * USEC_PER_SEC) /* connecting, and silence, unless the daemon says otherwise */

/* What one kind of state still has to move, by when it may move. */
typedef struct Pending {
        uint64_t precopy_bytes, postcopy_bytes, stopcopy_bytes;
} Pending;

struct Source {
        /* fixed after source_start() */
        Ctl *ctl;
        RamBlock *blocks;
        unsigned n_blocks;
        char *host, *unix_path;
        EngineSourceArgs args; /* no pointers in use */
        uint64_t *private_sizes; /* of the RAM blocks that QEMU keeps to itself */
        unsigned n_private;
        int guest_pidfd;
        uint64_t start_usec;

        /* set by the sender, under lock, while return path and urgent thread do not exist; main takes a reference
         * under lock */
        Channel *channel, *urgent;

        /* sender only */
        Worker sender, returner, device;
        Dirty *dirty;
        PageSet *current; /* per block: what this round sends */
        PageSet *next;    /* per block: found dirty since the round began */
        unsigned cursor_block;
        uint64_t cursor_unit;       /* of WIRE_PAGE_BYTES, in that block */
        struct Lookahead *lookahead; /* which regions of 2 MiB were looked at ahead of the cursor */
        struct SendBatch *batch;
        unsigned char *huge_chunk; /* a part of a huge page that is looked at */
        Pace pace;
        Rate rate;
        uint64_t round_start_usec, round_start_bytes;
        uint64_t last_sync_usec;
        uint64_t data_pages, zero_pages;
        uint64_t throttle_base;     /* pages that were written each second when throttling began; 0: it has not */
        GString *modules;           /* what each module said last: "ram0=precopy/postcopy/stopcopy ..." */
        uint64_t private_bytes;

        Worker urgent_worker;
        PageSet *exists;      /* per block: what can be read without being allocated; fixed after the switch */
        Pace postcopy_pace;
        uint64_t old_sent_bytes; /* over links that are broken */

        /* under left_lock after the switch: current, cursor_block, cursor_unit (then a page) */
        pthread_mutex_t left_lock;

        /* any thread */
        atomic_uint_least64_t postcopy_requests, postcopy_pushed_bytes, postcopy_data_pages, postcopy_zero_pages;

        /* device thread, then (after it was joined) sender */
        int device_fd;
        int device_error;
        uint64_t device_bytes;
        GError *device_failure;

        /* under lock */
        pthread_mutex_t lock;
        pthread_cond_t changed; /* monotonic clock */
        SourceState state;
        bool link_up; /* the channel carries frames */
        bool cancelled, stop_requested, return_ended, sender_ended, new_bandwidth;
        uint64_t bandwidth_bytes_per_sec;
        uint32_t mark_acked; /* the last round that the destination has in memory as a whole */
        CtlCall *start_call, *stop_call, *commit_call, *cancel_call;
        CtlCall *throttle_call; /* wants throttle_percent; the sender answers */
        unsigned throttle_percent;
        GPtrArray *exact_calls; /* CtlCall: exact queries that the sender answers */
        EngineStats stats;
        GError *failure;          /* why the state is FAILED */
        bool postcopy_requested;  /* by stop_and_copy */
        bool switched;            /* the destination's page table holds STALE pages */
        bool commit_known;        /* the destination has taken the guest */
        bool refused;             /* the destination has said ERROR: it takes no COMMIT */
        bool running_told;        /* the daemon knows that the guest runs there */
        bool abandoned;           /* DONE, because the guest will never run there */
        bool new_postcopy_bandwidth;
        uint64_t postcopy_bandwidth, recoveries;
        CtlCall *recover_call;
        bool recovering; /* the sender is at it */
        /* failed or cancelled: when a sender that is still stuck loses its connection; 0: never */
        uint64_t give_up_usec;
};

const char *source_state_name(SourceState state);
/* What the source is doing, for messages: "copying memory". */
const char *source_doing(SourceState state);

/* Any thread. Moves to state and wakes all; false (and nothing happens) when that step is not allowed. Takes the
 * lock. */
bool source_set_state(Source *source, SourceState state);
SourceState source_get_state(Source *source);

/* Any thread. The job cannot go on: first error wins; answers all open calls with it. Takes the lock. */
void source_fail(Source *source, const GError *error);
/* Whether the sender must stop what it does: cancelled, failed. */
bool source_interrupted(Source *source);

/* The same under the lock. */
bool source_set_state_locked(Source *source, SourceState state);
/* Waits for a change, or for usec. Under the lock. */
void source_wait_locked(Source *source, uint64_t usec);

/* source_setup.c, source_rounds.c, source_switch.c: what the sender does, in this order. Negative: the job ends;
 * without *reterr it was interrupted. */
int source_setup(Source *source, GError **reterr);
/* Until the daemon says that the guest is stopped. */
int source_precopy(Source *source, GError **reterr);
int source_switch_over(Source *source, GError **reterr);
/* Waits for the end, keeping the link alive and sending COMMIT when it is asked for. */
int source_finish(Source *source, GError **reterr);

/* source_rounds.c; sender only. Only the sender changes stats, so it may copy them, work on the copy and publish it. */
EngineStats source_copy_stats(Source *source);
/* Adds the counters of the moment to stats, and lets others see them. */
void source_publish(Source *source, EngineStats *stats);
/* What `next` holds is what is sent from now on. */
void source_next_becomes_current(Source *source);
/* Answers the exact queries that wait, with stats or with error. */
void source_answer_exact(Source *source, const EngineStats *stats, const GError *error);
/* Bytes in one set per block. */
uint64_t source_set_bytes(const Source *source, const PageSet *sets);
/* Whether the daemon has asked for the switch. */
bool source_stop_requested(Source *source);

/* source_send.c; sender only. */
struct SendBatch *send_batch_new(void);
void send_batch_free(struct SendBatch *batch);
/* A round begins: what was looked at before says nothing any more. */
void source_look_anew(Source *source);
void lookahead_free(struct Lookahead *lookahead);
/* Sends one frame from `current`. 1: there is more, 0: nothing is left, negative: channel's error. */
int source_send_some(Source *source, uint64_t max_bytes);
/* The thread that reads QEMU's device state and sends it. */
void source_device_worker(void *userdata);

/* source_return.c */
void source_return_worker(void *userdata);

/* source_setup.c: connects, proves the token, compares the RAM table; the urgent channel too, with postcopy. */
int source_connect(Source *source, GError **reterr);
int source_setup_sets(Source *source, GError **reterr);

/* source_postcopy.c */

/* Sends what is in `current` as a list, and starts to answer requests. */
int source_send_switch(Source *source, GError **reterr);
void source_urgent_worker(void *userdata);
/* From `running` (or a broken link) to the end. */
void source_postcopy(Source *source);
/* Any thread. In postcopy: the link is lost. False: this is not postcopy, or too early in it, and the job fails. */
bool source_break(Source *source, const GError *error);
void source_postcopy_stats(Source *source, EngineStats *stats);
/* A source that takes over from another engine: what exists here. */
int source_adopt_memory(Source *source, GError **reterr);

/* source_pending.c; sender only. The numbers as they go to the daemon, with each module's. */
json_object *source_numbers(const Source *source, const EngineStats *stats);
/* exact: syncs first. Fills the pending numbers of stats. */
int source_pending(Source *source, bool exact, bool final, EngineStats *stats, GError **reterr);
