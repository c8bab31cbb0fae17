/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/migration.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/units.h"
#include "driver/migration/decide.h"
#include "driver/migration/job_record.h"
#include "driver/migration/job_stats.h"
#include "driver/migration/migration_src.h"
#include "driver/migration/postcopy.h"
#include "driver/migration/round_log.h"
#include "driver/migration/slots.h"

static const char *const phase_names[_MIGRATION_PHASE_MAX] = {
        [MIGRATION_PHASE_BEGIN] = "begin",
        [MIGRATION_PHASE_PRECOPY] = "precopy",
        [MIGRATION_PHASE_STOP_AND_COPY] = "stop-and-copy",
        [MIGRATION_PHASE_COMMITTING] = "committing",
        [MIGRATION_PHASE_COMMITTED] = "committed",
        [MIGRATION_PHASE_UNKNOWN] = "unknown",
        [MIGRATION_PHASE_POSTCOPY] = "postcopy",
        [MIGRATION_PHASE_POSTCOPY_PAUSED] = "postcopy-paused",
        [MIGRATION_PHASE_PREPARED] = "prepared",
        [MIGRATION_PHASE_LOADED] = "loaded",
        [MIGRATION_PHASE_STARTED] = "started",
        [MIGRATION_PHASE_FAILED] = "failed",
};

const char *migration_phase_to_string(MigrationPhase phase) {
        return phase >= 0 && phase < _MIGRATION_PHASE_MAX ? phase_names[phase] : "invalid";
}

MigrationPhase migration_phase_from_string(const char *name) {
        for (MigrationPhase phase = 0; name && phase < _MIGRATION_PHASE_MAX; phase++)
                if (strcmp(phase_names[phase], name) == 0)
                        return phase;
        return _MIGRATION_PHASE_INVALID;
}

int migration_new(MigrationContext *context, Domain *domain, bool incoming, const void *client, MigrationParams *params,
                  Migration **ret_migration, GError **reterr) {
        Migration *migration;
        int r;

        r = job_begin(&domain->job, domain->name, incoming ? JOB_MIGRATION_IN : JOB_MIGRATION_OUT, client, reterr);
        if (r < 0)
                return r;
        migration = g_new0(Migration, 1);
        migration->refs = 1;
        migration->context = context;
        migration->domain = domain_ref(domain);
        migration->incoming = incoming;
        migration->phase = incoming ? MIGRATION_PHASE_PREPARED : MIGRATION_PHASE_BEGIN;
        migration->client = client;
        migration->params = *params;
        *params = (MigrationParams){ 0 };
        migration->started_usec = clock_monotonic_usec();
        migration->qemu_state_fd = migration->engine_state_fd = -EBADF;
        domain->migration = migration;
        migration->record = job_record_begin(context->records, migration);
        *ret_migration = migration;
        return 0;
}

Migration *migration_ref(Migration *migration) {
        migration->refs++;
        return migration;
}

Migration *migration_unref(Migration *migration) {
        if (!migration || --migration->refs > 0)
                return NULL;
        engine_unref(migration->engine);
        g_clear_error(&migration->failure);
        g_clear_error(&migration->pause_reason);
        g_free(migration->id);
        migration_params_clear(&migration->params);
        storage_clear(&migration->storage, false);
        fd_close(migration->qemu_state_fd);
        fd_close(migration->engine_state_fd);
        if (migration->round_log)
                g_string_free(migration->round_log, TRUE);
        g_free(migration->persistent_xml);
        g_free(migration->commit_path);
        domain_unref(migration->domain);
        g_free(migration);
        return NULL;
}

void migration_end(Migration *migration, bool success) {
        Domain *domain = migration->domain;
        GuestManager *guests = migration->context->guests;

        if (domain->migration != migration)
                return;
        if (migration->ended_usec == 0)
                migration->ended_usec = clock_monotonic_usec();
        if (!success)
                migration->phase = MIGRATION_PHASE_FAILED;
        job_stats_complete(migration, success);
        if (!success)
                storage_clear(&migration->storage, true);
        round_log_end(migration, success);
        job_record_end(g_steal_pointer(&migration->record), success);
        if (migration->engine)
                engine_kill(migration->engine);
        if (migration->commit_path)
                unlink(migration->commit_path);
        postcopy_remove_files(domain);
        migration->qemu_state_fd = fd_close(migration->qemu_state_fd);
        migration->engine_state_fd = fd_close(migration->engine_state_fd);
        domain->migration = NULL;
        domain->handing_over = false;
        g_clear_pointer(&domain->migration_saved, json_object_put);
        slots_release(migration);
        job_end(&domain->job);
        guest_save(guests, domain);
        guest_drop_if_gone(guests, domain);
        fiber_cond_broadcast(&migration->changed);
        migration_unref(migration);
}

static json_object *migration_saved(const Migration *migration) {
        json_object *saved = json_object_new_object();

        json_add_string(saved, "phase", migration_phase_to_string(migration->phase));
        json_add_bool(saved, "incoming", migration->incoming);
        json_add_uint64(saved, "flags", migration->params.flags);
        json_add_string(saved, "persistent", migration->persistent_xml);
        json_add_string(saved, "commit-record", migration->commit_path);
        json_add_bool(saved, "stopped-here", migration->stopped_here);
        json_add_string(saved, "id", migration->id);
        json_add_bool(saved, "postcopy", migration->postcopy);
        json_add(saved, "created-images", storage_saved(&migration->storage));
        if (migration->engine)
                json_add_int64(saved, "engine", engine_pid(migration->engine));
        return saved;
}

bool migration_was_committed(const char *path) {
        g_autofree char *text = NULL;
        size_t length = 0;

        return path && file_read(path, 16, &text, &length, NULL) >= 0 && length > 0 && text[0] == 'C';
}

int migration_set_phase(Migration *migration, MigrationPhase phase) {
        Domain *domain = migration->domain;
        int r;

        log_debug("migration of '%s': %s -> %s", domain->name, migration_phase_to_string(migration->phase),
                  migration_phase_to_string(phase));
        migration->phase = phase;
        /* Nobody knows how long these last; others need not wait for it. */
        if (phase == MIGRATION_PHASE_UNKNOWN || phase == MIGRATION_PHASE_POSTCOPY_PAUSED)
                slots_release(migration);
        if (domain->migration != migration)
                return 0;
        domain->handing_over =
                phase == MIGRATION_PHASE_STOP_AND_COPY || phase == MIGRATION_PHASE_COMMITTING ||
                phase == MIGRATION_PHASE_UNKNOWN ||
                (!migration->incoming && (phase == MIGRATION_PHASE_COMMITTED || phase == MIGRATION_PHASE_POSTCOPY ||
                                          phase == MIGRATION_PHASE_POSTCOPY_PAUSED));
        json_object_put(domain->migration_saved);
        domain->migration_saved = migration_saved(migration);
        r = guest_save(migration->context->guests, domain);
        fiber_cond_broadcast(&migration->changed);
        job_record_changed(migration->record, DRIVER_JOB_PHASE);
        return r;
}

int migration_check(Migration *migration, GError **reterr) {
        if (migration->guest_exited)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("QEMU of domain '%s' ended during the migration; see its log"),
                                 migration->domain->name);
        if (migration->abort_requested)
                return error_set(reterr, VIR_ERR_OPERATION_ABORTED, _("migration of domain '%s' was aborted"),
                                 migration->domain->name);
        if (migration->failure) {
                if (reterr && !*reterr)
                        *reterr = g_error_copy(migration->failure);
                return -EIO;
        }
        return 0;
}

uint64_t migration_speed_limit(const Migration *migration) {
        uint64_t own =
                (migration->params.bandwidth_mib ? migration->params.bandwidth_mib : migration->domain->max_speed_mib) *
                MIB;
        uint64_t share = slots_share(migration->context);

        return own == 0 || (share > 0 && share < own) ? share : own;
}

uint64_t migration_bandwidth(const Migration *migration, const EngineStats *stats) {
        uint64_t limit = migration_speed_limit(migration);

        return limit > 0 ? MIN(limit, stats->bandwidth_bytes_per_sec) : stats->bandwidth_bytes_per_sec;
}

uint64_t migration_postcopy_speed_limit(const Migration *migration) {
        uint64_t mib = migration->params.postcopy_bandwidth_mib;

        return (mib ? mib : migration->domain->max_postcopy_speed_mib) * MIB;
}

int migration_throttle(Migration *migration, unsigned percent) {
        g_autoptr(GError) error = NULL;
        int r = engine_source_set_throttle(migration->engine, percent, &error);

        if (r < 0)
                log_debug("migration of '%s': writers are not slowed down: %s", migration->domain->name,
                          error->message);
        return r;
}

EngineRamBlock *migration_ram_blocks(const QemuRam *ram, unsigned *ret_n) {
        EngineRamBlock *blocks = g_new0(EngineRamBlock, ram->n_blocks);

        for (unsigned i = 0; i < ram->n_blocks; i++) {
                const QemuRamBlock *block = &ram->blocks[i];

                blocks[i].id = block->id;
                blocks[i].fd = block->fd;
                blocks[i].size_bytes = block->size_bytes;
                blocks[i].page_bytes = block->page_bytes;
                blocks[i].policy = block->populated ? ENGINE_RAM_POPULATED : ENGINE_RAM_SPARSE;
        }
        *ret_n = ram->n_blocks;
        return blocks;
}

void migration_note_iteration(Migration *migration, uint64_t iteration) {
        EventBus *bus = migration->context->guests->bus;

        /* The engine's answer to the start and its first event can arrive together. */
        if (migration->iterations == 0 && iteration > 1)
                migration_note_iteration(migration, 1);
        if (iteration <= migration->iterations)
                return;
        migration->iterations = iteration;
        domain_emit(migration->domain, bus,
                    &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, .iteration = (int) iteration });
}

/* ---- what the engine says ---- */

static void note_round(Migration *migration, const EngineStats *stats, bool idle) {
        decide_note(migration, stats, idle);
        fiber_cond_broadcast(&migration->changed);
        job_record_changed(migration->record, DRIVER_JOB_ROUND);
}

static void on_iteration(Engine *engine, const EngineStats *stats, void *userdata) {
        Migration *migration = userdata;

        note_round(migration, stats, false);
        migration_note_iteration(migration, stats->round);
}

static void on_pending(Engine *engine, const EngineStats *stats, void *userdata) {
        Migration *migration = userdata;

        note_round(migration, stats, true);
}

static void on_ready(Engine *engine, void *userdata) {
        Migration *migration = userdata;

        migration->ready = true;
        fiber_cond_broadcast(&migration->changed);
}

static void on_committed(Engine *engine, void *userdata) {
        Migration *migration = userdata;

        migration->committed = true;
        migration->committed_usec = clock_monotonic_usec();
        fiber_cond_broadcast(&migration->changed);
}

static void late_answer_fiber(void *userdata) {
        g_autoptr(Migration) migration = userdata;

        migration_src_confirm(migration, true, NULL);
}

/* The destination answers after all, and no client is left who would ask. */
static void late_answer(Migration *migration) {
        if (migration->phase == MIGRATION_PHASE_UNKNOWN && !migration->client && !migration->in_call)
                fiber_start(migration->context->guests->event, "late answer", late_answer_fiber,
                            migration_ref(migration));
}

static void on_running(Engine *engine, uint64_t resume_usec, void *userdata) {
        Migration *migration = userdata;

        migration->running = true;
        migration->resumed_usec = clock_monotonic_usec();
        if (migration->stopped_usec > 0)
                migration->blackout_usec = migration->resumed_usec - migration->stopped_usec;
        fiber_cond_broadcast(&migration->changed);
        if (migration->postcopy && migration->phase == MIGRATION_PHASE_UNKNOWN)
                postcopy_note_active(migration);
        else
                late_answer(migration);
}

static void on_abandoned(Engine *engine, const char *reason, void *userdata) {
        Migration *migration = userdata;

        migration->abandoned = true;
        if (!migration->failure)
                error_set(&migration->failure, VIR_ERR_OPERATION_FAILED,
                          _("the destination could not start domain '%s': %s"), migration->domain->name,
                          reason ? reason : "");
        fiber_cond_broadcast(&migration->changed);
        late_answer(migration);
}

static void on_failed(Engine *engine, const GError *error, bool gone, void *userdata) {
        Migration *migration = userdata;

        if (engine == migration->engine && postcopy_is_entered(migration)) {
                postcopy_on_failed(migration, error, gone);
                return;
        }
        migration->engine_gone = migration->engine_gone || gone;
        if (!migration->failure) {
                migration->failure = g_error_copy(error);
                g_prefix_error(&migration->failure, _("migration of domain '%s': "), migration->domain->name);
        }
        fiber_cond_broadcast(&migration->changed);
}

const EngineCallbacks migration_engine_callbacks = {
        .iteration = on_iteration,
        .pending = on_pending,
        .ready = on_ready,
        .committed = on_committed,
        .running = on_running,
        .abandoned = on_abandoned,
        .failed = on_failed,
        .postcopy_complete = postcopy_on_complete,
        .postcopy_paused = postcopy_on_paused,
        .postcopy_resumed = postcopy_on_resumed,
};
