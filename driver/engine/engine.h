/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The memory-migration engine, seen from the daemon: one helper process (virt-ferry-engine) per job, driven over a
 * control socket. The engine knows RAM blocks, dirty tracking, channels and page states; it knows no QEMU, no XML, no
 * policy. All calls on the loop's thread.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct Engine Engine;

/* How a zero page that already holds data is made zero again, and whether anything may be left unallocated (design
 * section 5). */
typedef enum EngineRamPolicy {
        ENGINE_RAM_SPARSE,    /* shared tmpfs, memfd, file: never populate a zero page; punch holes, batched */
        /* prealloc or locked: everything stays allocated; zero pages are written where they are not zero already */
        ENGINE_RAM_POPULATED,
} EngineRamPolicy;

typedef struct EngineRamBlock {
        const char *id;      /* the QEMU object's id, e.g. "ram0"; equal on both sides */
        int fd;              /* the RAM file, opened read-write; not consumed */
        uint64_t size_bytes;
        uint64_t page_bytes; /* 4096, or the huge page size of hugetlbfs */
        EngineRamPolicy policy;
        /* Destination: the page table (a byte per page), a file beside the RAM file that outlives engine and daemon;
         * the engine gives it its size. Not consumed; 0 or negative: the engine keeps it to itself, and the memory is
         * lost with the engine. */
        int states_fd;
} EngineRamBlock;

#define ENGINE_LATENCY_BUCKETS 24 /* bucket i: [2^i, 2^(i+1)) usec; the first from 0, the last without end */
#define ENGINE_THREADS_MAX 32     /* of the guest's process that are told apart; later ones count as the last */

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
        /* Postcopy and lazy restore. Source: */
        uint64_t postcopy_requests;      /* pages that the destination asked for */
        uint64_t postcopy_pushed_bytes;  /* sent without being asked for, since the switch */
        uint64_t postcopy_recoveries;    /* how often the job went on after a broken link (both ends) */
        /* Who has the page faults: pages of the block's own size. */
        uint64_t stale_pages, valid_pages, inflight_pages, never_pages; /* now; before the switch 0 */
        uint64_t faults;                 /* all that the kernel reported */
        uint64_t faults_requested;       /* a thread waited for content from the page source */
        uint64_t faults_present;         /* content was there, only not mapped */
        uint64_t faults_zero;            /* a page that is zero, or was given back by the guest */
        /* sum over all threads that waited for content; a thread that still waits counts until now */
        uint64_t fault_block_usec;
        uint64_t fault_max_usec;
        uint64_t fault_latency[ENGINE_LATENCY_BUCKETS]; /* of faults_requested, by time until the content was mapped */
        uint64_t fault_threads;          /* how many of the following are in use */
        uint64_t fault_thread_ids[ENGINE_THREADS_MAX];  /* thread ids as the guest's process sees them (gettid) */
        uint64_t fault_thread_usec[ENGINE_THREADS_MAX]; /* how long each has waited for content */
        uint64_t fault_thread_count[ENGINE_THREADS_MAX]; /* and how often */
} EngineStats;

/* How far a job is. What an engine says when somebody attaches, and with each event; engine_state() remembers it. */
typedef enum EngineState {
        ENGINE_STATE_IDLE,       /* no job yet */
        ENGINE_STATE_SETUP,      /* source: connecting; destination: waiting for the source */
        ENGINE_STATE_PRECOPY,    /* memory moves, the guest runs on the source */
        /* source: the guest is stopped, the rest is on its way; destination: hands QEMU its device state */
        ENGINE_STATE_SWITCHING,
        ENGINE_STATE_LOADED,     /* destination: `ready` was called; waits for engine_dest_loaded() */
        ENGINE_STATE_READY,      /* both: waits for COMMIT */
        ENGINE_STATE_COMMITTING, /* source: COMMIT may be out; whose the guest is cannot be known here */
        ENGINE_STATE_COMMITTED,  /* the guest belongs to the destination; waits for engine_dest_running() there */
        ENGINE_STATE_POSTCOPY,   /* the destination runs the guest, memory is still missing there */
        ENGINE_STATE_PAUSED,     /* the same, and the link is broken: waits for recovery */
        ENGINE_STATE_DONE,       /* the destination runs the guest and has everything */
        ENGINE_STATE_CANCELLED,  /* or refused; source: or abandoned by the destination after COMMIT */
        ENGINE_STATE_FAILED,
        ENGINE_STATE_MAX_,
} EngineState;

typedef struct EngineCallbacks {
        /* Source: an exact sync of all modules is done and the counter has moved (in this order). */
        void (*iteration)(Engine *engine, const EngineStats *stats, void *userdata);
        /* Source, optional: nothing was left to send and the guest has written nothing since (the counter stands still:
         * a round without bytes is not a round). Comes about every 100 ms for as long as that holds; stats are those of
         * an exact sync. */
        void (*pending)(Engine *engine, const EngineStats *stats, void *userdata);
        /* Source: the destination said READY: all RAM and device state are loaded there, it waits for COMMIT.
         * Destination: all RAM and the device state have arrived, RAM is final, and the device state has been written
         * to device_state_fd. */
        void (*ready)(Engine *engine, void *userdata);
        /* Destination: COMMIT has arrived and was acknowledged: start the guest. */
        void (*committed)(Engine *engine, void *userdata);
        /* Source: the destination says that the guest runs; at is CLOCK_REALTIME there, blackout is its own resume time
         * in usec after COMMIT. */
        void (*running)(Engine *engine, uint64_t resume_usec, void *userdata);
        /* Source, after COMMIT: the destination has ended its guest and says that it will never run there
         * (engine_dest_abandon()). */
        void (*abandoned)(Engine *engine, const char *reason, void *userdata);
        /* The job cannot go on (link lost, peer's error, protocol violation) but the process lives; or, with gone, it
         * does not. The first error wins; called at most once, also after success when the helper dies later. */
        void (*failed)(Engine *engine, const GError *error, bool gone, void *userdata);
        /* Both ends, after a switch to postcopy: all of the guest's memory is at the destination. The source may end
         * its QEMU now. The helper stays until it is ended (engine_unref()), so that a daemon that comes back can hear
         * of it too. */
        void (*postcopy_complete)(Engine *engine, const EngineStats *stats, void *userdata);
        /* Both ends, after COMMIT of a switch to postcopy: the link is lost. Both helpers stay, nothing is lost; the
         * destination goes on answering for what it has. Source: also when COMMIT was not acknowledged, so that it is
         * not known whose the guest is (engine_source_commit() has then failed with -ENOTCONN); in that one case
         * engine_source_cancel() stays possible. */
        void (*postcopy_paused)(Engine *engine, const GError *error, void *userdata);
        /* Both ends: the link is back (engine_source_recover()), memory moves again. At a source whose engine_state()
         * is COMMITTED the destination has the guest, and has not let it run yet: `running` or `abandoned` follows. */
        void (*postcopy_resumed)(Engine *engine, void *userdata);
} EngineCallbacks;

/* Starts the helper. Fiber. helper is the program's path; log_fd gets its stderr (negative: ours). callbacks must
 * outlive the engine. */
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
/* What is known here: from its events and answers, so a destination that the source has reached still says SETUP. */
EngineState engine_state(const Engine *engine);
bool engine_is_source(const Engine *engine);
/* Whether the switch is one to postcopy. A destination knows from `ready` on. */
bool engine_is_postcopy(const Engine *engine);
/* For messages and logs. NULL if it is none. */
const char *engine_state_name(EngineState state);

/* From now on the helper outlives us: it listens on the unix socket path (mode 0600, replaced if it exists, removed at
 * its end) for a daemon of the same user. Without this a helper that loses its daemon gives up, unless COMMIT forbids
 * it. With it: a source goes on copying for ten minutes but switches nothing over, a destination goes on receiving but
 * does not answer COMMIT, and postcopy runs to its end. Fiber. */
int engine_listen_control(Engine *engine, const char *path, GError **reterr);
/* Takes a helper over that an earlier daemon has started; state and numbers are known when it returns. Events that
 * nobody heard are not repeated: state tells. Fiber. -ENOENT or -ECONNREFUSED: no helper is there any more. */
int engine_attach(sd_event *event, const char *path, const char *job_name, const EngineCallbacks *callbacks,
                  void *userdata, Engine **ret_engine, GError **reterr);

#define ENGINE_TOKEN_BYTES 32

typedef struct EngineDestArgs {
        const EngineRamBlock *blocks;
        unsigned n_blocks;
        unsigned char token[ENGINE_TOKEN_BYTES]; /* the source must prove that it knows this */
        const char *listen_address;              /* numeric; NULL: all, IPv6 and IPv4 */
        unsigned port_min, port_max;             /* first free one is taken */
        const char *unix_path;                   /* instead of TCP */
        /* the engine writes QEMU's device state here and closes it; not consumed */
        int device_state_fd;
        /* A file, open for writing, that records the commit: the engine writes one byte 'C' into it before it
         * acknowledges COMMIT, so that a restarted daemon knows whose the guest is even if nobody was there to hear
         * `committed`. It is not synced to disk (5 ms of downtime here): if this host goes down, so does the guest, and
         * the record says nothing any more. Not consumed; -1: none. */
        int commit_fd;
        uint64_t device_state_max_bytes;         /* refuse more (default 1 GiB when 0) */
        /* peer silent that long (it sends keepalives each second): failed. 0: 10 s */
        uint64_t idle_timeout_usec;
        /* The source may switch to postcopy: the guest's RAM in QEMU is registered with uffd for missing and minor
         * faults before this returns, every fault is answered, and when all has arrived it is unregistered. Whether RAM
         * is mapped or touched there already does not matter. */
        bool postcopy;
        pid_t qemu_pid;                          /* with postcopy */
        /* with postcopy: the shim's synchronous userfaultfd (ShimHello.uffd[1]); not consumed */
        int uffd;
} EngineDestArgs;

/* Destination: sets RAM up and listens. Fiber. *ret_port is 0 for unix. */
int engine_dest_listen(Engine *engine, const EngineDestArgs *args, unsigned *ret_port, GError **reterr);
/* Destination: QEMU has loaded the device state: tell the source READY. Fiber. */
int engine_dest_loaded(Engine *engine, GError **reterr);
/* Destination: the guest runs; resume_usec: from `committed` to QEMU's RESUME. Fiber. Afterwards the helper ends by
 * itself when the peer is done. */
int engine_dest_running(Engine *engine, uint64_t resume_usec, GError **reterr);
/* Destination, after `committed`: the guest could not be started here, its QEMU is gone and it never will run here:
 * tells the source, which gets `abandoned` and may resume. Fiber; returns when the frame is on the wire. */
int engine_dest_abandon(Engine *engine, const char *reason, GError **reterr);
/* Destination: never start. Closes the data connection, so that no COMMIT can arrive any more. *ret_committed tells
 * whether one had arrived before (then nothing was closed and the guest belongs here). reason is what the source's user
 * reads; NULL: none. Fiber. */
int engine_dest_refuse(Engine *engine, const char *reason, bool *ret_committed, GError **reterr);

/* Destination, a new helper in place of one that ended after COMMIT in postcopy: takes over RAM, page table (states_fd)
 * and uffd (pidfd_getfd() from QEMU), as args say (token, addresses, ports, device_state_fd and commit_fd are not
 * used), goes on answering faults, and is paused. running: the guest was started before. If nothing is missing it is
 * complete at once. Fiber. */
int engine_dest_adopt(Engine *engine, const EngineDestArgs *args, bool running, GError **reterr);
/* Destination, in postcopy: listens (again) for the source, as args say (token, addresses, ports, idle timeout; the
 * rest is not used). A link that is still up is dropped first. `postcopy_resumed` when the source is back. May be
 * repeated. Fiber. */
int engine_dest_recover(Engine *engine, const EngineDestArgs *args, unsigned *ret_port, GError **reterr);
/* Both ends, in postcopy: cuts the link; both become paused. Fiber. */
int engine_postcopy_pause(Engine *engine, GError **reterr);

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
        /* what the device state will be about; counts as stopcopy_bytes. 0: 512 KiB */
        uint64_t device_state_estimate_bytes;
        /* Sizes of the RAM blocks that QEMU keeps to itself and sends with its device state; what is present of them
         * counts as stopcopy_bytes. */
        const uint64_t *private_ram_sizes;
        unsigned n_private_ram;
        /* The switch to postcopy may be asked for later; the destination must have been told the same. Opens the
         * channel for urgent pages. */
        bool postcopy;
        /* for pages that are pushed after the switch, not for those that are asked for; 0: unlimited */
        uint64_t postcopy_bandwidth_bytes_per_sec;
} EngineSourceArgs;

/* Source: connects, proves the token, agrees on the RAM table, registers dirty tracking and starts round 1. Fiber. */
int engine_source_start(Engine *engine, const EngineSourceArgs *args, GError **reterr);
/* Source, in precopy: those who write to the guest's RAM get slower by percent of what they wrote when that began (0:
 * no more); readers do not. Fiber. Fails where this host cannot, and the guest stays as it was. */
int engine_source_set_throttle(Engine *engine, unsigned percent, GError **reterr);
int engine_source_set_bandwidth(Engine *engine, uint64_t bytes_per_sec, GError **reterr); /* Fiber. */
/* The other limit: of what is pushed after the switch. At any time. Fiber. */
int engine_source_set_postcopy_bandwidth(Engine *engine, uint64_t bytes_per_sec, GError **reterr);
/* Source: the guest is stopped now. Last scan, sends the rest, reads the device state from device_state_fd until its
 * end (consumed by the helper; not by us) and sends it. Returns when all of it is on the wire; `ready` comes later.
 * Fiber. postcopy (source and destination must have been started with it): instead of the rest only the list of its
 * pages goes ahead. The source answers requests from then on, since loading the device state reads memory; after
 * `running` it pushes the rest, until `postcopy_complete` on both ends. */
int engine_source_stop_and_copy(Engine *engine, int device_state_fd, bool postcopy, uint64_t timeout_usec,
                                GError **reterr);
/* Source, after `ready`: sends COMMIT and waits for the answer. Returns 0 when it was acknowledged; -ETIMEDOUT or
 * -ENOTCONN when nobody can know: the source must stay paused until Finish or Confirm settles it; any other error:
 * COMMIT was not sent, the guest may run on here. Fiber. */
int engine_source_commit(Engine *engine, uint64_t timeout_usec, GError **reterr);
/* Source, before commit: tells the destination to give up, undoes write protection (unregisters), and ends. Fiber. */
int engine_source_cancel(Engine *engine, GError **reterr);
/* Source, after COMMIT in postcopy, paused (a link that is still up is dropped first) or a new helper: connects as args
 * say, learns what the destination lacks, and goes on. On failure it is paused as before and may try again. Fiber. */
int engine_source_recover(Engine *engine, const EngineSourceArgs *args, GError **reterr);
/* Source: takes all write protection off the guest's RAM without any helper, e.g. after it was killed. Without it a
 * guest whose writes were tracked synchronously would block. Harmless at any time when no helper runs; does not wait. 0
 * or negative errno. */
int engine_source_unprotect(const EngineRamBlock *blocks, unsigned n_blocks, pid_t qemu_pid, int uffd_async,
                            int uffd_sync, GError **reterr);

/* Latest numbers. Cheap: what the last event or estimate said. */
const EngineStats *engine_stats(const Engine *engine);
/* What each module said when the latest exact numbers were taken: "ram0=PRECOPY/POSTCOPY/STOPCOPY device-state=...",
 * bytes; NULL: nothing yet. */
const char *engine_modules(const Engine *engine);
/* Asks now. exact syncs all modules first. Fiber. */
int engine_query_pending(Engine *engine, bool exact, EngineStats *ret_stats, GError **reterr);
