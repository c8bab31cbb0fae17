/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/xml/sample.h"
#include "xml/bitset.h"

static void test_parse(void **state) {
        static const struct {
                const char *text;
                int result;
                const char *canonical;
        } cases[] = {
                { "0", 0, "0" },
                { "0-3", 0, "0-3" },
                { " 1 , 3-4 ", 0, "1,3-4" },
                { "0-5,^2", 0, "0-1,3-5" },
                { "63,64,65", 0, "63-65" },
                { "16383", 0, "16383" },
                { "5,1", 0, "1,5" },
                { "3-3", 0, "3" },
                { "", -EINVAL, NULL },
                { ",", -EINVAL, NULL },
                { "1,", -EINVAL, NULL },
                { "3-1", -EINVAL, NULL },
                { "^1", -EINVAL, NULL },
                { "1-", -EINVAL, NULL },
                { "a", -EINVAL, NULL },
                { "1 2", -EINVAL, NULL },
                { "1,^1", -EINVAL, NULL },
                { "^0-3", -EINVAL, NULL },
                { "-1", -EINVAL, NULL },
                { "16384", -ERANGE, NULL },
                { "0-99999999999999999999", -ERANGE, NULL },
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(Bitset) set = NULL;
                g_autofree char *text = NULL;

                assert_int_equal(bitset_parse(cases[i].text, &set), cases[i].result);
                if (cases[i].result < 0) {
                        assert_null(set);
                        continue;
                }
                text = bitset_format(set);
                assert_string_equal(text, cases[i].canonical);
        }
}

static void test_members(void **state) {
        g_autoptr(Bitset) set = NULL, copy = NULL, other = bitset_new();
        unsigned sum = 0;

        assert_int_equal(bitset_parse("1,64,130", &set), 0);
        for (int i = bitset_next(set, 0); i >= 0; i = bitset_next(set, (unsigned) i + 1))
                sum += (unsigned) i;
        assert_int_equal(sum, 195);
        assert_int_equal(bitset_count(set), 3);
        assert_true(bitset_has(set, 64));
        assert_false(bitset_has(set, 65));
        assert_false(bitset_has(set, 5000));
        copy = bitset_copy(set);
        assert_true(bitset_equal(set, copy));
        bitset_add(copy, 200);
        assert_false(bitset_equal(set, copy));
        assert_true(bitset_overlaps(set, copy));
        assert_false(bitset_overlaps(set, other));
        assert_true(bitset_equal(NULL, other));
        assert_null(bitset_copy(NULL));
        assert_int_equal(bitset_next(NULL, 0), -1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_members),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
