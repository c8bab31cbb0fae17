/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a domain's long job does, and its tuning. */

#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/units.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"
#include "driver/migration/job_stats.h"
#include "driver/migration/migration_src.h"
#include "driver/migration/postcopy_src.h"

#define DOWNTIME_DEFAULT_MSEC 300
#define DOWNTIME_MAX_MSEC 2000000 /* QEMU's limit */
/* What an unlimited speed reads as: libvirt's own number, the largest MiB/s whose bytes fit 63 bits. */
#define SPEED_UNLIMITED_MIB (INT64_MAX / (int64_t) MIB)

int driver_domain_job_info(DriverClient *client, const unsigned char *uuid, virDomainJobInfo *ret_info,
                           GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find_active(client, uuid, &domain, reterr);

        if (r < 0)
                return r;
        if (domain->migration)
                job_stats_info(domain->migration, ret_info);
        else if (domain->snapshot)
                snapshot_stats_info(domain->snapshot, ret_info);
        else
                *ret_info = (virDomainJobInfo){ .type = VIR_DOMAIN_JOB_NONE };
        return 0;
}

static int completed_stats(Domain *domain, bool keep, int *ret_type, virTypedParameterPtr *ret_params, int *ret_n,
                           GError **reterr) {
        int success = 0;

        *ret_params = NULL;
        *ret_n = 0;
        *ret_type = VIR_DOMAIN_JOB_NONE;
        if (!domain->completed)
                return 0;
        virTypedParamsGetBoolean(domain->completed, domain->n_completed, VIR_DOMAIN_JOB_SUCCESS, &success);
        *ret_type = success ? VIR_DOMAIN_JOB_COMPLETED : VIR_DOMAIN_JOB_FAILED;
        if (keep) {
                int n = 0, max = 0;

                for (int i = 0; i < domain->n_completed; i++) {
                        const virTypedParameter *param = &domain->completed[i];

                        switch (param->type) {
                        case VIR_TYPED_PARAM_INT:
                                virTypedParamsAddInt(ret_params, &n, &max, param->field, param->value.i);
                                break;
                        case VIR_TYPED_PARAM_BOOLEAN:
                                virTypedParamsAddBoolean(ret_params, &n, &max, param->field, param->value.b);
                                break;
                        case VIR_TYPED_PARAM_STRING:
                                virTypedParamsAddString(ret_params, &n, &max, param->field, param->value.s);
                                break;
                        default:
                                virTypedParamsAddULLong(ret_params, &n, &max, param->field, param->value.ul);
                        }
                }
                *ret_n = n;
                return 0;
        }
        *ret_params = g_steal_pointer(&domain->completed);
        *ret_n = domain->n_completed;
        domain->n_completed = 0;
        return 0;
}

int driver_domain_job_stats(DriverClient *client, const unsigned char *uuid, unsigned flags, int *ret_type,
                            virTypedParameterPtr *ret_params, int *ret_n_params, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_check_flags(flags, VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED,
                                   "domjobinfo", reterr);

        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        if (flags & VIR_DOMAIN_JOB_STATS_COMPLETED)
                return completed_stats(domain, flags & VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED, ret_type, ret_params,
                                       ret_n_params, reterr);
        r = driver_check_active(domain, reterr);
        if (r < 0)
                return r;
        if (domain->snapshot) {
                r = snapshot_stats_params(domain->snapshot, ret_params, ret_n_params, reterr);
                if (r >= 0)
                        *ret_type = VIR_DOMAIN_JOB_UNBOUNDED;
                return r;
        }
        if (!domain->migration) {
                *ret_type = VIR_DOMAIN_JOB_NONE;
                *ret_params = NULL;
                *ret_n_params = 0;
                return 0;
        }
        r = job_stats_params(domain->migration, ret_params, ret_n_params, reterr);
        if (r >= 0)
                *ret_type = VIR_DOMAIN_JOB_UNBOUNDED;
        return r;
}

int driver_domain_job_abort(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r;

        r = driver_check_write(client, "domjobabort", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, VIR_DOMAIN_ABORT_JOB_POSTCOPY, "domjobabort", reterr);
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        if (domain->snapshot)
                return snapshot_abort(domain->snapshot, reterr);
        if (!domain->migration)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("no job is active on the domain"));
        if (domain->migration->incoming)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("cannot abort an incoming migration: abort it on the source"));
        if (flags & VIR_DOMAIN_ABORT_JOB_POSTCOPY)
                return postcopy_src_pause(domain->migration, reterr);
        return migration_src_abort(domain->migration, reterr);
}

/* ---- tuning ---- */

int driver_migrate_set_max_downtime(DriverClient *client, const unsigned char *uuid, uint64_t msec, unsigned flags,
                                    GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r;

        r = driver_check_write(client, "migrate-setmaxdowntime", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, 0, "migrate-setmaxdowntime", reterr);
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r >= 0 && (msec == 0 || msec > DOWNTIME_MAX_MSEC))
                r = error_set(reterr, VIR_ERR_INVALID_ARG, _("a maximum downtime of %llu ms is not between 1 and %u"),
                              (unsigned long long) msec, DOWNTIME_MAX_MSEC);
        if (r < 0)
                return r;
        domain->max_downtime_msec = msec;
        guest_save(&client->driver->guests, domain);
        if (domain->migration)
                fiber_cond_broadcast(&domain->migration->changed);
        return 0;
}

int driver_migrate_get_max_downtime(DriverClient *client, const unsigned char *uuid, uint64_t *ret_msec, unsigned flags,
                                    GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_check_flags(flags, 0, "migrate-getmaxdowntime", reterr);

        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r >= 0)
                *ret_msec = domain->max_downtime_msec > 0 ? domain->max_downtime_msec : DOWNTIME_DEFAULT_MSEC;
        return r;
}

/* Sets what applies to the running job as well, if it is in that part of the migration. */
static int set_running_speed(Migration *migration, bool postcopy, GError **reterr) {
        if (postcopy)
                migration->params.postcopy_bandwidth_mib = 0;
        else
                migration->params.bandwidth_mib = 0;
        if (migration->incoming || !migration->engine)
                return 0;
        if (postcopy && migration->params.flags & VIR_MIGRATE_POSTCOPY && !migration->engine_failed &&
            migration->phase >= MIGRATION_PHASE_PRECOPY && migration->phase <= MIGRATION_PHASE_POSTCOPY)
                return engine_source_set_postcopy_bandwidth(migration->engine, migration_postcopy_speed_limit(migration),
                                                            reterr);
        if (!postcopy && migration->phase == MIGRATION_PHASE_PRECOPY && !migration->paused)
                return engine_source_set_bandwidth(migration->engine, migration_speed_limit(migration), reterr);
        return 0;
}

int driver_migrate_set_max_speed(DriverClient *client, const unsigned char *uuid, uint64_t mib_per_sec, unsigned flags,
                                 GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        uint64_t limited = mib_per_sec >= SPEED_UNLIMITED_MIB ? 0 : mib_per_sec;
        bool postcopy = flags & VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY;
        int r;

        r = driver_check_write(client, "migrate-setspeed", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY, "migrate-setspeed", reterr);
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r >= 0 && mib_per_sec > SPEED_UNLIMITED_MIB)
                r = error_set(reterr, VIR_ERR_OVERFLOW, _("a speed must be below %llu MiB/s"),
                              (unsigned long long) SPEED_UNLIMITED_MIB + 1);
        if (r < 0)
                return r;
        if (postcopy)
                domain->max_postcopy_speed_mib = limited;
        else
                domain->max_speed_mib = limited;
        guest_save(&client->driver->guests, domain);
        return domain->migration ? set_running_speed(domain->migration, postcopy, reterr) : 0;
}

int driver_migrate_get_max_speed(DriverClient *client, const unsigned char *uuid, uint64_t *ret_mib_per_sec,
                                 unsigned flags, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        uint64_t limit;
        int r;

        r = driver_check_flags(flags, VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY, "migrate-getspeed", reterr);
        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        limit = flags & VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY ? domain->max_postcopy_speed_mib : domain->max_speed_mib;
        *ret_mib_per_sec = limit > 0 ? limit : SPEED_UNLIMITED_MIB;
        return 0;
}

int driver_migrate_start_postcopy(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r;

        r = driver_check_write(client, "migrate-postcopy", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, 0, "migrate-postcopy", reterr);
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        if (!domain->migration || domain->migration->incoming)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("post-copy can only be started while outgoing migration is in progress"));
        return migration_src_start_postcopy(domain->migration, reterr);
}
