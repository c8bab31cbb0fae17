/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/job_record.h"

#include <errno.h>
#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"

#define DOWNTIME_DEFAULT_MSEC 300

struct JobRecord {
        JobRecords *records;
        Migration *migration; /* NULL: not begun yet, or ended */
        bool attempt;         /* announced, and its attempt is not over */
        DriverJobInfo info;   /* identity always; all else once it has ended */
};

struct JobRecords {
        EventBus *bus;
        GPtrArray *list; /* JobRecord, oldest first */
        uint64_t last_number;
};

static void record_free(void *p) {
        JobRecord *record = p;

        driver_job_info_clear(&record->info);
        g_free(record);
}

JobRecords *job_records_new(EventBus *bus) {
        JobRecords *records = g_new0(JobRecords, 1);

        records->bus = bus;
        records->list = g_ptr_array_new_with_free_func(record_free);
        return records;
}

JobRecords *job_records_free(JobRecords *records) {
        if (!records)
                return NULL;
        g_ptr_array_unref(records->list);
        g_free(records);
        return NULL;
}

/* ---- filling ---- */

static void set_text(char **field, const char *text) {
        if (g_strcmp0(*field, text) == 0)
                return;
        g_free(*field);
        *field = g_strdup(text);
}

static void fill_numbers(DriverJobInfo *info, const Migration *migration) {
        const EngineStats *stats =
                migration->engine && migration->ended_usec == 0 ? engine_stats(migration->engine) : &migration->stats;
        uint64_t now = migration->ended_usec > 0 ? migration->ended_usec : clock_monotonic_usec();
        bool done = migration->ended_usec > 0 || migration->running;

        info->round = stats->round;
        info->total_bytes = MAX(stats->resident_bytes, stats->pending_bytes);
        info->transferred_bytes = migration->incoming ? stats->received_bytes : stats->transferred_bytes;
        info->precopy_bytes = done ? 0 : stats->precopy_bytes;
        info->postcopy_bytes = done ? 0 : stats->postcopy_bytes;
        info->stopcopy_bytes = done ? 0 : stats->stopcopy_bytes;
        info->pending_bytes = done ? 0 : stats->pending_bytes;
        info->bandwidth_bytes_per_sec = migration_bandwidth(migration, stats);
        info->bandwidth_limit_bytes_per_sec = migration_speed_limit(migration);
        info->dirty_bytes_per_sec = stats->dirty_bytes_per_sec;
        info->expected_blackout_usec = UINT64_MAX;
        if (migration->history.n > 0 && !migration->incoming)
                info->expected_blackout_usec = migration->decision.expected_downtime_usec;
        info->blackout_usec = migration->blackout_usec;
        info->elapsed_usec = now - migration->started_usec;
        info->pages[DRIVER_PAGES_NEVER] = stats->never_pages;
        info->pages[DRIVER_PAGES_VALID] = stats->valid_pages;
        info->pages[DRIVER_PAGES_STALE] = stats->stale_pages;
        info->pages[DRIVER_PAGES_INFLIGHT] = stats->inflight_pages;
        info->faults = stats->faults;
        G_STATIC_ASSERT(sizeof(info->fault_histogram) == sizeof(stats->fault_latency));
        memcpy(info->fault_histogram, stats->fault_latency, sizeof(info->fault_histogram));
        info->vcpu_block_usec = stats->fault_block_usec;
}

/* Everything that a running job can tell. */
static void fill(DriverJobInfo *info, const Migration *migration) {
        const Domain *domain = migration->domain;

        set_text(&info->domain, domain->name);
        info->incoming = migration->incoming;
        info->phase = migration_phase_to_string(migration->phase);
        info->paused = migration->paused || migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED;
        fill_numbers(info, migration);
        info->max_downtime_msec = domain->max_downtime_msec > 0 ? domain->max_downtime_msec : DOWNTIME_DEFAULT_MSEC;
        if (migration->incoming)
                return;
        if (!*info->peer && migration->params.uri)
                set_text(&info->peer, migration->params.uri);
        set_text(&info->policy, policy_kind_to_string(migration->policy.kind));
        info->throttle_percent = migration->history.throttle_percent;
        if (migration->history.limit_usec > 0)
                info->max_downtime_msec = migration->history.limit_usec / USEC_PER_MSEC;
        if (migration->decision.reason == POLICY_REASON_NONE)
                return;
        set_text(&info->decision, policy_action_to_string(migration->decision.action));
        set_text(&info->reason, policy_reason_to_string(migration->decision.reason));
}

/* ---- life ---- */

static void tell(const JobRecord *record, DriverJobChange change) {
        DriverEvent event = { .id = DRIVER_EVENT_JOB };
        DomainRef ref = { .name = record->info.domain, .id = -1 };

        memcpy(ref.uuid, record->info.uuid, sizeof(ref.uuid));
        event.domain = &ref;
        event.job.number = record->info.number;
        event.job.change = change;
        event_bus_emit(record->records->bus, &event);
}

static JobRecord *record_new(JobRecords *records, const Domain *domain, const char *peer, bool incoming) {
        JobRecord *record = g_new0(JobRecord, 1);

        record->records = records;
        record->info = (DriverJobInfo){
                .number = ++records->last_number,
                .domain = g_strdup(domain->name),
                .incoming = incoming,
                .peer = g_strdup(peer),
                .phase = "starting",
                .expected_blackout_usec = UINT64_MAX,
                .policy = g_strdup(""),
                .decision = g_strdup(""),
                .reason = g_strdup(""),
                .error = g_strdup(""),
                .started_usec = clock_realtime_usec(),
        };
        memcpy(record->info.uuid, domain->uuid, sizeof(record->info.uuid));
        g_ptr_array_add(records->list, record);
        return record;
}

static JobRecord *find(const JobRecords *records, uint64_t number) {
        for (guint i = 0; i < records->list->len; i++) {
                JobRecord *record = g_ptr_array_index(records->list, i);

                if (record->info.number == number)
                        return record;
        }
        return NULL;
}

/* Makes room: forgets the oldest finished ones. */
static void trim(JobRecords *records) {
        unsigned finished = 0;

        for (guint i = records->list->len; i-- > 0;) {
                JobRecord *record = g_ptr_array_index(records->list, i);

                if (record->info.outcome == DRIVER_JOB_RUNNING || ++finished <= JOB_RECORDS_KEPT)
                        continue;
                tell(record, DRIVER_JOB_GONE);
                g_ptr_array_remove_index(records->list, i);
        }
}

static void finish(JobRecord *record, bool success, const GError *error) {
        DriverJobInfo *info = &record->info;

        info->outcome = success ? DRIVER_JOB_COMPLETED : DRIVER_JOB_FAILED;
        info->phase = driver_job_outcome_to_string(info->outcome);
        info->paused = false;
        if (error && !success) {
                info->error_code = (int) error_code(error);
                set_text(&info->error, error->message);
        }
        tell(record, DRIVER_JOB_ENDED);
        trim(record->records);
}

uint64_t job_records_expect(JobRecords *records, const Domain *domain, const char *peer) {
        JobRecord *record = record_new(records, domain, peer, false);

        record->attempt = true;
        tell(record, DRIVER_JOB_NEW);
        return record->info.number;
}

void job_records_attempt_over(JobRecords *records, uint64_t number, const GError *error) {
        JobRecord *record = find(records, number);

        if (!record)
                return;
        record->attempt = false;
        if (record->info.outcome == DRIVER_JOB_RUNNING && !record->migration) {
                finish(record, !error, error);
        } else if (record->info.outcome == DRIVER_JOB_FAILED && error && !record->info.error_code) {
                /* The job itself had no words for it. */
                record->info.error_code = (int) error_code(error);
                set_text(&record->info.error, error->message);
                tell(record, DRIVER_JOB_PHASE);
        }
}

JobRecord *job_record_begin(JobRecords *records, Migration *migration) {
        const Domain *domain = migration->domain;
        JobRecord *record = NULL;

        for (guint i = 0; i < records->list->len && !migration->incoming && !record; i++) {
                JobRecord *other = g_ptr_array_index(records->list, i);

                if (other->attempt && !other->migration && other->info.outcome == DRIVER_JOB_RUNNING &&
                    memcmp(other->info.uuid, domain->uuid, sizeof(domain->uuid)) == 0)
                        record = other;
        }
        if (record) {
                record->migration = migration;
                tell(record, DRIVER_JOB_PHASE);
                return record;
        }
        record = record_new(records, domain, "", migration->incoming);
        record->migration = migration;
        tell(record, DRIVER_JOB_NEW);
        return record;
}

void job_record_changed(JobRecord *record, DriverJobChange change) {
        if (record)
                tell(record, change);
}

void job_record_end(JobRecord *record, bool success) {
        g_autoptr(GError) error = NULL;
        Migration *migration;

        if (!record)
                return;
        migration = record->migration;
        if (!success)
                migration_check(migration, &error);
        fill(&record->info, migration);
        record->migration = NULL;
        finish(record, success, error);
}

/* ---- asking ---- */

uint64_t job_record_number(const JobRecord *record) {
        return record->info.number;
}

uint64_t *job_records_list(const JobRecords *records, unsigned *ret_n) {
        uint64_t *numbers = g_new0(uint64_t, records->list->len + 1);

        for (guint i = 0; i < records->list->len; i++) {
                const JobRecord *record = g_ptr_array_index(records->list, i);

                numbers[i] = record->info.number;
        }
        *ret_n = records->list->len;
        return numbers;
}

int job_records_get(const JobRecords *records, uint64_t number, DriverJobInfo *ret_info, Migration **ret_migration) {
        const JobRecord *record = find(records, number);

        if (!record)
                return -ENOENT;
        driver_job_info_copy(&record->info, ret_info);
        if (record->migration)
                fill(ret_info, record->migration);
        if (ret_migration)
                *ret_migration = record->migration;
        return 0;
}
