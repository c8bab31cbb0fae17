/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * A direct read pins guest pages, lets the host's disk write into them later, and marks them dirty only in the kernel's
 * own books: a scan of the page tables in between reports the page, protects it again, and never hears of the data.
 * Through the page cache QEMU's own thread copies the data, which is an ordinary write. So while memory is tracked,
 * direct disks are opened again without O_DIRECT (blockdev-reopen, one command for the whole chain of a disk). QEMU
 * drains the disk's requests before it swaps the descriptors, so none is in flight afterwards. aio stays as it was: it
 * cannot be changed by a reopen, and native AIO and io_uring work on buffered files too.
 */

#include "driver/qemu/direct_io.h"

#include <errno.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/qemu/cmdline.h"
#include "driver/qemu/qmp.h"

bool qemu_disk_is_direct(const DomainDef *def, unsigned disk) {
        const DiskDef *entry = def->disks->pdata[disk];

        return entry->source && (entry->cache == DISK_CACHE_NONE || entry->cache == DISK_CACHE_DIRECTSYNC);
}

int qemu_direct_io_check(const DomainDef *def, const QemuCaps *caps, GError **reterr) {
        for (unsigned i = 0; i < def->disks->len; i++) {
                const DiskDef *disk = def->disks->pdata[i];
                if (qemu_disk_is_direct(def, i) && !qemu_caps_has_command(caps, "blockdev-reopen"))
                        return error_set(reterr, VIR_ERR_MIGRATE_UNSAFE,
                                         _("disk '%s' uses direct I/O, which '%s' cannot switch off while the domain "
                                           "runs: use cache='writeback'"),
                                         disk->target, qemu_caps_binary(caps));
        }
        /* Devices that <qemu:commandline> adds are unknown to the definition. */
        for (unsigned i = 0; i < def->qemu_args->len; i++) {
                const QemuArgDef *arg = def->qemu_args->pdata[i];
                static const char *const unsafe[] = {"vfio-pci",         "vfio-ccw",        "vhost-user",
                                                     "vhost-vdpa",       "cache.direct=on", "cache=none",
                                                     "cache=directsync", "\"direct\":true"};
                for (unsigned j = 0; arg->value && j < G_N_ELEMENTS(unsafe); j++)
                        if (g_strstr_len(arg->value, -1, unsafe[j]))
                                return error_set(reterr, VIR_ERR_MIGRATE_UNSAFE,
                                                 _("'%s' in <qemu:commandline> writes guest memory unseen: the domain "
                                                   "cannot be migrated"),
                                                 arg->value);
        }
        return 0;
}

static int direct_io_set(Qemu *qemu, const DomainDef *def, unsigned disk, bool direct, GError **reterr) {
        const DiskDef *entry = def->disks->pdata[disk];
        Monitor *monitor = qemu_monitor(qemu);
        g_autoptr(GError) error = NULL;

        if (!monitor)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("QEMU's monitor is gone"));
        int r = qmp_blockdev_reopen(monitor, qemu_cmdline_disk_nodes(entry, direct), &error);
        if (r >= 0)
                return 0;
        (void) error_set(reterr, error_code(error),
                         direct ? _("disk '%s' cannot be switched back to direct I/O: %s")
                                : _("disk '%s' cannot be switched to buffered I/O, which migration needs: %s"),
                         entry->target, error->message);
        return r;
}

int qemu_direct_io_suspend(Qemu *qemu, const DomainDef *def, GError **reterr) {
        for (unsigned i = 0; i < def->disks->len; i++) {
                if (!qemu_disk_is_direct(def, i))
                        continue;
                int r = direct_io_set(qemu, def, i, false, reterr);
                if (r < 0) {
                        while (i-- > 0)
                                if (qemu_disk_is_direct(def, i))
                                        (void) direct_io_set(qemu, def, i, true, NULL);
                        return r;
                }
        }
        return 0;
}

int qemu_direct_io_resume(Qemu *qemu, const DomainDef *def, GError **reterr) {
        int result = 0;

        for (unsigned i = 0; i < def->disks->len; i++) {
                g_autoptr(GError) error = NULL;
                int r = qemu_disk_is_direct(def, i) ? direct_io_set(qemu, def, i, true, &error) : 0;
                if (r < 0 && result == 0) {
                        result = r;
                        g_propagate_error(reterr, g_steal_pointer(&error));
                }
        }
        return result;
}
