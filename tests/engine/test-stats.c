/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/json.h"

/* Every number gets across, also the largest. */
static void test_round_trip(void **state) {
        EngineStats stats, back;
        uint64_t *numbers = (uint64_t *) &stats;
        for (size_t i = 0; i < sizeof(stats) / sizeof(uint64_t); i++)
                numbers[i] = UINT64_MAX - i * 1000003;
        g_autoptr(json_object) object = stats_to_json(&stats);
        g_autoptr(json_object) parsed = json_parse(json_line(object), strlen(json_line(object)), NULL);
        stats_from_json(parsed, &back);
        assert_memory_equal(&stats, &back, sizeof(stats));
        assert_int_equal(json_get_uint64(parsed, "round", 0), stats.round);
}

static void test_missing(void **state) {
        EngineStats back;
        memset(&back, 0xff, sizeof(back));
        g_autoptr(json_object) empty = json_object_new_object();
        stats_from_json(empty, &back);
        static const EngineStats none;
        assert_memory_equal(&back, &none, sizeof(none));
        stats_from_json(NULL, &back);
        assert_memory_equal(&back, &none, sizeof(none));
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip), cmocka_unit_test(test_missing) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
