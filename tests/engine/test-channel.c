/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/channel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/io.h"
#include "driver/engine/frame.h"

static void open_pair(Channel **ret_left, Channel **ret_right, uint64_t idle_usec) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        *ret_left = channel_new(pair[0], "left", idle_usec);
        *ret_right = channel_new(pair[1], "right", idle_usec);
}

static void test_messages(void **state) {
        g_autoptr(Channel) left = NULL, right = NULL;
        open_pair(&left, &right, USEC_PER_SEC);
        struct iovec out[] = { { "abc", 3 }, { "", 0 }, { "defgh", 5 } };
        assert_int_equal(channel_send(left, out, 3), 0);
        char a[5] = "", b[5] = "";
        struct iovec in[] = { { a, 4 }, { b, 4 } };
        assert_int_equal(channel_recv(right, in, 2), 0);
        assert_string_equal(a, "abcd");
        assert_string_equal(b, "efgh");
        assert_int_equal(channel_sent_bytes(left), 8);
        assert_int_equal(channel_received_bytes(right), 8);
        assert_string_equal(channel_peer(left), "left");
}

/* Nobody sends, or nobody takes: both end by themselves, and a receiver learns why its sender has given up. */
static void test_silence(void **state) {
        g_autoptr(Channel) left = NULL, right = NULL;
        open_pair(&left, &right, 50 * USEC_PER_MSEC);
        char byte;
        assert_int_equal(channel_recv_bytes(left, &byte, 1), -ETIMEDOUT);
        g_autofree char *much = g_malloc0(1 << 20);
        int r = 0;
        for (int i = 0; i < 64 && r == 0; i++) {
                struct iovec iov = { much, 1 << 20 };
                r = channel_send(left, &iov, 1);
        }
        assert_int_equal(r, -ETIMEDOUT);
        assert_int_equal(channel_recv_bytes(left, &byte, 1), -ETIMEDOUT);
        g_autoptr(GError) error = NULL;
        assert_int_equal(channel_error(left, -ETIMEDOUT, "testing", &error), -ETIMEDOUT);
        assert_int_equal(error->code, VIR_ERR_OPERATION_TIMEOUT);
        assert_string_equal(error->message,
                            "'left' has been silent for 0.1 seconds while testing: the link is taken for dead");
}

static void test_end(void **state) {
        g_autoptr(Channel) left = NULL, right = NULL;
        open_pair(&left, &right, USEC_PER_SEC);
        assert_int_equal(frame_send_text(left, WIRE_ERROR, VIR_ERR_NO_MEMORY, "too\nlittle\xff"), 0);
        channel_shutdown(left);
        /* The last words are still there. */
        g_autoptr(GError) error = NULL;
        assert_int_equal(frame_expect(right, WIRE_ACCEPT, NULL, 0, "testing", &error), -EREMOTEIO);
        assert_int_equal(error->code, VIR_ERR_NO_MEMORY);
        assert_non_null(strstr(error->message, "too little"));
        assert_true(g_utf8_validate(error->message, -1, NULL));
        char byte;
        assert_int_equal(channel_recv_bytes(right, &byte, 1), -ENODATA);
        channel_linger(right, USEC_PER_SEC);
}

static void test_keepalive_is_skipped(void **state) {
        g_autoptr(Channel) left = NULL, right = NULL;
        open_pair(&left, &right, USEC_PER_SEC);
        for (int i = 0; i < 3; i++)
                assert_int_equal(frame_send_keepalive(left), 0);
        assert_int_equal(frame_send(left, WIRE_ACCEPT, 0, NULL, 0), 0);
        assert_int_equal(frame_expect(right, WIRE_ACCEPT, NULL, 0, "testing", NULL), 0);
        /* Another frame than the one that must come is no protocol. */
        assert_int_equal(frame_send(left, WIRE_COMMIT, 0, NULL, 0), 0);
        assert_int_equal(frame_expect(right, WIRE_ACCEPT, NULL, 0, "testing", NULL), -EPROTO);
}

static void test_listen(void **state) {
        _cleanup_fd_ int first = -EBADF, second = -EBADF, third = -EBADF, client = -EBADF;
        unsigned port = 0, other = 0;
        g_autoptr(GError) error = NULL;
        assert_int_equal(channel_listen("127.0.0.1", 46000, 46999, NULL, &first, &port, NULL), 0);
        assert_in_range(port, 46000, 46999);
        assert_int_equal(channel_listen("127.0.0.1", port, port + 1, NULL, &second, &other, NULL), 0);
        assert_int_equal(other, port + 1);
        assert_true(channel_listen("127.0.0.1", port, port + 1, NULL, &third, &other, &error) < 0);
        assert_non_null(strstr(error->message, "is free"));
        g_clear_error(&error);
        assert_true(channel_listen("127.0.0.1", 5, 4, NULL, &third, &other, &error) < 0);
        g_clear_error(&error);
        assert_true(channel_listen("not-an-address", 46000, 46001, NULL, &third, &other, &error) < 0);

        g_autofree char *peer = NULL, *expected = g_strdup_printf("127.0.0.1:%u", port);
        assert_int_equal(channel_connect("127.0.0.1", port, NULL, USEC_PER_SEC, &client, &peer, NULL), 0);
        assert_string_equal(peer, expected);
}

static void test_addresses(void **state) {
        _cleanup_fd_ int any = -EBADF, v4 = -EBADF;
        unsigned port = 0;
        g_autofree char *peer = NULL;
        /* Everywhere: IPv6 and IPv4. */
        assert_int_equal(channel_listen(NULL, 46000, 46999, NULL, &any, &port, NULL), 0);
        assert_int_equal(channel_connect("127.0.0.1", port, NULL, USEC_PER_SEC, &v4, &peer, NULL), 0);

        g_autoptr(GError) error = NULL;
        int fd;
        assert_true(channel_connect("127.0.0.1", 1, NULL, USEC_PER_SEC, &fd, &peer, &error) < 0);
        assert_non_null(strstr(error->message, "127.0.0.1:1"));
        g_clear_error(&error);
        assert_true(channel_connect(NULL, 0, "/nonexistent/socket", USEC_PER_SEC, &fd, &peer, &error) < 0);
        assert_non_null(strstr(error->message, "/nonexistent/socket"));
        g_clear_error(&error);
        char endless[300];
        memset(endless, 'x', sizeof(endless) - 1);
        endless[sizeof(endless) - 1] = '\0';
        assert_true(channel_connect(NULL, 0, endless, USEC_PER_SEC, &fd, &peer, &error) < 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_messages), cmocka_unit_test(test_silence),
                cmocka_unit_test(test_end),      cmocka_unit_test(test_keepalive_is_skipped),
                cmocka_unit_test(test_listen),   cmocka_unit_test(test_addresses),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
