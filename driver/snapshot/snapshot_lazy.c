/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A guest that runs while its memory is still in the image. The engine does the work; here is what happens when it is
 * done, when it cannot go on, and when it (or the daemon) has been killed: page tables, RAM, userfaultfd and the image
 * itself are all still there, so another engine goes on where it was.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/migration/migration.h"
#include "driver/qemu/qmp.h"
#include "driver/snapshot/snapshot.h"

#define RESTARTS_MAX 20
#define RESTART_PAUSE_USEC (USEC_PER_SEC / 5)

static void close_fd(void *fd) {
        fd_close(*(int *) fd);
}

EngineRamBlock *snapshot_lazy_blocks(Snapshot *snapshot, unsigned *ret_n, GArray **ret_tables, GError **reterr) {
        Qemu *qemu = snapshot->domain->qemu;
        g_autofree EngineRamBlock *blocks = migration_ram_blocks(qemu_ram(qemu), ret_n);
        g_autoptr(GArray) tables = g_array_new(FALSE, FALSE, sizeof(int));

        g_array_set_clear_func(tables, close_fd);
        for (unsigned i = 0; i < *ret_n; i++) {
                int fd = qemu_open_table(qemu, i, reterr);

                if (fd < 0)
                        return NULL;
                g_array_append_val(tables, fd);
                blocks[i].states_fd = fd;
        }
        *ret_tables = g_steal_pointer(&tables);
        return g_steal_pointer(&blocks);
}

/* The image's file out of QEMU, where it was left. */
static int take_image(Snapshot *snapshot, GError **reterr) {
        Qemu *qemu = snapshot->domain->qemu;
        g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int) qemu_pid(qemu));
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        const char *entry;

        while (dir && (entry = g_dir_read_name(dir))) {
                g_autofree char *link = g_build_filename(path, entry, NULL);
                struct stat st;

                if (stat(link, &st) < 0 || st.st_ino != snapshot->inode || st.st_dev != snapshot->device)
                        continue;
                int fd = pidfd_getfd(qemu_pidfd(qemu), atoi(entry), 0);
                if (fd >= 0)
                        return fd;
        }
        return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the save image of domain '%s' is lost"),
                         snapshot->domain->name);
}

int snapshot_lazy_adopt(Snapshot *snapshot, GError **reterr) {
        g_autoptr(Qemu) qemu = snapshot->domain->qemu ? qemu_ref(snapshot->domain->qemu) : NULL;
        g_autofree EngineRamBlock *blocks = NULL;
        g_autoptr(GArray) tables = NULL;
        _cleanup_fd_ int image_fd = -EBADF;
        EngineLoadArgs args = {
                .device_state_fd = -EBADF, .lazy = true, .adopt = true, .keep_order = !snapshot->managed
        };
        int r;

        if (!qemu)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"),
                                 snapshot->domain->name);
        r = image_fd = take_image(snapshot, reterr);
        if (r < 0)
                return r;
        blocks = snapshot_lazy_blocks(snapshot, &args.n_blocks, &tables, reterr);
        if (!blocks)
                return -EIO;
        args.blocks = blocks;
        args.image_fd = image_fd;
        args.qemu_pid = qemu_pid(qemu);
        args.uffd = qemu_uffd(qemu, 1);
        r = snapshot_start_engine(snapshot, reterr);
        if (r < 0)
                return r;
        /* A daemon that is restarted now has to end it. */
        snapshot_set_phase(snapshot, snapshot->phase);
        r = engine_load(snapshot->engine, &args, NULL, reterr);
        return r < 0 ? r : engine_load_rest(snapshot->engine, reterr);
}

static void complete_fiber(void *userdata) {
        g_autoptr(Snapshot) snapshot = userdata;
        Domain *domain = snapshot->domain;

        if (domain->snapshot != snapshot)
                return;
        snapshot_stats_complete(snapshot, true);
        (void) qmp_closefd(qemu_monitor(domain->qemu), SNAPSHOT_QEMU_FD, NULL);
        if (domain->qemu)
                qemu_remove_tables(domain->qemu);
        log_debug("domain '%s': all of its memory has been read", domain->name);
        snapshot_end(snapshot);
}

void snapshot_lazy_complete(Snapshot *snapshot) {
        fiber_start(snapshot->context->guests->event, "restored", complete_fiber, snapshot_ref(snapshot));
}

/* Without the rest of its memory a guest cannot go on. */
static void lazy_give_up(Snapshot *snapshot, const GError *why) {
        Domain *domain = snapshot->domain;

        log_debug("domain '%s' is ended: its memory cannot be read from '%s': %s", domain->name, snapshot->path,
                  why ? why->message : "?");
        snapshot_stats_complete(snapshot, false);
        (void) guest_end(snapshot->context->guests, domain, 0, VIR_DOMAIN_SHUTOFF_CRASHED,
                         VIR_DOMAIN_EVENT_STOPPED_CRASHED, NULL);
        snapshot_end(snapshot);
}

static void replace_fiber(void *userdata) {
        g_autoptr(Snapshot) snapshot = userdata;
        g_autoptr(GError) error = NULL;
        int r = -EIO;

        while (r < 0 && snapshot->domain->snapshot == snapshot && snapshot->n_restarts++ < RESTARTS_MAX) {
                if (snapshot->n_restarts > 1)
                        fiber_sleep(RESTART_PAUSE_USEC);
                g_clear_error(&error);
                g_clear_error(&snapshot->failure);
                r = snapshot_lazy_adopt(snapshot, &error);
        }
        if (r < 0 && snapshot->domain->snapshot == snapshot)
                lazy_give_up(snapshot, error);
}

static void give_up_fiber(void *userdata) {
        g_autoptr(Snapshot) snapshot = userdata;

        if (snapshot->domain->snapshot == snapshot)
                lazy_give_up(snapshot, snapshot->failure);
}

void snapshot_lazy_failed(Snapshot *snapshot, bool gone) {
        if (!snapshot->guest_exited)
                fiber_start(snapshot->context->guests->event, "lazy", gone ? replace_fiber : give_up_fiber,
                            snapshot_ref(snapshot));
}
