/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * One descriptor, two queues. Requests are written as one line each, with their descriptors on the line's first byte;
 * what the socket does not take at once waits in `output`. Input is cut at newlines; a line is a greeting, an event, or
 * the reply to the request whose id it carries. A caller waits in its fiber on its own PendingCall, so replies may come
 * in any order. When the connection ends, every pending call fails first, then the owner hears of it.
 */

#include "driver/base/monitor.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <fcntl.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"

#define MONITOR_LINE_MAX (64u * 1024 * 1024)
#define MONITOR_FDS_MAX 16
#define MONITOR_READ_BYTES 65536

typedef struct Output {
        char *line;
        size_t length, sent;
        int fds[MONITOR_FDS_MAX];
        size_t n_fds;
} Output;

typedef struct PendingCall {
        FiberCond cond;
        json_object *reply;
        bool gone; /* the connection ended first */
} PendingCall;

struct Monitor {
        unsigned refs;
        sd_event *event;
        sd_event_source *io;
        int fd;
        char *name;
        const MonitorCallbacks *callbacks;
        void *userdata;
        GByteArray *input;
        size_t scanned;   /* input up to here holds no newline */
        GQueue output;    /* of Output */
        GHashTable *calls; /* id -> PendingCall, on the callers' stacks */
        uint64_t next_id;
        json_object *greeting;
        FiberCond greeting_cond;
        GError *reason; /* why it ended */
};

static void output_free(Output *output) {
        for (size_t i = 0; i < output->n_fds; i++)
                fd_close(output->fds[i]);
        g_free(output->line);
        g_free(output);
}

Monitor *monitor_ref(Monitor *monitor) {
        monitor->refs++;
        return monitor;
}

Monitor *monitor_unref(Monitor *monitor) {
        if (!monitor || --monitor->refs > 0)
                return NULL;
        monitor_close(monitor);
        g_hash_table_unref(monitor->calls);
        g_byte_array_unref(monitor->input);
        json_object_put(monitor->greeting);
        g_clear_error(&monitor->reason);
        sd_event_unref(monitor->event);
        g_free(monitor->name);
        g_free(monitor);
        return NULL;
}

static void monitor_drop(Monitor *monitor) {
        GHashTableIter iter;
        gpointer value;

        monitor->io = sd_event_source_disable_unref(monitor->io);
        monitor->fd = fd_close(monitor->fd);
        g_queue_clear_full(&monitor->output, (GDestroyNotify) output_free);
        g_hash_table_iter_init(&iter, monitor->calls);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                PendingCall *call = value;

                call->gone = true;
                fiber_cond_broadcast(&call->cond);
        }
        g_hash_table_remove_all(monitor->calls);
        fiber_cond_broadcast(&monitor->greeting_cond);
}

void monitor_close(Monitor *monitor) {
        if (monitor && monitor->fd >= 0)
                monitor_drop(monitor);
}

bool monitor_is_open(const Monitor *monitor) {
        return monitor->fd >= 0;
}

/* The peer or the transport ended it. Consumes reason. */
static void monitor_fail(Monitor *monitor, GError *reason) {
        g_autoptr(Monitor) keep = monitor_ref(monitor);

        g_clear_error(&monitor->reason);
        monitor->reason = reason;
        log_debug("%s: closed: %s", monitor->name, reason->message);
        monitor_drop(monitor);
        if (monitor->callbacks && monitor->callbacks->closed)
                monitor->callbacks->closed(monitor, monitor->reason, monitor->userdata);
}

static void monitor_event(Monitor *monitor, const char *name, json_object *line) {
        json_object *stamp = json_get(line, "timestamp");
        uint64_t usec = 0;

        if (stamp)
                usec = json_get_uint64(stamp, "seconds", 0) * 1000000 + json_get_uint64(stamp, "microseconds", 0);
        if (monitor->callbacks && monitor->callbacks->event)
                monitor->callbacks->event(monitor, name, json_get(line, "data"), usec, monitor->userdata);
}

static void monitor_line(Monitor *monitor, const char *text, size_t length) {
        g_autoptr(json_object) line = NULL;
        g_autoptr(GError) error = NULL;
        const char *name;

        if (length == 0 || (length == 1 && *text == '\r'))
                return;
        log_debug("%s: < %.*s", monitor->name, (int) MIN(length, 2000), text);
        line = json_parse(text, length, &error);
        if (!line) {
                g_prefix_error(&error, _("%s sent a line that cannot be read: "), monitor->name);
                monitor_fail(monitor, g_steal_pointer(&error));
                return;
        }
        name = json_get_string(line, "event");
        if (name) {
                monitor_event(monitor, name, line);
        } else if (json_get(line, "QMP")) {
                json_object_put(monitor->greeting);
                monitor->greeting = g_steal_pointer(&line);
                fiber_cond_broadcast(&monitor->greeting_cond);
        } else {
                uint64_t id = json_get_uint64(line, "id", 0);
                PendingCall *call = g_hash_table_lookup(monitor->calls, &id);

                /* A reply that nobody waits for any more belongs to a call that timed out. */
                if (!call)
                        return;
                call->reply = g_steal_pointer(&line);
                g_hash_table_remove(monitor->calls, &id);
                fiber_cond_broadcast(&call->cond);
        }
}

static void monitor_read(Monitor *monitor) {
        guint before = monitor->input->len;
        GError *error = NULL;
        ssize_t n;

        g_byte_array_set_size(monitor->input, before + MONITOR_READ_BYTES);
        n = read(monitor->fd, monitor->input->data + before, MONITOR_READ_BYTES);
        g_byte_array_set_size(monitor->input, before + (guint) MAX(n, 0));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                if (n < 0 && errno != ECONNRESET)
                        error_set_errno(&error, errno, _("cannot read from %s"), monitor->name);
                else
                        error_set(&error, VIR_ERR_OPERATION_FAILED, _("%s has closed the connection"), monitor->name);
                monitor_fail(monitor, error);
                return;
        }
        while (monitor->fd >= 0) {
                guint8 *start = monitor->input->data;
                guint8 *newline = NULL;

                if (monitor->input->len > monitor->scanned)
                        newline = memchr(start + monitor->scanned, '\n', monitor->input->len - monitor->scanned);
                if (!newline)
                        break;
                monitor_line(monitor, (char *) start, (size_t) (newline - start));
                g_byte_array_remove_range(monitor->input, 0, (guint) (newline - start) + 1);
                monitor->scanned = 0;
        }
        monitor->scanned = monitor->input->len;
        if (monitor->fd >= 0 && monitor->input->len > MONITOR_LINE_MAX) {
                error_set(&error, VIR_ERR_INTERNAL_ERROR, _("%s sent a line of more than %u bytes"), monitor->name,
                          MONITOR_LINE_MAX);
                monitor_fail(monitor, error);
        }
}

static void monitor_write(Monitor *monitor) {
        Output *output;

        while ((output = g_queue_peek_head(&monitor->output))) {
                ssize_t n = fd_send_with_fds(monitor->fd, output->line + output->sent, output->length - output->sent,
                                             output->fds, output->sent == 0 ? output->n_fds : 0);

                if (n == -EAGAIN)
                        break;
                if (n < 0) {
                        GError *error = NULL;

                        error_set_errno(&error, (int) n, _("cannot write to %s"), monitor->name);
                        monitor_fail(monitor, error);
                        return;
                }
                output->sent += (size_t) n;
                if (output->sent == output->length)
                        output_free(g_queue_pop_head(&monitor->output));
        }
        sd_event_source_set_io_events(monitor->io, EPOLLIN | (output ? EPOLLOUT : 0));
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        g_autoptr(Monitor) monitor = monitor_ref(userdata);

        if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
                monitor_read(monitor);
        if (monitor->fd >= 0 && (revents & EPOLLOUT))
                monitor_write(monitor);
        return 0;
}

Monitor *monitor_new(sd_event *event, int fd, const char *name, const MonitorCallbacks *callbacks, void *userdata) {
        Monitor *monitor = g_new0(Monitor, 1);

        fd_set_nonblock(fd, true);
        monitor->refs = 1;
        monitor->fd = fd;
        monitor->event = sd_event_ref(event);
        monitor->name = g_strdup(name);
        monitor->callbacks = callbacks;
        monitor->userdata = userdata;
        monitor->input = g_byte_array_new();
        monitor->calls = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        monitor->next_id = 1;
        g_queue_init(&monitor->output);
        if (sd_event_add_io(event, &monitor->io, fd, EPOLLIN, on_io, monitor) < 0)
                return monitor_unref(monitor);
        sd_event_source_set_description(monitor->io, monitor->name);
        return monitor;
}

static int monitor_gone(Monitor *monitor, GError **reterr) {
        error_set(reterr, VIR_ERR_OPERATION_FAILED, "%s",
                  monitor && monitor->reason ? monitor->reason->message : _("the connection was closed"));
        return -ENOTCONN;
}

static int monitor_exchange(Monitor *monitor, json_object *request, const int *fds, size_t n_fds, uint64_t timeout_usec,
                     json_object **ret_reply, GError **reterr) {
        g_autoptr(Monitor) keep = monitor ? monitor_ref(monitor) : NULL;
        g_autoptr(json_object) owned = request;
        const char *command = json_get_string(request, "execute");
        PendingCall call = { 0 };
        Output *output = NULL;
        uint64_t *id = NULL;
        int r = 0;

        if (!monitor || monitor->fd < 0)
                return monitor_gone(monitor, reterr);
        id = g_new(uint64_t, 1);
        *id = monitor->next_id++;
        json_add_uint64(owned, "id", *id);
        output = g_new0(Output, 1);
        output->line = g_strconcat(json_line(owned), "\n", NULL);
        output->length = strlen(output->line);
        for (size_t i = 0; i < MIN(n_fds, MONITOR_FDS_MAX); i++) {
                output->fds[output->n_fds] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
                if (output->fds[output->n_fds] < 0) {
                        r = error_set_errno(reterr, errno, _("cannot pass a descriptor to %s"), monitor->name);
                        output_free(output);
                        g_free(id);
                        return r;
                }
                output->n_fds++;
        }
        log_debug("%s: > %s", monitor->name, json_line(owned));
        g_hash_table_insert(monitor->calls, id, &call);
        g_queue_push_tail(&monitor->output, output);
        monitor_write(monitor);
        while (!call.reply && !call.gone && r >= 0)
                r = fiber_cond_wait(&call.cond, timeout_usec);
        /* An answer from a peer that has ended since is no answer: the caller would go on with what is gone. */
        if (call.reply && monitor->fd >= 0) {
                *ret_reply = call.reply;
                return 0;
        }
        json_object_put(call.reply);
        if (call.gone || monitor->fd < 0)
                return monitor_gone(monitor, reterr);
        g_hash_table_remove(monitor->calls, id);
        if (r == -ETIMEDOUT)
                error_set(reterr, VIR_ERR_OPERATION_TIMEOUT, _("%s did not answer '%s' within %.1f s"), monitor->name,
                          command ? command : "?", (double) timeout_usec / 1e6);
        else
                error_set_errno(reterr, r, _("cannot wait for %s"), monitor->name);
        return r;
}

int monitor_call_raw(Monitor *monitor, json_object *request, uint64_t timeout_usec, json_object **ret_reply,
                     GError **reterr) {
        return monitor_exchange(monitor, request, NULL, 0, timeout_usec, ret_reply, reterr);
}

static int monitor_reply_error(json_object *failure, GError **reterr) {
        const char *class = json_get_string(failure, "class");
        const char *text = json_get_string(failure, "desc");
        virErrorNumber code = (virErrorNumber) json_get_int64(failure, "virt-code", VIR_ERR_OPERATION_FAILED);

        if (g_strcmp0(class, "CommandNotFound") == 0)
                code = VIR_ERR_OPERATION_UNSUPPORTED;
        error_set(reterr, code, "%s", text ? text : _("the peer gave no reason"));
        return -EREMOTEIO;
}

int monitor_call(Monitor *monitor, const char *command, json_object *arguments, const int *fds, size_t n_fds,
                 uint64_t timeout_usec, json_object **ret_result, GError **reterr) {
        g_autoptr(json_object) reply = NULL;
        json_object *request = json_object_new_object(), *failure;
        int r;

        json_add_string(request, "execute", command);
        json_add(request, "arguments", arguments);
        r = monitor_exchange(monitor, request, fds, n_fds, timeout_usec, &reply, reterr);
        if (r < 0)
                return r;
        failure = json_get(reply, "error");
        if (failure)
                return monitor_reply_error(failure, reterr);
        if (ret_result)
                *ret_result = json_object_get(json_get(reply, "return"));
        return 0;
}

int monitor_handshake_qmp(Monitor *monitor, uint64_t timeout_usec, GError **reterr) {
        int r = 0;

        while (!monitor->greeting && monitor->fd >= 0 && r >= 0)
                r = fiber_cond_wait(&monitor->greeting_cond, timeout_usec);
        if (monitor->fd < 0)
                return monitor_gone(monitor, reterr);
        if (r < 0) {
                error_set(reterr, VIR_ERR_OPERATION_TIMEOUT, _("%s sent no greeting within %.1f s"), monitor->name,
                          (double) timeout_usec / 1e6);
                return r;
        }
        return monitor_call(monitor, "qmp_capabilities", NULL, NULL, 0, timeout_usec, NULL, reterr);
}
