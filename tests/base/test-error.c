/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_set(void **state) {
        g_autoptr(GError) error = NULL;

        assert_int_equal(error_set(&error, VIR_ERR_NO_DOMAIN, "no domain '%s'", "vm1"), -ENOENT);
        assert_string_equal(error->message, "no domain 'vm1'");
        assert_int_equal(error_code(error), VIR_ERR_NO_DOMAIN);
        assert_true(error_is(error, VIR_ERR_NO_DOMAIN));
        assert_false(error_is(NULL, VIR_ERR_NO_DOMAIN));
}

static void test_first_error_stays(void **state) {
        g_autoptr(GError) error = NULL;

        error_set(&error, VIR_ERR_NO_DOMAIN, "first");
        assert_int_equal(error_set(&error, VIR_ERR_INVALID_ARG, "second"), -EINVAL);
        assert_string_equal(error->message, "first");
}

static void test_errno(void **state) {
        g_autoptr(GError) error = NULL;

        assert_int_equal(error_set_errno(&error, -ENOENT, "cannot open '%s'", "/x"), -ENOENT);
        assert_string_equal(error->message, "cannot open '/x': No such file or directory");
        assert_int_equal(error_code(error), VIR_ERR_SYSTEM_ERROR);
        assert_int_equal(error_set_errno(NULL, 0, "nothing"), -EIO);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_set),
                cmocka_unit_test(test_first_error_stays),
                cmocka_unit_test(test_errno),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
