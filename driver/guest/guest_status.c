/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What survives the daemon: STATE/status/NAME.json with the live definition (as XML text, with secrets: mode 0600), the
 * state, what qemu_reattach() needs, and what driver/migration needs to settle a job.
 */

#include <errno.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/guest/guest.h"
#include "driver/guest/guest_internal.h"
#include "driver/qemu/qmp.h"

#define STATUS_VERSION 1

int guest_save(GuestManager *manager, Domain *domain) {
        g_autoptr(json_object) status = NULL;
        g_autofree char *xml = NULL;
        g_autoptr(GError) error = NULL;
        int r;

        if (!domain->qemu)
                return 0;
        status = json_object_new_object();
        xml = domain_def_format(domain->live, DOMAIN_FORMAT_STATUS | DOMAIN_FORMAT_SECURE);
        json_add_int64(status, "version", STATUS_VERSION);
        json_add_int64(status, "id", domain->id);
        json_add_int64(status, "state", domain->state);
        json_add_int64(status, "reason", domain->reason);
        json_add_uint64(status, "started", domain->started_usec);
        json_add_uint64(status, "max-downtime", domain->max_downtime_msec);
        json_add_uint64(status, "max-speed", domain->max_speed_mib);
        json_add_uint64(status, "max-postcopy-speed", domain->max_postcopy_speed_mib);
        json_add_string(status, "live", xml);
        json_add_string(status, "arrived", domain->arrived);
        json_add(status, "qemu", qemu_save(domain->qemu));
        if (domain->migration_saved)
                json_add(status, "migration", json_object_get(domain->migration_saved));
        if (domain->snapshot_saved)
                json_add(status, "snapshot", json_object_get(domain->snapshot_saved));
        r = store_save_status(&manager->store, domain->name, status, &error);
        if (r < 0)
                log_debug("domain '%s': state cannot be saved: %s", domain->name, error->message);
        return r;
}

/* The guest's own state may have moved while nobody looked. */
static int guest_refresh_state(Domain *domain, int state, int reason, GError **reterr) {
        QmpStatus status;
        int r;

        r = qmp_query_status(qemu_monitor(domain->qemu), &status, reterr);
        if (r < 0)
                return r;
        if (status.running && state != VIR_DOMAIN_RUNNING)
                domain_set_state(domain, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNKNOWN);
        else if (!status.running && state == VIR_DOMAIN_RUNNING)
                domain_set_state(domain,
                                 status.state == QMP_RUN_STATE_SHUTDOWN ? VIR_DOMAIN_SHUTDOWN : VIR_DOMAIN_PAUSED,
                                 VIR_DOMAIN_PAUSED_UNKNOWN);
        else
                domain_set_state(domain, state, reason);
        return 0;
}

/* The process has ended since: what it left is removed. */
static void guest_lost(GuestManager *manager, Domain *domain, json_object *status) {
        qemu_cleanup_saved(&manager->settings, json_get(status, "qemu"));
        store_remove_status(&manager->store, domain->name);
        domain->live = domain_def_free(domain->live);
        domain->id = -1;
        domain_set_state(domain, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN);
        /* What a migration left is removed by driver/migration, which then drops the domain. */
        if (!domain->migration_saved && !domain->snapshot_saved)
                guest_drop_if_gone(manager, domain);
}

static int guest_reattach(GuestManager *manager, const char *name, GError **reterr) {
        g_autoptr(json_object) status = NULL;
        g_autoptr(DomainDef) live = NULL;
        const char *xml;
        Domain *domain = NULL;
        GuestLink *link;
        int r;

        r = store_load_status(&manager->store, name, &status, reterr);
        if (r < 0)
                return r;
        xml = json_get_string(status, "live");
        if (!xml || json_get_int64(status, "version", 0) != STATUS_VERSION)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("the saved state of domain '%s' cannot be read"),
                                 name);
        r = domain_def_parse(xml, strlen(xml), DOMAIN_PARSE_STATUS, NULL, &live, reterr);
        if (r >= 0)
                r = domain_list_add(manager->list, live, &domain, reterr);
        if (r < 0)
                return r;
        domain->live = g_steal_pointer(&live);
        domain->id = (int) json_get_int64(status, "id", -1);
        domain->live->id = domain->id;
        domain_list_note_id(manager->list, domain->id);
        domain->started_usec = json_get_uint64(status, "started", 0);
        domain->max_downtime_msec = json_get_uint64(status, "max-downtime", 0);
        domain->max_speed_mib = json_get_uint64(status, "max-speed", 0);
        domain->max_postcopy_speed_mib = json_get_uint64(status, "max-postcopy-speed", 0);
        domain->migration_saved = json_object_get(json_get(status, "migration"));
        domain->arrived = g_strdup(json_get_string(status, "arrived"));
        domain->snapshot_saved = json_object_get(json_get(status, "snapshot"));
        link = guest_link_new(manager, domain);
        r = qemu_reattach(manager->event, &manager->settings, json_get(status, "qemu"), &guest_qemu_callbacks, link,
                          &domain->qemu, reterr);
        if (r < 0) {
                guest_link_free(link);
                if (r == -ESRCH)
                        guest_lost(manager, domain, status);
                else
                        /* It runs, out of our reach. The domain stays active, so that nobody starts it twice; a later
                         * daemon tries again. */
                        domain_set_state(domain, VIR_DOMAIN_NOSTATE, 0);
                return r;
        }
        return guest_refresh_state(domain, (int) json_get_int64(status, "state", VIR_DOMAIN_PAUSED),
                                   (int) json_get_int64(status, "reason", 0), reterr);
}

unsigned guest_reattach_all(GuestManager *manager) {
        g_auto(GStrv) names = store_list_status(&manager->store);
        unsigned lost = 0;

        for (unsigned i = 0; names[i]; i++) {
                g_autoptr(GError) error = NULL;

                if (guest_reattach(manager, names[i], &error) < 0) {
                        log_debug("domain '%s' cannot be taken over, ignoring: %s", names[i], error->message);
                        lost++;
                }
        }
        return lost;
}
