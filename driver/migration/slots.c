/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/slots.h"

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"
#include "driver/base/units.h"
#include "driver/domain/domain_list.h"

#define WAKE_USEC (1 * USEC_PER_SEC)

uint64_t slots_share(const MigrationContext *context) {
        return context->bandwidth_mib * MIB / MAX(context->outgoing, 1);
}

static void share_one(Domain *domain) {
        g_autoptr(Migration) migration = NULL;
        g_autoptr(GError) error = NULL;

        if (!domain->migration || domain->migration->incoming || domain->migration->phase != MIGRATION_PHASE_PRECOPY ||
            domain->migration->paused)
                return;
        migration = migration_ref(domain->migration);
        if (engine_source_set_bandwidth(migration->engine, migration_speed_limit(migration), &error) < 0)
                log_debug("migration of '%s' keeps its bandwidth, ignoring: %s", domain->name, error->message);
}

/* Those who run hear of their new shares. */
static void share_fiber(void *userdata) {
        MigrationContext *context = userdata;
        g_autoptr(GPtrArray) domains = domain_list_all(context->guests->list);

        for (unsigned i = 0; i < domains->len; i++)
                share_one(g_ptr_array_index(domains, i));
}

static void share_anew(MigrationContext *context) {
        if (context->bandwidth_mib > 0)
                fiber_start(context->guests->event, "bandwidth shares", share_fiber, context);
}

int slots_take(Migration *migration, GError **reterr) {
        MigrationContext *context = migration->context;
        int r = 0;

        while (context->max_outgoing > 0 && context->outgoing >= context->max_outgoing) {
                migration->queued = true;
                fiber_cond_wait(&context->slot_free, WAKE_USEC);
                if (migration->domain->migration != migration)
                        r = error_set(reterr, VIR_ERR_OPERATION_ABORTED, _("migration of domain '%s' was aborted"),
                                      migration->domain->name);
                else
                        r = migration_check(migration, reterr);
                if (r < 0)
                        break;
        }
        migration->queued = false;
        if (r < 0)
                return r;
        migration->has_slot = true;
        context->outgoing++;
        share_anew(context);
        return 0;
}

void slots_release(Migration *migration) {
        MigrationContext *context = migration->context;

        if (!migration->has_slot)
                return;
        migration->has_slot = false;
        context->outgoing--;
        fiber_cond_broadcast(&context->slot_free);
        share_anew(context);
}
