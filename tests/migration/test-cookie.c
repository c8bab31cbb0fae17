/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/error.h"

static void fill(MigrationCookie *cookie) {
        cookie->name = g_strdup("vm1");
        memset(cookie->uuid, 7, sizeof(cookie->uuid));
        cookie->hostname = g_strdup("alpha");
        cookie->instance = g_strdup("x");
        cookie->n_blocks = 1;
        cookie->blocks = g_new0(CookieBlock, 1);
        cookie->blocks[0] = (CookieBlock){ .id = g_strdup("ram0"), .size_bytes = 1 << 30, .page_bytes = 4096 };
        cookie->resident_bytes = 12345;
        cookie->has_token = true;
        for (unsigned i = 0; i < sizeof(cookie->token); i++)
                cookie->token[i] = (unsigned char) (i * 9);
        cookie->persistent_xml = g_strdup("<domain/>");
        cookie->n_disks = 1;
        cookie->disks = g_new0(StorageDisk, 1);
        cookie->disks[0] = (StorageDisk){ .target = g_strdup("vda"), .bytes = 77 };
        cookie->disks_uri = g_strdup("tcp://a:1");
        cookie->id = g_strdup("m1");
        cookie->complete = true;
}

static void test_round_trip(void **state) {
        g_auto(MigrationCookie) cookie = { 0 }, back = { 0 };
        g_autofree char *text = NULL;
        unsigned length;

        fill(&cookie);
        text = migration_cookie_format(&cookie, &length);
        assert_int_equal(migration_cookie_parse(text, length, &back, NULL), 0);
        assert_string_equal(back.name, "vm1");
        assert_memory_equal(back.uuid, cookie.uuid, sizeof(back.uuid));
        assert_int_equal(back.n_blocks, 1);
        assert_string_equal(back.blocks[0].id, "ram0");
        assert_int_equal(back.blocks[0].size_bytes, 1 << 30);
        assert_int_equal(back.resident_bytes, 12345);
        assert_true(back.has_token);
        assert_memory_equal(back.token, cookie.token, sizeof(back.token));
        assert_string_equal(back.persistent_xml, "<domain/>");
        assert_string_equal(back.id, "m1");
        assert_true(back.complete);
        assert_null(back.uri);
        assert_int_equal(back.n_disks, 1);
        assert_string_equal(back.disks[0].target, "vda");
        assert_int_equal(back.disks[0].bytes, 77);
        assert_string_equal(back.disks_uri, "tcp://a:1");
}

static void test_refused(void **state) {
        static const char *const texts[] = {
                "",
                "x",
                "{}",
                "{\"ferry-migration\":2}",
                "{\"ferry-migration\":1}",
                "{\"ferry-migration\":1,\"name\":\"a\",\"uuid\":\"1\"}",
                "{\"ferry-migration\":1,\"name\":\"a\",\"uuid\":\"a0000000-0000-4000-8000-000000000001\",\"token\":\"zz\"}",
                "{\"ferry-migration\":1,\"name\":\"a\",\"uuid\":\"a0000000-0000-4000-8000-000000000001\",\"ram\":[]}",
                "{\"ferry-migration\":1,\"name\":\"a\",\"uuid\":\"a0000000-0000-4000-8000-000000000001\",\"ram\":[{\"id\":\"r\",\"size\":0,\"page\":1}]}",
                "{\"ferry-migration\":1,\"name\":\"a\",\"uuid\":\"a0000000-0000-4000-8000-000000000001\",\"ram\":[7]}",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_auto(MigrationCookie) cookie = { 0 };
                g_autoptr(GError) error = NULL;

                assert_true(migration_cookie_parse(texts[i], strlen(texts[i]), &cookie, &error) < 0);
                assert_int_equal(error_code(error), VIR_ERR_INVALID_ARG);
                assert_null(cookie.name);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
