/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "tests/daemon/driver_double.h"

const ServerLimits wire_limits = {
        .max_clients = 10,
        .max_anonymous_clients = 5,
        .max_client_requests = 4,
};

void wire_join(Wire *wire, RpcServer *server, bool read_only) {
        g_autoptr(GError) error = NULL;
        int ends[2];

        *wire = (Wire) { .server = server };
        frame_reader_init(&wire->reader, FRAME_BYTES_MAX);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
        wire->fd = ends[0];
        assert_int_equal(server_add_client(server, ends[1], read_only, &error), 0);
}

void wire_begin(Wire *wire, const ServerLimits *limits, bool read_only) {
        assert_int_equal(virInitialize(), 0);
        double_reset();
        wire_join(wire, server_new(fiber_event(), NULL, limits ? limits : &wire_limits, NULL, NULL), read_only);
}

void wire_open(Wire *wire) {
        char *name = (char *) "ferry:///system";
        remote_connect_open_args args = { .name = &name };
        wire_call_ok(wire, REMOTE_PROC_CONNECT_OPEN, WIRE_XDR(remote_connect_open_args), &args, NULL, NULL);
}

void wire_begin_open(Wire *wire, const ServerLimits *limits, bool read_only) {
        wire_begin(wire, limits, read_only);
        wire_open(wire);
}

void wire_leave(Wire *wire) {
        wire->fd = fd_close(wire->fd);
        frame_reader_deinit(&wire->reader);
}

void wire_end(Wire *wire) {
        wire_leave(wire);
        assert_int_equal(server_shutdown(wire->server, WIRE_TIMEOUT_USEC), 0);
        server_free(wire->server);
        assert_int_equal(driver_double.n_clients, 0);
}

void wire_send_bytes(Wire *wire, const void *bytes, size_t length) {
        while (length > 0) {
                ssize_t n = send(wire->fd, bytes, length, MSG_NOSIGNAL);
                if (n < 0) {
                        assert_int_equal(errno, EAGAIN);
                        assert_int_equal(fiber_wait_fd(wire->fd, EPOLLOUT, WIRE_TIMEOUT_USEC, NULL), 0);
                        continue;
                }
                bytes = (const char *) bytes + n;
                length -= (size_t) n;
        }
}

void wire_send(Wire *wire, const FrameHeader *header, xdrproc_t filter, const void *payload) {
        g_autoptr(Frame) frame = frame_new(header, filter, payload);
        assert_non_null(frame);
        wire_send_bytes(wire, frame->data, frame->length);
}

uint32_t wire_send_call(Wire *wire, uint32_t prog, int32_t proc, xdrproc_t filter, const void *args) {
        FrameHeader header = { .prog = prog, .vers = 1, .proc = proc, .serial = wire->serial++ };
        wire_send(wire, &header, filter, args);
        return header.serial;
}

Frame *wire_receive(Wire *wire) {
        for (;;) {
                size_t wanted = 0;
                void *space = frame_reader_space(&wire->reader, &wanted);
                Frame *frame = NULL;
                ssize_t n = recv(wire->fd, space, wanted, 0);

                if (n < 0 && errno == EAGAIN) {
                        assert_int_equal(fiber_wait_fd(wire->fd, EPOLLIN, WIRE_TIMEOUT_USEC, NULL), 0);
                        continue;
                }
                if (n <= 0)
                        return NULL;
                int r = frame_reader_advance(&wire->reader, (size_t) n, &frame);
                assert_true(r >= 0);
                if (r > 0)
                        return frame;
        }
}

Frame *wire_call(Wire *wire, uint32_t prog, int32_t proc, xdrproc_t filter, const void *args) {
        uint32_t serial = wire_send_call(wire, prog, proc, filter, args);
        Frame *frame = wire_receive(wire);

        assert_non_null(frame);
        assert_int_equal(frame->header.prog, prog);
        assert_int_equal(frame->header.proc, proc);
        assert_int_equal(frame->header.type, VIR_NET_REPLY);
        assert_int_equal(frame->header.serial, serial);
        return frame;
}

void wire_call_ok(Wire *wire, int32_t proc, xdrproc_t filter, const void *args, xdrproc_t ret_filter, void *ret) {
        g_autoptr(Frame) frame = wire_call(wire, REMOTE_PROGRAM, proc, filter, args);
        if (frame->header.status == VIR_NET_ERROR) {
                virNetMessageError error = wire_error(frame);
                print_error("procedure %d: %s\n", proc, *error.message);
        }
        assert_int_equal(frame->header.status, VIR_NET_OK);
        if (ret_filter)
                assert_int_equal(frame_decode(frame, ret_filter, ret), 0);
        else
                assert_int_equal(frame->length, FRAME_HEADER_BYTES);
}

virNetMessageError wire_error(const Frame *frame) {
        virNetMessageError error = { 0 };
        assert_int_equal(frame->header.status, VIR_NET_ERROR);
        assert_int_equal(frame_decode(frame, WIRE_XDR(virNetMessageError), &error), 0);
        return error;
}

virNetMessageError wire_call_error(Wire *wire, uint32_t prog, int32_t proc, xdrproc_t filter, const void *args) {
        g_autoptr(Frame) frame = wire_call(wire, prog, proc, filter, args);
        return wire_error(frame);
}

void wire_error_clear(virNetMessageError *error) {
        frame_payload_clear(WIRE_XDR(virNetMessageError), error);
}

remote_nonnull_domain wire_domain(void) {
        remote_nonnull_domain domain = { .name = (char *) "vm1", .id = 7 };
        memcpy(domain.uuid, double_uuid, sizeof(domain.uuid));
        return domain;
}
