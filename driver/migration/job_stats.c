/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/job_stats.h"

#include <inttypes.h>

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

/* A helper that is gone says nothing any more. */
static const EngineStats *current_stats(const Migration *migration) {
        bool asked = migration->engine && migration->ended_usec == 0 && !migration->engine_failed;

        return asked ? engine_stats(migration->engine) : &migration->stats;
}

static Numbers job_numbers(const Migration *migration) {
        const EngineStats *stats = current_stats(migration);
        uint64_t now = migration->ended_usec > 0 ? migration->ended_usec : clock_monotonic_usec();
        Numbers numbers = {
                .elapsed_msec = (now - migration->started_usec) / USEC_PER_MSEC,
                .total = MAX(stats->resident_bytes, stats->pending_bytes),
                .processed = stats->transferred_bytes,
                .remaining = stats->pending_bytes,
        };

        if (migration->incoming)
                numbers.processed = stats->received_bytes;
        if (migration->ended_usec > 0 || migration->complete || (migration->running && !migration->postcopy))
                numbers.remaining = 0;
        if (stats->bandwidth_bytes_per_sec > 0)
                numbers.remaining_msec = numbers.remaining * 1000 / migration_bandwidth(migration, stats);
        if (migration->blackout_usec > 0) {
                numbers.downtime_msec = (migration->blackout_usec + 999) / USEC_PER_MSEC;
                numbers.has_downtime = true;
        } else if (migration->decision.reason != POLICY_REASON_NONE &&
                   migration->decision.expected_downtime_usec != UINT64_MAX) {
                numbers.downtime_msec = migration->decision.expected_downtime_usec / USEC_PER_MSEC;
                numbers.has_downtime = !migration->incoming;
        }
        return numbers;
}

void job_stats_info(const Migration *migration, virDomainJobInfo *ret_info) {
        uint64_t disk_total = migration->storage.total_bytes,
                 disk_done = MIN(migration->storage.done_bytes, disk_total);
        Numbers numbers = job_numbers(migration);

        *ret_info = (virDomainJobInfo){
                .type = VIR_DOMAIN_JOB_UNBOUNDED,
                .timeElapsed = numbers.elapsed_msec,
                .timeRemaining = numbers.remaining_msec,
                .dataTotal = numbers.total + disk_total,
                .dataProcessed = numbers.processed + disk_done,
                .dataRemaining = numbers.remaining + disk_total - disk_done,
                .fileTotal = disk_total,
                .fileProcessed = disk_done,
                .fileRemaining = disk_total - disk_done,
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
        list->failed = list->failed ||
                       virTypedParamsAddInt(&list->params, &list->n, &list->max, VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE,
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
        bool over = migration->ended_usec > 0 || migration->complete || (migration->running && !migration->postcopy);

        add_ullong(list, "ferry.pending.precopy_bytes", over ? 0 : stats->precopy_bytes);
        add_ullong(list, "ferry.pending.postcopy_bytes", over ? 0 : stats->postcopy_bytes);
        add_ullong(list, "ferry.pending.stopcopy_bytes", over ? 0 : stats->stopcopy_bytes);
        if (!over && migration->engine && engine_modules(migration->engine))
                add_string(list, "ferry.pending.modules", engine_modules(migration->engine));
        add_ullong(list, "ferry.scan_usec", stats->scan_usec);
        if (stats->final_scan_usec > 0)
                add_ullong(list, "ferry.final_scan_usec", stats->final_scan_usec);
        if (stats->final_scan_usec > 0 && migration->blackout_usec > 0)
                add_ullong(list, "ferry.final_scan_percent", stats->final_scan_usec * 100 / migration->blackout_usec);
        if (stats->device_state_bytes > 0)
                add_ullong(list, "ferry.device_state_bytes", stats->device_state_bytes);
}

/* "count,count,...": one for each power of two. */
static char *join_numbers(const uint64_t *numbers, size_t n) {
        GString *text = g_string_new(NULL);

        while (n > 1 && numbers[n - 1] == 0)
                n--;
        for (size_t i = 0; i < n; i++)
                g_string_append_printf(text, i > 0 ? ",%" PRIu64 : "%" PRIu64, numbers[i]);
        return g_string_free(text, FALSE);
}

/* How the guest has waited for its memory: known where the faults are, at the destination. */
static void add_faults(ParamList *list, const EngineStats *stats) {
        g_autofree char *latency = join_numbers(stats->fault_latency, G_N_ELEMENTS(stats->fault_latency));
        GString *threads = g_string_new(NULL);
        g_autofree char *words = NULL;

        for (uint64_t i = 0; i < MIN(stats->fault_threads, ENGINE_THREADS_MAX); i++)
                g_string_append_printf(threads, "%s%" PRIu64 ":%" PRIu64, i > 0 ? "," : "", stats->fault_thread_ids[i],
                                       stats->fault_thread_usec[i]);
        words = g_string_free(threads, FALSE);
        add_ullong(list, "ferry.postcopy.blocktime_usec", stats->fault_block_usec);
        add_ullong(list, "ferry.postcopy.blocktime_max_usec", stats->fault_max_usec);
        add_string(list, "ferry.postcopy.blocktime_threads", words);
        add_string(list, "ferry.postcopy.latency_log2_usec", latency);
        add_ullong(list, "ferry.postcopy.faults", stats->faults);
        add_ullong(list, "ferry.postcopy.faults_requested", stats->faults_requested);
        add_ullong(list, "ferry.postcopy.faults_present", stats->faults_present);
        add_ullong(list, "ferry.postcopy.faults_zero", stats->faults_zero);
        add_ullong(list, "ferry.postcopy.pages_valid", stats->valid_pages);
        add_ullong(list, "ferry.postcopy.pages_stale", stats->stale_pages);
        add_ullong(list, "ferry.postcopy.pages_inflight", stats->inflight_pages);
        add_ullong(list, "ferry.postcopy.pages_never", stats->never_pages);
}

static const char *link_state(const Migration *migration) {
        if (migration->complete)
                return "complete";
        return migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED ? "paused" : "active";
}

static void add_postcopy(ParamList *list, const Migration *migration, const EngineStats *stats) {
        if (!migration->postcopy)
                return;
        add_string(list, "ferry.postcopy.state", link_state(migration));
        add_ullong(list, "ferry.postcopy.recoveries", stats->postcopy_recoveries);
        if (migration->incoming)
                add_faults(list, stats);
        else
                add_ullong(list, "ferry.postcopy.pushed_bytes", stats->postcopy_pushed_bytes);
}

static void add_stats(ParamList *list, const Migration *migration, const EngineStats *stats) {
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_CONSTANT, stats->zero_pages);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_NORMAL, stats->normal_pages);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_NORMAL_BYTES, stats->normal_pages * PAGE_BYTES);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_BPS, migration_bandwidth(migration, stats));
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE, stats->dirty_bytes_per_sec / PAGE_BYTES);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, PAGE_BYTES);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_ITERATION, stats->round);
        add_ullong(list, VIR_DOMAIN_JOB_MEMORY_POSTCOPY_REQS, stats->postcopy_requests);
        add_ullong(list, VIR_DOMAIN_JOB_SETUP_TIME, stats->setup_usec / USEC_PER_MSEC);
}

int job_stats_params(const Migration *migration, virTypedParameterPtr *ret_params, int *ret_n, GError **reterr) {
        const EngineStats *stats = current_stats(migration);
        uint64_t disk_total = migration->storage.total_bytes,
                 disk_done = MIN(migration->storage.done_bytes, disk_total);
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
        add_ullong(&list, VIR_DOMAIN_JOB_DATA_TOTAL, numbers.total + disk_total);
        add_ullong(&list, VIR_DOMAIN_JOB_DATA_PROCESSED, numbers.processed + disk_done);
        add_ullong(&list, VIR_DOMAIN_JOB_DATA_REMAINING, numbers.remaining + disk_total - disk_done);
        if (disk_total > 0) {
                add_ullong(&list, VIR_DOMAIN_JOB_DISK_TOTAL, disk_total);
                add_ullong(&list, VIR_DOMAIN_JOB_DISK_PROCESSED, disk_done);
                add_ullong(&list, VIR_DOMAIN_JOB_DISK_REMAINING, disk_total - disk_done);
        }
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_TOTAL, numbers.total);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_PROCESSED, numbers.processed);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_REMAINING, numbers.remaining);
        if (migration->queued)
                list.failed = list.failed ||
                              virTypedParamsAddBoolean(&list.params, &list.n, &list.max, "ferry.queued", 1) < 0;
        if (!migration->incoming) {
                add_stats(&list, migration, stats);
                add_pending(&list, migration, stats);
                add_policy(&list, migration);
        }
        add_postcopy(&list, migration, stats);
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
