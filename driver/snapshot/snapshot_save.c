/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 *   pause the guest ─► the engine writes memory and device state into a new file ─► QEMU says that its device state is
 * whole ─► status file: NAMING ─► the file gets its name ─► the guest is ended
 *
 * Until the file has its name every failure ends the same way (save_give_up): the file is removed and the guest goes on
 * as before. From then on the guest belongs to the image: it is ended here, also by a daemon that was restarted in
 * between (snapshot_recover.c).
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/image/image_io.h"
#include "driver/migration/migration.h"
#include "driver/qemu/qmp.h"
#include "driver/snapshot/snapshot.h"

#define DEVICE_STATE_USEC (60 * USEC_PER_SEC)

/* The definition that goes into the image. */
static int save_xml(SnapshotContext *context, Domain *domain, const char *user_xml, char **ret_xml, GError **reterr) {
        g_autoptr(DomainDef) def = NULL;
        int r;

        if (!user_xml) {
                *ret_xml = domain_def_format(domain->live, DOMAIN_FORMAT_MIGRATABLE | DOMAIN_FORMAT_SECURE);
                return 0;
        }
        r = guest_parse(context->guests, user_xml, DOMAIN_PARSE_INACTIVE, NULL, &def, reterr);
        if (r >= 0 && !domain->live)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"), domain->name);
        if (r >= 0)
                r = domain_def_check_abi(domain->live, def, reterr);
        if (r < 0)
                return r;
        *ret_xml = domain_def_format(def, DOMAIN_FORMAT_MIGRATABLE | DOMAIN_FORMAT_SECURE);
        return 0;
}

/* Memory and device state into the file. The guest is paused. */
static int save_write(Snapshot *snapshot, EngineSaveArgs *args, GError **reterr) {
        g_autoptr(Qemu) qemu = qemu_ref(snapshot->domain->qemu);
        g_autofree EngineRamBlock *blocks = migration_ram_blocks(qemu_ram(qemu), &args->n_blocks);
        _cleanup_fd_ int qemu_end = -EBADF, engine_end = -EBADF;
        int pair[2], r;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return error_set_errno(reterr, errno, _("cannot make a socket pair for the device state"));
        qemu_end = pair[0];
        engine_end = pair[1];
        args->blocks = blocks;
        args->device_state_fd = engine_end;
        r = qmp_migrate_prepare_device_state(qemu_monitor(qemu), reterr);
        if (r >= 0)
                r = qmp_migrate_fd(qemu_monitor(qemu), qemu_end, reterr);
        qemu_end = fd_close(qemu_end);
        if (r >= 0)
                r = snapshot_check(snapshot, reterr);
        if (r >= 0)
                r = engine_save(snapshot->engine, args, reterr);
        /* The stream has ended; whether because it was whole, only QEMU knows. */
        if (r >= 0)
                r = qmp_migrate_wait(qemu_monitor(qemu), DEVICE_STATE_USEC, NULL, reterr);
        return r < 0 ? r : snapshot_check(snapshot, reterr);
}

static int save_publish(Snapshot *snapshot, int image_fd, GError **reterr) {
        _cleanup_image_io_ unsigned char *bytes = image_io_alloc(IMAGE_HEADER_BYTES);
        ImageHeader header;
        int r;

        r = image_io_read(image_fd, 0, bytes, IMAGE_HEADER_BYTES);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot read '%s'"), snapshot->temporary);
        r = image_header_decode(bytes, IMAGE_HEADER_BYTES, INT64_MAX, &header, reterr);
        if (r < 0)
                return r;
        memcpy(snapshot->image_id, header.id, IMAGE_ID_BYTES);
        /* Without that on disk a restarted daemon would let the guest run on although the image has it. */
        r = snapshot_set_phase(snapshot, SNAPSHOT_PHASE_NAMING);
        if (r < 0)
                return error_set_errno(reterr, r,
                                       _("the state of domain '%s' cannot be saved, so its image is given up"),
                                       snapshot->domain->name);
        r = snapshot_file_publish(snapshot->temporary, snapshot->path);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot give the save image its name '%s'"), snapshot->path);
        g_clear_pointer(&snapshot->temporary, g_free);
        return 0;
}

static int save_run(Snapshot *snapshot, const SnapshotSaveArgs *args, const char *xml, GError **reterr) {
        Domain *domain = snapshot->domain;
        EngineSaveArgs engine_args = { .compression = args->compression, .xml = xml,
                                       .running = args->running < 0 ? snapshot->run : args->running > 0 };
        _cleanup_fd_ int image_fd = -EBADF;
        int r;

        r = snapshot_file_create(args->path, args->bypass_cache, &image_fd, &snapshot->temporary, reterr);
        if (r < 0)
                return r;
        /* Twice: a restarted daemon has to know the file, and then the engine as well. */
        snapshot_set_phase(snapshot, SNAPSHOT_PHASE_SAVING);
        r = snapshot_start_engine(snapshot, reterr);
        if (r < 0)
                return r;
        snapshot_set_phase(snapshot, SNAPSHOT_PHASE_SAVING);
        snapshot->stopped_usec = clock_monotonic_usec();
        r = guest_pause(snapshot->context->guests, domain, VIR_DOMAIN_PAUSED_SAVE, VIR_DOMAIN_EVENT_SUSPENDED_PAUSED,
                        reterr);
        if (r >= 0)
                r = snapshot_check(snapshot, reterr);
        if (r < 0)
                return r;
        domain_emit(domain, snapshot->context->guests->bus,
                    &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, .iteration = 1 });
        engine_args.image_fd = image_fd;
        r = save_write(snapshot, &engine_args, reterr);
        return r < 0 ? r : save_publish(snapshot, image_fd, reterr);
}

/* The guest goes on as before. */
static void save_give_up(Snapshot *snapshot, const GError *why) {
        Domain *domain = snapshot->domain;
        g_autoptr(GError) error = NULL;

        log_debug("saving of '%s' is given up: %s", domain->name, why ? why->message : "?");
        if (why && !snapshot->failure)
                snapshot->failure = g_error_copy(why);
        snapshot_stats_complete(snapshot, false);
        if (snapshot->engine)
                engine_end(snapshot->engine);
        if (snapshot->temporary)
                (void) unlink(snapshot->temporary);
        qmp_migrate_cancel(qemu_monitor(domain->qemu), NULL);
        if (snapshot->run && domain->qemu && domain->state == VIR_DOMAIN_PAUSED &&
            guest_run(snapshot->context->guests, domain, VIR_DOMAIN_RUNNING_SAVE_CANCELED,
                      VIR_DOMAIN_EVENT_RESUMED_UNPAUSED, &error) < 0)
                log_debug("domain '%s' cannot be resumed after it was not saved: %s", domain->name, error->message);
        snapshot_end(snapshot);
}

int snapshot_save(SnapshotContext *context, Domain *domain, const SnapshotSaveArgs *args, GError **reterr) {
        g_autoptr(Snapshot) snapshot = NULL;
        g_autofree char *xml = NULL;
        Snapshot *made = NULL;
        GError *error = NULL;
        int r;

        if (domain->state != VIR_DOMAIN_RUNNING && domain->state != VIR_DOMAIN_PAUSED)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is shutting down or has crashed"),
                                 domain->name);
        r = snapshot_new(context, domain, false, args->path, &made, reterr);
        if (r < 0)
                return r;
        snapshot = snapshot_ref(made);
        snapshot->managed = args->managed;
        snapshot->run = domain->state == VIR_DOMAIN_RUNNING;
        r = save_xml(context, domain, args->xml, &xml, &error);
        if (r >= 0)
                r = snapshot_check(snapshot, &error);
        if (r >= 0)
                r = save_run(snapshot, args, xml, &error);
        if (r < 0) {
                /* Why the engine was ended says more than that it was. */
                if (snapshot->abort_requested || snapshot->guest_exited || snapshot->failure) {
                        g_clear_error(&error);
                        snapshot_check(snapshot, &error);
                }
                save_give_up(snapshot, error);
                g_propagate_error(reterr, error);
                return r;
        }
        snapshot_stats_complete(snapshot, true);
        r = guest_end(context->guests, domain, 0, VIR_DOMAIN_SHUTOFF_SAVED, VIR_DOMAIN_EVENT_STOPPED_SAVED, reterr);
        snapshot_end(snapshot);
        return r;
}
