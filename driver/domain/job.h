/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who may change a domain now.
 *
 * A short change (MODIFY: start, suspend, setmem, define...) excludes other short changes; callers queue. A long job
 * (migration out or in) spans many calls and refuses at once the changes that do not fit it: a user should not wait
 * minutes to read "try again later". Queries take no job.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/base/fiber.h"

typedef enum JobKind {
        JOB_NONE,
        JOB_MIGRATION_OUT,
        JOB_MIGRATION_IN,
        JOB_POSTCOPY_IN, /* it runs here already, but memory is missing */
        JOB_SAVE,    /* into an image */
        JOB_RESTORE, /* out of one */
        JOB_LAZY,    /* it runs, but memory is still in its image: refuses other long jobs, no short change */
        _JOB_KIND_MAX,
        _JOB_KIND_INVALID = -22,
} JobKind;

/* "none", "migration-out", "migration-in", "postcopy-in", "save", "restore", "lazy-restore". */
const char *job_kind_to_string(JobKind kind);

/* What a short change needs to be allowed during a long job. */
typedef enum JobAccess {
        JOB_ACCESS_EXCLUSIVE = 0,      /* not during any long job */
        JOB_ACCESS_DURING_OUT = 1 << 0, /* also while the domain migrates away: suspend, resume, destroy, monitor */
        JOB_ACCESS_DURING_IN = 1 << 1,  /* also while it arrives: destroy */
        JOB_ACCESS_IN_POSTCOPY = 1 << 2, /* also while it runs here and memory is missing: suspend, resume */
        JOB_ACCESS_ALWAYS = 7,
} JobAccess;

typedef struct DomainJob {
        JobKind kind;       /* of the long job */
        const void *owner;  /* who holds it: compared, never followed */
        bool modifying;     /* a short change runs */
        const char *modify_what;
        FiberCond changed;
} DomainJob;

/* Begins a short change, waiting at most 30 s for another to end. what is a constant for errors ("suspend"). Fiber.
 * OPERATION_INVALID if a long job does not allow it, OPERATION_TIMEOUT. */
int job_modify_begin(DomainJob *job, const char *domain, const char *what, JobAccess access, GError **reterr);
void job_modify_end(DomainJob *job);

/* Begins a long job. OPERATION_INVALID if there is one. Waits for nothing. */
int job_begin(DomainJob *job, const char *domain, JobKind kind, const void *owner, GError **reterr);
/* The guest of an incoming migration (JOB_MIGRATION_IN) runs now: from here on it is JOB_POSTCOPY_IN. */
void job_enter_postcopy(DomainJob *job);
/* The guest of a restore (JOB_RESTORE) runs now, and not all of its memory has been read: from here on it is
 * JOB_LAZY. */
void job_enter_lazy(DomainJob *job);
/* Waits until that is over. Fiber. -ETIMEDOUT if it takes longer. */
int job_wait_lazy(DomainJob *job, uint64_t timeout_usec);
void job_end(DomainJob *job);
