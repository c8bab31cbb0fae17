/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/snapshot/snapshot.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/spawn.h"

static const char *const phase_names[_SNAPSHOT_PHASE_MAX] = {
        [SNAPSHOT_PHASE_SAVING] = "saving",
        [SNAPSHOT_PHASE_NAMING] = "naming",
        [SNAPSHOT_PHASE_LOADING] = "loading",
        [SNAPSHOT_PHASE_RESUMING] = "resuming",
        [SNAPSHOT_PHASE_LAZY] = "lazy",
};

const char *snapshot_phase_to_string(SnapshotPhase phase) {
        return phase >= 0 && phase < _SNAPSHOT_PHASE_MAX ? phase_names[phase] : "invalid";
}

SnapshotPhase snapshot_phase_from_string(const char *name) {
        for (SnapshotPhase phase = 0; name && phase < _SNAPSHOT_PHASE_MAX; phase++)
                if (strcmp(phase_names[phase], name) == 0)
                        return phase;
        return _SNAPSHOT_PHASE_INVALID;
}

int snapshot_new(SnapshotContext *context, Domain *domain, bool restore, const char *path, Snapshot **ret_snapshot,
                 GError **reterr) {
        Snapshot *snapshot;
        int r;

        r = job_begin(&domain->job, domain->name, restore ? JOB_RESTORE : JOB_SAVE, NULL, reterr);
        if (r < 0)
                return r;
        snapshot = g_new0(Snapshot, 1);
        snapshot->refs = 1;
        snapshot->context = context;
        snapshot->domain = domain_ref(domain);
        snapshot->restore = restore;
        snapshot->phase = restore ? SNAPSHOT_PHASE_LOADING : SNAPSHOT_PHASE_SAVING;
        snapshot->path = g_strdup(path);
        snapshot->started_usec = clock_monotonic_usec();
        domain->snapshot = snapshot;
        *ret_snapshot = snapshot;
        return 0;
}

Snapshot *snapshot_ref(Snapshot *snapshot) {
        snapshot->refs++;
        return snapshot;
}

Snapshot *snapshot_unref(Snapshot *snapshot) {
        if (!snapshot || --snapshot->refs > 0)
                return NULL;
        engine_unref(snapshot->engine);
        g_clear_error(&snapshot->failure);
        g_free(snapshot->path);
        g_free(snapshot->temporary);
        domain_unref(snapshot->domain);
        g_free(snapshot);
        return NULL;
}

static json_object *snapshot_to_json(const Snapshot *snapshot) {
        json_object *saved = json_object_new_object();
        char id[2 * IMAGE_ID_BYTES + 1];

        for (unsigned i = 0; i < IMAGE_ID_BYTES; i++)
                g_snprintf(id + 2 * i, 3, "%02x", snapshot->image_id[i]);
        json_add_string(saved, "phase", snapshot_phase_to_string(snapshot->phase));
        json_add_bool(saved, "restore", snapshot->restore);
        json_add_string(saved, "path", snapshot->path);
        json_add_string(saved, "temporary", snapshot->temporary);
        json_add_string(saved, "image", id);
        json_add_bool(saved, "managed", snapshot->managed);
        json_add_bool(saved, "run", snapshot->run);
        json_add_bool(saved, "lazy", snapshot->lazy);
        json_add_uint64(saved, "device", snapshot->device);
        json_add_uint64(saved, "inode", snapshot->inode);
        if (snapshot->engine)
                json_add_int64(saved, "engine", engine_pid(snapshot->engine));
        return saved;
}

int snapshot_set_phase(Snapshot *snapshot, SnapshotPhase phase) {
        Domain *domain = snapshot->domain;

        log_debug("domain '%s': image '%s': %s -> %s", domain->name, snapshot->path,
                  snapshot_phase_to_string(snapshot->phase), snapshot_phase_to_string(phase));
        snapshot->phase = phase;
        if (domain->snapshot != snapshot)
                return 0;
        json_object_put(domain->snapshot_saved);
        domain->snapshot_saved = snapshot_to_json(snapshot);
        return guest_save(snapshot->context->guests, domain);
}

void snapshot_end(Snapshot *snapshot) {
        Domain *domain = snapshot->domain;

        if (domain->snapshot != snapshot)
                return;
        if (snapshot->engine)
                engine_kill(snapshot->engine);
        domain->snapshot = NULL;
        g_clear_pointer(&domain->snapshot_saved, json_object_put);
        job_end(&domain->job);
        guest_save(snapshot->context->guests, domain);
        guest_drop_if_gone(snapshot->context->guests, domain);
        snapshot_unref(snapshot);
}

int snapshot_check(Snapshot *snapshot, GError **reterr) {
        const char *name = snapshot->domain->name;

        if (snapshot->guest_exited && !snapshot->qemu_killed)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 snapshot->restore ? _("QEMU of domain '%s' ended while it was restored; see its log")
                                                   : _("QEMU of domain '%s' ended while it was saved; see its log"),
                                 name);
        if (snapshot->abort_requested)
                return error_set(reterr, VIR_ERR_OPERATION_ABORTED,
                                 snapshot->restore ? _("restoring of domain '%s' was aborted")
                                                   : _("saving of domain '%s' was aborted"),
                                 name);
        if (snapshot->failure) {
                if (reterr && !*reterr)
                        *reterr = g_error_copy(snapshot->failure);
                return -EIO;
        }
        return 0;
}

int snapshot_abort(Snapshot *snapshot, GError **reterr) {
        if (snapshot->phase == SNAPSHOT_PHASE_LAZY)
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("domain '%s' runs already and needs the rest of its memory: this cannot be aborted; 'virsh "
                          "destroy' ends it"),
                        snapshot->domain->name);
        if (snapshot->phase != SNAPSHOT_PHASE_SAVING && snapshot->phase != SNAPSHOT_PHASE_LOADING)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("the job of domain '%s' cannot be aborted any more: it is nearly done"),
                                 snapshot->domain->name);
        snapshot->abort_requested = true;
        /* Who waits for it gets an error at once. */
        if (snapshot->engine)
                engine_kill(snapshot->engine);
        return 0;
}

void snapshot_guest_exited(Snapshot *snapshot) {
        snapshot->guest_exited = true;
        if (snapshot->engine)
                engine_kill(snapshot->engine);
        /* Nobody waits for it any more. */
        if (snapshot->phase == SNAPSHOT_PHASE_LAZY)
                snapshot_end(snapshot);
}

/* ---- the engine ---- */

static void on_failed(Engine *engine, const GError *error, bool gone, void *userdata) {
        Snapshot *snapshot = userdata;

        if (!snapshot->failure)
                snapshot->failure = g_error_copy(error);
        if (!snapshot->lazy)
                return;
        if (snapshot->phase >= SNAPSHOT_PHASE_RESUMING)
                return snapshot_lazy_failed(snapshot, gone);
        /* QEMU may wait for memory that nobody brings any more, and then answers nothing either. */
        if (snapshot->domain->qemu && qemu_pidfd(snapshot->domain->qemu) >= 0) {
                snapshot->qemu_killed = true;
                (void) spawn_kill(qemu_pidfd(snapshot->domain->qemu), SIGKILL);
        }
}

static void on_complete(Engine *engine, const EngineStats *stats, void *userdata) {
        snapshot_lazy_complete(userdata);
}

static const EngineCallbacks engine_callbacks = { .failed = on_failed, .postcopy_complete = on_complete };

int snapshot_start_engine(Snapshot *snapshot, GError **reterr) {
        Domain *domain = snapshot->domain;
        int log_fd = domain->qemu ? qemu_log_fd(domain->qemu) : -EBADF;
        g_autoptr(GError) error = NULL;

        snapshot->engine = engine_unref(snapshot->engine);
        int r = engine_new(snapshot->context->guests->event, snapshot->context->engine_helper, domain->name, log_fd,
                           &engine_callbacks, snapshot, &snapshot->engine, reterr);
        /* Where the daemon is a service, its end must not take the helper along that a guest depends on. */
        if (r >= 0 && guest_scope(snapshot->context->guests, domain, "job", engine_pid(snapshot->engine), &error) < 0)
                log_debug("the helper of domain '%s' stays in the daemon's control group, ignoring: %s", domain->name,
                          error->message);
        return r;
}
