/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_caller.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "tests/daemon/driver_double.h"

static void test_rights(void **state) {
        g_autoptr(BusCaller) caller = bus_caller_new(":1.1");

        assert_int_equal(bus_caller_right(caller, BUS_RIGHT_MANAGE, 0), -ENODATA);
        bus_caller_remember(caller, BUS_RIGHT_MANAGE, true, 1000);
        bus_caller_remember(caller, BUS_RIGHT_MONITOR, false, 1000);
        assert_int_equal(bus_caller_right(caller, BUS_RIGHT_MANAGE, 1000), 1);
        assert_int_equal(bus_caller_right(caller, BUS_RIGHT_MONITOR, 1000), 0);
        assert_int_equal(bus_caller_right(caller, BUS_RIGHT_MIGRATE, 1000), -ENODATA);
        /* A denial is asked again sooner than a consent. */
        assert_int_equal(bus_caller_right(caller, BUS_RIGHT_MONITOR, 10 * USEC_PER_SEC), -ENODATA);
        assert_int_equal(bus_caller_right(caller, BUS_RIGHT_MANAGE, 10 * USEC_PER_SEC), 1);
        assert_int_equal(bus_caller_right(caller, BUS_RIGHT_MANAGE, 100 * USEC_PER_SEC), -ENODATA);
        bus_caller_remember(caller, BUS_RIGHT_MANAGE, true, 1000);
        bus_caller_forget(caller);
        assert_int_equal(bus_caller_right(caller, BUS_RIGHT_MANAGE, 1000), -ENODATA);
}

static void test_clients(void **state) {
        BusCaller *caller = bus_caller_new(":1.1");
        const DriverClient *viewer, *owner;

        double_reset();
        viewer = bus_caller_driver(caller, NULL, BUS_RIGHT_MONITOR);
        owner = bus_caller_driver(caller, NULL, BUS_RIGHT_MIGRATE);
        assert_ptr_equal(viewer, caller->viewer);
        assert_ptr_equal(owner, caller->owner);
        assert_ptr_equal(bus_caller_driver(caller, NULL, BUS_RIGHT_MANAGE), owner);
        assert_string_equal(driver_double.log->str, "client_new(ro)\nclient_new(rw)\n");
        bus_caller_ref(caller);
        bus_caller_leave(caller);
        assert_int_equal(driver_double.n_disconnected, 2);
        assert_false(caller->watches);
        bus_caller_unref(caller);
        assert_int_equal(driver_double.n_clients, 2);
        bus_caller_unref(caller);
        assert_int_equal(driver_double.n_clients, 0);
}

static void test_refusals(void **state) {
        g_autoptr(BusCaller) caller = bus_caller_new(":1.1");
        unsigned n = 0;

        for (unsigned i = 0; i < 1000; i++)
                n += bus_caller_refuse(caller, 5 * USEC_PER_SEC);
        assert_int_equal(n, 100);
        assert_true(bus_caller_refuse(caller, 6 * USEC_PER_SEC));
        caller->deaf = true;
        assert_false(bus_caller_refuse(caller, 8 * USEC_PER_SEC));
}

/* A call that is still under way when its caller has left gets a client that is disconnected from the start. */
static void test_late(void **state) {
        g_autoptr(BusCaller) caller = bus_caller_new(":1.1");

        double_reset();
        bus_caller_leave(caller);
        bus_caller_driver(caller, NULL, BUS_RIGHT_MANAGE);
        assert_int_equal(driver_double.n_disconnected, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_rights),
                cmocka_unit_test(test_clients),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_late),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
