/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a restarted daemon does about a guest that was just being saved or restored. */

#include <string.h>
#include <unistd.h>

#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/migration/recover.h"
#include "driver/qemu/qmp.h"
#include "driver/snapshot/snapshot.h"

static void parse_id(const char *text, unsigned char *ret_id) {
        for (unsigned i = 0; text && strlen(text) == 2 * IMAGE_ID_BYTES && i < IMAGE_ID_BYTES; i++)
                ret_id[i] = (unsigned char) (g_ascii_xdigit_value(text[2 * i]) << 4 |
                                             g_ascii_xdigit_value(text[2 * i + 1]));
}

static void go_on(Snapshot *snapshot, int reason, int detail) {
        Domain *domain = snapshot->domain;
        g_autoptr(GError) error = NULL;

        if (snapshot->run && domain->state == VIR_DOMAIN_PAUSED &&
            guest_run(snapshot->context->guests, domain, reason, detail, &error) < 0)
                log_debug("domain '%s' cannot be resumed after a restart: %s", domain->name, error->message);
}

static void recover_save(Snapshot *snapshot) {
        Domain *domain = snapshot->domain;

        if (snapshot->phase == SNAPSHOT_PHASE_NAMING && snapshot_file_is(snapshot->path, snapshot->image_id)) {
                guest_end(snapshot->context->guests, domain, 0, VIR_DOMAIN_SHUTOFF_SAVED,
                          VIR_DOMAIN_EVENT_STOPPED_SAVED, NULL);
                return;
        }
        if (snapshot->temporary)
                (void) unlink(snapshot->temporary);
        qmp_migrate_cancel(qemu_monitor(domain->qemu), NULL);
        go_on(snapshot, VIR_DOMAIN_RUNNING_SAVE_CANCELED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
}

static void recover_restore(Snapshot *snapshot) {
        Domain *domain = snapshot->domain;

        if (snapshot->phase < SNAPSHOT_PHASE_RESUMING) {
                guest_end(snapshot->context->guests, domain, 0, VIR_DOMAIN_SHUTOFF_FAILED,
                          VIR_DOMAIN_EVENT_STOPPED_FAILED, NULL);
                return;
        }
        if (snapshot->lazy) {
                job_enter_lazy(&domain->job);
                /* First, since it must not run into missing memory for long. */
                snapshot_lazy_failed(snapshot, true);
        }
        if (snapshot->phase == SNAPSHOT_PHASE_RESUMING)
                go_on(snapshot, VIR_DOMAIN_RUNNING_RESTORED, VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT);
        if (snapshot->lazy)
                snapshot_set_phase(snapshot, SNAPSHOT_PHASE_LAZY);
        if (snapshot->managed && snapshot_file_is(snapshot->path, snapshot->image_id))
                (void) unlink(snapshot->path);
}

void snapshot_recover(SnapshotContext *context, Domain *domain) {
        g_autoptr(json_object) saved = g_steal_pointer(&domain->snapshot_saved);
        SnapshotPhase phase = snapshot_phase_from_string(json_get_string(saved, "phase"));
        const char *path = json_get_string(saved, "path"), *temporary = json_get_string(saved, "temporary");
        g_autoptr(Snapshot) snapshot = NULL;
        Snapshot *made = NULL;

        recover_end_helper(context->engine_helper, (pid_t) json_get_int64(saved, "engine", 0));
        if (!domain->qemu || phase == _SNAPSHOT_PHASE_INVALID || !path) {
                if (temporary)
                        (void) unlink(temporary);
                guest_drop_if_gone(context->guests, domain);
                return;
        }
        log_debug("domain '%s': settling a job with image '%s' in phase '%s'", domain->name, path,
                  snapshot_phase_to_string(phase));
        if (snapshot_new(context, domain, json_get_bool(saved, "restore", false), path, &made, NULL) < 0)
                return;
        snapshot = snapshot_ref(made);
        snapshot->phase = phase;
        snapshot->temporary = g_strdup(temporary);
        snapshot->managed = json_get_bool(saved, "managed", false);
        snapshot->run = json_get_bool(saved, "run", false);
        snapshot->lazy = json_get_bool(saved, "lazy", false);
        snapshot->device = json_get_uint64(saved, "device", 0);
        snapshot->inode = json_get_uint64(saved, "inode", 0);
        parse_id(json_get_string(saved, "image"), snapshot->image_id);
        if (snapshot->restore)
                recover_restore(snapshot);
        else
                recover_save(snapshot);
        if (!snapshot->lazy || snapshot->phase != SNAPSHOT_PHASE_LAZY)
                snapshot_end(snapshot);
}
