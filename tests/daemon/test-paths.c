/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/paths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

static void test_system(void **state) {
        g_auto(DaemonPaths) paths = { 0 };
        paths_init(&paths, NULL, false);
        assert_string_equal(paths.config_file, "/etc/libvirt/virtferryd.conf");
        assert_string_equal(paths.config_dir, "/etc/libvirt/ferry");
        assert_string_equal(paths.state_dir, "/run/libvirt/ferry");
        assert_string_equal(paths.log_dir, "/var/log/libvirt/ferry");
        assert_string_equal(paths.lib_dir, "/var/lib/libvirt/ferry");
        assert_string_equal(paths.socket, "/run/libvirt/virtferryd-sock");
        assert_string_equal(paths.socket_ro, "/run/libvirt/virtferryd-sock-ro");
        assert_string_equal(paths.pid_file, "/run/libvirt/virtferryd.pid");
        assert_string_equal(paths.helper_dir, FERRY_LIBEXEC_DIR);
        assert_string_equal(paths.schema_dir, FERRY_SCHEMA_DIR);
}

static void test_root(void **state) {
        g_auto(DaemonPaths) paths = { 0 };
        paths_init(&paths, "/x", true);
        assert_string_equal(paths.config_file, "/x/etc/libvirt/virtferryd.conf");
        assert_string_equal(paths.socket, "/x/run/libvirt/virtferryd-sock");
        assert_string_equal(paths.socket_ro, "/x/run/libvirt/virtferryd-sock-ro");
}

static void test_session(void **state) {
        g_auto(DaemonPaths) paths = { 0 };
        paths_init(&paths, NULL, true);
        assert_string_equal(paths.config_file, "/tmp/c/libvirt/virtferryd.conf");
        assert_string_equal(paths.socket, "/tmp/r/libvirt/virtferryd-sock");
        assert_null(paths.socket_ro);
        assert_string_equal(paths.log_dir, "/tmp/k/libvirt/ferry/log");
        assert_string_equal(paths.lib_dir, "/tmp/d/libvirt/ferry");
}

static void test_override(void **state) {
        g_auto(DaemonPaths) paths = { 0 };
        setenv("FERRY_HELPER_DIR", "/h", 1);
        paths_init(&paths, NULL, false);
        unsetenv("FERRY_HELPER_DIR");
        assert_string_equal(paths.helper_dir, "/h");
}

static void test_make(void **state) {
        char dir[] = "/tmp/ferry-test-XXXXXX";
        g_auto(DaemonPaths) paths = { 0 };
        g_autoptr(GError) error = NULL;
        struct stat st = { 0 };

        assert_non_null(mkdtemp(dir));
        paths_init(&paths, dir, false);
        assert_int_equal(paths_make(&paths, false, &error), 0);
        assert_int_equal(stat(paths.run_dir, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0755);
        assert_int_equal(stat(paths.config_dir, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
        assert_int_equal(paths_make(&paths, false, &error), 0); /* and again */
        g_autofree char *command = g_strdup_printf("rm -r %s", dir);
        assert_int_equal(system(command), 0);
}

int main(void) {
        /* Before GLib looks at them. */
        setenv("XDG_CONFIG_HOME", "/tmp/c", 1);
        setenv("XDG_RUNTIME_DIR", "/tmp/r", 1);
        setenv("XDG_CACHE_HOME", "/tmp/k", 1);
        setenv("XDG_DATA_HOME", "/tmp/d", 1);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_system),
                cmocka_unit_test(test_root),
                cmocka_unit_test(test_session),
                cmocka_unit_test(test_override),
                cmocka_unit_test(test_make),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
