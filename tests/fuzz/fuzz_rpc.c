/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "tests/daemon/driver_double.h"
#include "tests/daemon/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Input {
        const uint8_t *data;
        size_t size;
} Input;

/* Reads what the server says and throws it away; false when it has hung up. */
static bool drain(Wire *wire) {
        char bytes[65536];
        for (;;) {
                ssize_t n = recv(wire->fd, bytes, sizeof(bytes), 0);
                if (n <= 0)
                        return n < 0 && errno == EAGAIN;
        }
}

/* The input is what a client sends on an open connection, served by the real server over a driver that only answers. */
static void serve(void *userdata) {
        Input *input = userdata;
        int ends[2];
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
                abort();
        driver_double.console_fd = ends[0];
        while (input->size > 0 && drain(&wire)) {
                ssize_t n = send(wire.fd, input->data, input->size, MSG_NOSIGNAL);
                if (n > 0) {
                        input->data += n;
                        input->size -= (size_t) n;
                } else if (errno != EAGAIN)
                        break;
                fiber_sleep(0);
        }
        shutdown(wire.fd, SHUT_WR);
        while (drain(&wire))
                if (fiber_wait_fd(wire.fd, EPOLLIN, WIRE_TIMEOUT_USEC, NULL) < 0)
                        abort(); /* it has to hang up, too */
        wire_end(&wire);
        fd_close(ends[0]);
        fd_close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input input = { data, size };

        log_set_level(LOG_ERR);
        if (fiber_run("fuzz", serve, &input) != 0)
                abort();
        return 0;
}
