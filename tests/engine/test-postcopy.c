/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whole jobs between two helpers that switch to postcopy. The destination's guest checks each page that it touches,
 * and all of them at the end. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/units.h"
#include "driver/engine/engine.h"
#include "tests/engine/job.h"

#define FIBER_TEST(name)                                                                                               \
        static void name##_fiber(void *userdata);                                                                      \
        static void name(void **state) {                                                                               \
                assert_int_equal(fiber_run(#name, name##_fiber, NULL), 0);                                             \
        }                                                                                                              \
        static void name##_fiber(void *userdata)

static const JobArgs plain = {
        .size_bytes = 64 * MIB,
        .n_writers = 2,
        .work_bytes = 32 * MIB,
        .pages_per_msec = 8,
        .postcopy = true,
        .n_dest_writers = 2,
        .dest_pages_per_msec = 4,
};
/* Slow enough that something is left when it is interrupted. */
static const JobArgs slow = {
        .size_bytes = 64 * MIB,
        .n_writers = 2,
        .work_bytes = 32 * MIB,
        .pages_per_msec = 8,
        .postcopy = true,
        .n_dest_writers = 2,
        .dest_pages_per_msec = 1,
        .postcopy_bandwidth_bytes_per_sec = 20 * MIB,
};

static void start(Job *job, const JobArgs *args, unsigned iterations) {
        g_autoptr(GError) error = NULL;
        job_open(job, args);
        job_fill(job, 0, 40 * MIB, 90);
        standin_run(&job->guest);
        assert_int_equal(job_start(job, &error), 0);
        if (iterations > 0)
                assert_true(job_wait_count(job, &job->source.iterations, iterations));
        job_switch_postcopy(job);
}

FIBER_TEST(test_at_once) {
        Job job;
        start(&job, &plain, 0);
        job_finish_postcopy(&job);
        const EngineStats *stats = engine_stats(job.dest.engine);
        assert_true(stats->faults > 0);
        assert_int_equal(stats->stale_pages + stats->inflight_pages, 0);
        assert_true(stats->fault_threads > 0);
        assert_int_equal(job.source.paused + job.dest.paused, 0);
        job_close(&job);
}

FIBER_TEST(test_after_precopy) {
        Job job;
        start(&job, &plain, 3);
        job_finish_postcopy(&job);
        job_close(&job);
}

/* In the middle of a round that takes long. */
FIBER_TEST(test_in_mid_round) {
        Job job;
        JobArgs args = plain;
        args.bandwidth_bytes_per_sec = 40 * MIB;
        args.punch = true;
        job_open(&job, &args);
        job_fill(&job, 0, 40 * MIB, 90);
        standin_run(&job.guest);
        assert_int_equal(job_start(&job, NULL), 0);
        EngineStats stats = { 0 };
        while (stats.normal_pages < 2000)
                assert_int_equal(engine_query_pending(job.source.engine, true, &stats, NULL), 0);
        assert_int_equal(job.source.iterations, 0);
        job_switch_postcopy(&job);
        job_finish_postcopy(&job);
        job_close(&job);
}

/* Nobody touches anything: all of it is pushed, and nothing more than that is allocated. */
FIBER_TEST(test_idle_guest) {
        Job job;
        JobArgs args = plain;
        args.n_writers = args.n_dest_writers = 0;
        args.use_unix = true;
        job_open(&job, &args);
        job_fill(&job, 4 * MIB, 30 * MIB, 100);
        assert_int_equal(job_start(&job, NULL), 0);
        job_switch_postcopy(&job);
        assert_true(job_wait(&job, &job.dest.complete));
        assert_true(job_wait(&job, &job.source.complete));
        job_verify(&job);
        job_close(&job);
}

/* Precopy with the second channel open, and never used. */
FIBER_TEST(test_no_switch) {
        Job job;
        JobArgs args = plain;
        args.n_dest_writers = 0;
        job_open(&job, &args);
        job_fill(&job, 0, 16 * MIB, 100);
        standin_run(&job.guest);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 2));
        job_switch_over(&job);
        job_verify(&job);
        assert_int_equal(standin_verify(&job.dest_guest), 0);
        job_close(&job);
}

FIBER_TEST(test_not_prepared) {
        Job job;
        JobArgs args = plain;
        args.postcopy = false;
        job_open(&job, &args);
        g_autoptr(GError) error = NULL;
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(engine_source_stop_and_copy(job.source.engine, job.device_in, true, USEC_PER_SEC, &error) < 0);
        assert_int_equal(error->code, VIR_ERR_OPERATION_INVALID);
        job_close(&job);
}

/* Waits until about this much is missing on the destination. */
static void wait_lacking(Job *job, uint64_t bytes) {
        EngineStats stats = { .postcopy_bytes = UINT64_MAX };
        while (stats.postcopy_bytes > bytes && !job->dest.complete)
                assert_int_equal(engine_query_pending(job->dest.engine, false, &stats, NULL), 0);
}

static void recover(Job *job) {
        g_autoptr(GError) error = NULL;
        if (job_recover(job, &error) < 0)
                fail_msg("%s", error->message);
}

/* The link is cut again and again, from either end. */
FIBER_TEST(test_pause) {
        Job job;
        start(&job, &slow, 0);
        for (unsigned i = 0; i < 6; i++) {
                wait_lacking(&job, (34 - 5 * i) * MIB);
                assert_int_equal(engine_postcopy_pause(i % 2 ? job.dest.engine : job.source.engine, NULL), 0);
                assert_true(job_wait_count(&job, &job.source.paused, i + 1));
                assert_true(job_wait_count(&job, &job.dest.paused, i + 1));
                assert_int_equal(engine_state(job.source.engine), ENGINE_STATE_PAUSED);
                assert_int_equal(engine_state(job.dest.engine), ENGINE_STATE_PAUSED);
                recover(&job);
                assert_true(job_wait_count(&job, &job.dest.resumed, i + 1));
                assert_int_equal(engine_state(job.source.engine), ENGINE_STATE_POSTCOPY);
        }
        assert_int_equal(engine_source_set_postcopy_bandwidth(job.source.engine, 0, NULL), 0);
        job_finish_postcopy(&job);
        assert_int_equal(engine_stats(job.source.engine)->postcopy_recoveries, 6);
        job_close(&job);
}

/* Nobody noticed that the link is dead: recovery itself drops what is left of it. */
FIBER_TEST(test_recover_unnoticed) {
        Job job;
        start(&job, &slow, 0);
        recover(&job);
        assert_true(job_wait_count(&job, &job.dest.resumed, 1));
        assert_int_equal(engine_source_set_postcopy_bandwidth(job.source.engine, 0, NULL), 0);
        job_finish_postcopy(&job);
        job_close(&job);
}

/* Recovery that fails is tried again. */
FIBER_TEST(test_recover_fails) {
        Job job;
        g_autoptr(GError) error = NULL;
        start(&job, &slow, 0);
        assert_int_equal(engine_postcopy_pause(job.source.engine, NULL), 0);
        assert_true(job_wait_count(&job, &job.dest.paused, 1));
        EngineSourceArgs args;
        job_fill_args(&job, &args);
        assert_true(engine_source_recover(job.source.engine, &args, &error) < 0); /* nobody listens */
        job.args.wrong_token = true;
        g_clear_error(&error);
        assert_true(job_recover(&job, &error) < 0);
        assert_int_equal(error->code, VIR_ERR_AUTH_FAILED);
        job.args.wrong_token = false;
        assert_int_equal(engine_state(job.source.engine), ENGINE_STATE_PAUSED);
        job.args.postcopy_bandwidth_bytes_per_sec = 0;
        recover(&job);
        job_finish_postcopy(&job);
        job_close(&job);
}

static void kill_one(Job *job, bool source) {
        /* As it comes: whatever it is doing. */
        kill(engine_pid(source ? job->source.engine : job->dest.engine), SIGKILL);
        if (source)
                job_replace_source(job);
        else
                job_replace_dest(job);
}

/* Either helper is killed, at many points, or both. */
FIBER_TEST(test_kill) {
        Job job;
        start(&job, &slow, 0);
        for (unsigned i = 0; i < 12 && !job.dest.complete; i++) {
                wait_lacking(&job, (34 - 2 * i) * MIB);
                if (i % 3 != 0)
                        kill_one(&job, true);
                if (i % 3 != 1)
                        kill_one(&job, false);
                job.source.failed = job.dest.failed = false;
                recover(&job);
        }
        assert_int_equal(engine_source_set_postcopy_bandwidth(job.source.engine, 0, NULL), 0);
        job_finish_postcopy(&job);
        job_close(&job);
}

/* The destination's helper is killed when all is there: the next one has only to say so. */
FIBER_TEST(test_kill_complete) {
        Job job;
        JobArgs args = plain;
        args.n_dest_writers = 0;
        start(&job, &args, 0);
        assert_true(job_wait(&job, &job.dest.complete));
        assert_true(job_wait(&job, &job.source.complete));
        job.dest.complete = false;
        kill_one(&job, false);
        assert_true(job_wait(&job, &job.dest.complete));
        assert_int_equal(standin_verify(&job.dest_guest), 0);
        job_close(&job);
}

int main(int argc, char **argv) {
        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_at_once),
                cmocka_unit_test(test_after_precopy),
                cmocka_unit_test(test_in_mid_round),
                cmocka_unit_test(test_idle_guest),
                cmocka_unit_test(test_no_switch),
                cmocka_unit_test(test_not_prepared),
                cmocka_unit_test(test_pause),
                cmocka_unit_test(test_recover_unnoticed),
                cmocka_unit_test(test_recover_fails),
                cmocka_unit_test(test_kill),
                cmocka_unit_test(test_kill_complete),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
