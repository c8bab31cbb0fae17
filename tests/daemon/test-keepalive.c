/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/keepalive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SEC UINT64_C(1000000)

static void test_silence(void **state) {
        Keepalive keepalive;
        keepalive_init(&keepalive, 5, 2, 100 * SEC);
        assert_int_equal(keepalive_tick(&keepalive, 104 * SEC), KEEPALIVE_WAIT);
        assert_int_equal(keepalive_tick(&keepalive, 105 * SEC), KEEPALIVE_PING);
        assert_int_equal(keepalive.deadline_usec, 110 * SEC);
        assert_int_equal(keepalive_tick(&keepalive, 110 * SEC), KEEPALIVE_PING);
        assert_int_equal(keepalive_tick(&keepalive, 114 * SEC), KEEPALIVE_WAIT);
        assert_int_equal(keepalive_tick(&keepalive, 115 * SEC), KEEPALIVE_DEAD);
}

static void test_life(void **state) {
        Keepalive keepalive;
        keepalive_init(&keepalive, 5, 1, 0);
        for (unsigned i = 1; i < 10; i++) {
                assert_int_equal(keepalive_tick(&keepalive, keepalive.deadline_usec), KEEPALIVE_PING);
                keepalive_heard(&keepalive, keepalive.deadline_usec - 1);
                assert_int_equal(keepalive.missed, 0);
        }
}

static void test_off(void **state) {
        Keepalive keepalive;
        keepalive_init(&keepalive, -1, 5, 0);
        assert_false(keepalive_enabled(&keepalive));
        assert_int_equal(keepalive_tick(&keepalive, 1000 * SEC), KEEPALIVE_WAIT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_silence),
                cmocka_unit_test(test_life),
                cmocka_unit_test(test_off),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
