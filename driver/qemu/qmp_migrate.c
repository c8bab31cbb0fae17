/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/qemu/qmp_migrate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/qemu/qmp.h"

/* Names under which QEMU keeps a descriptor until migrate or migrate-incoming takes it. */
#define QMP_MIGRATE_FD_OUT "ferry-out"
#define QMP_MIGRATE_FD_IN "ferry-in"

#define QMP_MIGRATE_HURRY_USEC (300 * USEC_PER_MSEC)
#define QMP_MIGRATE_HURRIED_PAUSE_USEC (USEC_PER_MSEC / 2)
#define QMP_MIGRATE_PAUSE_USEC (10 * USEC_PER_MSEC)

static const char *const migrate_state_names[] = {
        [QMP_MIGRATE_NONE] = "none",
        [QMP_MIGRATE_SETUP] = "setup",
        [QMP_MIGRATE_CANCELLING] = "cancelling",
        [QMP_MIGRATE_CANCELLED] = "cancelled",
        [QMP_MIGRATE_ACTIVE] = "active",
        [QMP_MIGRATE_POSTCOPY_DEVICE] = "postcopy-device",
        [QMP_MIGRATE_POSTCOPY_ACTIVE] = "postcopy-active",
        [QMP_MIGRATE_POSTCOPY_PAUSED] = "postcopy-paused",
        [QMP_MIGRATE_POSTCOPY_RECOVER_SETUP] = "postcopy-recover-setup",
        [QMP_MIGRATE_POSTCOPY_RECOVER] = "postcopy-recover",
        [QMP_MIGRATE_COMPLETED] = "completed",
        [QMP_MIGRATE_FAILING] = "failing",
        [QMP_MIGRATE_FAILED] = "failed",
        [QMP_MIGRATE_COLO] = "colo",
        [QMP_MIGRATE_PRE_SWITCHOVER] = "pre-switchover",
        [QMP_MIGRATE_DEVICE] = "device",
        [QMP_MIGRATE_WAIT_UNPLUG] = "wait-unplug",
};
G_STATIC_ASSERT(G_N_ELEMENTS(migrate_state_names) == _QMP_MIGRATE_MAX);

const char *qmp_migrate_state_to_string(QmpMigrateState state) {
        return state >= 0 && state < _QMP_MIGRATE_MAX ? migrate_state_names[state] : "unknown";
}

QmpMigrateState qmp_migrate_state_from_string(const char *name) {
        for (int i = 0; name && i < _QMP_MIGRATE_MAX; i++)
                if (g_str_equal(migrate_state_names[i], name))
                        return i;
        return _QMP_MIGRATE_INVALID;
}

bool qmp_migrate_state_is_final(QmpMigrateState state) {
        return state == QMP_MIGRATE_COMPLETED || state == QMP_MIGRATE_FAILED || state == QMP_MIGRATE_CANCELLED;
}

void qmp_migrate_info_clear(QmpMigrateInfo *info) {
        g_clear_pointer(&info->error, g_free);
}

int qmp_query_migrate(Monitor *monitor, QmpMigrateInfo *ret_info, GError **reterr) {
        g_autoptr(json_object) result = NULL;

        int r = monitor_call(monitor, "query-migrate", NULL, NULL, 0, QMP_TIMEOUT_USEC, &result, reterr);
        if (r < 0)
                return r;

        json_object *ram = json_get(result, "ram");
        json_object *mbps = json_get(ram, "mbps");
        const char *status = json_get_string(result, "status");
        *ret_info = (QmpMigrateInfo){
                /* An empty answer means that there has been no migration yet. */
                .state = status ? qmp_migrate_state_from_string(status) : QMP_MIGRATE_NONE,
                .total_msec = json_get_uint64(result, "total-time", 0),
                .downtime_msec = json_get_uint64(result, "downtime", 0),
                .setup_msec = json_get_uint64(result, "setup-time", 0),
                .transferred_bytes = json_get_uint64(ram, "transferred", 0),
                .remaining_bytes = json_get_uint64(ram, "remaining", 0),
                .total_bytes = json_get_uint64(ram, "total", 0),
                .normal_pages = json_get_uint64(ram, "normal", 0),
                .duplicate_pages = json_get_uint64(ram, "duplicate", 0),
                .page_bytes = json_get_uint64(ram, "page-size", 0),
                .dirty_sync_count = json_get_uint64(ram, "dirty-sync-count", 0),
                .dirty_pages_per_sec = json_get_uint64(ram, "dirty-pages-rate", 0),
                .mbps = mbps ? json_object_get_double(mbps) : 0,
                .error = g_strdup(json_get_string(result, "error-desc")),
        };
        return 0;
}

int qmp_migrate_set_capabilities(Monitor *monitor, const QmpMigrateCapability *capabilities, unsigned n,
                                 GError **reterr) {
        json_object *list = json_object_new_array();

        for (unsigned i = 0; i < n; i++) {
                json_object *entry = json_object_new_object();
                json_add_string(entry, "capability", capabilities[i].name);
                json_add_bool(entry, "state", capabilities[i].on);
                json_object_array_add(list, entry);
        }
        return monitor_call(monitor, "migrate-set-capabilities",
                            json_add(json_object_new_object(), "capabilities", list), NULL, 0, QMP_TIMEOUT_USEC, NULL,
                            reterr);
}

int qmp_migrate_set_parameters(Monitor *monitor, const QmpMigrateParameters *parameters, GError **reterr) {
        json_object *arguments = json_object_new_object();

        if (parameters->max_bandwidth_bytes_per_sec != UINT64_MAX)
                json_add_uint64(arguments, "max-bandwidth", parameters->max_bandwidth_bytes_per_sec);
        if (parameters->downtime_limit_msec != UINT64_MAX)
                json_add_uint64(arguments, "downtime-limit", parameters->downtime_limit_msec);
        return monitor_call(monitor, "migrate-set-parameters", arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
}

/* Hands fd over and runs command with uri fd:NAME; QEMU keeps fd if that works and we take it back otherwise. */
static int qmp_migrate_with_fd(Monitor *monitor, const char *command, const char *name, int fd, GError **reterr) {
        int r = qmp_getfd(monitor, name, fd, reterr);
        if (r < 0)
                return r;

        g_autofree char *uri = g_strconcat("fd:", name, NULL);
        json_object *arguments = json_add_string(json_object_new_object(), "uri", uri);
        r = monitor_call(monitor, command, arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
        if (r < 0 && monitor_is_open(monitor))
                (void) qmp_closefd(monitor, name, NULL);
        return r;
}

int qmp_migrate_fd(Monitor *monitor, int fd, GError **reterr) {
        return qmp_migrate_with_fd(monitor, "migrate", QMP_MIGRATE_FD_OUT, fd, reterr);
}

int qmp_migrate_incoming_fd(Monitor *monitor, int fd, GError **reterr) {
        return qmp_migrate_with_fd(monitor, "migrate-incoming", QMP_MIGRATE_FD_IN, fd, reterr);
}

int qmp_migrate_cancel(Monitor *monitor, GError **reterr) {
        return monitor_call(monitor, "migrate_cancel", NULL, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
}

int qmp_migrate_prepare_device_state(Monitor *monitor, GError **reterr) {
        static const QmpMigrateCapability capabilities[] = {
                {"events", true},
                {"x-ignore-shared", true},
        };
        int r = qmp_migrate_set_capabilities(monitor, capabilities, G_N_ELEMENTS(capabilities), reterr);
        if (r < 0)
                return r;

        /* QEMU's default of 128 MiB/s would sit in the downtime. The limit is what libvirt uses: the largest that QEMU
         * takes in whole MiB. */
        QmpMigrateParameters parameters = {
                .max_bandwidth_bytes_per_sec = UINT64_C(8796093022207) << 20,
                .downtime_limit_msec = UINT64_MAX,
        };
        return qmp_migrate_set_parameters(monitor, &parameters, reterr);
}

/* "0000:00:01.0/vga.vram  4 KiB  0x..offset 0x..used 0x..total": QEMU has this only for people to read. 0: not such a
 * line. */
static uint64_t ram_block_size(const char *line, const char *const *ours) {
        char name[256];
        uint64_t total;

        if (sscanf(line, " %255s %*u %*s %*x %*x %" SCNx64, name, &total) != 2)
                return 0;
        for (unsigned i = 0; ours[i]; i++)
                if (g_str_equal(name, ours[i]) ||
                    (g_str_has_prefix(name, "/objects/") && g_str_equal(name + strlen("/objects/"), ours[i])))
                        return 0;
        return total;
}

int qmp_private_ram_sizes(Monitor *monitor, const char *const *ours, unsigned max, uint64_t *ret_sizes, unsigned *ret_n,
                          GError **reterr) {
        g_autofree char *text = NULL;
        g_auto(GStrv) lines = NULL;
        unsigned n = 0;

        int r = qmp_human_monitor_command(monitor, "info ramblock", &text, reterr);
        if (r < 0)
                return r;
        lines = g_strsplit(text, "\n", -1);
        for (unsigned i = 0; lines[i] && n < max; i++) {
                uint64_t size = ram_block_size(lines[i], ours);
                if (size > 0)
                        ret_sizes[n++] = size;
        }
        *ret_n = n;
        return 0;
}

int qmp_migrate_wait(Monitor *monitor, uint64_t timeout_usec, QmpMigrateInfo *ret_info, GError **reterr) {
        g_autoptr(Monitor) keep = monitor ? monitor_ref(monitor) : NULL; /* QEMU may end while we sleep */
        uint64_t start = clock_monotonic_usec(), deadline = start + timeout_usec;

        for (;;) {
                g_auto(QmpMigrateInfo) info = {};
                int r = qmp_query_migrate(monitor, &info, reterr);
                if (r < 0)
                        return r;
                if (info.state == QMP_MIGRATE_COMPLETED) {
                        if (ret_info) {
                                *ret_info = info;
                                info = (QmpMigrateInfo){};
                        }
                        return 0;
                }
                if (qmp_migrate_state_is_final(info.state))
                        return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                         _("QEMU's device-state transfer ended as '%s': %s"),
                                         qmp_migrate_state_to_string(info.state), info.error ?: _("no reason given"));
                if (clock_monotonic_usec() >= deadline)
                        return error_set(reterr, VIR_ERR_OPERATION_TIMEOUT,
                                         _("QEMU's device-state transfer is still '%s' after %" G_GUINT64_FORMAT " ms"),
                                         qmp_migrate_state_to_string(info.state),
                                         (guint64) (timeout_usec / USEC_PER_MSEC));

                /* The guest is stopped meanwhile, so every millisecond counts; a transfer that takes long is not
                 * hurried by questions. */
                r = fiber_sleep(clock_monotonic_usec() - start < QMP_MIGRATE_HURRY_USEC ? QMP_MIGRATE_HURRIED_PAUSE_USEC
                                                                                        : QMP_MIGRATE_PAUSE_USEC);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot wait for QEMU's device-state transfer"));
        }
}
