/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/policy/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/units.h"
#include "driver/policy/policy_config.h"

#define SEC UINT64_C(1000000)
#define OVERHEAD UINT64_C(8000)

/* A migration at 100 MiB/s. */
typedef struct Job {
        PolicyConfig config;
        PolicyHistory history;
        PolicyRound round;
        PolicyDecision decision;
        unsigned raised, throttled;
} Job;

static Job job_new(const char *policy) {
        char word[POLICY_WORD_SIZE];
        Job job = { .config.overhead_usec = OVERHEAD };

        assert_int_equal(policy_config_parse(&job.config, policy, word), POLICY_CONFIG_OK);
        assert_null(policy_config_check(&job.config));
        job.round = (PolicyRound) { .number = 1, .bandwidth_bytes_per_sec = 100 * MIB };
        return job;
}

static void job_ask(Job *job) {
        do {
                job->decision = policy_decide(&job->config, &job->history);
                job->raised += job->decision.action == POLICY_RAISE_DOWNTIME;
                job->throttled += job->decision.action == POLICY_THROTTLE;
        } while (job->decision.action == POLICY_RAISE_DOWNTIME);
}

/* A round ends at this time and leaves so much. */
static PolicyAction job_round(Job *job, uint64_t usec, uint64_t pending_bytes) {
        job->round.sample = POLICY_SAMPLE_ROUND;
        job->round.number++;
        job->round.elapsed_usec = usec;
        job->round.pending_bytes = pending_bytes;
        policy_add(&job->config, &job->history, &job->round);
        job_ask(job);
        return job->decision.action;
}

static PolicyAction job_sample(Job *job, PolicySample sample, uint64_t usec, uint64_t pending_bytes) {
        job->round.sample = sample;
        job->round.elapsed_usec = usec;
        job->round.pending_bytes = pending_bytes;
        policy_add(&job->config, &job->history, &job->round);
        job_ask(job);
        return job->decision.action;
}

/* Rounds that take as long as sending what the one before left; a writer that dirties `dirty` bytes/s of `set` bytes,
 * slowed down as decided. Returns when the policy ends it, or after limit_usec. */
static PolicyAction job_run(Job *job, uint64_t first_bytes, double dirty, uint64_t set_bytes, uint64_t limit_usec) {
        uint64_t now = 0, pending = first_bytes;
        PolicyAction action = POLICY_CONTINUE;

        while (action != POLICY_STOP_AND_COPY && action != POLICY_SWITCH_TO_POSTCOPY && action != POLICY_ABORT &&
               now < limit_usec) {
                double usec = (double) pending * 1e6 / (double) job->round.bandwidth_bytes_per_sec;
                double wrote = dirty * (100 - job->history.throttle_percent) / 100 * usec / 1e6;

                now += (uint64_t) usec + 1000;
                pending = wrote > (double) set_bytes ? set_bytes : (uint64_t) wrote;
                job->round.dirty_bytes_per_sec = (uint64_t) (wrote * 1e6 / (usec + 1));
                action = job_round(job, now, pending);
        }
        return action;
}

static void test_below_the_limit(void **state) {
        static const struct {
                uint64_t mib[6];
                unsigned n;
                PolicyAction action;
                PolicyReason reason;
        } cases[] = {
                { { 100 }, 1, POLICY_CONTINUE, POLICY_REASON_ABOVE_LIMIT },
                { { 20 }, 1, POLICY_CONTINUE, POLICY_REASON_STILL_SHRINKING },
                { { 20, 5 }, 2, POLICY_CONTINUE, POLICY_REASON_STILL_SHRINKING },
                { { 20, 5, 0 }, 3, POLICY_STOP_AND_COPY, POLICY_REASON_SHORT_ENOUGH },
                { { 20, 5, 5 }, 3, POLICY_CONTINUE, POLICY_REASON_STILL_SHRINKING },
                { { 20, 5, 5, 6 }, 4, POLICY_STOP_AND_COPY, POLICY_REASON_NOT_SHRINKING },
                { { 20, 5, 5, 2 }, 4, POLICY_CONTINUE, POLICY_REASON_STILL_SHRINKING },
                { { 50, 49, 51, 50 }, 4, POLICY_CONTINUE, POLICY_REASON_ABOVE_LIMIT },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                Job job = job_new("balanced");

                for (unsigned j = 0; j < cases[i].n; j++)
                        job_round(&job, (j + 1) * SEC / 10, cases[i].mib[j] * MIB);
                assert_int_equal(job.decision.action, cases[i].action);
                assert_int_equal(job.decision.reason, cases[i].reason);
                assert_int_equal(job.decision.limit_usec, 300000);
        }
}

static void test_expected_downtime(void **state) {
        Job job = job_new("balanced");

        job.round.stopcopy_bytes = 10 * MIB;
        job_round(&job, SEC, 10 * MIB);
        assert_in_range(job.decision.expected_downtime_usec, OVERHEAD + 200000, OVERHEAD + 200001);
        assert_in_range(policy_remaining_usec(&job.round), 200000, 200001);
}

static void test_without_bandwidth(void **state) {
        Job job = job_new("balanced");

        job.round.bandwidth_bytes_per_sec = 0;
        assert_int_equal(job_round(&job, SEC, MIB), POLICY_CONTINUE);
        assert_int_equal(job.decision.reason, POLICY_REASON_NO_BANDWIDTH);
        assert_true(job.decision.expected_downtime_usec == UINT64_MAX);
}

static void test_idle_guest_stops(void **state) {
        Job job = job_new("minimal-downtime");

        assert_int_equal(job_sample(&job, POLICY_SAMPLE_IDLE, SEC, 0), POLICY_STOP_AND_COPY);
        assert_int_equal(job.decision.reason, POLICY_REASON_IDLE);
        assert_int_equal(job.history.n, 0);
}

/* Where the limit must be kept, an idle guest with a large device state goes on until the deadline. */
static void test_idle_above_a_kept_limit(void **state) {
        Job job = job_new("minimal-downtime deadline.seconds=60");

        job.round.stopcopy_bytes = 100 * MIB;
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_IDLE, SEC, 0), POLICY_CONTINUE);
        assert_int_equal(job.decision.reason, POLICY_REASON_ABOVE_LIMIT);
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_IDLE, 60 * SEC, 0), POLICY_ABORT);
        job = job_new("balanced");
        job.round.stopcopy_bytes = 100 * MIB;
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_IDLE, SEC, 0), POLICY_STOP_AND_COPY);
        job.config.downtime_fixed = true;
        job_ask(&job);
        assert_int_equal(job.decision.action, POLICY_CONTINUE);
        job.config.downtime_usec = 2 * SEC;
        policy_reconfigured(&job.history);
        job_ask(&job);
        assert_int_equal(job.decision.action, POLICY_STOP_AND_COPY);
        assert_int_equal(job.decision.reason, POLICY_REASON_IDLE);
        /* Nothing was ever sent: it will not be known better. */
        job = job_new("minimal-downtime");
        job.round.bandwidth_bytes_per_sec = 0;
        job.round.stopcopy_bytes = MIB;
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_IDLE, SEC, 0), POLICY_STOP_AND_COPY);
}

/* A link that carries nothing does not suspend the deadline. */
static void test_deadline_without_bandwidth(void **state) {
        Job job = job_new("minimal-downtime deadline.seconds=60");

        job.round.bandwidth_bytes_per_sec = 0;
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_ESTIMATE, 59 * SEC, GIB), POLICY_CONTINUE);
        assert_int_equal(job.decision.reason, POLICY_REASON_NO_BANDWIDTH);
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_ESTIMATE, 60 * SEC, GIB), POLICY_ABORT);
        assert_int_equal(job.decision.reason, POLICY_REASON_DEADLINE);
}

/* A limit below the fixed overhead cannot be met; what can be done is to add nothing to it. */
static void test_limit_below_overhead(void **state) {
        Job job = job_new("balanced downtime.initial=1");

        assert_int_equal(job_round(&job, SEC, MIB / 8), POLICY_STOP_AND_COPY);
        job = job_new("balanced downtime.initial=1");
        assert_int_equal(job_round(&job, SEC, 10 * MIB), POLICY_CONTINUE);
}

static void test_history_is_bounded(void **state) {
        Job job = job_new("minimal-downtime deadline.seconds=0");

        for (uint64_t i = 0; i < 100 * POLICY_HISTORY_MAX; i++)
                job_round(&job, i * SEC, (1000 + i) * MIB);
        assert_in_range(job.history.n, POLICY_HISTORY_MAX / 2, POLICY_HISTORY_MAX);
        assert_int_equal(job.history.rounds, 100 * POLICY_HISTORY_MAX);
        /* The best of all is still known, and no record is older than what it stands for. */
        assert_int_equal(job.history.records[0].pending_bytes, 1000 * MIB);
        for (unsigned i = 1; i < job.history.n; i++)
                assert_true(job.history.records[i].elapsed_usec > job.history.records[i - 1].elapsed_usec);
}

static void test_stall(void **state) {
        Job job = job_new("minimal-downtime");

        /* Progress. */
        for (unsigned i = 1; i <= 10; i++)
                job_round(&job, i * SEC, (2000 - 100 * i) * MIB);
        assert_false(job.history.stalled);
        /* A swing upward within the window of 5 s is none yet. */
        for (unsigned i = 11; i <= 13; i++)
                job_round(&job, i * SEC, 1100 * MIB);
        assert_false(job.history.stalled);
        job_round(&job, 14 * SEC, 1100 * MIB);
        assert_true(job.history.stalled);
        assert_int_equal(job.history.stall_from_usec, 9 * SEC);
        assert_int_equal(job.history.target_bytes, 1000 * MIB);
        /* 4 % better is progress again. */
        job_round(&job, 16 * SEC, 950 * MIB);
        assert_false(job.history.stalled);
        assert_int_equal(job.history.stalls, 0);
}

/* The best round does not come again: after each patience the next best will do, and patience shrinks. */
static void test_patience(void **state) {
        Job job = job_new("minimal-downtime stall.decay=50");
        uint64_t target;

        for (unsigned i = 1; i <= 6; i++)
                job_round(&job, i * SEC, (1000 + 100 * i) * MIB);
        assert_true(job.history.stalled);
        target = job.history.target_bytes;
        assert_int_equal(target, 1100 * MIB);
        for (unsigned i = 7; i <= 10; i++)
                job_round(&job, i * SEC, 2000 * MIB);
        assert_int_equal(job.history.target_bytes, target);
        job_round(&job, 11 * SEC, 2000 * MIB);
        assert_int_equal(job.history.target_bytes, 1200 * MIB);
        assert_int_equal(job.history.patience_usec, 5 * SEC / 2);
        job_round(&job, 14 * SEC, 2000 * MIB);
        assert_int_equal(job.history.target_bytes, 1300 * MIB);
}

/* The switch waits for a round as good as the best. */
static void test_near_minimum(void **state) {
        Job job = job_new("never-throttle downtime.max=300");
        static const uint64_t mib[] = { 500, 400, 600, 500, 450, 600, 700, 600 };

        for (unsigned i = 0; i < sizeof(mib) / sizeof(mib[0]); i++)
                assert_int_equal(job_round(&job, (i + 1) * SEC, mib[i] * MIB), POLICY_CONTINUE);
        assert_true(job.history.stalled);
        assert_int_equal(job.decision.reason, POLICY_REASON_WAIT_MINIMUM);
        assert_int_equal(job_round(&job, 9 * SEC, 410 * MIB), POLICY_STOP_AND_COPY);
        assert_int_equal(job.decision.reason, POLICY_REASON_STALLED);
}

static void test_ramp(void **state) {
        Job job = job_new("balanced downtime.initial=100 downtime.max=500 downtime.steps=4 stall.window=2");
        PolicyAction action = POLICY_CONTINUE;
        uint64_t now = 0;

        /* 45 MiB take 458 ms: the last step. */
        while (action == POLICY_CONTINUE) {
                now += SEC / 2;
                action = job_round(&job, now, 45 * MIB);
                assert_true(now < 30 * SEC);
        }
        assert_int_equal(action, POLICY_STOP_AND_COPY);
        assert_int_equal(job.raised, 4);
        assert_int_equal(job.throttled, 0);
        assert_int_equal(job.decision.limit_usec, 500000);
        assert_int_equal(job.decision.reason, POLICY_REASON_NOT_SHRINKING);
}

/* What no step reaches is not ramped for. */
static void test_hopeless_ramp_is_skipped(void **state) {
        Job job = job_new("balanced");

        for (unsigned i = 1; i <= 6; i++)
                job_round(&job, i * SEC, 1000 * MIB);
        assert_int_equal(job.raised, 0);
        assert_int_equal(job.decision.action, POLICY_THROTTLE);
        assert_int_equal(job.decision.reason, POLICY_REASON_THROTTLE_BEGIN);
        assert_int_equal(job.decision.throttle_percent, 20);
}

/* KubeVirt's VEP 291: 150 ms, seven steps to 1050 ms, after the third round, ten seconds apart. */
static void test_ramp_by_time(void **state) {
        Job job = job_new(
                "never-throttle downtime.initial=150 downtime.max=1050 downtime.steps=7 downtime.interval=10 downtime.after-round=3 "
                "downtime.always=yes stall.action=continue");
        uint64_t limit = 0;

        for (unsigned i = 1; i <= 80; i++) {
                job_round(&job, i * SEC, 200 * MIB);
                if (job.decision.limit_usec != limit) {
                        assert_true(limit == 0 || job.decision.limit_usec - limit == (1050000 - 150000) / 7 ||
                                    job.decision.limit_usec == 1050000);
                        limit = job.decision.limit_usec;
                }
        }
        assert_in_range(job.raised, 7, 8);
        assert_int_equal(limit, 1050000);
}

/* oVirt's "minimal downtime": a limit for each stalled round, then it gives up. */
static void test_schedule(void **state) {
        Job job = job_new(
                "minimal-downtime downtime.initial=100 downtime.schedule=1:150,2:200,3:300,4:400,6:500 stall.window=1 stall.margin=0 "
                "stall.limit=7 stall.action=abort");
        static const uint64_t limits[] = { 100, 150, 200, 300, 400, 400, 500, 500 };

        for (unsigned i = 0; i < 7; i++) {
                assert_int_equal(job_round(&job, (i + 1) * SEC, 1000 * MIB), POLICY_CONTINUE);
                assert_int_equal(job.decision.limit_usec, limits[i] * 1000);
        }
        assert_int_equal(job_round(&job, 8 * SEC, 1000 * MIB), POLICY_ABORT);
        assert_int_equal(job.decision.reason, POLICY_REASON_GIVEN_UP);
}

/* Nova's: by time. */
static void test_schedule_by_time(void **state) {
        Job job = job_new("never-throttle downtime.initial=40 downtime.schedule=90s:76,180s:112 stall.action=continue");

        job_round(&job, 89 * SEC, 1000 * MIB);
        assert_int_equal(job.decision.limit_usec, 40000);
        job_round(&job, 90 * SEC, 1000 * MIB);
        assert_int_equal(job.decision.limit_usec, 76000);
        job_round(&job, 300 * SEC, 1000 * MIB);
        assert_int_equal(job.decision.limit_usec, 112000);
}

static void test_throttle_converges(void **state) {
        Job job = job_new("balanced");

        /* 3 times the link, over 400 MiB. */
        assert_int_equal(job_run(&job, 2 * GIB, 300.0 * MIB, 400 * MIB, 600 * SEC), POLICY_STOP_AND_COPY);
        assert_true(job.history.throttle_percent > 66);
        assert_true(job.decision.expected_downtime_usec <= job.decision.limit_usec);
        assert_true(job.history.last.elapsed_usec < 120 * SEC);
}

/* A throttle that helps is not made stronger. */
static void test_throttle_enough(void **state) {
        Job job = job_new("balanced");

        for (unsigned i = 1; i <= 6; i++)
                job_round(&job, i * SEC, 1000 * MIB);
        assert_int_equal(job.decision.throttle_percent, 20);
        assert_int_equal(job_round(&job, 7 * SEC, 700 * MIB), POLICY_CONTINUE);
        assert_int_equal(job.decision.reason, POLICY_REASON_THROTTLED);
        assert_int_equal(job_round(&job, 8 * SEC, 690 * MIB), POLICY_THROTTLE);
        assert_int_equal(job.decision.throttle_percent, 30);
        /* Below the limit it ends at once: the guest has waited long enough. */
        assert_int_equal(job_round(&job, 9 * SEC, 20 * MIB), POLICY_STOP_AND_COPY);
        assert_int_equal(job.decision.reason, POLICY_REASON_THROTTLED);
}

/* A configuration that allows less, in mid-job. */
static void test_throttle_eased(void **state) {
        Job job = job_new("balanced throttle.initial=50");

        for (unsigned i = 1; i <= 6; i++)
                job_round(&job, i * SEC, 1000 * MIB);
        assert_int_equal(job.decision.throttle_percent, 50);
        job.config.throttle_max = 30;
        policy_reconfigured(&job.history);
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_ESTIMATE, 7 * SEC, 900 * MIB), POLICY_THROTTLE);
        assert_int_equal(job.decision.reason, POLICY_REASON_THROTTLE_EASED);
        assert_int_equal(job.decision.throttle_percent, 30);
        job_ask(&job);
        assert_int_equal(job.decision.action, POLICY_CONTINUE);
        job.config.throttle_max = 0;
        policy_reconfigured(&job.history);
        job_ask(&job);
        assert_int_equal(job.decision.action, POLICY_THROTTLE);
        assert_int_equal(job.decision.throttle_percent, 0);
        job_ask(&job);
        assert_int_equal(job.decision.action, POLICY_CONTINUE);
        assert_int_equal(job.history.throttle_percent, 0);
}

static void test_without_throttle(void **state) {
        Job job = job_new("balanced");

        for (unsigned i = 1; i <= 6; i++)
                job_round(&job, i * SEC, 1000 * MIB);
        assert_int_equal(job.decision.action, POLICY_THROTTLE);
        policy_cannot(&job.history, POLICY_THROTTLE);
        job_ask(&job);
        assert_int_equal(job.decision.action, POLICY_STOP_AND_COPY);
        assert_int_equal(job.decision.reason, POLICY_REASON_STALLED);
        assert_int_equal(job.decision.throttle_percent, 0);
}

/* With the throttle at its end, postcopy where it is allowed. */
static void test_postcopy_last(void **state) {
        Job job = job_new("balanced throttle.initial=90");

        job.config.postcopy = true;
        /* A writer that no throttle stops. */
        for (unsigned i = 1; i <= 30 && job.decision.action != POLICY_SWITCH_TO_POSTCOPY; i++)
                job_round(&job, i * SEC, 1000 * MIB);
        assert_int_equal(job.decision.action, POLICY_SWITCH_TO_POSTCOPY);
        assert_int_equal(job.decision.reason, POLICY_REASON_STALLED);
        assert_int_equal(job.throttled, 2);
        policy_cannot(&job.history, POLICY_SWITCH_TO_POSTCOPY);
        job_ask(&job);
        assert_int_equal(job.decision.action, POLICY_STOP_AND_COPY);
}

static void test_postcopy_policy(void **state) {
        Job job = job_new("postcopy");

        job.config.postcopy = true;
        assert_int_equal(job_round(&job, SEC, 1000 * MIB), POLICY_SWITCH_TO_POSTCOPY);
        assert_int_equal(job.decision.reason, POLICY_REASON_ONE_ROUND);
        /* Nothing is gained by postcopy where so little is left. */
        job = job_new("postcopy");
        job.config.postcopy = true;
        assert_int_equal(job_round(&job, SEC, 100), POLICY_STOP_AND_COPY);
        /* Not allowed: as balanced. */
        job = job_new("postcopy");
        assert_int_equal(job_run(&job, 2 * GIB, 300.0 * MIB, 400 * MIB, 600 * SEC), POLICY_STOP_AND_COPY);
        assert_true(job.throttled > 0);
}

static void test_minimal_downtime(void **state) {
        Job job = job_new("minimal-downtime deadline.seconds=60");

        assert_int_equal(job_run(&job, 2 * GIB, 300.0 * MIB, 400 * MIB, 600 * SEC), POLICY_ABORT);
        assert_int_equal(job.decision.reason, POLICY_REASON_DEADLINE);
        assert_int_equal(job.raised + job.throttled, 0);
        assert_in_range(job.history.last.elapsed_usec, 60 * SEC, 65 * SEC);
        /* In the middle of a round as well. */
        job = job_new("minimal-downtime deadline.seconds=60");
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_ESTIMATE, 59 * SEC, GIB), POLICY_CONTINUE);
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_ESTIMATE, 60 * SEC, GIB), POLICY_ABORT);
}

static void test_never_throttle(void **state) {
        Job job = job_new("never-throttle");

        assert_int_equal(job_run(&job, 2 * GIB, 300.0 * MIB, 400 * MIB, 600 * SEC), POLICY_STOP_AND_COPY);
        assert_int_equal(job.throttled, 0);
        assert_int_equal(job.decision.reason, POLICY_REASON_STALLED);
}

static void test_deadline(void **state) {
        static const double rates[] = { 0, 10, 50, 90, 110, 300, 1000 }; /* MiB/s; the link has 100 */

        for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
                for (int postcopy = 0; postcopy < 2; postcopy++) {
                        Job job = job_new("deadline deadline.seconds=60");
                        PolicyAction action;

                        job.config.postcopy = postcopy;
                        action = job_run(&job, 2 * GIB, rates[i] * MIB, 400 * MIB, 600 * SEC);
                        assert_true(action == POLICY_STOP_AND_COPY || action == POLICY_SWITCH_TO_POSTCOPY);
                        assert_true(job.history.last.elapsed_usec < 60 * SEC);
                        if (action == POLICY_STOP_AND_COPY)
                                assert_true(job.history.last.elapsed_usec + job.decision.expected_downtime_usec <=
                                            60 * SEC);
                        /* What rounds do in time needs no other means. */
                        if (rates[i] <= 50)
                                assert_int_equal(job.raised + job.throttled, 0);
                        if (rates[i] > 100)
                                assert_true(job.throttled > 0);
                }
        }
}

/* The means, one after the other, without a throttle that helps: the stop comes while it still fits. */
static void test_deadline_near(void **state) {
        Job job = job_new("deadline deadline.seconds=30 throttle.max=0");

        assert_int_equal(job_run(&job, GIB, 1000.0 * MIB, 400 * MIB, 600 * SEC), POLICY_STOP_AND_COPY);
        assert_int_equal(job.decision.reason, POLICY_REASON_DEADLINE_NEAR);
        assert_true(job.history.last.elapsed_usec + job.decision.expected_downtime_usec <= 30 * SEC);
        /* Not in the first pass, where it would be the longest blackout of all, unless it is postcopy. */
        job = job_new("deadline deadline.seconds=30");
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_ESTIMATE, SEC, 20 * GIB), POLICY_CONTINUE);
        job.config.postcopy = true;
        assert_int_equal(job_sample(&job, POLICY_SAMPLE_ESTIMATE, SEC, 20 * GIB), POLICY_SWITCH_TO_POSTCOPY);
}

/* Giving up takes no time: it waits for the deadline itself. */
static void test_deadline_abort(void **state) {
        Job job = job_new("deadline deadline.seconds=30 deadline.action=abort throttle.max=0");

        assert_int_equal(job_run(&job, GIB, 1000.0 * MIB, 400 * MIB, 600 * SEC), POLICY_ABORT);
        assert_int_equal(job.decision.reason, POLICY_REASON_DEADLINE);
        assert_in_range(job.history.last.elapsed_usec, 30 * SEC, 35 * SEC);
}

/* A stop at the deadline, or shortly before, keeps the user's limit; postcopy comes in time. */
static void test_deadline_fixed_limit(void **state) {
        static const char *const policies[] = { "deadline deadline.seconds=30", "balanced deadline.seconds=30" };

        for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
                Job job = job_new(policies[i]);

                job.config.downtime_fixed = true;
                for (unsigned j = 1; j <= 60; j++) {
                        PolicyAction action = job_round(&job, j * SEC, 400 * MIB);

                        assert_true(action == POLICY_CONTINUE || action == POLICY_THROTTLE);
                }
                assert_int_equal(job.raised, 0);
                assert_int_equal(job_round(&job, 61 * SEC, 10 * MIB), POLICY_STOP_AND_COPY);
                assert_true(job.decision.expected_downtime_usec <= job.decision.limit_usec);
                job = job_new(policies[i]);
                job.config.downtime_fixed = true;
                job.config.postcopy = true;
                assert_int_equal(job_sample(&job, POLICY_SAMPLE_ESTIMATE, 30 * SEC, GIB), POLICY_SWITCH_TO_POSTCOPY);
        }
}

/* migrate-setmaxdowntime: nothing raises it or stops the guest above it. */
static void test_fixed_limit(void **state) {
        Job job = job_new("never-throttle");

        job.config.downtime_fixed = true;
        job.config.downtime_usec = 50000;
        for (unsigned i = 1; i <= 100; i++)
                assert_int_equal(job_round(&job, i * SEC, 50 * MIB), POLICY_CONTINUE);
        assert_int_equal(job.raised, 0);
        job.config.downtime_usec = 600000;
        policy_reconfigured(&job.history);
        job_ask(&job);
        assert_int_equal(job.decision.action, POLICY_STOP_AND_COPY);
}

/* The same history, the same decisions. */
static void test_deterministic(void **state) {
        Job a = job_new("balanced"), b = job_new("balanced");

        job_run(&a, 2 * GIB, 300.0 * MIB, 400 * MIB, 600 * SEC);
        job_run(&b, 2 * GIB, 300.0 * MIB, 400 * MIB, 600 * SEC);
        assert_memory_equal(&a.history, &b.history, sizeof(a.history));
        assert_int_equal(a.decision.reason, b.decision.reason);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_below_the_limit),
                cmocka_unit_test(test_expected_downtime),
                cmocka_unit_test(test_without_bandwidth),
                cmocka_unit_test(test_idle_guest_stops),
                cmocka_unit_test(test_idle_above_a_kept_limit),
                cmocka_unit_test(test_deadline_without_bandwidth),
                cmocka_unit_test(test_limit_below_overhead),
                cmocka_unit_test(test_history_is_bounded),
                cmocka_unit_test(test_stall),
                cmocka_unit_test(test_patience),
                cmocka_unit_test(test_near_minimum),
                cmocka_unit_test(test_ramp),
                cmocka_unit_test(test_hopeless_ramp_is_skipped),
                cmocka_unit_test(test_ramp_by_time),
                cmocka_unit_test(test_schedule),
                cmocka_unit_test(test_schedule_by_time),
                cmocka_unit_test(test_throttle_converges),
                cmocka_unit_test(test_throttle_enough),
                cmocka_unit_test(test_throttle_eased),
                cmocka_unit_test(test_without_throttle),
                cmocka_unit_test(test_postcopy_last),
                cmocka_unit_test(test_postcopy_policy),
                cmocka_unit_test(test_minimal_downtime),
                cmocka_unit_test(test_never_throttle),
                cmocka_unit_test(test_deadline),
                cmocka_unit_test(test_deadline_near),
                cmocka_unit_test(test_deadline_abort),
                cmocka_unit_test(test_deadline_fixed_limit),
                cmocka_unit_test(test_fixed_limit),
                cmocka_unit_test(test_deterministic),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
