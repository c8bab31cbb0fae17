/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/job_stats.h"

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/migration/decide.h"

#define PAGE_BYTES 4096

typedef struct Numbers {
        uint64_t elapsed_msec, remaining_msec;
        uint64_t total, processed, remaining; /* bytes */
        uint64_t downtime_msec;
        bool has_downtime;
} Numbers;

static Numbers job_numbers(const Migration *migration) {
        const EngineStats *stats = migration->engine && migration->ended_usec == 0 ? engine_stats(migration->engine) : &migration->stats;
        uint64_t now = migration->ended_usec > 0 ? migration->ended_usec : clock_monotonic_usec();
        Numbers numbers = {
                .elapsed_msec = (now - migration->started_usec) / USEC_PER_MSEC,
                .total = MAX(stats->resident_bytes, stats->pending_bytes),
                .processed = stats->transferred_bytes,
                .remaining = stats->pending_bytes,
        };

        if (migration->incoming)
                numbers.processed = stats->received_bytes;
        if (migration->ended_usec > 0 || migration->running)
                numbers.remaining = 0;
        if (stats->bandwidth_bytes_per_sec > 0)
                numbers.remaining_msec = numbers.remaining * 1000 / migration_bandwidth(migration, stats);
        if (migration->blackout_usec > 0) {
                numbers.downtime_msec = (migration->blackout_usec + 999) / USEC_PER_MSEC;
                numbers.has_downtime = true;
        } else if (migration->decision.reason != POLICY_REASON_NONE && migration->decision.expected_downtime_usec != UINT64_MAX) {
                numbers.downtime_msec = migration->decision.expected_downtime_usec / USEC_PER_MSEC;
                numbers.has_downtime = !migration->incoming;
        }
        return numbers;
}

void job_stats_info(const Migration *migration, virDomainJobInfo *ret_info) {
        Numbers numbers = job_numbers(migration);

        *ret_info = (virDomainJobInfo){
                .type = VIR_DOMAIN_JOB_UNBOUNDED,
                .timeElapsed = numbers.elapsed_msec,
                .timeRemaining = numbers.remaining_msec,
                .dataTotal = numbers.total,
                .dataProcessed = numbers.processed,
                .dataRemaining = numbers.remaining,
                .memTotal = numbers.total,
                .memProcessed = numbers.processed,
                .memRemaining = numbers.remaining,
        };
}

typedef struct ParamList {
        virTypedParameterPtr params;
        int n, max;
        bool failed;
} ParamList;

static void add_ullong(ParamList *list, const char *name, uint64_t value) {
        list->failed = list->failed || virTypedParamsAddULLong(&list->params, &list->n, &list->max, name, value) < 0;
}

static void add_string(ParamList *list, const char *name, const char *value) {
        list->failed = list->failed || virTypedParamsAddString(&list->params, &list->n, &list->max, name, value) < 0;
}

/* What the policy does, and why. */
static void add_policy(ParamList *list, const Migration *migration) {
        const PolicyDecision *decision = &migration->decision;
        g_autofree char *words = decide_describe(decision);

        if (migration->policy.downtime_usec == 0)
                return; /* Perform has not begun */
        list->failed = list->failed || virTypedParamsAddInt(&list->params, &list->n, &list->max, VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE,
                                                            (int) migration->history.throttle_percent) < 0;
        add_string(list, "ferry.policy", policy_kind_to_string(migration->policy.kind));
        add_string(list, "ferry.decision", words);
        add_ullong(list, "ferry.downtime.limit_usec", migration->history.limit_usec ?: migration->policy.downtime_usec);
        if (decision->reason != POLICY_REASON_NONE && decision->expected_downtime_usec != UINT64_MAX)
                add_ullong(list, "ferry.downtime.expected_usec", decision->expected_downtime_usec);
        if (migration->blackout_usec > 0)
                add_ullong(list, "ferry.downtime.measured_usec", migration->blackout_usec);
}

static void add_pending(ParamList *list, const Migration *migration, const EngineStats *stats) {
        bool over = migration->ended_usec > 0 || migration->running;

        add_ullong(list, "ferry.pending.precopy_bytes", over ? 0 : stats->precopy_bytes);
        add_ullong(list, "ferry.pending.postcopy_bytes", over ? 0 : stats->postcopy_bytes);
        add_ullong(list, "ferry.pending.stopcopy_bytes", over ? 0 : stats->stopcopy_bytes);
        if (migration->engine && engine_modules(migration->engine))
                add_string(list, "ferry.pending.modules", engine_modules(migration->engine));
        add_ullong(list, "ferry.scan_usec", stats->scan_usec);
        if (stats->final_scan_usec > 0)
                add_ullong(list, "ferry.final_scan_usec", stats->final_scan_usec);
        if (stats->final_scan_usec > 0 && migration->blackout_usec > 0)
                add_ullong(list, "ferry.final_scan_percent", stats->final_scan_usec * 100 / migration->blackout_usec);
        if (stats->device_state_bytes > 0)
                add_ullong(list, "ferry.device_state_bytes", stats->device_state_bytes);
}

static void add_stats(ParamList *list, const Migration *migration, const EngineStats *stats) {
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_CONSTANT, stats->zero_pages);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_NORMAL, stats->normal_pages);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_NORMAL_BYTES, stats->normal_pages * PAGE_BYTES);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_BPS, migration_bandwidth(migration, stats));
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE, stats->dirty_bytes_per_sec / PAGE_BYTES);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, PAGE_BYTES);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_ITERATION, stats->round);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_POSTCOPY_REQS, 0);
        add_ullong(list, VIR_DOMAIN_JOB_SETUP_TIME, stats->setup_usec / USEC_PER_MSEC);
}

int job_stats_params(const Migration *migration, virTypedParameterPtr *ret_params, int *ret_n, GError **reterr) {
        const EngineStats *stats = migration->engine && migration->ended_usec == 0 ? engine_stats(migration->engine) : &migration->stats;
        Numbers numbers = job_numbers(migration);
        ParamList list = { 0 };

        list.failed = virTypedParamsAddInt(&list.params, &list.n, &list.max, VIR_DOMAIN_JOB_OPERATION,
                                           migration->incoming ? VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN
                                                               : VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT) < 0;
        add_ullong(&list, VIR_DOMAIN_JOB_TIME_ELAPSED, numbers.elapsed_msec);
        if (migration->ended_usec == 0)
                add_ullong(&list, VIR_DOMAIN_JOB_TIME_REMAINING, numbers.remaining_msec);
        if (numbers.has_downtime)
                add_ullong(&list, VIR_DOMAIN_JOB_DOWNTIME, numbers.downtime_msec);
        add_ullong(&list, VIR_DOMAIN_JOB_DATA_TOTAL, numbers.total);
        add_ullong(&list, VIR_DOMAIN_JOB_DATA_PROCESSED, numbers.processed);
        add_ullong(&list, VIR_DOMAIN_JOB_DATA_REMAINING, numbers.remaining);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_TOTAL, numbers.total);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_PROCESSED, numbers.processed);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_REMAINING, numbers.remaining);
        if (!migration->incoming) {
                add_stats(&list, migration, stats);
                add_pending(&list, migration, stats);
                add_policy(&list, migration);
        }
        if (list.failed) {
                virTypedParamsFree(list.params, list.n);
                return error_set(reterr, VIR_ERR_NO_MEMORY, _("no memory for job statistics"));
        }
        *ret_params = list.params;
        *ret_n = list.n;
        return 0;
}

void job_stats_complete(Migration *migration, bool success) {
        Domain *domain = migration->domain;
        virTypedParameterPtr params = NULL;
        int n = 0, max;

        if (migration->phase == MIGRATION_PHASE_BEGIN || !migration->engine)
                return;
        migration->stats = *engine_stats(migration->engine);
        if (job_stats_params(migration, &params, &n, NULL) < 0)
                return;
        max = n;
        virTypedParamsAddBoolean(&params, &n, &max, VIR_DOMAIN_JOB_SUCCESS, success);
        if (!success && migration->failure)
                virTypedParamsAddString(&params, &n, &max, VIR_DOMAIN_JOB_ERRMSG, migration->failure->message);
        domain_set_completed(domain, params, n);
        if (!migration->incoming) {
                DriverEvent event = { .id = VIR_DOMAIN_EVENT_ID_JOB_COMPLETED };

                event.job_completed.params = params;
                event.job_completed.n_params = n;
                domain_emit(domain, migration->context->guests->bus, &event);
        }
}
