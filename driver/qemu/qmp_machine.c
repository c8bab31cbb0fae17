/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/qemu/qmp_machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/qemu/qmp.h"

/* More than any real guest has; a reply that claims more is cut. */
#define QMP_MAX_ENTRIES 65536

static const char *const run_state_names[] = {
        [QMP_RUN_STATE_DEBUG] = "debug",
        [QMP_RUN_STATE_FINISH_MIGRATE] = "finish-migrate",
        [QMP_RUN_STATE_INMIGRATE] = "inmigrate",
        [QMP_RUN_STATE_INTERNAL_ERROR] = "internal-error",
        [QMP_RUN_STATE_IO_ERROR] = "io-error",
        [QMP_RUN_STATE_PAUSED] = "paused",
        [QMP_RUN_STATE_POSTMIGRATE] = "postmigrate",
        [QMP_RUN_STATE_PRELAUNCH] = "prelaunch",
        [QMP_RUN_STATE_RESTORE_VM] = "restore-vm",
        [QMP_RUN_STATE_RUNNING] = "running",
        [QMP_RUN_STATE_SAVE_VM] = "save-vm",
        [QMP_RUN_STATE_SHUTDOWN] = "shutdown",
        [QMP_RUN_STATE_SUSPENDED] = "suspended",
        [QMP_RUN_STATE_WATCHDOG] = "watchdog",
        [QMP_RUN_STATE_GUEST_PANICKED] = "guest-panicked",
        [QMP_RUN_STATE_COLO] = "colo",
};
G_STATIC_ASSERT(G_N_ELEMENTS(run_state_names) == _QMP_RUN_STATE_MAX);

const char *qmp_run_state_to_string(QmpRunState state) {
        return state >= 0 && state < _QMP_RUN_STATE_MAX ? run_state_names[state] : "unknown";
}

QmpRunState qmp_run_state_from_string(const char *name) {
        for (int i = 0; name && i < _QMP_RUN_STATE_MAX; i++)
                if (g_str_equal(run_state_names[i], name))
                        return i;
        return _QMP_RUN_STATE_INVALID;
}

static int qmp_simple(Monitor *monitor, const char *command, GError **reterr) {
        return monitor_call(monitor, command, NULL, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
}

int qmp_stop(Monitor *monitor, GError **reterr) {
        return qmp_simple(monitor, "stop", reterr);
}

int qmp_cont(Monitor *monitor, GError **reterr) {
        return qmp_simple(monitor, "cont", reterr);
}

int qmp_system_powerdown(Monitor *monitor, GError **reterr) {
        return qmp_simple(monitor, "system_powerdown", reterr);
}

int qmp_system_reset(Monitor *monitor, GError **reterr) {
        return qmp_simple(monitor, "system_reset", reterr);
}

int qmp_query_status(Monitor *monitor, QmpStatus *ret_status, GError **reterr) {
        g_autoptr(json_object) result = NULL;

        int r = monitor_call(monitor, "query-status", NULL, NULL, 0, QMP_TIMEOUT_USEC, &result, reterr);
        if (r < 0)
                return r;
        *ret_status = (QmpStatus){
                .running = json_get_bool(result, "running", false),
                .state = qmp_run_state_from_string(json_get_string(result, "status")),
        };
        return 0;
}

int qmp_set_action(Monitor *monitor, const char *reboot, const char *shutdown, GError **reterr) {
        json_object *arguments = json_object_new_object();
        json_add_string(arguments, "reboot", reboot);
        json_add_string(arguments, "shutdown", shutdown);
        return monitor_call(monitor, "set-action", arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
}

int qmp_query_array(Monitor *monitor, const char *command, json_object *arguments, json_object **ret_array,
                    size_t *ret_n, GError **reterr) {
        g_autoptr(json_object) result = NULL;

        int r = monitor_call(monitor, command, arguments, NULL, 0, QMP_TIMEOUT_USEC, &result, reterr);
        if (r < 0)
                return r;
        if (!json_object_is_type(result, json_type_array))
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR,
                                 _("QEMU answered '%s' with something that is not a list"), command);
        *ret_n = MIN(json_object_array_length(result), QMP_MAX_ENTRIES);
        *ret_array = g_steal_pointer(&result);
        return 0;
}

int qmp_query_cpus(Monitor *monitor, QmpCpu **ret_cpus, unsigned *ret_n, GError **reterr) {
        g_autoptr(json_object) array = NULL;
        size_t n = 0;

        int r = qmp_query_array(monitor, "query-cpus-fast", NULL, &array, &n, reterr);
        if (r < 0)
                return r;

        QmpCpu *cpus = g_new0(QmpCpu, n + 1);
        for (size_t i = 0; i < n; i++) {
                json_object *entry = json_object_array_get_idx(array, i);
                cpus[i] = (QmpCpu){
                        .index = (unsigned) json_get_uint64(entry, "cpu-index", i),
                        .thread_id = (pid_t) json_get_int64(entry, "thread-id", 0),
                        .qom_path = g_strdup(json_get_string(entry, "qom-path")),
                };
        }
        *ret_cpus = cpus;
        *ret_n = (unsigned) n;
        return 0;
}

void qmp_cpus_free(QmpCpu *cpus, unsigned n) {
        for (unsigned i = 0; cpus && i < n; i++)
                g_free(cpus[i].qom_path);
        g_free(cpus);
}

/* QEMU's class for a missing balloon is DeviceNotActive; its text says "No balloon device has been activated". */
static int qmp_balloon_error(int r, GError *error, GError **reterr) {
        if (r == -EREMOTEIO && strstr(error->message, "balloon")) {
                g_error_free(error);
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("the domain has no balloon device: add <memballoon model='virtio'/>"));
        }
        g_propagate_error(reterr, error);
        return r;
}

int qmp_query_balloon(Monitor *monitor, uint64_t *ret_actual_bytes, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        GError *error = NULL;

        int r = monitor_call(monitor, "query-balloon", NULL, NULL, 0, QMP_TIMEOUT_USEC, &result, &error);
        if (r < 0)
                return qmp_balloon_error(r, error, reterr);
        *ret_actual_bytes = json_get_uint64(result, "actual", 0);
        return 0;
}

int qmp_balloon(Monitor *monitor, uint64_t bytes, GError **reterr) {
        json_object *arguments = json_add_uint64(json_object_new_object(), "value", bytes);
        GError *error = NULL;

        int r = monitor_call(monitor, "balloon", arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, &error);
        return r < 0 ? qmp_balloon_error(r, error, reterr) : 0;
}

static char *qmp_device_path(const char *alias) {
        return g_strconcat("/machine/peripheral/", alias, NULL);
}

/* The guest reports all ones for what it does not know; QEMU passes that through. */
static uint64_t qmp_balloon_stat(json_object *stats, const char *key) {
        return json_get_uint64(stats, key, UINT64_MAX);
}

int qmp_balloon_stats(Monitor *monitor, const char *alias, QmpBalloonStats *ret_stats, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        g_autofree char *path = qmp_device_path(alias);
        json_object *arguments = json_object_new_object();

        json_add_string(arguments, "path", path);
        json_add_string(arguments, "property", "guest-stats");
        int r = monitor_call(monitor, "qom-get", arguments, NULL, 0, QMP_TIMEOUT_USEC, &result, reterr);
        if (r < 0)
                return r;

        json_object *stats = json_get(result, "stats");
        *ret_stats = (QmpBalloonStats){
                .swap_in = qmp_balloon_stat(stats, "stat-swap-in"),
                .swap_out = qmp_balloon_stat(stats, "stat-swap-out"),
                .major_faults = qmp_balloon_stat(stats, "stat-major-faults"),
                .minor_faults = qmp_balloon_stat(stats, "stat-minor-faults"),
                .free = qmp_balloon_stat(stats, "stat-free-memory"),
                .total = qmp_balloon_stat(stats, "stat-total-memory"),
                .available = qmp_balloon_stat(stats, "stat-available-memory"),
                .disk_caches = qmp_balloon_stat(stats, "stat-disk-caches"),
                .hugetlb_alloc = qmp_balloon_stat(stats, "stat-htlb-pgalloc"),
                .hugetlb_fail = qmp_balloon_stat(stats, "stat-htlb-pgfail"),
                .last_update_sec = json_get_uint64(result, "last-update", 0),
        };
        return 0;
}

int qmp_balloon_set_period(Monitor *monitor, const char *alias, unsigned seconds, GError **reterr) {
        g_autofree char *path = qmp_device_path(alias);
        json_object *arguments = json_object_new_object();

        json_add_string(arguments, "path", path);
        json_add_string(arguments, "property", "guest-stats-polling-interval");
        json_add_uint64(arguments, "value", seconds);
        return monitor_call(monitor, "qom-set", arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
}

int qmp_query_chardevs(Monitor *monitor, QmpChardev **ret_chardevs, unsigned *ret_n, GError **reterr) {
        g_autoptr(json_object) array = NULL;
        size_t n = 0;

        int r = qmp_query_array(monitor, "query-chardev", NULL, &array, &n, reterr);
        if (r < 0)
                return r;

        QmpChardev *chardevs = g_new0(QmpChardev, n + 1);
        for (size_t i = 0; i < n; i++) {
                json_object *entry = json_object_array_get_idx(array, i);
                const char *filename = json_get_string(entry, "filename");
                chardevs[i] = (QmpChardev){
                        .id = g_strdup(json_get_string(entry, "label")),
                        .pty = filename && g_str_has_prefix(filename, "pty:") ? g_strdup(filename + strlen("pty:"))
                                                                              : NULL,
                        .frontend_open = json_get_bool(entry, "frontend-open", false),
                };
        }
        *ret_chardevs = chardevs;
        *ret_n = (unsigned) n;
        return 0;
}

void qmp_chardevs_free(QmpChardev *chardevs, unsigned n) {
        for (unsigned i = 0; chardevs && i < n; i++) {
                g_free(chardevs[i].id);
                g_free(chardevs[i].pty);
        }
        g_free(chardevs);
}

int qmp_set_vnc_password(Monitor *monitor, const char *password, const char *expires, GError **reterr) {
        json_object *arguments = json_object_new_object();
        json_add_string(arguments, "protocol", "vnc");
        json_add_string(arguments, "password", password);
        int r = monitor_call(monitor, "set_password", arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
        if (r < 0)
                return r;

        arguments = json_object_new_object();
        json_add_string(arguments, "protocol", "vnc");
        json_add_string(arguments, "time", expires ?: "never");
        return monitor_call(monitor, "expire_password", arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
}

int qmp_query_vnc_port(Monitor *monitor, unsigned *ret_port, GError **reterr) {
        g_autoptr(json_object) result = NULL;

        int r = monitor_call(monitor, "query-vnc", NULL, NULL, 0, QMP_TIMEOUT_USEC, &result, reterr);
        if (r < 0)
                return r;
        const char *service = json_get_bool(result, "enabled", false) ? json_get_string(result, "service") : NULL;
        guint64 port = 0;
        if (service && !g_ascii_string_to_unsigned(service, 10, 0, UINT16_MAX, &port, NULL))
                port = 0;
        *ret_port = (unsigned) port;
        return 0;
}

int qmp_getfd(Monitor *monitor, const char *name, int fd, GError **reterr) {
        json_object *arguments = json_add_string(json_object_new_object(), "fdname", name);
        return monitor_call(monitor, "getfd", arguments, &fd, 1, QMP_TIMEOUT_USEC, NULL, reterr);
}

int qmp_closefd(Monitor *monitor, const char *name, GError **reterr) {
        json_object *arguments = json_add_string(json_object_new_object(), "fdname", name);
        return monitor_call(monitor, "closefd", arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
}

int qmp_human_monitor_command(Monitor *monitor, const char *line, char **ret_text, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        json_object *arguments = json_add_string(json_object_new_object(), "command-line", line);

        int r = monitor_call(monitor, "human-monitor-command", arguments, NULL, 0, QMP_TIMEOUT_USEC, &result, reterr);
        if (r < 0)
                return r;
        *ret_text = g_strdup(json_object_is_type(result, json_type_string) ? json_object_get_string(result) : "");
        return 0;
}
