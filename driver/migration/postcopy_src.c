/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/postcopy_src.h"

#include <errno.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"
#include "driver/migration/migration_src.h"
#include "driver/migration/postcopy.h"

/* ---- Begin ---- */

static int check_resumable(const Domain *domain, GError **reterr) {
        const Migration *migration = domain->migration;

        if (!migration || migration->incoming || !postcopy_is_entered(migration))
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("domain '%s' has no postcopy migration that could be resumed: leave '--postcopy-resume' out"),
                        domain->name);
        if (migration->phase == MIGRATION_PHASE_POSTCOPY)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("postcopy migration of domain '%s' is not interrupted: there is nothing to resume"),
                                 domain->name);
        if (migration->phase == MIGRATION_PHASE_COMMITTED)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("all memory of domain '%s' is at the destination: there is nothing to resume"),
                                 domain->name);
        if (migration->in_call)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("postcopy migration of domain '%s' is being resumed already"), domain->name);
        return 0;
}

int postcopy_src_begin(Domain *domain, const void *client, const MigrationParams *params, char **ret_cookie,
                       unsigned *ret_cookie_length, char **ret_xml, GError **reterr) {
        int r = check_resumable(domain, reterr);

        if (r < 0)
                return r;
        domain->migration->client = client;
        *ret_xml = domain_def_format(domain->live, DOMAIN_FORMAT_MIGRATABLE | DOMAIN_FORMAT_SECURE);
        *ret_cookie = migration_src_begin_cookie(domain->migration, params, ret_cookie_length);
        return 0;
}

/* ---- Perform ---- */

static int src_reconnect(Migration *migration, const MigrationCookie *cookie, GError **reterr) {
        g_autoptr(Qemu) qemu = migration->domain->qemu ? qemu_ref(migration->domain->qemu) : NULL;
        g_auto(MigrationAddress) address = { 0 };
        g_autofree EngineRamBlock *blocks = NULL; /* what they name is qemu's */
        EngineSourceArgs args = { 0 };
        int r;

        if (!qemu)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"),
                                 migration->domain->name);
        r = migration_src_engine_args(migration, cookie, &address, &blocks, &args, reterr);
        if (r >= 0 && (!migration->engine || migration->engine_gone || migration->engine_failed))
                r = postcopy_new_engine(migration, reterr);
        if (r < 0)
                return r;
        r = engine_source_recover(migration->engine, &args, reterr);
        if (r < 0)
                return r;
        /* The destination has the guest after all, if that was not known; whether it runs the events have told. */
        if (migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED ||
            (migration->phase == MIGRATION_PHASE_UNKNOWN && migration->running))
                postcopy_note_active(migration);
        return 0;
}

int postcopy_src_perform(Migration *migration, const MigrationParams *params, const MigrationCookie *cookie,
                         GError **reterr) {
        int r = check_resumable(migration->domain, reterr);

        if (r < 0)
                return r;
        /* What was asked for at the beginning still holds. */
        migration->params.flags |= params->flags & ~(unsigned) VIR_MIGRATE_POSTCOPY_RESUME;
        g_free(migration->params.uri);
        migration->params.uri = g_strdup(params->uri);
        if (params->postcopy_bandwidth_mib > 0)
                migration->params.postcopy_bandwidth_mib = params->postcopy_bandwidth_mib;
        if (cookie->complete) {
                migration->running = true;
                postcopy_src_complete(migration);
                return 0;
        }
        migration->in_call = true;
        r = src_reconnect(migration, cookie, reterr);
        migration->in_call = false;
        return r;
}

int postcopy_src_pause(Migration *migration, GError **reterr) {
        if (migration->phase != MIGRATION_PHASE_POSTCOPY)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("migration of domain '%s' is not in postcopy: leave '--postcopy' out"),
                                 migration->domain->name);
        return engine_postcopy_pause(migration->engine, reterr);
}

/* ---- what happens meanwhile ---- */

static void finish_fiber(void *userdata) {
        g_autoptr(Migration) migration = userdata;

        migration_src_client_gone(migration);
}

void postcopy_src_complete(Migration *migration) {
        migration->complete = true;
        if (!postcopy_is_entered(migration) || migration->phase == MIGRATION_PHASE_COMMITTED)
                return;
        migration_set_phase(migration, MIGRATION_PHASE_COMMITTED);
        /* Nobody is left to call Confirm. */
        if (!migration->client && !migration->in_call)
                fiber_start(migration->context->guests->event, "postcopy complete", finish_fiber,
                            migration_ref(migration));
}

void postcopy_src_paused(Migration *migration) {
        /* The QEMU is gone, and with it what a resume would need: nobody can repair that any more. */
        if (migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED && migration->guest_exited && !migration->in_call)
                migration_end(migration, false);
}

bool postcopy_src_attach(Migration *migration) {
        MigrationPhase saved = migration->phase;
        g_autofree char *path = postcopy_control_path(migration->domain);
        g_autoptr(GError) error = NULL;

        if (!path || engine_attach(migration->context->guests->event, path, migration->domain->name,
                                   &migration_engine_callbacks, migration, &migration->engine, &error) < 0) {
                log_debug("domain '%s': the helper of its postcopy cannot be taken over: %s", migration->domain->name,
                          error ? error->message : "no QEMU");
                return false;
        }
        migration->stats = *engine_stats(migration->engine);
        log_debug("domain '%s': took over the helper of its migration in state '%s'", migration->domain->name,
                  engine_state_name(engine_state(migration->engine)));
        switch (engine_state(migration->engine)) {
        case ENGINE_STATE_DONE:
                migration->running = true;
                if (!postcopy_is_entered(migration))
                        migration->phase = MIGRATION_PHASE_UNKNOWN; /* so that it ends */
                postcopy_src_complete(migration);
                return true;
        case ENGINE_STATE_POSTCOPY:
                migration->running = true;
                migration->phase = MIGRATION_PHASE_UNKNOWN; /* so that it is noted */
                postcopy_note_active(migration);
                return true;
        case ENGINE_STATE_PAUSED:
                if (saved == MIGRATION_PHASE_POSTCOPY || saved == MIGRATION_PHASE_POSTCOPY_PAUSED) {
                        migration->phase = MIGRATION_PHASE_POSTCOPY;
                        postcopy_note_paused(migration);
                        return true;
                }
                break;
        case ENGINE_STATE_COMMITTING:
        case ENGINE_STATE_COMMITTED:
                break;
        default:
                return false; /* it has not sent COMMIT, has failed, or the guest will never run there */
        }
        domain_set_state(migration->domain, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_UNKNOWN);
        migration_set_phase(migration, MIGRATION_PHASE_UNKNOWN);
        return true;
}
