/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is known about one migration job, running or finished: a copy of its numbers for front ends. */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum DriverJobOutcome {
        DRIVER_JOB_RUNNING,
        DRIVER_JOB_COMPLETED,
        DRIVER_JOB_FAILED,
        _DRIVER_JOB_OUTCOME_MAX,
} DriverJobOutcome;

/* What has happened to a job (DRIVER_EVENT_JOB). */
typedef enum DriverJobChange {
        DRIVER_JOB_NEW,      /* it exists from now on */
        DRIVER_JOB_PHASE,    /* it has another phase, or another setting */
        DRIVER_JOB_ROUND,    /* a round has ended; its numbers are those of the exact sync */
        DRIVER_JOB_DECISION, /* the policy has decided */
        DRIVER_JOB_ENDED,    /* outcome and error are final */
        DRIVER_JOB_GONE,     /* forgotten, to make room for newer ones */
        _DRIVER_JOB_CHANGE_MAX,
} DriverJobChange;

typedef enum DriverPageState {
        DRIVER_PAGES_NEVER,    /* never used by the guest, or not there yet and zero */
        DRIVER_PAGES_VALID,
        DRIVER_PAGES_STALE,    /* the peer has a newer content */
        DRIVER_PAGES_INFLIGHT,
        _DRIVER_PAGES_MAX,
} DriverPageState;

/* fault_histogram[i] counts faults that a page was fetched for in less than 2^(i+1) microseconds, and not in less than
 * 2^i; the last has no upper end. */
#define DRIVER_FAULT_BUCKETS 24

typedef struct DriverJobInfo {
        uint64_t number;     /* from 1, unique in the life of a daemon */
        char *domain;        /* its name */
        unsigned char uuid[VIR_UUID_BUFLEN];
        bool incoming;
        DriverJobOutcome outcome;
        char *peer;          /* the destination's URI, or that of its data connection, as far as it is known; else "" */
        const char *phase;   /* "starting", "completed", "failed" or a MigrationPhase's name; a constant */
        bool paused;         /* on request of a user */

        uint64_t round;      /* from 1; 0: none yet */
        uint64_t total_bytes, transferred_bytes;
        uint64_t precopy_bytes, postcopy_bytes, stopcopy_bytes, pending_bytes; /* pending by class, and their sum */
        uint64_t bandwidth_bytes_per_sec;       /* measured; 0: not known */
        uint64_t bandwidth_limit_bytes_per_sec; /* 0: none */
        uint64_t dirty_bytes_per_sec;
        uint64_t expected_blackout_usec;        /* if the guest were stopped now; UINT64_MAX: not known */
        uint64_t blackout_usec;                 /* measured; 0: not yet */
        uint64_t max_downtime_msec;             /* the limit now in force */
        unsigned throttle_percent;              /* by how much the guest's writers are slowed down */

        char *policy;        /* the name of the rules by which it is decided */
        char *decision;      /* the last one; "": none yet */
        char *reason;        /* a sentence */

        uint64_t pages[_DRIVER_PAGES_MAX];            /* 4 KiB pages by state, at the destination */
        uint64_t faults;                              /* all that the kernel reported */
        uint64_t fault_histogram[DRIVER_FAULT_BUCKETS];
        uint64_t vcpu_block_usec;                     /* time that vCPUs spent waiting for pages, all together */

        int error_code;      /* virErrorNumber; 0: none */
        char *error;         /* "": none */
        uint64_t started_usec; /* realtime */
        uint64_t elapsed_usec;
} DriverJobInfo;

/* Frees what info holds, not info. */
void driver_job_info_clear(DriverJobInfo *info);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DriverJobInfo, driver_job_info_clear)
/* A deep copy; *ret_copy is overwritten. */
void driver_job_info_copy(const DriverJobInfo *info, DriverJobInfo *ret_copy);
/* "running", "completed", "failed". */
const char *driver_job_outcome_to_string(DriverJobOutcome outcome);
