/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/recover.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/spawn.h"
#include "driver/migration/migration_dst.h"
#include "driver/migration/postcopy.h"
#include "driver/migration/postcopy_src.h"
#include "driver/qemu/direct_io.h"
#include "driver/qemu/qmp.h"

#define HELPER_END_USEC (5 * USEC_PER_SEC)

void recover_end_helper(const char *helper, pid_t pid) {
        g_autofree char *link_path = g_strdup_printf("/proc/%d/exe", (int) pid);
        g_autofree char *program = NULL, *wanted = NULL;
        _cleanup_fd_ int pidfd = -EBADF;

        if (pid <= 0)
                return;
        pidfd = pidfd_open(pid, 0);
        if (pidfd < 0)
                return;
        program = g_file_read_link(link_path, NULL);
        wanted = g_path_get_basename(helper);
        if (program) {
                g_autofree char *name = g_path_get_basename(program);

                /* The link reads "virt-ferry-engine (deleted)" after an upgrade. */
                if (g_str_has_prefix(name, wanted))
                        spawn_end(pidfd, 0, NULL);
        }
}

static void recover_source(Migration *migration, bool stopped_here) {
        Domain *domain = migration->domain;
        GuestManager *guests = migration->context->guests;
        g_autofree EngineRamBlock *blocks = NULL;
        g_autoptr(GError) error = NULL;
        unsigned n;

        blocks = migration_ram_blocks(qemu_ram(domain->qemu), &n);
        engine_source_unprotect(blocks, n, qemu_pid(domain->qemu), qemu_uffd(domain->qemu, 0),
                                qemu_uffd(domain->qemu, 1), NULL);
        switch (migration->phase) {
        case MIGRATION_PHASE_COMMITTED:
                guest_end(guests, domain, 0, VIR_DOMAIN_SHUTOFF_MIGRATED, VIR_DOMAIN_EVENT_STOPPED_MIGRATED, NULL);
                migration_end(migration, true);
                return;
        case MIGRATION_PHASE_COMMITTING:
        case MIGRATION_PHASE_UNKNOWN:
                domain_set_state(domain, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_UNKNOWN);
                migration->stopped_here = stopped_here;
                migration_set_phase(migration, MIGRATION_PHASE_UNKNOWN);
                return;
        default:
                break;
        }
        qmp_migrate_cancel(qemu_monitor(domain->qemu), NULL);
        storage_src_abort(domain->qemu);
        if (qemu_direct_io_resume(domain->qemu, domain->live, &error) < 0)
                log_debug("domain '%s' keeps buffered disk I/O, ignoring: %s", domain->name, error->message);
        g_clear_error(&error);
        if (stopped_here && domain->state == VIR_DOMAIN_PAUSED &&
            guest_run(guests, domain, VIR_DOMAIN_RUNNING_MIGRATION_CANCELED, VIR_DOMAIN_EVENT_RESUMED_MIGRATED,
                      &error) < 0)
                log_debug("domain '%s' cannot be resumed after a restart: %s", domain->name, error->message);
        migration_end(migration, false);
}

/* Whether the job goes on: its helper, if there still is one, is the only one who knows what was sent. */
static bool recover_source_postcopy(Migration *migration, const MigrationContext *context, pid_t helper) {
        switch (migration->phase) {
        case MIGRATION_PHASE_COMMITTING:
        case MIGRATION_PHASE_UNKNOWN:
        case MIGRATION_PHASE_POSTCOPY:
        case MIGRATION_PHASE_POSTCOPY_PAUSED:
                break;
        default:
                return false;
        }
        if (postcopy_src_attach(migration))
                return true;
        if (migration->engine) {
                EngineState state = engine_state(migration->engine);
                bool early = state == ENGINE_STATE_FAILED || (state > ENGINE_STATE_IDLE && state < ENGINE_STATE_READY);
                bool cancelled = engine_source_cancel(migration->engine, NULL) >= 0;

                engine_end(migration->engine);
                migration->engine = engine_unref(migration->engine);
                /* Otherwise COMMIT may be out. An engine that was cancelled, or heard that the destination has given
                 * the guest up, has the last word. */
                if (state == ENGINE_STATE_CANCELLED || (!postcopy_is_entered(migration) && (cancelled || early)))
                        migration->phase = MIGRATION_PHASE_STOP_AND_COPY;
        }
        recover_end_helper(context->engine_helper, helper);
        if (migration->phase != MIGRATION_PHASE_POSTCOPY && migration->phase != MIGRATION_PHASE_POSTCOPY_PAUSED)
                return false;
        migration->phase = MIGRATION_PHASE_POSTCOPY;
        postcopy_note_paused(migration);
        return true;
}

static void recover_destination(Migration *migration, bool committed) {
        Domain *domain = migration->domain;
        GuestManager *guests = migration->context->guests;
        g_autoptr(GError) error = NULL;

        if (migration->phase != MIGRATION_PHASE_STARTED && !committed) {
                guest_end(guests, domain, 0, VIR_DOMAIN_SHUTOFF_FAILED, VIR_DOMAIN_EVENT_STOPPED_FAILED, NULL);
                migration_end(migration, false);
                return;
        }
        if (domain->state != VIR_DOMAIN_RUNNING && !(migration->params.flags & VIR_MIGRATE_PAUSED) &&
            guest_run(guests, domain, VIR_DOMAIN_RUNNING_MIGRATED, VIR_DOMAIN_EVENT_RESUMED_MIGRATED, &error) < 0)
                log_debug("domain '%s' arrived but cannot be started: %s", domain->name, error->message);
        migration_dst_persist(migration);
        migration_end(migration, true);
}

void migration_recover(MigrationContext *context, Domain *domain) {
        g_autoptr(json_object) saved = g_steal_pointer(&domain->migration_saved);
        MigrationPhase phase = migration_phase_from_string(json_get_string(saved, "phase"));
        MigrationParams params = { .flags = (unsigned) json_get_uint64(saved, "flags", 0) };
        const char *record = json_get_string(saved, "commit-record");
        bool incoming = json_get_bool(saved, "incoming", false);
        g_autoptr(Migration) migration = NULL;
        Migration *made = NULL;
        bool postcopy = json_get_bool(saved, "postcopy", false);
        pid_t helper = (pid_t) json_get_int64(saved, "engine", 0);
        bool committed;

        if (!postcopy || !domain->qemu)
                recover_end_helper(context->engine_helper, helper);
        committed = migration_was_committed(record);
        if (!domain->qemu || phase == _MIGRATION_PHASE_INVALID) {
                Storage storage = { 0 };

                if (record)
                        unlink(record);
                storage_restore(&storage, json_get(saved, "created-images"));
                storage_clear(&storage, !committed);
                guest_drop_if_gone(context->guests, domain);
                return;
        }
        log_debug("domain '%s': settling a migration in phase '%s'", domain->name, migration_phase_to_string(phase));
        if (migration_new(context, domain, incoming, NULL, &params, &made, NULL) < 0)
                return;
        migration = migration_ref(made);
        migration->phase = phase;
        migration->commit_path = g_strdup(record);
        storage_restore(&migration->storage, json_get(saved, "created-images"));
        migration->persistent_xml = g_strdup(json_get_string(saved, "persistent"));
        migration->id = g_strdup(json_get_string(saved, "id"));
        migration->postcopy = postcopy;
        migration->stopped_here = json_get_bool(saved, "stopped-here", false);
        if (incoming && postcopy && phase != MIGRATION_PHASE_STARTED && committed) {
                if (migration_dst_continue(migration, NULL) >= 0)
                        return;
        } else if (!incoming && postcopy && recover_source_postcopy(migration, context, helper))
                return;
        recover_end_helper(context->engine_helper, helper);
        committed = migration_was_committed(record);
        if (incoming)
                recover_destination(migration, committed);
        else
                recover_source(migration, json_get_bool(saved, "stopped-here", false));
}
