/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/qemu/qmp_mirror.h"

#include <errno.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/qemu/qmp.h"

#define JOBS_MAX 4096

static int call(Monitor *monitor, const char *command, json_object *arguments, GError **reterr) {
        return monitor_call(monitor, command, arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
}

/* QAPI SocketAddress (flat) or SocketAddressLegacy (nbd-server-start: type and data). */
static json_object *address_to_json(const QmpNbdAddress *address, bool legacy) {
        json_object *object = json_object_new_object(), *data = legacy ? json_object_new_object() : object;

        json_add_string(object, "type", address->unix_path ? "unix" : "inet");
        if (address->unix_path)
                json_add_string(data, "path", address->unix_path);
        else {
                g_autofree char *port = g_strdup_printf("%u", address->port);

                json_add_string(data, "host", address->host);
                json_add_string(data, "port", port);
        }
        if (legacy)
                json_add(object, "data", data);
        return object;
}

int qmp_nbd_server_start(Monitor *monitor, const QmpNbdAddress *address, unsigned max_connections, GError **reterr) {
        json_object *arguments = json_add(json_object_new_object(), "addr", address_to_json(address, true));

        json_add_uint64(arguments, "max-connections", max_connections);
        return call(monitor, "nbd-server-start", arguments, reterr);
}

int qmp_nbd_server_stop(Monitor *monitor, GError **reterr) {
        g_autoptr(GError) error = NULL;
        int r = call(monitor, "nbd-server-stop", NULL, &error);

        if (r < 0 && strstr(error->message, "not running"))
                return 0;
        if (r < 0)
                g_propagate_error(reterr, g_steal_pointer(&error));
        return r;
}

int qmp_nbd_export(Monitor *monitor, const char *node, const char *name, GError **reterr) {
        g_autofree char *id = g_strdup_printf("ferry-%s", name);
        json_object *arguments = json_add_string(json_object_new_object(), "type", "nbd");

        json_add_string(arguments, "id", id);
        json_add_string(arguments, "node-name", node);
        json_add_string(arguments, "name", name);
        json_add_bool(arguments, "writable", true);
        return call(monitor, "block-export-add", arguments, reterr);
}

static json_object *client_node(const QmpMirrorArgs *args) {
        json_object *node = json_add_string(json_object_new_object(), "driver", "nbd");

        json_add_string(node, "node-name", args->job);
        json_add(node, "server", address_to_json(&args->address, false));
        json_add_string(node, "export", args->name);
        json_add_string(node, "discard", "unmap");
        return node;
}

static int delete_node(Monitor *monitor, const char *node, GError **reterr) {
        return call(monitor, "blockdev-del", json_add_string(json_object_new_object(), "node-name", node), reterr);
}

int qmp_mirror_start(Monitor *monitor, const QmpMirrorArgs *args, GError **reterr) {
        json_object *arguments = json_object_new_object();
        int r;

        r = call(monitor, "blockdev-add", client_node(args), reterr);
        if (r < 0) {
                json_object_put(arguments);
                return r;
        }
        json_add_string(arguments, "job-id", args->job);
        json_add_string(arguments, "device", args->node);
        json_add_string(arguments, "target", args->job);
        json_add_string(arguments, "sync", args->top_only ? "top" : "full");
        json_add_string(arguments, "copy-mode", args->synchronous ? "write-blocking" : "background");
        json_add_uint64(arguments, "speed", args->speed_bytes_per_sec);
        json_add_bool(arguments, "auto-dismiss", false); /* else its error would be lost with it */
        r = call(monitor, "blockdev-mirror", arguments, reterr);
        if (r < 0)
                (void) delete_node(monitor, args->job, NULL);
        return r;
}

int qmp_query_mirrors(Monitor *monitor, QmpMirror **ret_mirrors, unsigned *ret_n, GError **reterr) {
        g_autoptr(json_object) jobs = NULL;
        unsigned n = 0;
        int r;

        r = monitor_call(monitor, "query-jobs", NULL, NULL, 0, QMP_TIMEOUT_USEC, &jobs, reterr);
        if (r < 0)
                return r;
        if (!json_object_is_type(jobs, json_type_array))
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR,
                                 _("QEMU answered '%s' with something that is not a list"), "query-jobs");
        size_t all = MIN(json_object_array_length(jobs), JOBS_MAX);
        QmpMirror *mirrors = g_new0(QmpMirror, all + 1);
        for (size_t i = 0; i < all; i++) {
                json_object *job = json_object_array_get_idx(jobs, i);
                const char *status = json_get_string(job, "status");

                if (g_strcmp0(json_get_string(job, "type"), "mirror") != 0)
                        continue;
                mirrors[n++] = (QmpMirror){
                        .job = g_strdup(json_get_string(job, "id")),
                        .error = g_strdup(json_get_string(job, "error")),
                        .ready = g_strcmp0(status, "ready") == 0,
                        .ended = g_strcmp0(status, "concluded") == 0,
                        .done_bytes = json_get_uint64(job, "current-progress", 0),
                        .total_bytes = json_get_uint64(job, "total-progress", 0),
                };
        }
        *ret_mirrors = mirrors;
        *ret_n = n;
        return 0;
}

void qmp_mirrors_free(QmpMirror *mirrors, unsigned n) {
        for (unsigned i = 0; mirrors && i < n; i++) {
                g_free(mirrors[i].job);
                g_free(mirrors[i].error);
        }
        g_free(mirrors);
}

int qmp_mirror_set_speed(Monitor *monitor, const char *job, uint64_t bytes_per_sec, GError **reterr) {
        json_object *arguments = json_add_string(json_object_new_object(), "device", job);

        json_add_uint64(arguments, "speed", bytes_per_sec);
        return call(monitor, "block-job-set-speed", arguments, reterr);
}

int qmp_mirror_end(Monitor *monitor, const char *job, bool force, GError **reterr) {
        json_object *arguments = json_add_string(json_object_new_object(), "device", job);

        json_add_bool(arguments, "force", force);
        return call(monitor, "block-job-cancel", arguments, reterr);
}

int qmp_mirror_disconnect(Monitor *monitor, const char *job, GError **reterr) {
        json_object *instance = json_add_string(json_object_new_object(), "type", "block-node");
        json_object *instances = json_object_new_array();

        json_object_array_add(instances, json_add_string(instance, "node-name", job));
        return call(monitor, "yank", json_add(json_object_new_object(), "instances", instances), reterr);
}

int qmp_mirror_dismiss(Monitor *monitor, const char *job, GError **reterr) {
        int r = call(monitor, "job-dismiss", json_add_string(json_object_new_object(), "id", job), reterr);

        return r < 0 ? r : delete_node(monitor, job, reterr);
}
