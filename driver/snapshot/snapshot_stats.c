/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/snapshot/snapshot.h"

#define PAGE_BYTES 4096

typedef struct Numbers {
        uint64_t elapsed_msec, total, processed, remaining;
} Numbers;

static const EngineStats *stats_now(const Snapshot *snapshot) {
        return snapshot->engine && snapshot->ended_usec == 0 ? engine_stats(snapshot->engine) : &snapshot->stats;
}

static Numbers numbers_now(const Snapshot *snapshot) {
        const EngineStats *stats = stats_now(snapshot);
        uint64_t now = snapshot->ended_usec > 0 ? snapshot->ended_usec : clock_monotonic_usec();

        return (Numbers){
                .elapsed_msec = (now - snapshot->started_usec) / USEC_PER_MSEC,
                .total = stats->resident_bytes,
                .processed = stats->transferred_bytes,
                .remaining = snapshot->ended_usec > 0 ? 0 : stats->pending_bytes,
        };
}

void snapshot_stats_info(const Snapshot *snapshot, virDomainJobInfo *ret_info) {
        Numbers numbers = numbers_now(snapshot);

        *ret_info = (virDomainJobInfo){
                .type = VIR_DOMAIN_JOB_UNBOUNDED,
                .timeElapsed = numbers.elapsed_msec,
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

int snapshot_stats_params(const Snapshot *snapshot, virTypedParameterPtr *ret_params, int *ret_n, GError **reterr) {
        const EngineStats *stats = stats_now(snapshot);
        Numbers numbers = numbers_now(snapshot);
        ParamList list = { 0 };

        list.failed = virTypedParamsAddInt(&list.params, &list.n, &list.max, VIR_DOMAIN_JOB_OPERATION,
                                           snapshot->restore ? VIR_DOMAIN_JOB_OPERATION_RESTORE
                                                             : VIR_DOMAIN_JOB_OPERATION_SAVE) < 0;
        add_ullong(&list, VIR_DOMAIN_JOB_TIME_ELAPSED, numbers.elapsed_msec);
        if (snapshot->ended_usec > 0 && snapshot->stopped_usec > 0)
                add_ullong(&list, VIR_DOMAIN_JOB_DOWNTIME,
                           (snapshot->ended_usec - snapshot->stopped_usec) / USEC_PER_MSEC);
        add_ullong(&list, VIR_DOMAIN_JOB_DATA_TOTAL, numbers.total);
        add_ullong(&list, VIR_DOMAIN_JOB_DATA_PROCESSED, numbers.processed);
        add_ullong(&list, VIR_DOMAIN_JOB_DATA_REMAINING, numbers.remaining);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_TOTAL, numbers.total);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_PROCESSED, numbers.processed);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_REMAINING, numbers.remaining);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_CONSTANT, stats->zero_pages);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_NORMAL, stats->normal_pages);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_NORMAL_BYTES, stats->normal_pages * PAGE_BYTES);
        add_ullong(&list, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, PAGE_BYTES);
        if (list.failed) {
                virTypedParamsFree(list.params, list.n);
                return error_set(reterr, VIR_ERR_NO_MEMORY, _("no memory for job statistics"));
        }
        *ret_params = list.params;
        *ret_n = list.n;
        return 0;
}

void snapshot_stats_complete(Snapshot *snapshot, bool success) {
        Domain *domain = snapshot->domain;
        DriverEvent event = { .id = VIR_DOMAIN_EVENT_ID_JOB_COMPLETED };
        virTypedParameterPtr params = NULL;
        int n = 0, max;

        if (snapshot->engine)
                snapshot->stats = *engine_stats(snapshot->engine);
        snapshot->ended_usec = clock_monotonic_usec();
        if (snapshot_stats_params(snapshot, &params, &n, NULL) < 0)
                return;
        max = n;
        virTypedParamsAddBoolean(&params, &n, &max, VIR_DOMAIN_JOB_SUCCESS, success);
        if (!success && snapshot->failure)
                virTypedParamsAddString(&params, &n, &max, VIR_DOMAIN_JOB_ERRMSG, snapshot->failure->message);
        domain_set_completed(domain, params, n);
        event.job_completed.params = params;
        event.job_completed.n_params = n;
        domain_emit(domain, snapshot->context->guests->bus, &event);
}
