/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/page_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_ranges(void **state) {
        g_auto(PageSet) set = { 0 };
        assert_int_equal(page_set_init(&set, 1000), 0);
        assert_int_equal(page_set_next(&set, 0), 1000);
        assert_int_equal(page_set_next_gap(&set, 0), 0);
        page_set_add(&set, 60, 10);
        page_set_add(&set, 64, 128);
        assert_int_equal(set.n_set, 132);
        assert_int_equal(page_set_next(&set, 0), 60);
        assert_int_equal(page_set_next_gap(&set, 60), 192);
        assert_int_equal(page_set_count(&set, 0, 64), 4);
        assert_int_equal(page_set_count(&set, 190, 100), 2);
        page_set_remove(&set, 100, 1);
        assert_false(page_set_has(&set, 100));
        assert_int_equal(page_set_next(&set, 100), 101);
        assert_int_equal(page_set_next_gap(&set, 61), 100);
        page_set_add(&set, 999, 1);
        assert_int_equal(page_set_next_gap(&set, 999), 1000);
        assert_int_equal(page_set_next(&set, 1000), 1000);
        page_set_clear(&set);
        assert_int_equal(set.n_set, 0);
        assert_int_equal(page_set_next(&set, 0), 1000);
}

/* Against a plain array. */
static void test_random(void **state) {
        enum { N = 517 };
        bool model[N] = { 0 };
        g_auto(PageSet) set = { 0 }, other = { 0 };
        assert_int_equal(page_set_init(&set, N), 0);
        assert_int_equal(page_set_init(&other, N), 0);
        unsigned seed = 12345;
        for (unsigned step = 0; step < 3000; step++) {
                uint64_t first = (uint64_t) rand_r(&seed) % N, count = (uint64_t) rand_r(&seed) % (N - first + 1);
                bool add = rand_r(&seed) % 2;
                if (add && step % 5 == 0) {
                        page_set_clear(&other);
                        page_set_add(&other, first, count);
                        page_set_merge(&set, &other);
                } else if (add)
                        page_set_add(&set, first, count);
                else
                        page_set_remove(&set, first, count);
                for (uint64_t i = first; i < first + count; i++)
                        model[i] = add;
                uint64_t total = 0, from = (uint64_t) rand_r(&seed) % N, next = N, gap = N;
                for (uint64_t i = N; i-- > 0;) {
                        total += model[i];
                        if (i >= from && model[i])
                                next = i;
                        if (i >= from && !model[i])
                                gap = i;
                }
                assert_int_equal(set.n_set, total);
                assert_int_equal(page_set_next(&set, from), next);
                assert_int_equal(page_set_next_gap(&set, from), gap);
                assert_int_equal(page_set_count(&set, 0, N), total);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_ranges), cmocka_unit_test(test_random) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
