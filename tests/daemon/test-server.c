/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/listen.h"
#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "tests/daemon/driver_double.h"
#include "tests/daemon/wire.h"

typedef struct Place {
        char dir[32];
        char socket[64];
        RpcServer *server;
        unsigned n_changes;
} Place;

static void on_change(RpcServer *server, void *userdata) {
        Place *place = userdata;
        place->n_changes++;
}

static void place_begin(Place *place, const ServerLimits *limits, bool read_only) {
        g_autoptr(GError) error = NULL;
        int fd = -EBADF;

        double_reset();
        strcpy(place->dir, "/tmp/ferry-test-XXXXXX");
        assert_non_null(mkdtemp(place->dir));
        snprintf(place->socket, sizeof(place->socket), "%s/sock", place->dir);
        place->server = server_new(fiber_event(), NULL, limits, on_change, place);
        assert_int_equal(listen_unix(place->socket, 0700, NULL, &fd, &error), 0);
        assert_int_equal(server_listen(place->server, fd, read_only, &error), 0);
}

static void place_end(Place *place) {
        assert_int_equal(server_shutdown(place->server, WIRE_TIMEOUT_USEC), 0);
        server_free(place->server);
        unlink(place->socket);
        rmdir(place->dir);
}

static void place_connect(Place *place, Wire *wire) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        *wire = (Wire) { .server = place->server };
        frame_reader_init(&wire->reader, FRAME_BYTES_MAX);
        wire->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        strcpy(address.sun_path, place->socket);
        assert_int_equal(connect(wire->fd, (struct sockaddr *) &address, sizeof(address)), 0);
}

static void accepts(void *userdata) {
        Place place = { 0 };
        Wire wire;

        place_begin(&place, &wire_limits, true);
        place_connect(&place, &wire);
        wire_open(&wire);
        assert_string_equal(driver_double.log->str, "client_new(ro)\n");
        assert_int_equal(server_n_clients(place.server), 1);
        assert_int_equal(place.n_changes, 1);
        wire_leave(&wire);
        double_wait(&driver_double.n_clients, 0);
        assert_int_equal(place.n_changes, 2);
        place_end(&place);
}

/* Two that have not opened fill the room for such; a third is served as soon as one of them has. */
static void anonymous_limit(void *userdata) {
        ServerLimits limits = { .max_clients = 10, .max_anonymous_clients = 2, .max_client_requests = 2 };
        Place place = { 0 };
        Wire wires[3];

        place_begin(&place, &limits, false);
        for (size_t i = 0; i < G_N_ELEMENTS(wires); i++)
                place_connect(&place, &wires[i]);
        for (unsigned i = 0; i < 50; i++)
                fiber_sleep(0);
        assert_int_equal(server_n_clients(place.server), 2);
        Wire look;
        wire_join(&look, place.server, true); /* those who may only look have room of their own */
        wire_open(&look);
        wire_leave(&look);
        double_wait(&driver_double.n_clients, 0);
        assert_int_equal(server_n_clients(place.server), 2);
        wire_open(&wires[0]);
        wire_open(&wires[2]);
        assert_int_equal(server_n_clients(place.server), 3);
        for (size_t i = 0; i < G_N_ELEMENTS(wires); i++)
                wire_leave(&wires[i]);
        place_end(&place);
}

static void client_limit(void *userdata) {
        ServerLimits limits = { .max_clients = 1, .max_anonymous_clients = 5, .max_client_requests = 2 };
        Place place = { 0 };
        Wire first, second;

        place_begin(&place, &limits, false);
        place_connect(&place, &first);
        wire_open(&first);
        place_connect(&place, &second);
        for (unsigned i = 0; i < 50; i++)
                fiber_sleep(0);
        assert_int_equal(server_n_clients(place.server), 1);
        wire_leave(&first);
        wire_open(&second); /* comes in when the first has left */
        limits.max_clients = 2;
        server_set_limits(place.server, &limits);
        place_connect(&place, &first);
        wire_open(&first);
        wire_leave(&first);
        wire_leave(&second);
        place_end(&place);
}

/* A call that waits for ever keeps the server from being freed, and the wait for it has an end. */
static void shutdown_waits(void *userdata) {
        remote_domain_suspend_args args = { .dom = wire_domain() };
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        driver_double.block = true;
        wire_send_call(&wire, REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_SUSPEND, WIRE_XDR(remote_domain_suspend_args), &args);
        double_wait(&driver_double.n_blocked, 1);
        assert_int_equal(server_shutdown(wire.server, 10000), -ETIMEDOUT);
        assert_int_equal(driver_double.n_disconnected, 1);
        double_unblock();
        wire_end(&wire);
}

#define IN_FIBER(name) \
        static void test_##name(void **state) { \
                assert_int_equal(fiber_run(#name, name, NULL), 0); \
        }
IN_FIBER(accepts)
IN_FIBER(anonymous_limit)
IN_FIBER(client_limit)
IN_FIBER(shutdown_waits)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accepts),
                cmocka_unit_test(test_anonymous_limit),
                cmocka_unit_test(test_client_limit),
                cmocka_unit_test(test_shutdown_waits),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
