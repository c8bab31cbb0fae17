/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The memory-migration engine, seen from the daemon: one helper process (virt-ferry-engine) per job, driven over a control socket.
 * The engine knows RAM blocks, dirty tracking, channels and page states; it knows no QEMU, no XML, no policy. All calls on the loop's thread.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct Engine Engine;

/* How a zero page that already holds data is made zero again, and whether anything may be left unallocated (design section 5). */
typedef enum EngineRamPolicy {
        ENGINE_RAM_SPARSE,    /* shared tmpfs, memfd, file: never populate a zero page; punch holes, batched */
        ENGINE_RAM_POPULATED, /* prealloc or locked: everything stays allocated; zero pages are written where they are not zero already */
} EngineRamPolicy;

typedef struct EngineRamBlock {
        const char *id;      /* the QEMU object's id, e.g. "ram0"; equal on both sides */
        int fd;              /* the RAM file, opened read-write; not consumed */
        uint64_t size_bytes;
        uint64_t page_bytes; /* 4096, or the huge page size of hugetlbfs */
        EngineRamPolicy policy;
} EngineRamBlock;

typedef struct EngineStats {
        uint64_t round;                  /* from 1 */
        uint64_t total_bytes;            /* sum of the RAM blocks' sizes */
        uint64_t resident_bytes;         /* allocated in the source's RAM files when the job began */
        uint64_t transferred_bytes;      /* on the wire, headers included */
        uint64_t normal_pages, zero_pages; /* 4 KiB units that were sent as data, as zero */
        uint64_t precopy_bytes, postcopy_bytes, stopcopy_bytes; /* pending, by class */
        uint64_t pending_bytes;          /* their sum */
        uint64_t dirty_bytes_per_sec;    /* over the last round */
        uint64_t bandwidth_bytes_per_sec; /* EWMA over sending time only */
        uint64_t round_bytes, round_usec; /* of the round that just ended */
        uint64_t setup_usec;             /* connecting, hello, first registration */
        uint64_t scan_usec;              /* last exact sync */
        uint64_t final_scan_usec;        /* the one inside the downtime */
        uint64_t device_state_bytes;
        uint64_t received_bytes, punched_bytes, written_zero_bytes; /* destination */
} EngineStats;

typedef struct EngineCallbacks {
        /* Source: an exact sync of all modules is done and the counter has moved (in this order). */
        void (*iteration)(Engine *engine, const EngineStats *stats, void *userdata);
        /* Source, optional: nothing was left to send and the guest has written nothing since (the counter stands still: a round without bytes is
         * not a round). Comes about every 100 ms for as long as that holds; stats are those of an exact sync. */
        void (*pending)(Engine *engine, const EngineStats *stats, void *userdata);
        /* Source: the destination said READY: all RAM and device state are loaded there, it waits for COMMIT.
         * Destination: all RAM and the device state have arrived, RAM is final, and the device state has been written to device_state_fd. */
        void (*ready)(Engine *engine, void *userdata);
        /* Destination: COMMIT has arrived and was acknowledged: start the guest. */
        void (*committed)(Engine *engine, void *userdata);
        /* Source: the destination says that the guest runs; at is CLOCK_REALTIME there, blackout is its own resume time in usec after COMMIT. */
        void (*running)(Engine *engine, uint64_t resume_usec, void *userdata);
        /* Source, after COMMIT: the destination has ended its guest and says that it will never run there (engine_dest_abandon()). */
        void (*abandoned)(Engine *engine, const char *reason, void *userdata);
        /* The job cannot go on (link lost, peer's error, protocol violation) but the process lives; or, with gone, it does not. The first error wins;
         * called at most once, also after success when the helper dies later. */
        void (*failed)(Engine *engine, const GError *error, bool gone, void *userdata);
} EngineCallbacks;

/* Starts the helper. Fiber. helper is the program's path; log_fd gets its stderr (negative: ours). callbacks must outlive the engine. */
int engine_new(sd_event *event, const char *helper, const char *job_name, int log_fd,
               const EngineCallbacks *callbacks, void *userdata, Engine **ret_engine, GError **reterr);
Engine *engine_ref(Engine *engine);
/* The last reference ends the helper (SIGKILL) if it still runs. */
Engine *engine_unref(Engine *engine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Engine, engine_unref)
/* Ends the helper at once, without any callback afterwards. */
void engine_kill(Engine *engine);
/* As engine_kill(), and waits until it is gone. Fiber. */
void engine_end(Engine *engine);
pid_t engine_pid(const Engine *engine);

#define ENGINE_TOKEN_BYTES 32

typedef struct EngineDestArgs {
        const EngineRamBlock *blocks;
        unsigned n_blocks;
        unsigned char token[ENGINE_TOKEN_BYTES]; /* the source must prove that it knows this */
        const char *listen_address;              /* numeric; NULL: all, IPv6 and IPv4 */
        unsigned port_min, port_max;             /* first free one is taken */
        const char *unix_path;                   /* instead of TCP */
        int device_state_fd;                     /* the engine writes QEMU's device state here and closes it; not consumed */
        /* A file, open for writing, that records the commit: the engine writes one byte 'C' into it before it acknowledges COMMIT, so that a restarted
         * daemon knows whose the guest is even if nobody was there to hear `committed`. It is not synced to disk (5 ms of downtime here): if this host
         * goes down, so does the guest, and the record says nothing any more. Not consumed; -1: none. */
        int commit_fd;
        uint64_t device_state_max_bytes;         /* refuse more (default 1 GiB when 0) */
        uint64_t idle_timeout_usec;              /* peer silent that long (it sends keepalives each second): failed. 0: 10 s */
} EngineDestArgs;

/* Destination: sets RAM up and listens. Fiber. *ret_port is 0 for unix. */
int engine_dest_listen(Engine *engine, const EngineDestArgs *args, unsigned *ret_port, GError **reterr);
/* Destination: QEMU has loaded the device state: tell the source READY. Fiber. */
int engine_dest_loaded(Engine *engine, GError **reterr);
/* Destination: the guest runs; resume_usec: from `committed` to QEMU's RESUME. Fiber. Afterwards the helper ends by itself when the peer is done. */
int engine_dest_running(Engine *engine, uint64_t resume_usec, GError **reterr);
/* Destination, after `committed`: the guest could not be started here, its QEMU is gone and it never will run here: tells the source, which gets
 * `abandoned` and may resume. Fiber; returns when the frame is on the wire. */
int engine_dest_abandon(Engine *engine, const char *reason, GError **reterr);
/* Destination: never start. Closes the data connection, so that no COMMIT can arrive any more. *ret_committed tells whether one had arrived before
 * (then nothing was closed and the guest belongs here). Fiber. */
int engine_dest_refuse(Engine *engine, bool *ret_committed, GError **reterr);

typedef struct EngineSourceArgs {
        const EngineRamBlock *blocks;
        unsigned n_blocks;
        pid_t qemu_pid;
        int uffd_async, uffd_sync;  /* the shim's two userfaultfds (design 4.5), made in QEMU; not consumed; -1: none */
        unsigned char token[ENGINE_TOKEN_BYTES];
        const char *host;           /* numeric or name */
        unsigned port;
        const char *unix_path;      /* instead of TCP */
        uint64_t bandwidth_bytes_per_sec; /* 0: unlimited */
        uint64_t connect_timeout_usec;    /* 0: 10 s */
        uint64_t idle_timeout_usec;       /* as above */
        uint64_t device_state_estimate_bytes; /* what the device state will be about; counts as stopcopy_bytes. 0: 512 KiB */
} EngineSourceArgs;

/* Source: connects, proves the token, agrees on the RAM table, registers dirty tracking and starts round 1. Fiber. */
int engine_source_start(Engine *engine, const EngineSourceArgs *args, GError **reterr);
int engine_source_set_bandwidth(Engine *engine, uint64_t bytes_per_sec, GError **reterr); /* Fiber. */
/* Source: the guest is stopped now. Last scan, sends the rest, reads the device state from device_state_fd until its end (consumed
 * by the helper; not by us) and sends it. Returns when all of it is on the wire; `ready` comes later. Fiber. */
int engine_source_stop_and_copy(Engine *engine, int device_state_fd, uint64_t timeout_usec, GError **reterr);
/* Source, after `ready`: sends COMMIT and waits for the answer. Returns 0 when it was acknowledged; -ETIMEDOUT or -ENOTCONN when nobody can know: the
 * source must stay paused until Finish or Confirm settles it; any other error: COMMIT was not sent, the guest may run on here. Fiber. */
int engine_source_commit(Engine *engine, uint64_t timeout_usec, GError **reterr);
/* Source, before commit: tells the destination to give up, undoes write protection (unregisters), and ends. Fiber. */
int engine_source_cancel(Engine *engine, GError **reterr);
/* Source: takes all write protection off the guest's RAM without any helper, e.g. after it was killed. Without it a guest whose writes were
 * tracked synchronously would block. Harmless at any time when no helper runs; does not wait. 0 or negative errno. */
int engine_source_unprotect(const EngineRamBlock *blocks, unsigned n_blocks, pid_t qemu_pid, int uffd_async, int uffd_sync, GError **reterr);

/* Latest numbers. Cheap: what the last event or estimate said. */
const EngineStats *engine_stats(const Engine *engine);
/* Asks now. exact syncs all modules first. Fiber. */
int engine_query_pending(Engine *engine, bool exact, EngineStats *ret_stats, GError **reterr);
