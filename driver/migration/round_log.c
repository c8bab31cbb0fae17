/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/round_log.h"

#include "driver/base/clock.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"

/* A migration of weeks stays small; its end is always written. */
#define ROUND_LOG_MAX (2u * 1024 * 1024)

static void add_line(Migration *migration, json_object *line) {
        if (migration->round_log && migration->round_log->len < ROUND_LOG_MAX)
                g_string_append_printf(migration->round_log, "%s\n", json_line(line));
}

void round_log_begin(Migration *migration) {
        g_autoptr(json_object) line = json_object_new_object();
        const EngineStats *stats = engine_stats(migration->engine);

        migration->round_log = g_string_new(NULL);
        json_add_string(line, "migration", migration->domain->name);
        json_add_uint64(line, "format", ROUND_LOG_FORMAT);
        json_add_string(line, "policy", policy_kind_to_string(migration->policy.kind));
        json_add_uint64(line, "total", stats->total_bytes);
        json_add_uint64(line, "resident", stats->resident_bytes);
        json_add_uint64(line, "overhead_usec", migration->policy.overhead_usec);
        json_add_uint64(line, "speed_limit", migration_speed_limit(migration));
        add_line(migration, line);
}

void round_log_add(Migration *migration, const EngineStats *stats, const PolicyRound *round) {
        g_autoptr(json_object) line = json_object_new_object();

        json_add_uint64(line, "round", stats->round);
        json_add_uint64(line, "elapsed_usec", round->elapsed_usec);
        json_add_uint64(line, "pending", round->pending_bytes);
        json_add_uint64(line, "stopcopy", round->stopcopy_bytes);
        json_add_uint64(line, "bandwidth", round->bandwidth_bytes_per_sec);
        json_add_uint64(line, "dirty", round->dirty_bytes_per_sec);
        json_add_uint64(line, "sent", stats->round_bytes);
        json_add_uint64(line, "round_usec", stats->round_usec);
        json_add_uint64(line, "scan_usec", stats->scan_usec);
        json_add_uint64(line, "resident", stats->resident_bytes);
        add_line(migration, line);
}

void round_log_decision(Migration *migration, const PolicyDecision *decision) {
        g_autoptr(json_object) line = json_object_new_object();

        json_add_string(line, "decision", policy_action_to_string(decision->action));
        json_add_string(line, "reason", policy_reason_to_string(decision->reason));
        json_add_uint64(line, "round", migration->iterations);
        json_add_uint64(line, "elapsed_usec", clock_monotonic_usec() - migration->copying_usec);
        json_add_uint64(line, "limit_usec", decision->limit_usec);
        json_add_uint64(line, "throttle", decision->throttle_percent);
        if (decision->expected_downtime_usec != UINT64_MAX)
                json_add_uint64(line, "expected_usec", decision->expected_downtime_usec);
        add_line(migration, line);
}

void round_log_end(Migration *migration, bool success) {
        const char *log_dir = migration->context->guests->settings.log_dir;
        g_autoptr(json_object) line = json_object_new_object();
        g_autoptr(GError) error = NULL;
        g_autofree char *path = NULL;

        if (!migration->round_log)
                return;
        json_add_bool(line, "end", true);
        json_add_bool(line, "success", success);
        json_add_uint64(line, "elapsed_usec", migration->ended_usec - migration->copying_usec);
        json_add_uint64(line, "blackout_usec", migration->blackout_usec);
        json_add_uint64(line, "transferred", migration->stats.transferred_bytes);
        json_add_uint64(line, "final_scan_usec", migration->stats.final_scan_usec);
        g_string_append_printf(migration->round_log, "%s\n", json_line(line));
        path = g_strdup_printf("%s/%s.rounds.log", log_dir, migration->domain->name);
        if (log_dir && file_replace(path, migration->round_log->str, migration->round_log->len, 0600, &error) < 0)
                log_debug("the rounds of domain '%s' are not kept, ignoring: %s", migration->domain->name,
                          error->message);
        g_string_free(g_steal_pointer(&migration->round_log), TRUE);
}
