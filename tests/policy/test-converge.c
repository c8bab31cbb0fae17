/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/policy/converge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MIB (UINT64_C(1024) * 1024)

static const ConvergeConfig config = { .downtime_limit_usec = 300000, .overhead_usec = 8000 };

/* What is pending after each round, at 1 GiB/s; the decision after the last one. */
static ConvergeDecision decide(const uint64_t *mib, unsigned n) {
        ConvergeHistory history = { 0 };
        ConvergeRound round = { .bandwidth_bytes_per_sec = 1024 * MIB };

        for (unsigned i = 0; i < n; i++) {
                round.pending_bytes = mib[i] * MIB;
                converge_add(&history, &round);
        }
        return converge_decide(&config, &history);
}

static void test_reasons(void **state) {
        static const struct {
                uint64_t mib[6];
                unsigned n;
                ConvergeAction action;
                ConvergeReason reason;
        } cases[] = {
                { { 1024 }, 1, CONVERGE_CONTINUE, CONVERGE_ABOVE_LIMIT },
                { { 200 }, 1, CONVERGE_CONTINUE, CONVERGE_STILL_SHRINKING },
                { { 200, 50 }, 2, CONVERGE_CONTINUE, CONVERGE_STILL_SHRINKING },
                { { 200, 50, 1 }, 3, CONVERGE_STOP_AND_COPY, CONVERGE_SHORT_ENOUGH },
                { { 200, 50, 49 }, 3, CONVERGE_CONTINUE, CONVERGE_STILL_SHRINKING },
                { { 200, 50, 49, 51 }, 4, CONVERGE_STOP_AND_COPY, CONVERGE_NOT_SHRINKING },
                { { 200, 50, 49, 20 }, 4, CONVERGE_CONTINUE, CONVERGE_STILL_SHRINKING },
                { { 500, 490, 510, 505 }, 4, CONVERGE_CONTINUE, CONVERGE_ABOVE_LIMIT },
                { { 0 }, 1, CONVERGE_STOP_AND_COPY, CONVERGE_SHORT_ENOUGH },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                ConvergeDecision decision = decide(cases[i].mib, cases[i].n);

                assert_int_equal(decision.action, cases[i].action);
                assert_int_equal(decision.reason, cases[i].reason);
                assert_non_null(converge_reason_to_string(decision.reason));
        }
}

static void test_expected_downtime(void **state) {
        uint64_t mib[] = { 100 };

        assert_in_range(decide(mib, 1).expected_downtime_usec, 8000 + 97000, 8000 + 98000);
}

static void test_without_bandwidth(void **state) {
        ConvergeHistory history = { 0 };
        ConvergeDecision decision;

        converge_add(&history, &(ConvergeRound){ .pending_bytes = MIB });
        decision = converge_decide(&config, &history);
        assert_int_equal(decision.action, CONVERGE_CONTINUE);
        assert_int_equal(decision.reason, CONVERGE_NO_BANDWIDTH);
        assert_true(decision.expected_downtime_usec == UINT64_MAX);
}

static void test_idle_guest_stops(void **state) {
        ConvergeHistory history = { 0 };

        converge_add(&history, &(ConvergeRound){ .idle = true });
        converge_add(&history, &(ConvergeRound){ .idle = true });
        assert_int_equal(history.n, 1);
        assert_int_equal(converge_decide(&config, &history).reason, CONVERGE_IDLE);
}

/* A limit below the fixed overhead cannot be met; what can be done is to add nothing to it. */
static void test_limit_below_overhead(void **state) {
        ConvergeConfig tight = { .downtime_limit_usec = 1000, .overhead_usec = 8000 };
        ConvergeHistory history = { 0 };

        converge_add(&history, &(ConvergeRound){ .pending_bytes = MIB, .bandwidth_bytes_per_sec = 1024 * MIB });
        assert_int_equal(converge_decide(&tight, &history).action, CONVERGE_STOP_AND_COPY);
        converge_add(&history, &(ConvergeRound){ .pending_bytes = 10 * MIB, .bandwidth_bytes_per_sec = 1024 * MIB });
        assert_int_equal(converge_decide(&tight, &history).action, CONVERGE_CONTINUE);
}

static void test_history_is_bounded(void **state) {
        ConvergeHistory history = { 0 };

        for (unsigned i = 0; i < 3 * CONVERGE_HISTORY_MAX; i++)
                converge_add(&history, &(ConvergeRound){ .pending_bytes = i, .bandwidth_bytes_per_sec = 1 });
        assert_int_equal(history.n, CONVERGE_HISTORY_MAX);
        assert_int_equal(history.rounds[history.n - 1].pending_bytes, 3 * CONVERGE_HISTORY_MAX - 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reasons),          cmocka_unit_test(test_expected_downtime),
                cmocka_unit_test(test_without_bandwidth), cmocka_unit_test(test_idle_guest_stops),
                cmocka_unit_test(test_limit_below_overhead), cmocka_unit_test(test_history_is_bounded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
