/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/params.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/error.h"

static void test_addresses(void **state) {
        static const struct {
                const char *uri, *host, *path;
                unsigned port;
        } cases[] = {
                { "tcp://10.0.0.2:49152", "10.0.0.2", NULL, 49152 }, { "tcp://beta", "beta", NULL, 0 },
                { "tcp:beta:5000", "beta", NULL, 5000 },              { "tcp://[fe80::1]:7", "fe80::1", NULL, 7 },
                { "tcp://[::1]", "::1", NULL, 0 },                    { "tcp://beta:1/", "beta", NULL, 1 },
                { "unix:///run/a.sock", NULL, "/run/a.sock", 0 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_auto(MigrationAddress) address = { 0 };

                assert_int_equal(migration_address_parse(cases[i].uri, &address, NULL), 0);
                assert_true(g_strcmp0(address.host, cases[i].host) == 0);
                assert_true(g_strcmp0(address.unix_path, cases[i].path) == 0);
                assert_int_equal(address.port, cases[i].port);
        }
}

static void test_bad_addresses(void **state) {
        static const char *const uris[] = { "",          "tcp:",       "tcp://",       "tcp://a:0",  "tcp://a:65536",
                                            "tcp://a:x", "tcp://[::1", "tcp://[::1]7", "rdma://a:1", "unix://relative",
                                            "exec:ls" };

        for (size_t i = 0; i < G_N_ELEMENTS(uris); i++) {
                g_auto(MigrationAddress) address = { 0 };
                g_autoptr(GError) error = NULL;

                assert_true(migration_address_parse(uris[i], &address, &error) < 0);
                assert_non_null(error);
        }
}

static void test_format(void **state) {
        g_autofree char *v4 = migration_address_format("beta", 5), *v6 = migration_address_format("::1", 5);

        assert_string_equal(v4, "tcp://beta:5");
        assert_string_equal(v6, "tcp://[::1]:5");
}

static void test_parameters(void **state) {
        virTypedParameterPtr list = NULL;
        g_auto(MigrationParams) params = { 0 };
        int n = 0, max = 0;

        virTypedParamsAddString(&list, &n, &max, VIR_MIGRATE_PARAM_URI, "tcp://beta");
        virTypedParamsAddString(&list, &n, &max, VIR_MIGRATE_PARAM_DEST_NAME, "vm2");
        virTypedParamsAddULLong(&list, &n, &max, VIR_MIGRATE_PARAM_BANDWIDTH, 7);
        virTypedParamsAddULLong(&list, &n, &max, VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY, 9);
        assert_int_equal(migration_params_parse(list, n, VIR_MIGRATE_LIVE | VIR_MIGRATE_PERSIST_DEST, &params, NULL),
                         0);
        assert_string_equal(params.uri, "tcp://beta");
        assert_string_equal(params.name, "vm2");
        assert_int_equal(params.bandwidth_mib, 7);
        assert_int_equal(params.postcopy_bandwidth_mib, 9);
        assert_int_equal(params.flags, VIR_MIGRATE_LIVE | VIR_MIGRATE_PERSIST_DEST);
        virTypedParamsFree(list, n);
}

static void test_refused(void **state) {
        virTypedParameterPtr list = NULL;
        MigrationParams params = { 0 };
        g_autoptr(GError) error = NULL;
        int n = 0, max = 0;

        assert_true(migration_params_parse(NULL, 0, VIR_MIGRATE_TUNNELLED, &params, &error) < 0);
        assert_int_equal(error_code(error), VIR_ERR_ARGUMENT_UNSUPPORTED);
        assert_non_null(strstr(error->message, "'--tunnelled'"));
        g_clear_error(&error);
        assert_true(migration_params_parse(NULL, 0, 1u << 30, &params, &error) < 0);
        assert_int_equal(error_code(error), VIR_ERR_INVALID_ARG);
        g_clear_error(&error);
        virTypedParamsAddInt(&list, &n, &max, VIR_MIGRATE_PARAM_DISKS_PORT, 1);
        assert_true(migration_params_parse(list, n, 0, &params, &error) < 0);
        assert_non_null(strstr(error->message, "'--copy-storage-all'"));
        g_clear_error(&error);
        virTypedParamsFree(list, n);
        list = NULL;
        n = max = 0;
        virTypedParamsAddInt(&list, &n, &max, VIR_MIGRATE_PARAM_URI, 1);
        assert_true(migration_params_parse(list, n, 0, &params, &error) < 0);
        assert_int_equal(error_code(error), VIR_ERR_INVALID_ARG);
        virTypedParamsFree(list, n);
        assert_null(params.uri);
}

static void test_disks(void **state) {
        virTypedParameterPtr list = NULL;
        g_auto(MigrationParams) params = { 0 };
        MigrationParams other = { 0 };
        g_autoptr(GError) error = NULL;
        int n = 0, max = 0;

        virTypedParamsAddString(&list, &n, &max, VIR_MIGRATE_PARAM_MIGRATE_DISKS, "vda");
        virTypedParamsAddString(&list, &n, &max, VIR_MIGRATE_PARAM_MIGRATE_DISKS, "sdb");
        virTypedParamsAddInt(&list, &n, &max, VIR_MIGRATE_PARAM_DISKS_PORT, 49999);
        assert_int_equal(migration_params_parse(list, n, VIR_MIGRATE_NON_SHARED_INC, &params, NULL), 0);
        assert_string_equal(params.migrate_disks[0], "vda");
        assert_string_equal(params.migrate_disks[1], "sdb");
        assert_null(params.migrate_disks[2]);
        assert_int_equal(params.disks_port, 49999);
        assert_true(migration_params_parse(list, n, VIR_MIGRATE_NON_SHARED_DISK | VIR_MIGRATE_NON_SHARED_INC, &other,
                                           &error) < 0);
        assert_non_null(strstr(error->message, "exclude each other"));
        virTypedParamsFree(list, n);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_addresses), cmocka_unit_test(test_bad_addresses), cmocka_unit_test(test_format),
                cmocka_unit_test(test_parameters), cmocka_unit_test(test_refused), cmocka_unit_test(test_disks),
        };

        assert(virInitialize() == 0);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
