/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* With an argument, writes the introspection files of all interfaces into that folder instead of comparing them. */

#include "daemon/dbus/bus_interface.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const BusInterface *const shipped[] = {
        &bus_connect_interface,
        &bus_domain_interface,
        &bus_ferry_interface,
        &bus_migration_interface,
};

static char *file_of(const char *folder, const BusInterface *interface) {
        return g_strdup_printf("%s/%s.xml", folder, interface->name);
}

static char *document(const BusInterface *interface) {
        g_autoptr(GString) xml = g_string_new(NULL);

        g_string_append(xml, "<!-- SPDX" "-License-Identifier: LGPL-2.1-or-later -->\n"
                             "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n"
                             "\"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n");
        bus_interface_introspect(interface, xml);
        g_string_append(xml, "</node>\n");
        return g_string_free(g_steal_pointer(&xml), FALSE);
}

static void test_shipped(void **state) {
        for (size_t i = 0; i < G_N_ELEMENTS(shipped); i++) {
                g_autofree char *path = file_of(FERRY_SOURCE_DIR "/daemon/dbus/interfaces", shipped[i]);
                g_autofree char *expected = document(shipped[i]), *text = NULL;

                assert_true(g_file_get_contents(path, &text, NULL, NULL));
                assert_string_equal(text, expected);
        }
}

/* Signatures are complete types, and each has as many names. */
static void check_args(const char *signature, const char *names) {
        unsigned n = 0, n_names = 0;
        g_auto(GStrv) list = g_strsplit(names ? names : "", ",", -1);

        while (*signature) {
                size_t length = bus_signature_first(signature);

                assert_true(length > 0);
                signature += length;
                n++;
        }
        n_names = g_strv_length(list);
        assert_int_equal(n, n_names);
}

static void test_tables(void **state) {
        for (size_t i = 0; i < G_N_ELEMENTS(shipped); i++) {
                const BusInterface *interface = shipped[i];

                for (size_t k = 0; k < interface->n_methods; k++) {
                        const BusMethod *method = &interface->methods[k];

                        check_args(method->in, method->in_names);
                        check_args(method->out, method->out_names);
                        assert_ptr_equal(bus_interface_method(interface, method->name), method);
                }
                for (size_t k = 0; k < interface->n_properties; k++) {
                        const BusProperty *property = &interface->properties[k];

                        assert_int_equal(bus_signature_first(property->signature), strlen(property->signature));
                        assert_ptr_equal(bus_interface_property(interface, property->name), property);
                }
                for (size_t k = 0; k < interface->n_signals; k++)
                        check_args(interface->signals[k].signature, interface->signals[k].names);
                assert_null(bus_interface_method(interface, "Nothing"));
                assert_null(bus_interface_property(interface, "Nothing"));
        }
}

static void test_signature(void **state) {
        assert_int_equal(bus_signature_first(""), 0);
        assert_int_equal(bus_signature_first("su"), 1);
        assert_int_equal(bus_signature_first("a{sv}u"), 5);
        assert_int_equal(bus_signature_first("aa{oa{sv}}"), 10);
        assert_int_equal(bus_signature_first("(i(su))s"), 7);
        assert_int_equal(bus_signature_first("a("), 0);
}

static void test_rights(void **state) {
        assert_string_equal(bus_right_action(BUS_RIGHT_MONITOR), "org.virtferry.monitor");
        assert_string_equal(bus_right_action(BUS_RIGHT_MIGRATE), "org.virtferry.migrate");
        assert_string_equal(bus_right_action(BUS_RIGHT_MANAGE), "org.virtferry.manage");
}

static int write_all(const char *folder) {
        for (size_t i = 0; i < G_N_ELEMENTS(shipped); i++) {
                g_autofree char *path = file_of(folder, shipped[i]), *text = document(shipped[i]);

                if (!g_file_set_contents(path, text, -1, NULL))
                        return EXIT_FAILURE;
        }
        return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_shipped),
                cmocka_unit_test(test_tables),
                cmocka_unit_test(test_signature),
                cmocka_unit_test(test_rights),
        };

        return argc > 1 ? write_all(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
