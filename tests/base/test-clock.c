/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static void test_monotonic_goes_forward(void **state) {
        uint64_t before = clock_monotonic_usec();

        for (unsigned i = 0; i < 1000; i++) {
                uint64_t now = clock_monotonic_usec();

                assert_true(now >= before);
                before = now;
        }
}

static void test_realtime_is_microseconds(void **state) {
        uint64_t before = (uint64_t) time(NULL) * USEC_PER_SEC;
        uint64_t now = clock_realtime_usec();

        /* time() may lag behind by a tick */
        assert_true(now >= before);
        assert_true(now <= ((uint64_t) time(NULL) + 1) * USEC_PER_SEC + 100 * USEC_PER_MSEC);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_monotonic_goes_forward),
                cmocka_unit_test(test_realtime_is_microseconds),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
