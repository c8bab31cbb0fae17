/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Monitor: the client side of a JSON-lines control connection.
 *
 * QEMU's QMP and our own engine's control socket speak the same: requests {"execute","arguments","id"}, replies
 * {"return","id"} or {"error":{"class","desc"},"id"}, events {"event","data","timestamp"}, one object a line (QMP:
 * docs/interop/qmp-spec in QEMU). Messages are bounded to 64 MiB. All calls on the thread of the loop.
 */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct Monitor Monitor;

typedef struct MonitorCallbacks {
        /* An event: data may be NULL and is borrowed. timestamp_usec is the sender's wall clock, 0 if it gave none. */
        void (*event)(Monitor *monitor, const char *name, json_object *data, uint64_t timestamp_usec, void *userdata);
        /* The peer ended the connection or it broke; not called for monitor_close(). Called once, last of all, from the
         * loop. Outstanding calls have already failed. */
        void (*closed)(Monitor *monitor, const GError *reason, void *userdata);
} MonitorCallbacks;

/*
 * Takes over the connected stream socket fd (also on failure). name appears in errors, e.g. "QEMU monitor of domain
 * 'vm1'". callbacks (may be NULL, as may each member) must outlive the monitor.
 */
Monitor *monitor_new(sd_event *event, int fd, const char *name, const MonitorCallbacks *callbacks, void *userdata);
Monitor *monitor_ref(Monitor *monitor);
Monitor *monitor_unref(Monitor *monitor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Monitor, monitor_unref)

/* Waits for a first line {"QMP": {...}} and for qmp_capabilities to be accepted. Fiber. 0 or negative errno. */
int monitor_handshake_qmp(Monitor *monitor, uint64_t timeout_usec, GError **reterr);

/*
 * Sends a command and waits for its reply. Fiber. monitor may be NULL: then, as when it is closed, the answer is
 * -ENOTCONN.
 * @arguments: consumed; may be NULL
 * @fds, @n_fds: passed along with SCM_RIGHTS (not consumed); at most 16
 * @ret_result: the "return" value, owned by the caller; may be NULL
 * Returns 0; -ETIMEDOUT (code OPERATION_TIMEOUT), -ENOTCONN, or -EREMOTEIO when the peer answered with an error: then
 * the code is VIR_ERR_OPERATION_FAILED for QMP's GenericError, VIR_ERR_OPERATION_UNSUPPORTED for CommandNotFound, else
 * what "virt-code" in the error says, and the text is the peer's own "desc".
 */
int monitor_call(Monitor *monitor, const char *command, json_object *arguments, const int *fds, size_t n_fds,
                 uint64_t timeout_usec, json_object **ret_result, GError **reterr);

/* As monitor_call() with a ready request object (consumed), to which an id is added: qemu-monitor-command passes the
 * user's JSON through. Returns the whole reply object, be it "return" or "error". */
int monitor_call_raw(Monitor *monitor, json_object *request, uint64_t timeout_usec, json_object **ret_reply,
                     GError **reterr);

/* Closes the connection; outstanding calls fail with -ENOTCONN. Idempotent. */
void monitor_close(Monitor *monitor);
bool monitor_is_open(const Monitor *monitor);
