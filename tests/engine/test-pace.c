/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "driver/base/clock.h"

static void test_limit(void **state) {
        Pace pace;
        pace_set(&pace, 1000000, 5 * USEC_PER_SEC);
        uint64_t now = 5 * USEC_PER_SEC, start = now, sent = 0;
        while (sent < 10000000) {
                uint64_t wait = pace_wait_usec(&pace, now);
                now += wait;
                pace_sent(&pace, 65536, now);
                sent += 65536;
        }
        uint64_t took = now - start;
        assert_in_range(took, 98 * USEC_PER_SEC / 10, 102 * USEC_PER_SEC / 10);
        /* A pause does not save up more than one burst. */
        now += 100 * USEC_PER_SEC;
        pace_sent(&pace, 1000000, now);
        assert_in_range(pace_wait_usec(&pace, now), USEC_PER_SEC - PACE_BURST_USEC, USEC_PER_SEC);
}

static void test_no_limit(void **state) {
        Pace pace;
        pace_set(&pace, 0, 0);
        pace_sent(&pace, UINT64_C(1) << 40, 1);
        assert_int_equal(pace_wait_usec(&pace, 1), 0);
        assert_int_equal(pace_frame_bytes(&pace, 1 << 20), 1 << 20);
        pace_set(&pace, 1000, 0);
        assert_int_equal(pace_frame_bytes(&pace, 1 << 20), 65536);
        pace_set(&pace, 20 << 20, 0);
        assert_int_equal(pace_frame_bytes(&pace, 1 << 20) % 4096, 0);
}

/* Sending time only: what happens between two calls does not exist for it. */
static void test_rate(void **state) {
        Rate rate = { 0 };
        for (unsigned i = 0; i < 100; i++)
                rate_sent(&rate, 4 << 20, 4000);
        assert_in_range(rate.bytes_per_sec, 1000000000, 1100000000);
        for (unsigned i = 0; i < 100; i++)
                rate_sent(&rate, 4 << 20, 40000);
        assert_in_range(rate.bytes_per_sec, 100000000, 110000000);
        /* A link that takes nearly nothing is noticed by its time. */
        for (unsigned i = 0; i < 100; i++)
                rate_sent(&rate, 1000, 100000);
        assert_in_range(rate.bytes_per_sec, 0, 20000);
}

/* 100 MB/s, and buffers that take the first 6 MB of a round at once: they are drained at the end of it. */
static void test_buffers(void **state) {
        Rate rate = { 0 };
        for (unsigned i = 0; i < 6; i++)
                rate_sent(&rate, 1000000, 10);
        assert_int_equal(rate.bytes_per_sec, 0);
        for (unsigned i = 0; i < 94; i++)
                rate_sent(&rate, 1000000, 10000);
        rate_round(&rate, 60000);
        assert_in_range(rate.bytes_per_sec, 95000000, 105000000);

        /* Short rounds measure the way there and back, not the link. */
        for (unsigned i = 0; i < 1000; i++) {
                rate_sent(&rate, 4096, 5);
                rate_round(&rate, 1000);
        }
        assert_in_range(rate.bytes_per_sec, 95000000, 105000000);
        /* Unless they take long: then the link has become slow. */
        for (unsigned i = 0; i < 100; i++) {
                rate_sent(&rate, 1000000, 5);
                rate_round(&rate, 1000000);
        }
        assert_in_range(rate.bytes_per_sec, 900000, 1100000);

        /* Better than nothing. */
        Rate first = { 0 };
        rate_sent(&first, 1000000, 10);
        rate_round(&first, 9990);
        assert_in_range(first.bytes_per_sec, 99000000, 101000000);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_limit), cmocka_unit_test(test_no_limit),
                                            cmocka_unit_test(test_rate), cmocka_unit_test(test_buffers) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
