/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_members(void **state) {
        static const char text[] = "{\"s\":\"x\",\"n\":18446744073709551615,\"i\":-4,\"b\":true}\r";
        g_autoptr(json_object) object = json_parse(text, strlen(text), NULL);

        assert_non_null(object);
        assert_string_equal(json_get_string(object, "s"), "x");
        assert_true(json_get_uint64(object, "n", 0) == UINT64_MAX);
        assert_int_equal(json_get_int64(object, "i", 0), -4);
        assert_true(json_get_bool(object, "b", false));
        assert_null(json_get_string(object, "n"));
        assert_int_equal(json_get_uint64(object, "s", 7), 7);
        assert_null(json_get(object, "none"));
        assert_null(json_get(NULL, "none"));
}

static void test_refused(void **state) {
        static const char *const texts[] = { "", "{", "{} x", "{\"a\":\"\xff\"}", "null", "{\"a\":}" };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(GError) error = NULL;

                assert_null(json_parse(texts[i], strlen(texts[i]), &error));
                assert_non_null(error);
        }
}

static void test_depth(void **state) {
        char deep[400];

        memset(deep, '[', 200);
        memset(deep + 200, ']', 200);
        assert_null(json_parse(deep, sizeof(deep), NULL));
}

static void test_build(void **state) {
        g_autoptr(json_object) object = json_object_new_object();

        json_add_string(json_add_uint64(json_add_bool(object, "b", false), "n", 5), "path", "/a/b");
        json_add_string(object, "none", NULL);
        assert_string_equal(json_line(object), "{\"b\":false,\"n\":5,\"path\":\"/a/b\"}");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_depth),
                cmocka_unit_test(test_build),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
