/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/wording.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/error.h"

static void test_sentence(void **state) {
        g_autoptr(GError) error = NULL, foreign = NULL;
        g_autofree char *text = NULL, *none = NULL, *other = NULL;

        error_set(&error, VIR_ERR_NO_DOMAIN, "no domain with matching name '%s'", "100%s");
        text = wording_sentence(error);
        assert_string_equal(text, "Domain not found: no domain with matching name '100%s'");
        none = wording_sentence(NULL);
        assert_string_equal(none, "internal error: the call failed without a reason");
        g_set_error_literal(&foreign, g_quark_from_static_string("x"), 1, "bad \xff byte");
        other = wording_sentence(foreign);
        assert_true(g_utf8_validate(other, -1, NULL));
}

static void test_bounds(void **state) {
        g_autofree char *large = g_strnfill(100000, 'x'), *detail = NULL;
        g_autoptr(GError) error = NULL;

        error_set(&error, VIR_ERR_INVALID_ARG, "%s", large);
        detail = wording_detail(error);
        assert_true(strlen(detail) < 20000);
        assert_int_equal(wording_find((virErrorNumber) 9999)->code, VIR_ERR_INTERNAL_ERROR);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sentence),
                cmocka_unit_test(test_bounds),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
