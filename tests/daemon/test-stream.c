/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/stream.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <libvirt/virterror.h>

#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "tests/daemon/driver_double.h"
#include "tests/daemon/wire.h"

typedef struct Console {
        Wire wire;
        int guest; /* the far end of the descriptor */
        uint32_t serial;
} Console;

static void console_begin(Console *console) {
        remote_domain_open_console_args args = { .dom = wire_domain() };
        int ends[2];

        wire_begin_open(&console->wire, NULL, false);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
        driver_double.console_fd = ends[0];
        console->serial = console->wire.serial;
        wire_call_ok(&console->wire, REMOTE_PROC_DOMAIN_OPEN_CONSOLE, WIRE_XDR(remote_domain_open_console_args), &args,
                     NULL, NULL);
        fd_close(ends[0]);
        console->guest = ends[1];
}

static void console_end(Console *console) {
        fd_close(console->guest);
        wire_end(&console->wire);
        assert_int_equal(driver_double.n_consoles_closed, 1);
}

static FrameHeader stream_header(const Console *console, uint32_t type, uint32_t status) {
        return (FrameHeader) {
                .prog = REMOTE_PROGRAM,
                .vers = 1,
                .proc = REMOTE_PROC_DOMAIN_OPEN_CONSOLE,
                .type = type,
                .serial = console->serial,
                .status = status,
        };
}

static void client_says(Console *console, uint32_t status, const void *data, size_t length) {
        FrameHeader header = stream_header(console, VIR_NET_STREAM, status);
        g_autoptr(Frame) frame = frame_new_bytes(&header, data, length);
        wire_send_bytes(&console->wire, frame->data, frame->length);
}

static Frame *client_hears(Console *console, uint32_t status) {
        Frame *frame = wire_receive(&console->wire);
        assert_non_null(frame);
        assert_int_equal(frame->header.type, VIR_NET_STREAM);
        assert_int_equal(frame->header.proc, REMOTE_PROC_DOMAIN_OPEN_CONSOLE);
        assert_int_equal(frame->header.serial, console->serial);
        assert_int_equal(frame->header.status, status);
        return frame;
}

/* Reads exactly length bytes at the guest's end. */
static void guest_hears(Console *console, void *data, size_t length) {
        while (length > 0) {
                ssize_t n = recv(console->guest, data, length, 0);
                if (n < 0) {
                        assert_int_equal(errno, EAGAIN);
                        assert_int_equal(fiber_wait_fd(console->guest, EPOLLIN, WIRE_TIMEOUT_USEC, NULL), 0);
                        continue;
                }
                assert_true(n > 0);
                data = (char *) data + n;
                length -= (size_t) n;
        }
}

static void both_ways(void *userdata) {
        Console console;
        char text[8];

        console_begin(&console);
        client_says(&console, VIR_NET_CONTINUE, "root\n", 5);
        guest_hears(&console, text, 5);
        assert_memory_equal(text, "root\n", 5);
        assert_int_equal(send(console.guest, "# ", 2, 0), 2);
        g_autoptr(Frame) frame = client_hears(&console, VIR_NET_CONTINUE);
        assert_int_equal(frame->length, FRAME_HEADER_BYTES + 2);
        /* The client leaves, as virsh does: it finishes and waits for the answer. */
        client_says(&console, VIR_NET_OK, NULL, 0);
        g_autoptr(Frame) bye = client_hears(&console, VIR_NET_OK);
        assert_int_equal(bye->length, FRAME_HEADER_BYTES);
        double_wait(&driver_double.n_consoles_closed, 1);
        console_end(&console);
}

static void guest_ends(void *userdata) {
        Console console;

        console_begin(&console);
        assert_int_equal(send(console.guest, "bye", 3, 0), 3);
        console.guest = fd_close(console.guest);
        g_autoptr(Frame) data = client_hears(&console, VIR_NET_CONTINUE);
        assert_int_equal(data->length, FRAME_HEADER_BYTES + 3);
        g_autoptr(Frame) end = client_hears(&console, VIR_NET_CONTINUE);
        assert_int_equal(end->length, FRAME_HEADER_BYTES);
        client_says(&console, VIR_NET_CONTINUE, "lost", 4);
        client_says(&console, VIR_NET_OK, NULL, 0);
        g_autoptr(Frame) bye = client_hears(&console, VIR_NET_OK);
        console_end(&console);
}

static void client_aborts(void *userdata) {
        Console console;

        console_begin(&console);
        client_says(&console, VIR_NET_ERROR, NULL, 0);
        g_autoptr(Frame) frame = client_hears(&console, VIR_NET_OK);
        console_end(&console);
}

static void unexpected_frames(void *userdata) {
        static const FrameHeader cases[] = {
                { .type = VIR_NET_STREAM, .status = 7 },
                { .type = VIR_NET_STREAM_HOLE, .status = VIR_NET_CONTINUE },
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Console console;
                console_begin(&console);
                FrameHeader header = stream_header(&console, cases[i].type, cases[i].status);
                wire_send(&console.wire, &header, NULL, NULL);
                g_autoptr(Frame) frame = client_hears(&console, VIR_NET_ERROR);
                virNetMessageError error = wire_error(frame);
                wire_error_clear(&error);
                console_end(&console);
        }
}

/* A guest that takes nothing: the client is held up, nothing piles up, nothing is lost. */
static void flow_to_guest(void *userdata) {
        Console console;
        const size_t total = 4 * 1024 * 1024, piece = 64 * 1024;
        g_autofree uint8_t *data = g_malloc(piece);
        size_t sent = 0, heard = 0;

        console_begin(&console);
        memset(data, 'z', piece);
        FrameHeader header = stream_header(&console, VIR_NET_STREAM, VIR_NET_CONTINUE);
        g_autoptr(Frame) frame = frame_new_bytes(&header, data, piece);
        /* Send until the socket is full, with all turns the server needs. */
        size_t offset = 0;
        for (unsigned idle = 0; idle < 50 && sent < total;) {
                ssize_t n = send(console.wire.fd, frame->data + offset, frame->length - offset, MSG_NOSIGNAL);
                if (n > 0) {
                        idle = 0;
                        offset += (size_t) n;
                        if (offset == frame->length) {
                                offset = 0;
                                sent += piece;
                        }
                } else
                        idle++;
                fiber_sleep(0);
        }
        assert_true(sent < total); /* it was held up */

        /* The guest reads: all that was sent arrives, and the rest of the frame that was cut. */
        while (heard < sent) {
                guest_hears(&console, data, piece);
                heard += piece;
        }
        if (offset > 0) {
                wire_send_bytes(&console.wire, frame->data + offset, frame->length - offset);
                guest_hears(&console, data, piece);
        }
        console_end(&console);
}

/* A client that takes nothing: the guest is held up. */
static void flow_to_client(void *userdata) {
        Console console;
        g_autofree uint8_t *data = g_malloc0(64 * 1024);
        size_t sent = 0, heard = 0;

        console_begin(&console);
        for (unsigned idle = 0; idle < 50;) {
                ssize_t n = send(console.guest, data, 64 * 1024, MSG_NOSIGNAL);
                if (n > 0) {
                        idle = 0;
                        sent += (size_t) n;
                } else
                        idle++;
                fiber_sleep(0);
                assert_true(sent < 16 * 1024 * 1024); /* it is held up at some point */
        }
        while (heard < sent) {
                g_autoptr(Frame) frame = client_hears(&console, VIR_NET_CONTINUE);
                heard += frame->length - FRAME_HEADER_BYTES;
        }
        assert_int_equal(heard, sent);
        console_end(&console);
}

/* With FORCE a second user takes over; the first is told. */
static void taken_over(void *userdata) {
        remote_domain_open_console_args args = { .dom = wire_domain(), .flags = VIR_DOMAIN_CONSOLE_FORCE };
        Console console;
        Wire other;

        console_begin(&console);
        driver_double.console_fd = console.guest; /* any descriptor will do */
        wire_join(&other, console.wire.server, false);
        wire_open(&other);
        wire_call_ok(&other, REMOTE_PROC_DOMAIN_OPEN_CONSOLE, WIRE_XDR(remote_domain_open_console_args), &args, NULL,
                     NULL);
        g_autoptr(Frame) frame = client_hears(&console, VIR_NET_ERROR);
        virNetMessageError error = wire_error(frame);
        assert_int_equal(error.code, VIR_ERR_OPERATION_ABORTED);
        wire_error_clear(&error);
        assert_int_equal(driver_double.n_consoles_closed, 1);
        wire_leave(&other);
        double_wait(&driver_double.n_consoles_closed, 2);
        driver_double.n_consoles_closed = 1;
        console_end(&console);
}

/* The connection ends in the middle: so does the console. */
static void client_vanishes(void *userdata) {
        Console console;
        char byte;

        console_begin(&console);
        wire_leave(&console.wire);
        double_wait(&driver_double.n_consoles_closed, 1);
        assert_int_equal(recv(console.guest, &byte, 1, 0), 0);
        console_end(&console);
}

#define IN_FIBER(name) \
        static void test_##name(void **state) { \
                assert_int_equal(fiber_run(#name, name, NULL), 0); \
        }
IN_FIBER(both_ways)
IN_FIBER(guest_ends)
IN_FIBER(client_aborts)
IN_FIBER(unexpected_frames)
IN_FIBER(flow_to_guest)
IN_FIBER(flow_to_client)
IN_FIBER(taken_over)
IN_FIBER(client_vanishes)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_both_ways),
                cmocka_unit_test(test_guest_ends),
                cmocka_unit_test(test_client_aborts),
                cmocka_unit_test(test_unexpected_frames),
                cmocka_unit_test(test_flow_to_guest),
                cmocka_unit_test(test_flow_to_client),
                cmocka_unit_test(test_taken_over),
                cmocka_unit_test(test_client_vanishes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
