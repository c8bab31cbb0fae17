/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/units.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_scale(void **state) {
        static const struct {
                const char *unit;
                uint64_t bytes;
        } cases[] = {
                { "b", 3 },        { "bytes", 3 },   { "KB", 3000 },     { "k", 3 * KIB },        { "KiB", 3 * KIB },
                { "MB", 3000000 }, { "M", 3 * MIB }, { "GiB", 3 * GIB }, { "T", 3 * 1024 * GIB }, { NULL, 3 * KIB },
                { "", 3 * KIB },
        };
        uint64_t bytes;

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                assert_int_equal(units_scale(3, cases[i].unit, KIB, &bytes), 0);
                assert_int_equal(bytes, cases[i].bytes);
        }
}

static void test_refused(void **state) {
        uint64_t bytes;

        assert_int_equal(units_scale(1, "furlong", KIB, &bytes), -EINVAL);
        assert_int_equal(units_scale(1, "Kx", KIB, &bytes), -EINVAL);
        assert_int_equal(units_scale(UINT64_MAX, "KiB", KIB, &bytes), -ERANGE);
        assert_int_equal(units_scale(16, "EiB", KIB, &bytes), -ERANGE);
}

static void test_align(void **state) {
        assert_int_equal(units_align_up(4097, 4096), 8192);
        assert_int_equal(units_align_up(4096, 4096), 4096);
        assert_int_equal(units_align_down(8191, 4096), 4096);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_scale),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_align),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
