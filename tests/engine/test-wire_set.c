/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/wire_set.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PAGES (2 * WIRE_SET_PAGES_MAX + 1000)

static void round_trip(const PageSet *set, size_t *ret_length) {
        static unsigned char bytes[WIRE_SET_MAX];
        PageSet back;
        assert_int_equal(page_set_init(&back, set->n_pages), 0);
        *ret_length = 0;
        for (uint64_t first = 0; first < set->n_pages; first += WIRE_SET_PAGES_MAX) {
                size_t length = wire_set_encode(set, first, bytes);
                assert_true(length <= sizeof(bytes));
                if (length > 0)
                        assert_int_equal(wire_set_decode(bytes, length, &back), 0);
                *ret_length += length;
        }
        assert_int_equal(back.n_set, set->n_set);
        assert_memory_equal(back.words, set->words, (set->n_pages + 63) / 64 * 8);
        page_set_deinit(&back);
}

static void test_forms(void **state) {
        PageSet set;
        size_t length;
        assert_int_equal(page_set_init(&set, PAGES), 0);
        round_trip(&set, &length);
        assert_int_equal(length, 0); /* nothing is sent of nothing */
        page_set_add(&set, 0, PAGES);
        round_trip(&set, &length);
        assert_int_equal(length, 3 * WIRE_SET_HEAD_BYTES);
        page_set_remove(&set, 10, 1);
        page_set_remove(&set, PAGES - 1, 1);
        round_trip(&set, &length);
        assert_true(length < 100);
        for (uint64_t page = 0; page < PAGES; page += 2) /* the worst for runs */
                page_set_remove(&set, page, 1);
        round_trip(&set, &length);
        assert_true(length <= PAGES / 8 + 3 * WIRE_SET_HEAD_BYTES + 1);
        page_set_deinit(&set);
}

static void test_golden(void **state) {
        PageSet set;
        unsigned char bytes[WIRE_SET_MAX];
        assert_int_equal(page_set_init(&set, WIRE_SET_PAGES_MAX + 128), 0);
        page_set_add(&set, WIRE_SET_PAGES_MAX + 3, 2);
        static const unsigned char runs[] = {
                0, 0, 4, 0, 0, 0, 0, 0, 128, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0
        };
        assert_int_equal(wire_set_encode(&set, WIRE_SET_PAGES_MAX, bytes), sizeof(runs));
        assert_memory_equal(bytes, runs, sizeof(runs));
        page_set_add(&set, WIRE_SET_PAGES_MAX + 8, 1);
        page_set_add(&set, WIRE_SET_PAGES_MAX + 10, 1);
        static const unsigned char bits[] = { 128, 0, 0, 0, 2, 0, 0, 0, 0x18, 5 };
        assert_int_equal(wire_set_encode(&set, WIRE_SET_PAGES_MAX, bytes), WIRE_SET_HEAD_BYTES + 16);
        assert_memory_equal(bytes + 8, bits, sizeof(bits));
        page_set_deinit(&set);
}

static int decode(const unsigned char *bytes, size_t length) {
        PageSet set;
        assert_int_equal(page_set_init(&set, 1000), 0);
        int r = wire_set_decode(bytes, length, &set);
        page_set_deinit(&set);
        return r;
}

static void test_bad(void **state) {
        unsigned char bytes[256] = { [8] = 64, [12] = 1 };
        assert_int_equal(decode(bytes, 16), 0);
        assert_int_equal(decode(bytes, 15), -EPROTO);
        assert_int_equal(decode(bytes, 17), -EPROTO);
        bytes[0] = 64; /* not where a piece begins */
        assert_int_equal(decode(bytes, 16), -EPROTO);
        bytes[0] = 0;
        bytes[9] = 4; /* more pages than there are */
        assert_int_equal(decode(bytes, 16), -EPROTO);
        bytes[9] = 0;
        bytes[8] = 0;
        assert_int_equal(decode(bytes, 16), -EPROTO);
        bytes[8] = 60;
        bytes[12] = 2;
        assert_int_equal(decode(bytes, 16 + 8), 0);
        bytes[16 + 7] = 0xff; /* bits beyond the last page */
        assert_int_equal(decode(bytes, 16 + 8), -EPROTO);
        assert_int_equal(decode(bytes, 16 + 7), -EPROTO);
        bytes[16 + 7] = 0;
        bytes[12] = 3;
        bytes[20] = 61; /* longer than the piece */
        assert_int_equal(decode(bytes, 16 + 8), -EPROTO);
        bytes[20] = 5;
        assert_int_equal(decode(bytes, 16 + 8), 0);
        bytes[28] = 1; /* a second one that does not come after the first */
        assert_int_equal(decode(bytes, 16 + 16), -EPROTO);
        bytes[24] = 6;
        assert_int_equal(decode(bytes, 16 + 16), 0);
        bytes[12] = 4; /* no such form */
        assert_int_equal(decode(bytes, 16 + 16), -EPROTO);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_forms),
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_bad),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
