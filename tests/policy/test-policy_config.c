/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/policy/policy_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static char word[POLICY_WORD_SIZE];

static void test_names(void **state) {
        for (PolicyKind kind = 0; kind < _POLICY_KIND_MAX; kind++) {
                PolicyConfig config = { 0 };

                assert_int_equal(policy_kind_from_string(policy_kind_to_string(kind)), kind);
                assert_int_equal(policy_config_parse(&config, policy_kind_to_string(kind), word), POLICY_CONFIG_OK);
                assert_int_equal(config.kind, kind);
                assert_null(policy_config_check(&config));
        }
        for (PolicyAction action = 0; action < _POLICY_ACTION_MAX; action++)
                assert_int_equal(policy_action_from_string(policy_action_to_string(action)), action);
        assert_true(policy_kind_from_string("fast") < 0);
        assert_true(policy_kind_from_string(NULL) < 0);
        assert_true(policy_action_from_string("stop") < 0);
        for (PolicyReason reason = 0; reason < _POLICY_REASON_MAX; reason++)
                assert_non_null(policy_reason_to_string(reason));
        assert_string_equal(policy_kind_to_string(_POLICY_KIND_MAX), "invalid");
}

static void test_values(void **state) {
        PolicyConfig config = { .postcopy = true, .overhead_usec = 7 };

        assert_int_equal(
                policy_config_parse(
                        &config,
                        "  minimal-downtime downtime.initial=150  downtime.max=1050 downtime.steps=7 downtime.interval=10.5 "
                        "downtime.always=yes stall.window=0.25 stall.action=abort stall.limit=6 deadline.seconds=90",
                        word),
                POLICY_CONFIG_OK);
        assert_int_equal(config.kind, POLICY_MINIMAL_DOWNTIME);
        assert_int_equal(config.downtime_usec, 150000);
        assert_int_equal(config.downtime_max_usec, 1050000);
        assert_int_equal(config.downtime_steps, 7);
        assert_int_equal(config.downtime_interval_usec, 10500000);
        assert_true(config.downtime_always);
        assert_int_equal(config.stall_window_usec, 250000);
        assert_int_equal(config.stall_action, POLICY_ABORT);
        assert_int_equal(config.stall_limit, 6);
        assert_int_equal(config.deadline_usec, 90000000);
        assert_true(config.postcopy);
        assert_int_equal(config.overhead_usec, 7);
}

static void test_schedule(void **state) {
        PolicyConfig config;

        policy_config_init(&config, POLICY_BALANCED);
        assert_int_equal(policy_config_set(&config, "downtime.schedule", "1:150,2:200,6:500,90s:76,1.5s:80.5"),
                         POLICY_CONFIG_OK);
        assert_int_equal(config.n_schedule, 5);
        assert_int_equal(config.schedule[2].stalls, 6);
        assert_int_equal(config.schedule[2].limit_usec, 500000);
        assert_int_equal(config.schedule[3].stalls, 0);
        assert_int_equal(config.schedule[3].after_usec, 90000000);
        assert_int_equal(config.schedule[4].after_usec, 1500000);
        assert_int_equal(config.schedule[4].limit_usec, 80500);
        assert_int_equal(policy_config_set(&config, "downtime.schedule", ""), POLICY_CONFIG_OK);
        assert_int_equal(config.n_schedule, 0);
}

static void test_bad_values(void **state) {
        static const struct {
                const char *key, *value;
                PolicyConfigResult result;
        } cases[] = {
                { "downtime", "1", POLICY_CONFIG_NO_KEY },
                { "", "1", POLICY_CONFIG_NO_KEY },
                { "downtime.max", "", POLICY_CONFIG_BAD_VALUE },
                { "downtime.max", "-1", POLICY_CONFIG_BAD_VALUE },
                { "downtime.max", "10ms", POLICY_CONFIG_BAD_VALUE },
                { "downtime.max", "0", POLICY_CONFIG_OUT_OF_RANGE },
                { "downtime.max", "99999999999999999999999999", POLICY_CONFIG_OUT_OF_RANGE },
                { "downtime.steps", "2.5", POLICY_CONFIG_BAD_VALUE },
                { "downtime.steps", "0", POLICY_CONFIG_OUT_OF_RANGE },
                { "downtime.always", "true", POLICY_CONFIG_BAD_VALUE },
                { "stall.action", "throttle", POLICY_CONFIG_BAD_VALUE },
                { "stall.action", "stop", POLICY_CONFIG_BAD_VALUE },
                { "stall.margin", "51", POLICY_CONFIG_OUT_OF_RANGE },
                { "throttle.max", "100", POLICY_CONFIG_OUT_OF_RANGE },
                { "downtime.schedule", "1", POLICY_CONFIG_BAD_VALUE },
                { "downtime.schedule", "0:100", POLICY_CONFIG_BAD_VALUE },
                { "downtime.schedule", "1.5:100", POLICY_CONFIG_BAD_VALUE },
                { "downtime.schedule", "1:100;2:200", POLICY_CONFIG_BAD_VALUE },
                { "downtime.schedule", "1:9999999", POLICY_CONFIG_OUT_OF_RANGE },
                { "downtime.schedule", "1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1,1:1",
                  POLICY_CONFIG_OUT_OF_RANGE },
        };
        PolicyConfig config, before;

        policy_config_init(&config, POLICY_BALANCED);
        before = config;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                assert_int_equal(policy_config_set(&config, cases[i].key, cases[i].value), cases[i].result);
                assert_non_null(policy_config_problem(cases[i].result));
                assert_memory_equal(&config, &before, sizeof(config));
        }
}

static void test_bad_texts(void **state) {
        static const struct {
                const char *text;
                PolicyConfigResult result;
                const char *word;
        } cases[] = {
                { "", POLICY_CONFIG_NO_POLICY, "" },
                { "fast", POLICY_CONFIG_NO_POLICY, "fast" },
                { "balanced stall.window", POLICY_CONFIG_BAD_VALUE, "stall.window" },
                { "balanced nothing=1", POLICY_CONFIG_NO_KEY, "nothing" },
                { "balanced stall.margin=99", POLICY_CONFIG_OUT_OF_RANGE, "stall.margin" },
        };
        char longer[2 * POLICY_WORD_SIZE];

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                PolicyConfig config = { .downtime_usec = 5 };

                assert_int_equal(policy_config_parse(&config, cases[i].text, word), cases[i].result);
                assert_string_equal(word, cases[i].word);
                assert_int_equal(config.downtime_usec, 5);
        }
        memset(longer, 'x', sizeof(longer) - 1);
        longer[sizeof(longer) - 1] = '\0';
        assert_int_equal(policy_config_parse(&(PolicyConfig) { 0 }, longer, word), POLICY_CONFIG_NO_POLICY);
        assert_int_equal(strlen(word), POLICY_WORD_SIZE - 1);
}

/* Settings that contradict what the policy's name promises. */
static void test_check(void **state) {
        static const char *const wrong[] = {
                "deadline deadline.seconds=0",
                "balanced deadline.seconds=5 deadline.action=continue",
                "minimal-downtime deadline.action=stop-and-copy",
                "minimal-downtime stall.action=postcopy",
                "never-throttle throttle.max=50",
        };

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                PolicyConfig config = { 0 };

                assert_int_equal(policy_config_parse(&config, wrong[i], word), POLICY_CONFIG_OK);
                assert_non_null(policy_config_check(&config));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),      cmocka_unit_test(test_values),    cmocka_unit_test(test_schedule),
                cmocka_unit_test(test_bad_values), cmocka_unit_test(test_bad_texts), cmocka_unit_test(test_check),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
