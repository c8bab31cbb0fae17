/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Migration jobs as things of their own, named by number: started without anybody who waits for them, looked at,
 * steered. */

#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"
#include "driver/base/units.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"
#include "driver/migration/decide.h"
#include "driver/migration/job_record.h"
#include "driver/migration/migration_src.h"
#include "driver/migration/params.h"
#include "driver/migration/peer.h"

/* The engine knows no standstill; this keeps the connection alive and next to nothing else. */
#define PAUSED_BYTES_PER_SEC (64 * KIB)

int driver_migration_jobs(DriverClient *client, uint64_t **ret_numbers, unsigned *ret_n, GError **reterr) {
        *ret_numbers = job_records_list(client->driver->migrations.records, ret_n);
        return 0;
}

static int find(DriverClient *client, uint64_t number, DriverJobInfo *ret_info, Migration **ret_migration,
                GError **reterr) {
        if (job_records_get(client->driver->migrations.records, number, ret_info, ret_migration) < 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("there is no migration job %llu (any more)"),
                                 (unsigned long long) number);
        return 0;
}

int driver_migration_job(DriverClient *client, uint64_t number, DriverJobInfo *ret_info, GError **reterr) {
        return find(client, number, ret_info, NULL, reterr);
}

/* ---- starting ---- */

typedef struct Attempt {
        Driver *driver;
        uint64_t number;
        unsigned char uuid[VIR_UUID_BUFLEN];
        char *dconnuri;
        virTypedParameterPtr params;
        int n_params;
        unsigned flags;
        bool cancelled;
} Attempt;

static void attempt_free(void *p) {
        Attempt *attempt = p;

        virTypedParamsFree(attempt->params, attempt->n_params);
        g_free(attempt->dconnuri);
        g_free(attempt);
}

static void attempt_fiber(void *userdata) {
        Attempt *attempt = userdata;
        Driver *driver = attempt->driver;
        g_autoptr(GError) error = NULL;

        peer_migrate(&driver->migrations,
                     &(PeerArgs){ .uuid = attempt->uuid, .dconnuri = attempt->dconnuri, .params = attempt->params,
                                  .n_params = attempt->n_params, .flags = attempt->flags,
                                  .cancelled = &attempt->cancelled },
                     &error);
        if (error)
                log_debug("migration job %llu fails: %s", (unsigned long long) attempt->number, error->message);
        job_records_attempt_over(driver->migrations.records, attempt->number, error);
        g_ptr_array_remove_fast(driver->attempts, attempt);
        attempt_free(attempt);
}

/* Starts the attempt, which is freed when it is over. */
static int attempt_start(Attempt *attempt, GError **reterr) {
        int r = fiber_start(attempt->driver->event, "migration-job", attempt_fiber, attempt);

        if (r < 0) {
                attempt_free(attempt);
                return error_set_errno(reterr, r, _("cannot start a migration"));
        }
        g_ptr_array_add(attempt->driver->attempts, attempt);
        return 0;
}

static int copy_params(const DriverMigrateArgs *args, virTypedParameterPtr *ret_params, GError **reterr) {
        virTypedParameterPtr copy = g_new0(virTypedParameter, args->n_params + 1);

        for (int i = 0; i < args->n_params; i++) {
                copy[i] = args->params[i];
                if (copy[i].type == VIR_TYPED_PARAM_STRING)
                        copy[i].value.s = g_strdup(copy[i].value.s);
        }
        *ret_params = copy;
        return 0;
}

int driver_migration_job_start(DriverClient *client, const unsigned char *uuid, const char *dconnuri,
                               const DriverMigrateArgs *args, uint64_t *ret_number, GError **reterr) {
        Driver *driver = client->driver;
        g_auto(MigrationParams) params = { 0 };
        g_autoptr(Domain) domain = NULL;
        Attempt *attempt;
        int r;

        r = driver_check_write(client, "migrate", reterr);
        if (r >= 0 && driver->quiescing)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID,
                              _("the daemon is shutting down: migrate again once it is back"));
        if (r >= 0)
                r = migration_params_parse(args->params, args->n_params, args->flags, &params, reterr);
        if (r >= 0 && !*dconnuri)
                r = error_set(reterr, VIR_ERR_INVALID_ARG, _("a migration needs the destination's URI"));
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r >= 0 && domain->migration)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is migrating already"), domain->name);
        if (r < 0)
                return r;
        attempt = g_new0(Attempt, 1);
        attempt->driver = driver;
        memcpy(attempt->uuid, uuid, sizeof(attempt->uuid));
        attempt->dconnuri = g_strdup(dconnuri);
        attempt->n_params = args->n_params;
        attempt->flags = args->flags & ~(unsigned) VIR_MIGRATE_PEER2PEER;
        copy_params(args, &attempt->params, NULL);
        r = attempt_start(attempt, reterr);
        if (r < 0)
                return r;
        attempt->number = job_records_expect(driver->migrations.records, domain, dconnuri);
        *ret_number = attempt->number;
        return 0;
}

/* ---- steering ---- */

/* The outgoing job, if it still runs. */
static int find_running(DriverClient *client, uint64_t number, const char *what, Migration **ret_migration,
                        GError **reterr) {
        g_auto(DriverJobInfo) info = { 0 };
        Migration *migration = NULL;
        int r;

        r = driver_check_write(client, what, reterr);
        if (r >= 0)
                r = find(client, number, &info, &migration, reterr);
        if (r >= 0 && info.outcome != DRIVER_JOB_RUNNING)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID, _("migration job %llu has ended"),
                              (unsigned long long) number);
        if (r >= 0 && info.incoming)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID,
                              _("an incoming migration is steered on its source"));
        if (r >= 0)
                *ret_migration = migration;
        return r;
}

int driver_migration_job_cancel(DriverClient *client, uint64_t number, GError **reterr) {
        GPtrArray *attempts = client->driver->attempts;
        Migration *migration = NULL;
        int r = find_running(client, number, "domjobabort", &migration, reterr);

        if (r < 0)
                return r;
        if (migration)
                return migration_src_abort(migration, reterr);
        for (guint i = 0; i < attempts->len; i++) {
                Attempt *attempt = g_ptr_array_index(attempts, i);

                if (attempt->number == number)
                        attempt->cancelled = true;
        }
        return 0;
}

void driver_attempts_cancel(Driver *driver) {
        for (guint i = 0; i < driver->attempts->len; i++) {
                Attempt *attempt = g_ptr_array_index(driver->attempts, i);

                attempt->cancelled = true;
        }
}

/* The same migration to the same destination, with the flag that makes both ends go on. */
static int resume_postcopy(DriverClient *client, uint64_t number, const Migration *migration, GError **reterr) {
        g_auto(DriverJobInfo) info = { 0 };
        Attempt *attempt;
        int max = 0, r = find(client, number, &info, NULL, reterr);

        if (r >= 0 && !*info.peer)
                r = error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("the migration was not begun here: resume it with 'virsh migrate --postcopy "
                          "--postcopy-resume'"));
        if (r < 0)
                return r;
        attempt = g_new0(Attempt, 1);
        attempt->driver = client->driver;
        attempt->number = number;
        memcpy(attempt->uuid, info.uuid, sizeof(attempt->uuid));
        attempt->dconnuri = g_strdup(info.peer);
        attempt->flags = migration->params.flags | VIR_MIGRATE_POSTCOPY | VIR_MIGRATE_POSTCOPY_RESUME;
        if (migration->params.uri)
                virTypedParamsAddString(&attempt->params, &attempt->n_params, &max, VIR_MIGRATE_PARAM_URI,
                                        migration->params.uri);
        return attempt_start(attempt, reterr);
}

int driver_migration_job_pause(DriverClient *client, uint64_t number, bool pause, GError **reterr) {
        g_autoptr(Migration) migration = NULL;
        Migration *found = NULL;
        uint64_t limit;
        int r = find_running(client, number, pause ? "migrate-pause" : "migrate-resume", &found, reterr);

        if (r >= 0 && found && pause && found->phase == MIGRATION_PHASE_POSTCOPY)
                return driver_domain_job_abort(client, found->domain->uuid, VIR_DOMAIN_ABORT_JOB_POSTCOPY, reterr);
        if (r >= 0 && found && !pause && found->phase == MIGRATION_PHASE_POSTCOPY_PAUSED)
                return resume_postcopy(client, number, found, reterr);
        if (r >= 0 && (!found || found->phase != MIGRATION_PHASE_PRECOPY))
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID,
                              _("migration job %llu does not copy memory now, so it cannot be paused or resumed"),
                              (unsigned long long) number);
        if (r >= 0 && found->paused == pause)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID,
                              pause ? _("the migration is paused already") : _("the migration is not paused"));
        if (r < 0)
                return r;
        migration = migration_ref(found);
        limit = migration_speed_limit(migration);
        r = engine_source_set_bandwidth(migration->engine,
                                        pause && (!limit || limit > PAUSED_BYTES_PER_SEC) ? PAUSED_BYTES_PER_SEC
                                                                                          : limit,
                                        reterr);
        if (r < 0)
                return r;
        migration->paused = pause;
        fiber_cond_broadcast(&migration->changed);
        job_record_changed(migration->record, DRIVER_JOB_PHASE);
        return 0;
}

int driver_migration_job_set_policy(DriverClient *client, uint64_t number, const char *policy, GError **reterr) {
        Migration *migration = NULL;
        int r = find_running(client, number, "migrate-setpolicy", &migration, reterr);

        if (r >= 0 && (!migration || migration->phase != MIGRATION_PHASE_PRECOPY))
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID,
                              _("migration job %llu does not copy memory now, so there is nothing to decide"),
                              (unsigned long long) number);
        return r < 0 ? r : decide_set_policy(migration, policy, reterr);
}
