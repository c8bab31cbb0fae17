/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/monitor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "driver/base/json.h"

typedef struct Peer {
        int fd;
        Monitor *monitor;
        GString *events;
        bool closed;
        int calls_done;
} Peer;

static void on_event(Monitor *monitor, const char *name, json_object *data, uint64_t usec, void *userdata) {
        Peer *peer = userdata;

        g_string_append_printf(peer->events, "%s@%llu ", name, (unsigned long long) usec);
}

static void on_closed(Monitor *monitor, const GError *reason, void *userdata) {
        Peer *peer = userdata;

        assert_non_null(reason);
        peer->closed = true;
}

static const MonitorCallbacks callbacks = { .event = on_event, .closed = on_closed };

static void peer_open(Peer *peer) {
        int ends[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        peer->fd = ends[1];
        peer->events = g_string_new(NULL);
        peer->monitor = monitor_new(fiber_event(), ends[0], "the peer", &callbacks, peer);
        assert_non_null(peer->monitor);
}

static void peer_close(Peer *peer) {
        peer->monitor = monitor_unref(peer->monitor);
        fd_close(peer->fd);
        g_string_free(peer->events, TRUE);
}

static void peer_says(Peer *peer, const char *text) {
        assert_int_equal(fd_write_all(peer->fd, text, strlen(text)), 0);
}

static void answers_one(void *userdata) {
        Peer *peer = userdata;
        char request[256];

        assert_int_equal(fiber_wait_fd(peer->fd, EPOLLIN, 5000000, NULL), 0);
        assert_true(read(peer->fd, request, sizeof(request)) > 0);
        peer_says(peer, "{\"return\":{},\"id\":1}\n");
}

static void handshake(void *userdata) {
        Peer peer = { 0 };

        peer_open(&peer);
        assert_int_equal(fiber_start(fiber_event(), "answers", answers_one, &peer), 0);
        peer_says(&peer, "{\"QMP\":{\"version\":{}}}\r\n");
        assert_int_equal(monitor_handshake_qmp(peer.monitor, 5000000, NULL), 0);
        peer_close(&peer);
}

static void caller(void *userdata) {
        Peer *peer = userdata;
        g_autoptr(json_object) result = NULL;

        assert_int_equal(monitor_call(peer->monitor, "second", NULL, NULL, 0, 5000000, &result, NULL), 0);
        assert_int_equal(json_get_int64(result, "n", 0), 2);
        peer->calls_done++;
}

static void out_of_order(void *userdata) {
        g_autoptr(json_object) result = NULL;
        g_autoptr(GError) error = NULL;
        Peer peer = { 0 };

        peer_open(&peer);
        assert_int_equal(fiber_start(fiber_event(), "second", caller, &peer), 0);
        assert_int_equal(fiber_sleep(0), 0); /* now "second" has id 1 and waits */
        peer_says(
                &peer,
                "{\"event\":\"STOP\",\"timestamp\":{\"seconds\":2,\"microseconds\":3}}\n"
                "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":2}\n{\"return\":{\"n\":2},\"id\":1}\n");
        assert_int_equal(monitor_call(peer.monitor, "first", NULL, NULL, 0, 5000000, &result, &error), -EREMOTEIO);
        assert_string_equal(error->message, "no");
        assert_int_equal(error_code(error), VIR_ERR_OPERATION_FAILED);
        while (peer.calls_done < 1)
                assert_int_equal(fiber_sleep(0), 0);
        assert_string_equal(peer.events->str, "STOP@2000003 ");
        peer_close(&peer);
}

static void times_out(void *userdata) {
        g_autoptr(GError) error = NULL;
        Peer peer = { 0 };

        peer_open(&peer);
        assert_int_equal(monitor_call(peer.monitor, "stop", NULL, NULL, 0, 1000, NULL, &error), -ETIMEDOUT);
        assert_string_equal(error->message, "the peer did not answer 'stop' within 0.0 s");
        /* The late reply finds nobody. */
        peer_says(&peer, "{\"return\":{},\"id\":1}\n{\"return\":{},\"id\":2}\n");
        assert_int_equal(monitor_call(peer.monitor, "cont", NULL, NULL, 0, 5000000, NULL, NULL), 0);
        peer_close(&peer);
}

static void hangs_up(void *userdata) {
        g_autoptr(GError) error = NULL, again = NULL;
        Peer peer = { 0 };

        peer_open(&peer);
        assert_int_equal(shutdown(peer.fd, SHUT_WR), 0);
        assert_int_equal(monitor_call(peer.monitor, "stop", NULL, NULL, 0, 5000000, NULL, &error), -ENOTCONN);
        assert_true(peer.closed);
        assert_false(monitor_is_open(peer.monitor));
        assert_int_equal(monitor_call(peer.monitor, "stop", NULL, NULL, 0, 5000000, NULL, &again), -ENOTCONN);
        peer_close(&peer);
}

/* The answer is there, but before the caller runs again the monitor has closed: what it was about is gone. */
static void answers_and_ends(void *userdata) {
        g_autoptr(json_object) result = NULL;
        g_autoptr(GError) error = NULL;
        Peer peer = { 0 };

        peer_open(&peer);
        peer_says(&peer, "{\"return\":{\"n\":1},\"id\":1}\nnot json\n");
        assert_int_equal(monitor_call(peer.monitor, "stop", NULL, NULL, 0, 5000000, &result, &error), -ENOTCONN);
        assert_null(result);
        assert_true(peer.closed);
        peer_close(&peer);
}

/* Who asks for a monitor after its end gets NULL, and may call it. */
static void none_there(void *userdata) {
        g_autoptr(GError) error = NULL;

        assert_int_equal(monitor_call(NULL, "stop", json_object_new_object(), NULL, 0, 5000000, NULL, &error),
                         -ENOTCONN);
        assert_non_null(error);
}

static void garbage(void *userdata) {
        g_autoptr(GError) error = NULL;
        Peer peer = { 0 };

        peer_open(&peer);
        peer_says(&peer, "not json\n");
        assert_int_equal(monitor_call(peer.monitor, "stop", NULL, NULL, 0, 5000000, NULL, &error), -ENOTCONN);
        assert_non_null(strstr(error->message, "the peer sent a line that cannot be read"));
        peer_close(&peer);
}

static void passes_fd(void *userdata) {
        Peer peer = { 0 };
        int ends[2], got = -1;
        size_t n_got = 0;
        char text[256] = "";

        peer_open(&peer);
        assert_int_equal(pipe(ends), 0);
        peer_says(&peer, "{\"return\":{},\"id\":1}\n");
        assert_int_equal(monitor_call(peer.monitor, "getfd", json_object_new_object(), ends, 1, 5000000, NULL, NULL),
                         0);
        assert_true(fd_recv_with_fds(peer.fd, text, sizeof(text) - 1, &got, 1, &n_got) > 0);
        assert_int_equal(n_got, 1);
        assert_string_equal(text, "{\"execute\":\"getfd\",\"arguments\":{},\"id\":1}\n");
        fd_close(got);
        fd_close(ends[0]);
        fd_close(ends[1]);
        peer_close(&peer);
}

#define FIBER_TEST(name) \
        static void test_##name(void **state) { assert_int_equal(fiber_run(#name, name, NULL), 0); }
FIBER_TEST(handshake)
FIBER_TEST(out_of_order)
FIBER_TEST(times_out)
FIBER_TEST(hangs_up)
FIBER_TEST(answers_and_ends)
FIBER_TEST(none_there)
FIBER_TEST(garbage)
FIBER_TEST(passes_fd)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_handshake),        cmocka_unit_test(test_out_of_order),
                cmocka_unit_test(test_times_out),        cmocka_unit_test(test_hangs_up),
                cmocka_unit_test(test_answers_and_ends), cmocka_unit_test(test_none_there),
                cmocka_unit_test(test_garbage),          cmocka_unit_test(test_passes_fd),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
