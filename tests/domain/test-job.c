/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/error.h"

static void test_long_job_refuses(void **state) {
        g_autoptr(GError) error = NULL;
        DomainJob job = { 0 };

        assert_int_equal(job_begin(&job, "vm1", JOB_MIGRATION_OUT, state, NULL), 0);
        assert_true(job_begin(&job, "vm1", JOB_MIGRATION_IN, state, &error) < 0);
        assert_int_equal(error_code(error), VIR_ERR_OPERATION_INVALID);
        assert_non_null(strstr(error->message, "'vm1' is migrating away"));
        assert_true(job_modify_begin(&job, "vm1", "setmem", JOB_ACCESS_EXCLUSIVE, NULL) < 0);
        assert_true(job_modify_begin(&job, "vm1", "x", JOB_ACCESS_DURING_IN, NULL) < 0);
        assert_int_equal(job_modify_begin(&job, "vm1", "suspend", JOB_ACCESS_DURING_OUT, NULL), 0);
        job_modify_end(&job);
        job_end(&job);
        assert_int_equal(job_begin(&job, "vm1", JOB_MIGRATION_IN, state, NULL), 0);
        assert_true(job_modify_begin(&job, "vm1", "suspend", JOB_ACCESS_DURING_OUT, NULL) < 0);
        assert_int_equal(job_modify_begin(&job, "vm1", "autostart", JOB_ACCESS_ALWAYS, NULL), 0);
        job_modify_end(&job);
        assert_true(job_modify_begin(&job, "vm1", "suspend", JOB_ACCESS_IN_POSTCOPY, NULL) < 0);
        job_enter_postcopy(&job);
        assert_int_equal(job_modify_begin(&job, "vm1", "suspend", JOB_ACCESS_IN_POSTCOPY, NULL), 0);
        job_modify_end(&job);
        assert_true(job_begin(&job, "vm1", JOB_MIGRATION_OUT, state, NULL) < 0);
        assert_true(job_modify_begin(&job, "vm1", "setmem", JOB_ACCESS_DURING_OUT | JOB_ACCESS_DURING_IN, NULL) < 0);
}

typedef struct Turn {
        DomainJob job;
        GString *order;
} Turn;

static void second(void *userdata) {
        Turn *turn = userdata;

        g_string_append(turn->order, "b");
        assert_int_equal(job_modify_begin(&turn->job, "vm1", "resume", JOB_ACCESS_EXCLUSIVE, NULL), 0);
        g_string_append(turn->order, "B");
        job_modify_end(&turn->job);
}

static void first(void *userdata) {
        Turn *turn = userdata;

        assert_int_equal(job_modify_begin(&turn->job, "vm1", "suspend", JOB_ACCESS_EXCLUSIVE, NULL), 0);
        g_string_append(turn->order, "a");
        assert_int_equal(fiber_start(fiber_event(), "second", second, turn), 0);
        while (turn->order->len < 2)
                fiber_sleep(0);
        g_string_append(turn->order, "A");
        job_modify_end(&turn->job);
        while (turn->order->len < 4)
                fiber_sleep(0);
}

static void test_short_changes_take_turns(void **state) {
        Turn turn = { .order = g_string_new(NULL) };

        assert_int_equal(fiber_run("first", first, &turn), 0);
        assert_string_equal(turn.order->str, "abAB");
        g_string_free(turn.order, TRUE);
}

static void test_names(void **state) {
        for (JobKind kind = 0; kind < _JOB_KIND_MAX; kind++)
                assert_string_not_equal(job_kind_to_string(kind), "invalid");
        assert_string_equal(job_kind_to_string(_JOB_KIND_MAX), "invalid");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_long_job_refuses),
                cmocka_unit_test(test_short_changes_take_turns),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
