/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/error.h"

static void test_unit_name(void **state) {
        g_autofree char *plain = scope_unit_name("guest", "vm1", 42), *odd = scope_unit_name("job", ".a b/ü-c.d", 1);
        g_autofree char *many = g_strnfill(1000, '-'), *cut = scope_unit_name("guest", many, 42);

        assert_string_equal(plain, "virtferry-guest-vm1-42.scope");
        assert_string_equal(odd, "virtferry-job-\\x2ea\\x20b\\x2f\\xc3\\xbc\\x2dc.d-1.scope");
        assert_in_range(strlen(cut), 100, 254);
}

static void test_machine_name(void **state) {
        g_autofree char *plain = scope_machine_name("vm1", 42), *odd = scope_machine_name("..a b//ü.-c--", 7);
        g_autofree char *none = scope_machine_name("ü", 7), *many = g_strnfill(100, 'x');
        g_autofree char *cut = scope_machine_name(many, 4000000);

        assert_string_equal(plain, "ferry-vm1-42");
        assert_string_equal(odd, "ferry-a-b-c-7");
        assert_string_equal(none, "ferry-7");
        assert_int_equal(strlen(cut), 63);
        assert_true(g_str_has_suffix(cut, "x-4000000"));
}

static void test_mount_unit_name(void **state) {
        g_autofree char *usual = scope_mount_unit_name("/run/libvirt/ferry/ram");
        g_autofree char *odd = scope_mount_unit_name("//var/a-b//.c/"), *top = scope_mount_unit_name("/");

        assert_string_equal(usual, "run-libvirt-ferry-ram.mount");
        assert_string_equal(odd, "var-a\\x2db-.c.mount");
        assert_string_equal(top, "-.mount");
}

/* Only a service's own process has scopes made; what a service starts inherits the variable. */
static void test_not_a_service(void **state) {
        ScopeManager *manager = (ScopeManager *) "unset";

        unsetenv("SYSTEMD_EXEC_PID");
        assert_int_equal(scope_manager_new(NULL, "machine.slice", &manager, NULL), 0);
        assert_null(manager);
        setenv("SYSTEMD_EXEC_PID", "1", 1);
        manager = (ScopeManager *) "unset";
        assert_int_equal(scope_manager_new(NULL, "machine.slice", &manager, NULL), 0);
        assert_null(manager);
        assert_int_equal(scope_enter(NULL, &(ScopeArgs){ .kind = "guest", .name = "x", .pid = getpid() }, NULL), 0);
}

static void test_a_service(void **state) {
        g_autofree char *pid = g_strdup_printf("%d", (int) getpid());
        g_autoptr(ScopeManager) manager = NULL;
        g_autoptr(GError) error = NULL;

        setenv("SYSTEMD_EXEC_PID", pid, 1);
        assert_int_equal(scope_manager_new(NULL, "machine.slice", &manager, NULL), 0);
        assert_non_null(manager);
        manager = scope_manager_free(manager);
        assert_true(scope_manager_new(NULL, "machine", &manager, &error) < 0);
        assert_true(error_is(error, VIR_ERR_CONF_SYNTAX));
        assert_non_null(strstr(error->message, "'machine' is not the name of a slice unit"));
        unsetenv("SYSTEMD_EXEC_PID");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_unit_name),
                cmocka_unit_test(test_machine_name),
                cmocka_unit_test(test_mount_unit_name),
                cmocka_unit_test(test_not_a_service),
                cmocka_unit_test(test_a_service),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
