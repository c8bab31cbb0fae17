/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One migration job of one domain: its phase, its engine, its numbers. The source's half is driven by migration_src.c,
 * the destination's by migration_dst.c; this is what both share. All calls on the loop's thread.
 */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/engine/engine.h"
#include "driver/guest/guest.h"
#include "driver/migration/params.h"
#include "driver/migration/storage.h"
#include "driver/policy/policy.h"

/*
 * Phases. Each is written to the domain's status file before it acts, so that a restarted daemon knows what to settle
 * (recover.c).
 *
 *   source:      BEGIN -> PRECOPY -> STOP_AND_COPY -> COMMITTING -> COMMITTED | UNKNOWN -> (Confirm)
 *   destination: PREPARED -> LOADED -> COMMITTED -> STARTED -> (Finish)
 *
 * In postcopy, between COMMITTING and COMMITTED on the source, between COMMITTED and STARTED on the destination:
 *   POSTCOPY <-> POSTCOPY_PAUSED
 */
typedef enum MigrationPhase {
        MIGRATION_PHASE_BEGIN,         /* source: the job is held, nothing has been touched */
        MIGRATION_PHASE_PRECOPY,       /* source: the engine copies, the guest runs */
        MIGRATION_PHASE_STOP_AND_COPY, /* source: the guest is stopped; it may still resume here */
        MIGRATION_PHASE_COMMITTING,    /* source: COMMIT is being sent: from here on only the destination knows */
        MIGRATION_PHASE_COMMITTED,     /* source: the destination runs the guest. destination: COMMIT has arrived */
        MIGRATION_PHASE_UNKNOWN,       /* source: no answer to COMMIT: paused until Finish or Confirm settles it */
        MIGRATION_PHASE_POSTCOPY,      /* the destination runs the guest, the source still has some of its RAM */
        MIGRATION_PHASE_POSTCOPY_PAUSED, /* the same, but nothing connects the two: waits for --postcopy-resume */
        MIGRATION_PHASE_PREPARED,      /* destination: waits for memory */
        MIGRATION_PHASE_LOADED,        /* destination: everything has arrived, waits for COMMIT */
        MIGRATION_PHASE_STARTED,       /* destination: the guest runs (or is paused, as asked) here for good */
        MIGRATION_PHASE_FAILED,        /* either: given up; what there was has been cleaned up */
        _MIGRATION_PHASE_MAX,
        _MIGRATION_PHASE_INVALID = -22,
} MigrationPhase;

/* Names as in the status file; _MIGRATION_PHASE_INVALID for one that is none. */
const char *migration_phase_to_string(MigrationPhase phase);
MigrationPhase migration_phase_from_string(const char *name);

struct JobRecord;  /* driver/migration/job_record.h */
struct JobRecords;

/* What all migrations of a driver share; fixed after start. */
typedef struct MigrationContext {
        GuestManager *guests;
        struct JobRecords *records;
        const char *engine_helper;  /* virt-ferry-engine */
        const char *peer_helper;    /* virt-ferry-peer */
        const char *socket_path;    /* our own RPC socket, for the peer helper */
        const char *hostname;
        const char *instance;       /* random name of this daemon */
        const char *address;        /* where to listen; NULL: everywhere */
        const char *host;           /* what to call ourselves in URIs; NULL: hostname */
        unsigned port_min, port_max;
        uint64_t idle_usec; /* a peer silent for so long is lost; 0: the engine's default */
        const char *policy; /* migration_policy of the configuration; NULL: balanced */
        unsigned max_outgoing;   /* at a time; 0: no limit */
        uint64_t bandwidth_mib;  /* MiB/s that outgoing migrations share; 0: no limit */
        unsigned outgoing;       /* that have a slot now (slots.h) */
        FiberCond slot_free;
        uint64_t device_state_bytes; /* of the last migration, QEMU's own RAM not counted; 0: not yet */
        uint64_t overhead_usec; /* what a switchover costs beside sending, as measured (decide_learn()); 0: not yet */
} MigrationContext;

struct Migration {
        unsigned refs;
        MigrationContext *context;
        Domain *domain;             /* a reference */
        struct JobRecord *record;   /* what front ends see of it; NULL once it has ended */
        bool incoming;
        MigrationPhase phase;
        MigrationParams params;
        Storage storage;            /* disks that are copied */
        char *id;                   /* names it at both ends */
        const void *client;         /* whose call began it; NULL once that client is gone. Compared, never followed */
        bool in_call;               /* Perform or Finish is running: it cleans up, not migration_client_gone() */

        Engine *engine;
        unsigned char token[ENGINE_TOKEN_BYTES];
        FiberCond changed;          /* any of the following */
        GError *failure;            /* the engine's first error */
        bool engine_gone, ready, committed, running, abandoned, guest_exited;
        bool abort_requested;
        bool postcopy_requested;    /* source: somebody wants the switch to postcopy now */
        bool paused;                /* source: a user wants precopy to stand still */
        bool postcopy;              /* the switch is, or was, one to postcopy */
        bool complete;              /* in postcopy: all memory is at the destination */
        bool recovering;            /* destination: a resumption was prepared and has neither come nor failed */
        bool engine_failed;         /* in postcopy: the helper is of no use any more */
        GError *pause_reason;       /* what interrupted postcopy last */
        bool stopped_here;          /* source: the guest ran until we stopped it */
        uint64_t iterations;        /* number of the last iteration event */

        /* numbers; monotonic microseconds, 0: not yet */
        uint64_t started_usec, stopped_usec, committed_usec, resumed_usec, ended_usec;
        uint64_t blackout_usec;
        uint64_t copying_usec;      /* the engine has begun to copy */
        PolicyConfig policy;        /* source: what decide_configure() made of all that was said */
        PolicyHistory history;
        PolicyDecision decision;    /* the last one */
        bool queued, has_slot;      /* waits for one of the host's slots; has one */
        bool news;                  /* a round has ended since the policy was asked */
        GString *round_log;         /* round_log.h; NULL: none */
        EngineStats stats;

        /* destination */
        char *persistent_xml;
        char *commit_path;          /* the engine's record of the commit */
        int qemu_state_fd, engine_state_fd; /* the two ends of the pipe for QEMU's device state */
        bool daemon_ends;           /* in postcopy: calls return, the engine goes on for the next daemon */
        bool settled;               /* the fiber that waits for COMMIT has ended */
};

/* Makes the job of a domain (which must have none) and takes the domain's job. params is taken over. */
int migration_new(MigrationContext *context, Domain *domain, bool incoming, const void *client, MigrationParams *params,
                  Migration **ret_migration, GError **reterr);
Migration *migration_ref(Migration *migration);
Migration *migration_unref(Migration *migration);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Migration, migration_unref)
/* The job is over: statistics are kept as those of the last job (with job-completed when it ran), the engine is ended,
 * the domain is free for others. Idempotent. */
void migration_end(Migration *migration, bool success);

/* Moves on; saves the domain's status. 0, or negative errno if that could not be saved (the phase has moved all the
 * same). */
int migration_set_phase(Migration *migration, MigrationPhase phase);
/* Whether the destination's engine has recorded that COMMIT arrived. path may be NULL. */
bool migration_was_committed(const char *path);
/* The first failure: the engine's, the guest's end, or an abort. 0, or negative with reterr. */
int migration_check(Migration *migration, GError **reterr);

/* What the user allows for precopy, bytes per second: this migration's, else the domain's; 0: no limit. */
uint64_t migration_speed_limit(const Migration *migration);
/* The estimate of what gets through, bytes per second: as measured while sending, but never above the limit. The last
 * copy, with the guest stopped, ignores the limit; what it will really get is not known before, so nobody is promised
 * more. */
uint64_t migration_bandwidth(const Migration *migration, const EngineStats *stats);

/* Slows the guest's writers down by percent (0: no more). -EOPNOTSUPP: this host or this engine cannot. Fiber. */
int migration_throttle(Migration *migration, unsigned percent);
/* The same for what is pushed in postcopy. */
uint64_t migration_postcopy_speed_limit(const Migration *migration);

/* RAM blocks of the domain as the engine wants them: an array of n, owned by the caller; strings and descriptors are
 * the QemuRam's. */
EngineRamBlock *migration_ram_blocks(const QemuRam *ram, unsigned *ret_n);

/* Emits migration-iteration, 1 before any other. */
void migration_note_iteration(Migration *migration, uint64_t iteration);

extern const EngineCallbacks migration_engine_callbacks;
