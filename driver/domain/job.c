/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/job.h"

#include <errno.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"

#define JOB_WAIT_USEC (30 * USEC_PER_SEC)

const char *job_kind_to_string(JobKind kind) {
        static const char *const names[_JOB_KIND_MAX] = {
                [JOB_NONE] = "none",
                [JOB_MIGRATION_OUT] = "migration-out",
                [JOB_MIGRATION_IN] = "migration-in",
                [JOB_POSTCOPY_IN] = "postcopy-in",
                [JOB_SAVE] = "save",
                [JOB_RESTORE] = "restore",
                [JOB_LAZY] = "lazy-restore",
        };

        return kind >= 0 && kind < _JOB_KIND_MAX ? names[kind] : "invalid";
}

static int job_check(const DomainJob *job, const char *domain, const char *what, JobAccess access, GError **reterr) {
        if (job->kind == JOB_MIGRATION_OUT && !(access & JOB_ACCESS_DURING_OUT))
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("domain '%s' is migrating away: '%s' has to wait until that has ended, or abort it with "
                          "domjobabort"),
                        domain, what);
        if (job->kind == JOB_MIGRATION_IN && !(access & JOB_ACCESS_DURING_IN))
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("domain '%s' is arriving by migration: '%s' has to wait until that has ended"),
                                 domain, what);
        if (job->kind == JOB_POSTCOPY_IN && !(access & JOB_ACCESS_IN_POSTCOPY))
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("part of the memory of domain '%s' is still on the host that it comes from (postcopy): '%s' "
                          "has to wait until all of it has arrived"),
                        domain, what);
        if (job->kind == JOB_SAVE && access != JOB_ACCESS_ALWAYS)
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("domain '%s' is being saved: '%s' has to wait until that has ended, or abort it with "
                          "domjobabort"),
                        domain, what);
        if (job->kind == JOB_RESTORE && access != JOB_ACCESS_ALWAYS)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("domain '%s' is being restored: '%s' has to wait until that has ended"), domain,
                                 what);
        return 0;
}

int job_modify_begin(DomainJob *job, const char *domain, const char *what, JobAccess access, GError **reterr) {
        uint64_t deadline = clock_monotonic_usec() + JOB_WAIT_USEC;
        int r;

        r = job_check(job, domain, what, access, reterr);
        while (r >= 0 && job->modifying) {
                uint64_t now = clock_monotonic_usec();

                if (now >= deadline || fiber_cond_wait(&job->changed, deadline - now) == -ETIMEDOUT)
                        return error_set(reterr, VIR_ERR_OPERATION_TIMEOUT,
                                         _("cannot begin '%s' on domain '%s': '%s' has not ended within %u s"), what,
                                         domain, job->modify_what, (unsigned) (JOB_WAIT_USEC / USEC_PER_SEC));
                r = job_check(job, domain, what, access, reterr);
        }
        if (r < 0)
                return r;
        job->modifying = true;
        job->modify_what = what;
        return 0;
}

void job_modify_end(DomainJob *job) {
        job->modifying = false;
        fiber_cond_broadcast(&job->changed);
}

int job_begin(DomainJob *job, const char *domain, JobKind kind, const void *owner, GError **reterr) {
        if (job->kind == JOB_LAZY)
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("part of the memory of domain '%s' is still in its save image: '%s' has to wait until all of "
                          "it is loaded"),
                        domain, job_kind_to_string(kind));
        int r = job_check(job, domain, job_kind_to_string(kind), JOB_ACCESS_EXCLUSIVE, reterr);

        if (r < 0)
                return r;
        job->kind = kind;
        job->owner = owner;
        return 0;
}

void job_enter_postcopy(DomainJob *job) {
        job->kind = JOB_POSTCOPY_IN;
        fiber_cond_broadcast(&job->changed);
}

void job_enter_lazy(DomainJob *job) {
        job->kind = JOB_LAZY;
        fiber_cond_broadcast(&job->changed);
}

int job_wait_lazy(DomainJob *job, uint64_t timeout_usec) {
        uint64_t deadline = clock_monotonic_usec() + timeout_usec;

        while (job->kind == JOB_LAZY) {
                uint64_t now = clock_monotonic_usec();

                if (now >= deadline)
                        return -ETIMEDOUT;
                fiber_cond_wait(&job->changed, deadline - now);
        }
        return 0;
}

void job_end(DomainJob *job) {
        job->kind = JOB_NONE;
        job->owner = NULL;
        fiber_cond_broadcast(&job->changed);
}
