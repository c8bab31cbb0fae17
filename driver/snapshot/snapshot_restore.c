/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 *   QEMU waits for a stream ─► the engine loads memory, then hands over the device state ─► QEMU has loaded it ─►
 * status file: RESUMING ─► the guest runs ─► a managed save is removed
 *
 * Lazily, memory is not loaded before the device state: the engine answers the faults of QEMU and of the guest from the
 * image, and reads the rest once the guest runs. The call returns then; the job (phase LAZY) goes on until everything
 * is there.
 *
 * Up to RESUMING the guest belongs to the image: any failure ends the QEMU that was to have it, and the image is as it
 * was. Once it has run, its disks have moved on, and the image must not be used again.
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/kernel.h"
#include "driver/base/log.h"
#include "driver/migration/migration.h"
#include "driver/qemu/qmp.h"
#include "driver/snapshot/snapshot.h"

#define LOAD_USEC (60 * USEC_PER_SEC)

/* QEMU holds the file open from here on: whoever needs it later finds it there. */
static int restore_keep_image(Snapshot *snapshot, Qemu *qemu, int image_fd, GError **reterr) {
        struct stat st;

        if (fstat(image_fd, &st) < 0)
                return error_set_errno(reterr, errno, _("cannot look at '%s'"), snapshot->path);
        snapshot->device = st.st_dev;
        snapshot->inode = st.st_ino;
        return qmp_getfd(qemu_monitor(qemu), SNAPSHOT_QEMU_FD, image_fd, reterr);
}

static int restore_load(Snapshot *snapshot, int image_fd, GError **reterr) {
        Domain *domain = snapshot->domain;
        g_autoptr(Qemu) qemu = qemu_ref(domain->qemu);
        _cleanup_fd_ int qemu_end = -EBADF, engine_end = -EBADF;
        EngineLoadArgs args = { .image_fd = image_fd,
                                .qemu_pid = qemu_pid(qemu),
                                .uffd = qemu_uffd(qemu, 1),
                                .keep_order = !snapshot->managed };
        g_autofree EngineRamBlock *blocks = NULL;
        g_autoptr(GArray) tables = NULL;
        int pair[2], r;

        args.lazy = snapshot->context->lazy && args.uffd >= 0 && kernel_has(KERNEL_UFFD_MINOR);
        if (args.lazy)
                blocks = snapshot_lazy_blocks(snapshot, &args.n_blocks, &tables, reterr);
        else
                blocks = migration_ram_blocks(qemu_ram(qemu), &args.n_blocks);
        if (!blocks)
                return -EIO;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return error_set_errno(reterr, errno, _("cannot make a socket pair for the device state"));
        qemu_end = pair[0];
        engine_end = pair[1];
        args.blocks = blocks;
        args.device_state_fd = engine_end;
        r = qmp_migrate_prepare_device_state(qemu_monitor(qemu), reterr);
        if (r >= 0)
                r = qmp_migrate_incoming_fd(qemu_monitor(qemu), qemu_end, reterr);
        qemu_end = fd_close(qemu_end);
        if (r >= 0)
                r = snapshot_check(snapshot, reterr);
        if (r >= 0)
                r = engine_load(snapshot->engine, &args, &snapshot->lazy, reterr);
        if (r >= 0)
                r = qmp_migrate_wait(qemu_monitor(qemu), LOAD_USEC, NULL, reterr);
        if (r >= 0 && snapshot->lazy)
                r = restore_keep_image(snapshot, qemu, image_fd, reterr);
        return r < 0 ? r : snapshot_check(snapshot, reterr);
}

/* libvirt's order of events: started, then resumed or suspended. */
static int restore_resume(Snapshot *snapshot, bool asked_paused, GError **reterr) {
        Domain *domain = snapshot->domain;
        GuestManager *guests = snapshot->context->guests;
        int r;

        r = snapshot_set_phase(snapshot, SNAPSHOT_PHASE_RESUMING);
        if (r < 0)
                return error_set_errno(reterr, r, _("the state of domain '%s' cannot be saved, so it is not restored"),
                                       domain->name);
        domain_emit_lifecycle(domain, guests->bus, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_RESTORED);
        if (snapshot->run)
                return guest_run(guests, domain, VIR_DOMAIN_RUNNING_RESTORED, VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT,
                                 reterr);
        domain_set_state(domain, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
        domain_emit_lifecycle(domain, guests->bus, VIR_DOMAIN_EVENT_SUSPENDED,
                              asked_paused ? VIR_DOMAIN_EVENT_SUSPENDED_PAUSED : VIR_DOMAIN_EVENT_SUSPENDED_RESTORED);
        return 0;
}

int snapshot_restore(SnapshotContext *context, Domain *domain, DomainDef *def, const SnapshotRestoreArgs *args,
                     GError **reterr) {
        g_autoptr(ImageReader) reader = NULL;
        g_autoptr(Snapshot) snapshot = NULL;
        Snapshot *made = NULL;
        GError *error = NULL;
        int r;

        r = snapshot_file_open(args->path, args->bypass_cache, &reader, reterr);
        if (r >= 0)
                r = snapshot_new(context, domain, true, args->path, &made, reterr);
        if (r < 0) {
                domain_def_free(def);
                return r;
        }
        snapshot = snapshot_ref(made);
        snapshot->managed = args->managed;
        snapshot->run = args->running < 0 ? image_reader_header(reader)->running : args->running > 0;
        memcpy(snapshot->image_id, image_reader_header(reader)->id, IMAGE_ID_BYTES);
        r = snapshot_start_engine(snapshot, &error);
        if (r >= 0) {
                /* Known before there is a QEMU that would have to be ended. */
                snapshot_set_phase(snapshot, SNAPSHOT_PHASE_LOADING);
                r = guest_start(context->guests, domain, def, true, &error);
        } else {
                domain_def_free(def);
        }
        if (r >= 0)
                r = restore_load(snapshot, image_reader_fd(reader), &error);
        if (r >= 0)
                r = restore_resume(snapshot, args->running == 0, &error);
        if (r < 0) {
                if (snapshot->abort_requested || snapshot->guest_exited) {
                        g_clear_error(&error);
                        snapshot_check(snapshot, &error);
                }
                g_prefix_error(&error, _("cannot restore domain '%s' from '%s': "), domain->name, args->path);
                guest_end(context->guests, domain, 0, VIR_DOMAIN_SHUTOFF_FAILED, VIR_DOMAIN_EVENT_STOPPED_FAILED, NULL);
                snapshot_end(snapshot);
                g_propagate_error(reterr, error);
                return r;
        }
        if (args->managed)
                (void) unlink(args->path);
        if (!snapshot->lazy) {
                snapshot_end(snapshot);
                return 0;
        }
        job_enter_lazy(&domain->job);
        snapshot_set_phase(snapshot, SNAPSHOT_PHASE_LAZY);
        /* An engine that has ended meanwhile is replaced by another one. */
        if (engine_load_rest(snapshot->engine, &error) < 0)
                log_debug("domain '%s': the rest of its memory is not being read yet: %s", domain->name,
                          error->message);
        g_clear_error(&error);
        return 0;
}
