/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <syslog.h>

#include <cmocka.h>

#include "driver/base/error.h"

static void test_defaults(void **state) {
        g_auto(DaemonConfig) config = { 0 };
        config_init(&config);
        assert_int_equal(config.unix_sock_rw_perms, 0700);
        assert_int_equal(config.unix_sock_ro_perms, 0777);
        assert_int_equal(config.migration_port_min, 49152);
        assert_int_equal(config.limits.keepalive_interval, 5);
        assert_int_equal(config.log_level, LOG_INFO);
        assert_int_equal(config_load(&config, "/nonexistent/virtferryd.conf", false, NULL), 0);
}

static void test_values(void **state) {
        g_auto(DaemonConfig) config = { 0 };
        g_autoptr(GError) error = NULL;
        config_init(&config);
        int r = config_parse(&config, "f",
                             "# comment\n"
                             "\n"
                             "  unix_sock_group=\"libvirt\"   # who\r\n"
                             "unix_sock_rw_perms = '0770'\n"
                             "max_clients = 7\n"
                             "keepalive_interval = -1\n"
                             "migration_host = \"a#b\"\n"
                             "ram_huge = \"advise\"\n"
                             "emulator = \"\"\n"
                             "log_level=1", &error);
        if (r < 0)
                print_error("%s\n", error->message);
        assert_int_equal(r, 0);
        assert_string_equal(config.unix_sock_group, "libvirt");
        assert_int_equal(config.unix_sock_rw_perms, 0770);
        assert_int_equal(config.limits.max_clients, 7);
        assert_int_equal(config.limits.keepalive_interval, -1);
        assert_string_equal(config.migration_host, "a#b");
        assert_string_equal(config.ram_huge, "advise");
        assert_null(config.emulator);
        assert_int_equal(config.log_level, LOG_DEBUG);
}

static void test_errors(void **state) {
        static const struct {
                const char *text, *complaint;
        } cases[] = {
                { "a = 1\n", "f:1: there is no setting 'a'" },
                { "\nmax_client = 1\n", "f:2: there is no setting 'max_client'" },
                { "max_clientsx = 1\n", "there is no setting 'max_clientsx'" },
                { "max_clients 1\n", "f:1: 'key = value' is expected" },
                { "= 1\n", "'key = value' is expected" },
                { "max_clients = \"1\"\n", "a whole number is expected" },
                { "max_clients = 1x\n", "a whole number is expected" },
                { "max_clients = 99999999999999999999\n", "a whole number is expected" },
                { "max_clients =\n", "a whole number is expected" },
                { "max_clients = 0\n", "'max_clients' goes from 1 to 1000000" },
                { "log_level = 5\n", "'log_level' goes from 1 to 4" },
                { "emulator = /usr/bin/x\n", "a string in quotes is expected" },
                { "emulator = \"x\n", "a string in quotes is expected" },
                { "emulator = \"x\" y\n", "a string in quotes is expected" },
                { "unix_sock_ro_perms = \"0888\"\n", "permissions are octal" },
                { "unix_sock_ro_perms = \"7777\"\n", "permissions are octal" },
                { "ram_huge = \"always\"\n", "'ram_huge' is one of: within_size, advise, never" },
                { "migration_port_min = 60000\n", "migration_port_min 60000 is above migration_port_max 49215" },
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_auto(DaemonConfig) config = { 0 };
                g_autoptr(GError) error = NULL;
                config_init(&config);
                assert_true(config_parse(&config, "f", cases[i].text, &error) < 0);
                if (!strstr(error->message, cases[i].complaint))
                        fail_msg("'%s' does not say '%s'", error->message, cases[i].complaint);
                assert_true(error_is(error, VIR_ERR_CONF_SYNTAX));
        }
}

static void test_missing(void **state) {
        g_auto(DaemonConfig) config = { 0 };
        g_autoptr(GError) error = NULL;
        config_init(&config);
        assert_true(config_load(&config, "/nonexistent/virtferryd.conf", true, &error) < 0);
}

/* The installed example names every setting, with its default: uncommented it changes nothing. */
static void test_example(void **state) {
        g_auto(DaemonConfig) config = { 0 }, fresh = { 0 };
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;

        assert_true(g_file_get_contents(FERRY_SOURCE_DIR "/daemon/virtferryd.conf", &text, NULL, NULL));
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        unsigned n = 0;
        for (unsigned i = 0; lines[i]; i++)
                if (lines[i][0] == '#' && g_ascii_isalpha(lines[i][1])) {
                        lines[i][0] = ' ';
                        n++;
                }
        g_autofree char *uncommented = g_strjoinv("\n", lines);
        config_init(&config);
        config_init(&fresh);
        int r = config_parse(&config, "virtferryd.conf", uncommented, &error);
        if (r < 0)
                fail_msg("%s", error->message);
        assert_int_equal(n, 30);
        assert_string_equal(config.ram_huge, "advise");
        assert_string_equal(config.save_image_format, "raw");
        assert_string_equal(config.restore_mode, "lazy");
        assert_string_equal(config.dbus, "auto");
        g_clear_pointer(&config.dbus, g_free);
        g_clear_pointer(&config.restore_mode, g_free);
        g_clear_pointer(&config.ram_huge, g_free);
        assert_string_equal(config.guest_slice, "machine.slice");
        g_clear_pointer(&config.guest_slice, g_free);
        assert_string_equal(config.migration_policy, "balanced");
        g_clear_pointer(&config.migration_policy, g_free);
        g_clear_pointer(&config.save_image_format, g_free);
        assert_memory_equal(&config, &fresh, sizeof(config));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_errors),
                cmocka_unit_test(test_missing),
                cmocka_unit_test(test_example),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
