/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define UUID_PATH BUS_DOMAINS "/_0123abcd_0011_4455_8899_aabbccddeeff"

static void round_trip(const char *path, BusObjectKind kind) {
        BusObject object = { 0 };
        char text[BUS_PATH_SIZE];

        assert_int_equal(bus_object_parse(path, &object), 0);
        assert_int_equal(object.kind, kind);
        assert_string_equal(bus_object_path(&object, text), path);
}

static void test_paths(void **state) {
        round_trip(BUS_ROOT, BUS_OBJECT_ROOT);
        round_trip(BUS_DOMAINS, BUS_OBJECT_DOMAINS);
        round_trip(BUS_JOBS, BUS_OBJECT_JOBS);
        round_trip(UUID_PATH, BUS_OBJECT_DOMAIN);
        round_trip(BUS_JOBS "/1", BUS_OBJECT_JOB);
        round_trip(BUS_JOBS "/18446744073709551615", BUS_OBJECT_JOB);
}

static void test_bad_paths(void **state) {
        static const char *const bad[] = {
                "/",
                "/org",
                "/org/virtferryx",
                BUS_ROOT "/x",
                BUS_DOMAINS "/",
                BUS_DOMAINS "/_",
                UUID_PATH "0",
                UUID_PATH "/x",
                BUS_DOMAINS "/_0123ABCD_0011_4455_8899_aabbccddeeff", /* another spelling */
                BUS_DOMAINS "/_0123abcd00114455_8899_aabbccddeeff____",
                BUS_DOMAINS "/_0123abcg_0011_4455_8899_aabbccddeeff",
                BUS_JOBS "/",
                BUS_JOBS "/0",
                BUS_JOBS "/01",
                BUS_JOBS "/1x",
                BUS_JOBS "/-1",
                BUS_JOBS "/18446744073709551616",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                BusObject object = { 0 };

                assert_true(bus_object_parse(bad[i], &object) < 0);
        }
}

static void test_interfaces(void **state) {
        assert_ptr_equal(bus_object_interface(BUS_OBJECT_ROOT, "org.libvirt.Connect"), &bus_connect_interface);
        assert_ptr_equal(bus_object_interface(BUS_OBJECT_DOMAIN, "org.libvirt.Domain"), &bus_domain_interface);
        assert_ptr_equal(bus_object_interface(BUS_OBJECT_DOMAIN, "org.virtferry.Domain1"), &bus_ferry_interface);
        assert_ptr_equal(bus_object_interface(BUS_OBJECT_JOB, "org.virtferry.Migration1"), &bus_migration_interface);
        assert_null(bus_object_interface(BUS_OBJECT_JOB, "org.libvirt.Domain"));
        for (BusObjectKind kind = 0; kind < _BUS_OBJECT_KIND_MAX; kind++)
                assert_non_null(bus_object_interface(kind, "org.freedesktop.DBus.Introspectable"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_paths),
                cmocka_unit_test(test_bad_paths),
                cmocka_unit_test(test_interfaces),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
