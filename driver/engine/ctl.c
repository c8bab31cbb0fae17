/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/ctl.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/io.h"
#include "driver/base/json.h"

#define CTL_LINE_MAX 65536u
/* bytes that wait for a daemon that does not read; optional events stop at a quarter of it */
#define CTL_QUEUE_MAX (4u << 20)

struct Ctl {
        /* main thread only */
        int fd;
        CtlHandler handler;
        void *userdata;
        GByteArray *input;
        int fds[CTL_FDS_MAX]; /* came with the bytes in input */
        size_t n_fds;
        /* fixed */
        int queue_fd;
        /* under lock */
        pthread_mutex_t lock;
        GString *output;
        bool abandoned;
        unsigned generation; /* of the daemon; fd changes with it, on the main thread */
};

struct CtlCall {
        Ctl *ctl;
        json_object *id;
        unsigned generation; /* whose call it is */
};

Ctl *ctl_new(int fd, CtlHandler handler, void *userdata) {
        Ctl *ctl = g_new0(Ctl, 1);
        ctl->fd = fd;
        ctl->handler = handler;
        ctl->userdata = userdata;
        ctl->input = g_byte_array_new();
        ctl->output = g_string_new(NULL);
        ctl->queue_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        pthread_mutex_init(&ctl->lock, NULL);
        (void) fd_set_nonblock(fd, true);
        return ctl;
}

/* Forgets the first n descriptors; what a handler did not take is closed. */
static void drop_fds(Ctl *ctl, size_t n) {
        for (size_t i = 0; i < n; i++)
                fd_close(ctl->fds[i]);
        memmove(ctl->fds, ctl->fds + n, (ctl->n_fds - n) * sizeof(int));
        ctl->n_fds -= n;
}

Ctl *ctl_free(Ctl *ctl) {
        if (!ctl)
                return NULL;
        drop_fds(ctl, ctl->n_fds);
        fd_close(ctl->fd);
        fd_close(ctl->queue_fd);
        g_byte_array_unref(ctl->input);
        g_string_free(ctl->output, TRUE);
        pthread_mutex_destroy(&ctl->lock);
        g_free(ctl);
        return NULL;
}

int ctl_fd(const Ctl *ctl) {
        return ctl->fd;
}

int ctl_queue_fd(const Ctl *ctl) {
        return ctl->queue_fd;
}

bool ctl_wants_write(Ctl *ctl) {
        pthread_mutex_lock(&ctl->lock);
        bool wants = ctl->output->len > 0;
        pthread_mutex_unlock(&ctl->lock);
        return wants;
}

/* call: what it answers, NULL if nothing. */
static void queue(Ctl *ctl, const CtlCall *call, json_object *message, bool optional) {
        const char *line = json_line(message);
        pthread_mutex_lock(&ctl->lock);
        bool wanted = !ctl->abandoned && (!call || call->generation == ctl->generation);
        if (wanted && ctl->output->len < (optional ? CTL_QUEUE_MAX / 4 : CTL_QUEUE_MAX)) {
                g_string_append(ctl->output, line);
                g_string_append_c(ctl->output, '\n');
                (void) eventfd_write(ctl->queue_fd, 1);
        }
        pthread_mutex_unlock(&ctl->lock);
        json_object_put(message);
}

void ctl_reply(CtlCall *call, json_object *result) {
        json_object *message = json_object_new_object();
        json_add(message, "return", result ?: json_object_new_object());
        json_add(message, "id", g_steal_pointer(&call->id));
        queue(call->ctl, call, message, false);
        g_free(call);
}

void ctl_reply_error(CtlCall *call, const GError *error) {
        json_object *failure = json_object_new_object();
        json_add_string(failure, "class", "GenericError");
        json_add_string(failure, "desc", error->message);
        json_add_int64(failure, "virt-code", error_code(error));
        json_object *message = json_object_new_object();
        json_add(message, "error", failure);
        json_add(message, "id", g_steal_pointer(&call->id));
        queue(call->ctl, call, message, false);
        g_free(call);
}

void ctl_event(Ctl *ctl, const char *name, json_object *data, bool optional) {
        uint64_t now = clock_realtime_usec();
        json_object *timestamp = json_object_new_object();
        json_add_uint64(timestamp, "seconds", now / USEC_PER_SEC);
        json_add_uint64(timestamp, "microseconds", now % USEC_PER_SEC);
        json_object *message = json_object_new_object();
        json_add_string(message, "event", name);
        json_add(message, "data", data);
        json_add(message, "timestamp", timestamp);
        queue(ctl, NULL, message, optional);
}

bool ctl_peer_gone(Ctl *ctl) {
        pthread_mutex_lock(&ctl->lock);
        struct pollfd pollfd = { .fd = ctl->fd, .events = POLLRDHUP };
        bool gone = ctl->abandoned || (poll(&pollfd, 1, 0) > 0 && (pollfd.revents & (POLLRDHUP | POLLHUP | POLLERR)));
        pthread_mutex_unlock(&ctl->lock);
        return gone;
}

void ctl_wake(Ctl *ctl) {
        (void) eventfd_write(ctl->queue_fd, 1);
}

static int handle_line(Ctl *ctl, const char *line, size_t length) {
        g_autoptr(json_object) request = json_parse(line, length, NULL);
        const char *command = json_get_string(request, "execute");
        if (!command)
                return -EPROTO;
        CtlCall *call = g_new0(CtlCall, 1);
        call->ctl = ctl;
        call->generation = ctl->generation;
        json_object *id = json_get(request, "id");
        call->id = id ? json_object_get(id) : NULL;
        json_object *arguments = json_get(request, "arguments");
        /* One read may bring several lines: each says how many of the descriptors are its own. */
        size_t n_fds = MIN(json_get_uint64(arguments, "fds", 0), ctl->n_fds);
        ctl->handler(call, command, arguments, ctl->fds, n_fds, ctl->userdata);
        drop_fds(ctl, n_fds);
        return 0;
}

int ctl_read(Ctl *ctl) {
        char buffer[16384];
        int fds[CTL_FDS_MAX];
        size_t n_fds = 0;
        ssize_t n = fd_recv_with_fds(ctl->fd, buffer, sizeof(buffer), fds, CTL_FDS_MAX, &n_fds);
        if (n == -EAGAIN || n == -EINTR)
                return 0;
        if (n <= 0)
                return n == 0 ? -ENODATA : (int) n;
        for (size_t i = 0; i < n_fds; i++)
                if (ctl->n_fds < CTL_FDS_MAX)
                        ctl->fds[ctl->n_fds++] = fds[i];
                else
                        fd_close(fds[i]);
        g_byte_array_append(ctl->input, (guint8 *) buffer, (guint) n);

        guint8 *end;
        while ((end = memchr(ctl->input->data, '\n', ctl->input->len))) {
                size_t length = (size_t) (end - ctl->input->data);
                int r = handle_line(ctl, (char *) ctl->input->data, length);
                if (r < 0)
                        return r;
                g_byte_array_remove_range(ctl->input, 0, (guint) length + 1);
        }
        return ctl->input->len > CTL_LINE_MAX ? -EMSGSIZE : 0;
}

int ctl_flush(Ctl *ctl) {
        eventfd_t ignored;
        (void) eventfd_read(ctl->queue_fd, &ignored);

        int r = 0;
        pthread_mutex_lock(&ctl->lock);
        while (ctl->output->len > 0) {
                ssize_t n = send(ctl->fd, ctl->output->str, ctl->output->len, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0) {
                        r = errno == EAGAIN || errno == EINTR ? 0 : -errno;
                        break;
                }
                g_string_erase(ctl->output, 0, n);
        }
        pthread_mutex_unlock(&ctl->lock);
        return r;
}

void ctl_abandon(Ctl *ctl) {
        pthread_mutex_lock(&ctl->lock);
        ctl->abandoned = true;
        g_string_truncate(ctl->output, 0);
        pthread_mutex_unlock(&ctl->lock);
}

void ctl_attach(Ctl *ctl, int fd) {
        (void) fd_set_nonblock(fd, true);
        drop_fds(ctl, ctl->n_fds);
        g_byte_array_set_size(ctl->input, 0);
        pthread_mutex_lock(&ctl->lock);
        fd_close(ctl->fd);
        ctl->fd = fd;
        ctl->abandoned = false;
        ctl->generation++;
        g_string_truncate(ctl->output, 0);
        pthread_mutex_unlock(&ctl->lock);
}
