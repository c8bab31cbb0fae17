/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <libvirt/virterror.h>

#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "tests/daemon/driver_double.h"
#include "tests/daemon/wire.h"

static int feature(Wire *wire, int number) {
        remote_connect_supports_feature_args args = { .feature = number };
        remote_connect_supports_feature_ret ret = { 0 };
        wire_call_ok(wire, REMOTE_PROC_CONNECT_SUPPORTS_FEATURE, WIRE_XDR(remote_connect_supports_feature_args), &args,
                     WIRE_XDR(remote_connect_supports_feature_ret), &ret);
        return ret.supported;
}

/* The conversation that virsh has, call by call. */
static void connect_like_virsh(void *userdata) {
        Wire wire;
        remote_auth_list_ret auth = { 0 };
        remote_connect_get_uri_ret uri = { 0 };

        wire_begin(&wire, NULL, false);
        wire_call_ok(&wire, REMOTE_PROC_AUTH_LIST, NULL, NULL, WIRE_XDR(remote_auth_list_ret), &auth);
        assert_int_equal(auth.types.types_len, 1);
        assert_int_equal(auth.types.types_val[0], REMOTE_AUTH_NONE);
        frame_payload_clear(WIRE_XDR(remote_auth_list_ret), &auth);
        assert_int_equal(feature(&wire, 10), 1);
        wire_open(&wire);
        static const int yes[] = { 4, 6, 7, 9, 11, 13, 14, 15 }, no[] = { 0, 1, 2, 3, 5, 8, 12, 16, 99, -1 };
        for (size_t i = 0; i < G_N_ELEMENTS(yes); i++)
                assert_int_equal(feature(&wire, yes[i]), 1);
        for (size_t i = 0; i < G_N_ELEMENTS(no); i++)
                assert_int_equal(feature(&wire, no[i]), 0);
        wire_call_ok(&wire, REMOTE_PROC_CONNECT_REGISTER_CLOSE_CALLBACK, NULL, NULL, NULL, NULL);
        wire_call_ok(&wire, REMOTE_PROC_CONNECT_GET_URI, NULL, NULL, WIRE_XDR(remote_connect_get_uri_ret), &uri);
        assert_string_equal(uri.uri, "ferry:///system");
        frame_payload_clear(WIRE_XDR(remote_connect_get_uri_ret), &uri);
        wire_call_ok(&wire, REMOTE_PROC_CONNECT_UNREGISTER_CLOSE_CALLBACK, NULL, NULL, NULL, NULL);
        wire_call_ok(&wire, REMOTE_PROC_CONNECT_CLOSE, NULL, NULL, NULL, NULL);
        assert_null(wire_receive(&wire)); /* the server hangs up */
        assert_int_equal(server_n_clients(wire.server), 0);
        wire_end(&wire);
}

static void open_names(void *userdata) {
        static const struct {
                const char *name;
                unsigned flags;
                bool good;
                const char *client;
        } cases[] = {
                { "ferry:///session", 0, true, "client_new(rw)\n" },
                { "qemu:///system", 0, true, "client_new(rw)\n" },
                { "qemu:///session", 6, true, "client_new(rw)\n" },
                { "qemu:///session", 7, true, "client_new(ro)\n" },
                { "xen:///system", 0, false, "" },
                { "ferry:///systems", 0, false, "" },
                { "", 0, false, "" },
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                char *name = (char *) cases[i].name;
                remote_connect_open_args args = { .name = &name, .flags = cases[i].flags };
                Wire wire;

                wire_begin(&wire, NULL, false);
                g_autoptr(Frame) frame = wire_call(&wire, REMOTE_PROGRAM, REMOTE_PROC_CONNECT_OPEN,
                                                   WIRE_XDR(remote_connect_open_args), &args);
                assert_int_equal(frame->header.status, cases[i].good ? VIR_NET_OK : VIR_NET_ERROR);
                assert_string_equal(driver_double.log->str, cases[i].client);
                wire_end(&wire);
        }
}

static void only_once(void *userdata) {
        char *name = (char *) "ferry:///system";
        remote_connect_open_args args = { .name = &name };
        Wire wire;

        wire_begin(&wire, NULL, false);
        virNetMessageError error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_CONNECT_GET_HOSTNAME, NULL, NULL);
        assert_int_equal(error.code, VIR_ERR_INTERNAL_ERROR); /* not yet open */
        wire_error_clear(&error);
        wire_open(&wire);
        error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_CONNECT_OPEN, WIRE_XDR(remote_connect_open_args),
                                &args);
        assert_int_equal(error.code, VIR_ERR_OPERATION_INVALID);
        wire_error_clear(&error);
        wire_end(&wire);
}

static void read_only_socket(void *userdata) {
        Wire wire;
        qemu_connect_domain_monitor_event_register_args args = { 0 };

        wire_begin_open(&wire, NULL, true);
        assert_string_equal(driver_double.log->str, "client_new(ro)\n");
        virNetMessageError error = wire_call_error(&wire, QEMU_PROGRAM, QEMU_PROC_CONNECT_DOMAIN_MONITOR_EVENT_REGISTER,
                                                   WIRE_XDR(qemu_connect_domain_monitor_event_register_args), &args);
        assert_int_equal(error.code, VIR_ERR_OPERATION_DENIED);
        wire_error_clear(&error);
        wire_end(&wire);
}

static void unknown(void *userdata) {
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        virNetMessageError error = wire_call_error(&wire, REMOTE_PROGRAM, 9999, NULL, NULL);
        assert_int_equal(error.code, VIR_ERR_RPC);
        assert_int_equal(error.domain, VIR_FROM_RPC);
        assert_string_equal(*error.message, "unknown procedure: 9999");
        wire_error_clear(&error);
        error = wire_call_error(&wire, 0x68000, 1, NULL, NULL);
        assert_int_equal(error.code, VIR_ERR_RPC);
        wire_error_clear(&error);
        wire_end(&wire);
}

static void bad_arguments(void *userdata) {
        Wire wire;
        uint32_t word = GUINT32_TO_BE(0x7fffffff);

        wire_begin_open(&wire, NULL, false);
        virNetMessageError error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_LOOKUP_BY_NAME, NULL,
                                                   NULL);
        assert_int_equal(error.code, VIR_ERR_RPC);
        wire_error_clear(&error);
        /* An array of 2^31 domains */
        FrameHeader header = { .prog = REMOTE_PROGRAM, .vers = 1, .proc = REMOTE_PROC_CONNECT_GET_ALL_DOMAIN_STATS,
                               .serial = 77 };
        g_autoptr(Frame) frame = frame_new_bytes(&header, &word, sizeof(word));
        wire_send_bytes(&wire, frame->data, frame->length);
        g_autoptr(Frame) reply = wire_receive(&wire);
        assert_int_equal(reply->header.serial, 77);
        error = wire_error(reply);
        wire_error_clear(&error);
        wire_end(&wire);
}

static void driver_errors(void *userdata) {
        remote_domain_lookup_by_name_args args = { .name = (char *) "nope" };
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        driver_double.fail_code = VIR_ERR_NO_DOMAIN;
        driver_double.fail_text = "no domain with matching name 'nope'";
        virNetMessageError error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_LOOKUP_BY_NAME,
                                                   WIRE_XDR(remote_domain_lookup_by_name_args), &args);
        assert_int_equal(error.code, VIR_ERR_NO_DOMAIN);
        assert_int_equal(error.domain, VIR_FROM_QEMU);
        assert_string_equal(*error.message, "Domain not found: no domain with matching name 'nope'");
        wire_error_clear(&error);
        wire_end(&wire);
}

/* Calls overlap: a fast one overtakes a slow one, and replies carry their own serials. */
static void overlap(void *userdata) {
        remote_domain_suspend_args args = { .dom = wire_domain() };
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        driver_double.block = true;
        uint32_t slow = wire_send_call(&wire, REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_SUSPEND,
                                       WIRE_XDR(remote_domain_suspend_args), &args);
        uint32_t fast = wire_send_call(&wire, REMOTE_PROGRAM, REMOTE_PROC_CONNECT_GET_HOSTNAME, NULL, NULL);
        g_autoptr(Frame) first = wire_receive(&wire);
        assert_int_equal(first->header.serial, fast);
        assert_int_equal(driver_double.n_blocked, 1);
        double_unblock();
        g_autoptr(Frame) second = wire_receive(&wire);
        assert_int_equal(second->header.serial, slow);
        assert_int_equal(second->header.status, VIR_NET_OK);
        wire_end(&wire);
}

/* Four calls are served, four wait, pings are still answered; a ninth is not even read. All are answered in the end. */
static void request_limit(void *userdata) {
        remote_domain_suspend_args args = { .dom = wire_domain() };
        FrameHeader ping = { .prog = KEEPALIVE_PROGRAM, .vers = 1, .proc = KEEPALIVE_PROC_PING,
                             .type = VIR_NET_MESSAGE };
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        driver_double.block = true;
        for (unsigned i = 0; i < 7; i++)
                wire_send_call(&wire, REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_SUSPEND, WIRE_XDR(remote_domain_suspend_args),
                               &args);
        wire_send(&wire, &ping, NULL, NULL);
        g_autoptr(Frame) pong = wire_receive(&wire);
        assert_int_equal(pong->header.prog, KEEPALIVE_PROGRAM);
        assert_int_equal(pong->header.proc, KEEPALIVE_PROC_PONG);
        assert_int_equal(pong->header.type, VIR_NET_MESSAGE);
        double_wait(&driver_double.n_blocked, 4);

        for (unsigned i = 0; i < 20; i++)
                wire_send_call(&wire, REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_SUSPEND, WIRE_XDR(remote_domain_suspend_args),
                               &args);
        wire_send(&wire, &ping, NULL, NULL);
        for (unsigned i = 0; i < 100; i++)
                fiber_sleep(0); /* turns of the loop */
        char byte;
        assert_int_equal(recv(wire.fd, &byte, 1, MSG_DONTWAIT), -1); /* no pong: the socket is not read */
        assert_int_equal(driver_double.n_blocked, 4);

        double_unblock();
        bool seen_pong = false;
        for (unsigned n = 0; n < 28; n++) {
                g_autoptr(Frame) frame = wire_receive(&wire);
                assert_non_null(frame);
                seen_pong |= frame->header.prog == KEEPALIVE_PROGRAM;
        }
        assert_true(seen_pong);
        wire_end(&wire);
}

/* The client goes away while its call waits: the driver hears of it, memory goes when the call has ended. */
static void gone_in_the_middle(void *userdata) {
        remote_domain_suspend_args args = { .dom = wire_domain() };
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        driver_double.block = true;
        wire_send_call(&wire, REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_SUSPEND, WIRE_XDR(remote_domain_suspend_args), &args);
        double_wait(&driver_double.n_blocked, 1);
        wire_leave(&wire);
        double_wait(&driver_double.n_disconnected, 1);
        assert_int_equal(driver_double.n_clients, 1);
        assert_int_equal(server_n_clients(wire.server), 0);
        double_unblock();
        double_wait(&driver_double.n_clients, 0);
        wire_end(&wire);
}

static void hostile_frames(void *userdata) {
        static const struct {
                const char *what;
                uint8_t bytes[36];
                size_t length;
        } cases[] = {
                { "http", "GET / HTTP/1.1\r\n\r\n", 18 },
                { "too short", { 0, 0, 0, 20 }, 4 },
                { "too long before it is open", { 0, 1, 0, 1 }, 4 },
                { "a reply", { 0, 0, 0, 28, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
                               0, 0 }, 28 },
                { "an event", { 0, 0, 0, 28, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0,
                                0, 0 }, 28 },
                { "type 99", { 0, 0, 0, 28, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0,
                               0, 0 }, 28 },
                { "33 descriptors",
                  { 0, 0, 0, 32, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0,
                                      0, 0, 0, 33 }, 32 },
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Wire wire;
                wire_begin(&wire, NULL, false);
                wire_send_bytes(&wire, cases[i].bytes, cases[i].length);
                g_autoptr(Frame) frame = wire_receive(&wire);
                if (frame)
                        fail_msg("%s: an answer instead of a hang-up", cases[i].what);
                wire_end(&wire);
        }
}

/* Stream frames for a stream that is not there are dropped; descriptors are thrown away and the call is refused. */
static void harmless_frames(void *userdata) {
        Wire wire;
        FrameHeader stream = { .prog = REMOTE_PROGRAM, .vers = 1, .proc = 201, .type = VIR_NET_STREAM, .serial = 3 };
        FrameHeader fds = { .prog = REMOTE_PROGRAM, .vers = 1, .proc = 309, .type = VIR_NET_CALL_WITH_FDS,
                            .serial = 50 };
        uint32_t n_fds = GUINT32_TO_BE(2);

        wire_begin_open(&wire, NULL, false);
        wire_send(&wire, &stream, NULL, NULL);
        g_autoptr(Frame) call = frame_new_bytes(&fds, &n_fds, sizeof(n_fds));
        wire_send_bytes(&wire, call->data, call->length);
        int fd = STDIN_FILENO;
        assert_int_equal(fd_send_with_fds(wire.fd, "x", 1, &fd, 1), 1);
        assert_int_equal(fd_send_with_fds(wire.fd, "x", 1, &fd, 1), 1);
        g_autoptr(Frame) reply = wire_receive(&wire);
        assert_int_equal(reply->header.serial, 50);
        virNetMessageError error = wire_error(reply);
        assert_int_equal(error.code, VIR_ERR_OPERATION_UNSUPPORTED);
        wire_error_clear(&error);
        assert_int_equal(feature(&wire, 14), 1); /* and the connection goes on */
        wire_end(&wire);
}

/* Who lets events pile up is disconnected, others are not. */
static void never_reads(void *userdata) {
        Wire lazy, good;
        remote_connect_domain_event_callback_register_any_args args = { .eventID = VIR_DOMAIN_EVENT_ID_DEVICE_ADDED };
        remote_connect_domain_event_callback_register_any_ret ret = { 0 };
        g_autofree char *alias = g_strnfill(1024 * 1024, 'a');
        DomainRef ref = { .name = (char *) "vm1", .id = 7 };

        wire_begin_open(&lazy, NULL, false);
        wire_join(&good, lazy.server, false);
        wire_open(&good);
        wire_call_ok(&lazy, REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY,
                     WIRE_XDR(remote_connect_domain_event_callback_register_any_args), &args,
                     WIRE_XDR(remote_connect_domain_event_callback_register_any_ret), &ret);
        for (unsigned i = 0; i < 20; i++)
                double_event(&(DriverEvent) { .id = VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, .domain = &ref,
                                              .device_alias = alias });
        assert_int_equal(server_n_clients(lazy.server), 2); /* never from inside the event */
        double_wait(&driver_double.n_disconnected, 1);
        assert_int_equal(server_n_clients(lazy.server), 1);
        assert_int_equal(feature(&good, 14), 1);
        wire_leave(&good);
        wire_end(&lazy);
}

static void keepalive(void *userdata) {
        ServerLimits limits = wire_limits;
        Wire wire;

        limits.keepalive_interval = 1;
        limits.keepalive_count = 1;
        wire_begin(&wire, &limits, false);
        assert_int_equal(feature(&wire, 10), 1);
        wire_open(&wire);
        g_autoptr(Frame) ping = wire_receive(&wire);
        assert_int_equal(ping->header.prog, KEEPALIVE_PROGRAM);
        assert_int_equal(ping->header.proc, KEEPALIVE_PROC_PING);
        assert_int_equal(ping->header.serial, 0);
        assert_null(wire_receive(&wire)); /* no answer: the end */
        wire_end(&wire);
}

static void close_callback(void *userdata) {
        Wire wire;
        remote_connect_event_connection_closed_msg msg = { 0 };

        wire_begin_open(&wire, NULL, false);
        virNetMessageError error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_CONNECT_UNREGISTER_CLOSE_CALLBACK,
                                                   NULL, NULL);
        wire_error_clear(&error);
        wire_call_ok(&wire, REMOTE_PROC_CONNECT_REGISTER_CLOSE_CALLBACK, NULL, NULL, NULL, NULL);
        assert_int_equal(server_shutdown(wire.server, WIRE_TIMEOUT_USEC), 0);
        g_autoptr(Frame) event = wire_receive(&wire);
        assert_int_equal(event->header.proc, REMOTE_PROC_CONNECT_EVENT_CONNECTION_CLOSED);
        assert_int_equal(frame_decode(event, WIRE_XDR(remote_connect_event_connection_closed_msg), &msg), 0);
        assert_int_equal(msg.reason, VIR_CONNECT_CLOSE_REASON_EOF);
        assert_null(wire_receive(&wire));
        wire_end(&wire);
}

static void identity(void *userdata) {
        Wire wire;
        remote_typed_param params[] = {
                { .field = (char *) "user-name",
                  .value = { .type = 7, .remote_typed_param_value_u.s = (char *) "joe" } },
        };
        remote_connect_set_identity_args args = { .params = { 1, params } };

        wire_begin_open(&wire, NULL, false);
        wire_call_ok(&wire, REMOTE_PROC_CONNECT_SET_IDENTITY, WIRE_XDR(remote_connect_set_identity_args), &args, NULL,
                     NULL);
        args.flags = 1;
        virNetMessageError error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_CONNECT_SET_IDENTITY,
                                                   WIRE_XDR(remote_connect_set_identity_args), &args);
        wire_error_clear(&error);
        wire_end(&wire);
}

static void states(void *userdata) {
        assert_string_equal(client_state_name(CLIENT_NEW), "new");
        assert_string_equal(client_state_name(CLIENT_CLOSED), "closed");
        assert_null(client_state_name(CLIENT_STATE_MAX_));
        assert_null(client_state_name(CLIENT_STATE_INVALID));
}

#define IN_FIBER(name) \
        static void test_##name(void **state) { \
                assert_int_equal(fiber_run(#name, name, NULL), 0); \
        }
IN_FIBER(connect_like_virsh)
IN_FIBER(open_names)
IN_FIBER(only_once)
IN_FIBER(read_only_socket)
IN_FIBER(unknown)
IN_FIBER(bad_arguments)
IN_FIBER(driver_errors)
IN_FIBER(overlap)
IN_FIBER(request_limit)
IN_FIBER(gone_in_the_middle)
IN_FIBER(hostile_frames)
IN_FIBER(harmless_frames)
IN_FIBER(never_reads)
IN_FIBER(keepalive)
IN_FIBER(close_callback)
IN_FIBER(identity)
IN_FIBER(states)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_connect_like_virsh),
                cmocka_unit_test(test_open_names),
                cmocka_unit_test(test_only_once),
                cmocka_unit_test(test_read_only_socket),
                cmocka_unit_test(test_unknown),
                cmocka_unit_test(test_bad_arguments),
                cmocka_unit_test(test_driver_errors),
                cmocka_unit_test(test_overlap),
                cmocka_unit_test(test_request_limit),
                cmocka_unit_test(test_gone_in_the_middle),
                cmocka_unit_test(test_hostile_frames),
                cmocka_unit_test(test_harmless_frames),
                cmocka_unit_test(test_never_reads),
                cmocka_unit_test(test_keepalive),
                cmocka_unit_test(test_close_callback),
                cmocka_unit_test(test_identity),
                cmocka_unit_test(test_states),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
