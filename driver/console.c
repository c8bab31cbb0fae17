/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/console.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"

#define PIPE_BYTES 16384

/* One direction: what was read from one side waits here until the other takes it, and nothing more is read until
 * then. */
typedef struct Pipe {
        char data[PIPE_BYTES];
        size_t start, end;
} Pipe;

typedef enum Side {
        SIDE_DEVICE,
        SIDE_CLIENT,
        _SIDE_MAX,
} Side;

struct Console {
        int fds[_SIDE_MAX];
        sd_event_source *sources[_SIDE_MAX];
        Pipe from[_SIDE_MAX]; /* what that side wrote */
        void (*ended)(Console *console, void *userdata);
        void *userdata;
        ino_t client; /* inode of the client's end */
};

bool console_is_client(const Console *console, int fd) {
        struct stat st;

        return fstat(fd, &st) >= 0 && st.st_ino == console->client;
}

Console *console_free(Console *console) {
        if (!console)
                return NULL;
        for (Side side = 0; side < _SIDE_MAX; side++) {
                sd_event_source_disable_unref(console->sources[side]);
                fd_close(console->fds[side]);
        }
        g_free(console);
        return NULL;
}

/* Moves bytes from one side to the other as far as both go. Negative: one is gone. */
static int move(Console *console, Side from, Side to) {
        Pipe *pipe = &console->from[from];

        for (;;) {
                ssize_t n;

                if (pipe->start == pipe->end) {
                        n = read(console->fds[from], pipe->data, sizeof(pipe->data));
                        if (n == 0)
                                return -EPIPE;
                        if (n < 0)
                                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
                        pipe->start = 0;
                        pipe->end = (size_t) n;
                }
                n = write(console->fds[to], pipe->data + pipe->start, pipe->end - pipe->start);
                if (n < 0)
                        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
                pipe->start += (size_t) n;
        }
}

static void watch(Console *console) {
        for (Side side = 0; side < _SIDE_MAX; side++) {
                const Pipe *in = &console->from[side], *out = &console->from[!side];
                uint32_t events = (in->start == in->end ? EPOLLIN : 0u) | (out->start < out->end ? EPOLLOUT : 0u);

                sd_event_source_set_io_events(console->sources[side], events);
        }
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Console *console = userdata;

        if (move(console, SIDE_DEVICE, SIDE_CLIENT) < 0 || move(console, SIDE_CLIENT, SIDE_DEVICE) < 0) {
                sd_event_source_set_enabled(console->sources[SIDE_DEVICE], SD_EVENT_OFF);
                sd_event_source_set_enabled(console->sources[SIDE_CLIENT], SD_EVENT_OFF);
                console->ended(console, console->userdata);
                return 0;
        }
        watch(console);
        return 0;
}

int console_new(sd_event *event, int device_fd, void (*ended)(Console *console, void *userdata), void *userdata,
                Console **ret_console, int *ret_client_fd, GError **reterr) {
        _cleanup_fd_ int device = device_fd, client = -EBADF;
        Console *console;
        struct stat st;
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return error_set_errno(reterr, errno, _("cannot make a socket pair for the console"));
        client = pair[0];
        if (fstat(client, &st) < 0) {
                fd_close(pair[1]);
                return error_set_errno(reterr, errno, _("cannot make a socket pair for the console"));
        }
        console = g_new0(Console, 1);
        console->client = st.st_ino;
        console->fds[SIDE_DEVICE] = FD_STEAL(device);
        console->fds[SIDE_CLIENT] = pair[1];
        console->ended = ended;
        console->userdata = userdata;
        for (Side side = 0; side < _SIDE_MAX; side++) {
                int r = sd_event_add_io(event, &console->sources[side], console->fds[side], EPOLLIN, on_io, console);

                if (r < 0) {
                        console_free(console);
                        return error_set_errno(reterr, r, _("cannot watch the console"));
                }
        }
        *ret_console = console;
        *ret_client_fd = FD_STEAL(client);
        return 0;
}
