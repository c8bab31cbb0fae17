/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whole jobs between two helpers that switch to postcopy. The destination's guest checks each page that it touches,
 * and all of them at the end. */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/units.h"
#include "driver/engine/engine.h"
#include "tests/engine/job.h"
#include "tests/lib/proxy.h"

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

/* ---- links that break by themselves ---- */

/* From the stopped guest on, as far as it comes. True: the destination has taken the guest. */
static bool switch_broken(Job *job) {
        g_autoptr(GError) error = NULL;
        standin_stop(&job->guest);
        int stopped = engine_source_stop_and_copy(job->source.engine, job->device_in, true, 10 * USEC_PER_SEC, &error);
        bool ok = stopped >= 0 && job_wait(job, &job->dest.ready) &&
                  engine_dest_loaded(job->dest.engine, NULL) >= 0 && job_wait(job, &job->source.ready);
        if (!ok)
                return false;
        int r = engine_source_commit(job->source.engine, 10 * USEC_PER_SEC, NULL);
        bool refused = false, committed = true;
        /* What the daemons do: the destination is asked, over another connection. */
        if (r < 0)
                refused = engine_dest_refuse(job->dest.engine, NULL, &committed, NULL) >= 0 && !committed;
        if (refused) {
                (void) engine_source_cancel(job->source.engine, NULL);
                return false;
        }
        assert_true(job_wait(job, &job->dest.committed));
        standin_run(&job->dest_guest);
        assert_int_equal(engine_dest_running(job->dest.engine, 1, NULL), 0);
        return true;
}

/* Cut after so many bytes, wherever that is; again after recovery, and then no more. Returns whether the guest
 * moved. */
static bool cut_at(uint64_t bytes) {
        Job job;
        Proxy proxy = { 0 };
        JobArgs args = plain;
        args.size_bytes = 16 * MIB;
        args.work_bytes = 8 * MIB;
        args.bandwidth_bytes_per_sec = MIB; /* most of it comes after the switch */
        job_open(&job, &args);
        job_fill(&job, 0, 8 * MIB, 90);
        standin_run(&job.guest);
        proxy_start(&proxy, job.port, PROXY_CUT_BOTH, bytes);
        job.args.proxy_port = proxy.port;
        bool moved = job_start(&job, NULL) >= 0 && switch_broken(&job);
        job.args.proxy_port = 0;
        if (moved) {
                uint64_t until = clock_monotonic_usec() + 20 * USEC_PER_SEC;
                while (!job.source.complete && job.source.paused == 0 && clock_monotonic_usec() < until)
                        (void) fiber_cond_wait(&job.changed, USEC_PER_SEC);
                if (!job.source.complete)
                        recover(&job);
                job_finish_postcopy(&job);
        } else
                job_assert_guest_free(&job);
        proxy_end(&proxy);
        job_close(&job);
        return moved;
}

FIBER_TEST(test_cut) {
        unsigned n_moved = 0, n_stayed = 0;
        static const uint64_t points[] = {
                60,      300,     700,     900,     1100,    5000,    100000,  300000,  310000,  340000,  370000,
                400000,  430000,  460000,  480000,  500000,  550000,  600000,  700000,  850000,  1000000, 1300000,
                1600000, 2000000, 2500000, 3000000, 3500000, 4000000, 4500000, 5000000, 5500000, 6000000, 6500000,
        };
        for (size_t i = 0; i < G_N_ELEMENTS(points); i++)
                *(cut_at(points[i]) ? &n_moved : &n_stayed) += 1;
        print_message("%u stayed, %u moved\n", n_stayed, n_moved);
        assert_true(n_moved > 0);
}

/* ---- daemons that come back ---- */

/* Another daemon attaches to a helper and dies: the first one's connection is gone, and nobody is there. */
static void lose_daemon(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        /* It was taken, since it answers. */
        static const char hello[] = "{\"execute\":\"status\",\"id\":1}\n";
        char answer[4096];
        assert_int_equal(write(fd, hello, sizeof(hello) - 1), sizeof(hello) - 1);
        assert_true(read(fd, answer, sizeof(answer)) > 0);
        close(fd);
}

typedef struct Comeback {
        char *source_path, *dest_path;
        Engine *source, *dest; /* of the daemon that was */
} Comeback;

static void listen_both(Job *job, Comeback *comeback) {
        g_autoptr(GError) error = NULL;
        *comeback = (Comeback) { .source_path = g_strdup_printf("%s/ferry-%d-source", g_get_tmp_dir(), (int) getpid()),
                                 .dest_path = g_strdup_printf("%s/ferry-%d-dest", g_get_tmp_dir(), (int) getpid()),
                                 .source = job->source.engine,
                                 .dest = job->dest.engine };
        assert_int_equal(engine_listen_control(job->source.engine, comeback->source_path, &error), 0);
        assert_int_equal(engine_listen_control(job->dest.engine, comeback->dest_path, &error), 0);
}

static void come_back(Job *job, Comeback *comeback) {
        g_autoptr(GError) error = NULL;
        const EngineCallbacks *callbacks = job_callbacks();
        int r = engine_attach(fiber_event(), comeback->source_path, "source", callbacks, job, &job->source.engine,
                              &error);
        if (r >= 0)
                r = engine_attach(fiber_event(), comeback->dest_path, "dest", callbacks, job, &job->dest.engine,
                                  &error);
        if (r < 0)
                fail_msg("%s", error->message);
        assert_true(engine_is_source(job->source.engine));
        assert_false(engine_is_source(job->dest.engine));
}

static void comeback_end(Comeback *comeback) {
        engine_unref(comeback->source);
        engine_unref(comeback->dest);
        g_free(comeback->source_path);
        g_free(comeback->dest_path);
}

FIBER_TEST(test_attach_postcopy) {
        Job job;
        Comeback comeback;
        start(&job, &slow, 0);
        listen_both(&job, &comeback);
        lose_daemon(comeback.source_path);
        lose_daemon(comeback.dest_path);
        come_back(&job, &comeback);
        assert_int_equal(engine_state(job.source.engine), ENGINE_STATE_POSTCOPY);
        assert_int_equal(engine_state(job.dest.engine), ENGINE_STATE_POSTCOPY);
        assert_true(engine_is_postcopy(job.source.engine) && engine_is_postcopy(job.dest.engine));
        assert_true(engine_stats(job.dest.engine)->stale_pages > 0);
        /* Paused while nobody is there. */
        lose_daemon(comeback.source_path);
        assert_int_equal(engine_postcopy_pause(job.dest.engine, NULL), 0);
        assert_true(job_wait_count(&job, &job.dest.paused, 1));
        Engine *without = job.source.engine, *without_dest = job.dest.engine;
        come_back(&job, &comeback);
        assert_int_equal(engine_state(job.dest.engine), ENGINE_STATE_PAUSED);
        job.args.postcopy_bandwidth_bytes_per_sec = 0;
        recover(&job);
        job_finish_postcopy(&job);
        engine_unref(without);
        engine_unref(without_dest);
        comeback_end(&comeback);
        job_close(&job);
}

/* It ends while nobody is there, and is there to tell. */
FIBER_TEST(test_attach_done) {
        Job job;
        Comeback comeback;
        start(&job, &slow, 0);
        listen_both(&job, &comeback);
        assert_int_equal(engine_source_set_postcopy_bandwidth(job.source.engine, 0, NULL), 0);
        lose_daemon(comeback.source_path);
        assert_true(job_wait(&job, &job.dest.complete));
        lose_daemon(comeback.dest_path);
        come_back(&job, &comeback);
        assert_int_equal(engine_state(job.dest.engine), ENGINE_STATE_DONE);
        assert_true(engine_state(job.source.engine) == ENGINE_STATE_DONE || job_wait(&job, &job.source.complete));
        standin_stop(&job.dest_guest);
        assert_int_equal(standin_verify(&job.dest_guest), 0);
        comeback_end(&comeback);
        job_close(&job);
}

/* In precopy: the job goes on, with rounds and the switch. */
FIBER_TEST(test_attach_precopy) {
        Job job;
        Comeback comeback;
        JobArgs args = plain;
        args.n_dest_writers = 0;
        job_open(&job, &args);
        job_fill(&job, 0, 16 * MIB, 100);
        standin_run(&job.guest);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 1));
        listen_both(&job, &comeback);
        lose_daemon(comeback.source_path);
        lose_daemon(comeback.dest_path);
        come_back(&job, &comeback);
        assert_int_equal(engine_state(job.source.engine), ENGINE_STATE_PRECOPY);
        assert_int_equal(engine_state(job.dest.engine), ENGINE_STATE_PRECOPY);
        unsigned before = job.source.iterations;
        assert_true(job_wait_count(&job, &job.source.iterations, before + 2));
        job_switch_over(&job);
        job_verify(&job);
        comeback_end(&comeback);
        job_close(&job);
}

/* ---- huge pages: whole, or not at all ---- */

FIBER_TEST(test_hugetlb) {
        int source_fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
        int dest_fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
        if (job_hugetlb_pages(40) < 0) {
                print_message("no huge pages can be reserved here\n");
                return;
        }
        assert_int_equal(ftruncate(source_fd, 32 * MIB), 0);
        assert_int_equal(ftruncate(dest_fd, 32 * MIB), 0);
        JobArgs args = plain;
        args.size_bytes = 32 * MIB;
        args.work_bytes = 16 * MIB;
        args.source_fd = source_fd;
        args.dest_fd = dest_fd;
        args.page_bytes = 2 * MIB;
        Job job;
        job_open(&job, &args);
        job_fill(&job, 0, 24 * MIB, 50);
        standin_run(&job.guest);
        assert_int_equal(job_start(&job, NULL), 0);
        job_switch_postcopy(&job);
        job_finish_postcopy(&job);
        job_close(&job);
        (void) job_hugetlb_pages(-40);
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
                cmocka_unit_test(test_cut),
                cmocka_unit_test(test_attach_postcopy),
                cmocka_unit_test(test_attach_done),
                cmocka_unit_test(test_attach_precopy),
                cmocka_unit_test(test_hugetlb),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
