/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What goes wrong between two helpers: each time the guest stays free and whole on the source, and the error says what
 * happened. */

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/units.h"
#include "driver/engine/engine.h"
#include "driver/engine/wire.h"
#include "tests/engine/job.h"
#include "tests/lib/proxy.h"

#define FIBER_TEST(name)                                                                                               \
        static void name##_fiber(void *userdata);                                                                      \
        static void name(void **state) {                                                                               \
                assert_int_equal(fiber_run(#name, name##_fiber, NULL), 0);                                             \
        }                                                                                                              \
        static void name##_fiber(void *userdata)

#define IDLE_USEC (2 * USEC_PER_SEC)

static const JobArgs small = { .size_bytes = 32 * MIB,
                               .n_writers = 1,
                               .work_bytes = 8 * MIB,
                               .pages_per_msec = 4,
                               .idle_timeout_usec = IDLE_USEC };

static void assert_text(const GError *error, const char *part) {
        assert_non_null(error);
        if (!strstr(error->message, part))
                fail_msg("'%s' does not say '%s'", error->message, part);
}

FIBER_TEST(test_wrong_token) {
        Job job;
        JobArgs args = small;
        args.wrong_token = true;
        job_open(&job, &args);
        g_autoptr(GError) error = NULL;
        assert_true(job_start(&job, &error) < 0);
        assert_int_equal(error->code, VIR_ERR_AUTH_FAILED);
        assert_text(error, "token");
        /* A stranger does not end the destination's job. */
        assert_false(job.dest.failed);
        bool committed = true;
        g_clear_error(&error);
        assert_int_equal(engine_dest_refuse(job.dest.engine, NULL, &committed, &error), 0);
        assert_false(committed);
        job_assert_guest_free(&job);
        job_close(&job);
}

FIBER_TEST(test_other_layout) {
        Job job;
        JobArgs args = small;
        args.dest_size_bytes = 16 * MIB;
        job_open(&job, &args);
        g_autoptr(GError) error = NULL;
        assert_true(job_start(&job, &error) < 0);
        assert_text(error, "memory layout differs: block 'ram0'");
        job_wait_failed(&job, &job.dest);
        assert_text(job.dest.error, "memory layout differs");
        job_close(&job);
}

FIBER_TEST(test_no_uffd) {
        Job job;
        job_open(&job, &small);
        EngineSourceArgs source;
        job_fill_args(&job, &source);
        source.uffd_async = source.uffd_sync = -1;
        g_autoptr(GError) error = NULL;
        assert_true(engine_source_start(job.source.engine, &source, &error) < 0);
        assert_int_equal(error->code, VIR_ERR_OPERATION_UNSUPPORTED);
        assert_text(error, "userfaultfd");
        job_close(&job);
}

FIBER_TEST(test_nobody_listens) {
        Job job;
        job_open(&job, &small);
        bool committed;
        assert_int_equal(engine_dest_refuse(job.dest.engine, NULL, &committed, NULL), 0);
        g_autoptr(GError) error = NULL;
        assert_true(job_start(&job, &error) < 0);
        assert_non_null(error);
        job_close(&job);
}

FIBER_TEST(test_cancel) {
        Job job;
        job_open(&job, &small);
        job_fill(&job, 0, 16 * MIB, 100);
        standin_run(&job.guest);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 2));
        g_autoptr(GError) error = NULL;
        assert_int_equal(engine_source_cancel(job.source.engine, &error), 0);
        job_assert_guest_free(&job);
        job_wait_failed(&job, &job.dest);
        assert_text(job.dest.error, "cancelled");
        assert_false(job.source.failed);
        job_close(&job);
}

/* A second job on the same guest works: nothing of the first is left. */
FIBER_TEST(test_again_after_cancel) {
        Job job;
        job_open(&job, &small);
        job_fill(&job, 0, 16 * MIB, 100);
        standin_run(&job.guest);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 2));
        assert_int_equal(engine_source_cancel(job.source.engine, NULL), 0);

        Job again;
        JobArgs args = small;
        args.source_fd = dup(job.source_fd);
        args.n_writers = 0;
        job_open(&again, &args);
        standin_end(&again.guest);
        again.guest = job.guest;
        job.guest = (Standin) { .control = -1, .uffd_async = -1, .uffd_sync = -1 };
        assert_int_equal(job_start(&again, NULL), 0);
        assert_true(job_wait_count(&again, &again.source.iterations, 3));
        job_switch_over(&again);
        job_verify(&again);
        job_close(&again);
        job_close(&job);
}

FIBER_TEST(test_refuse_when_ready) {
        Job job;
        job_open(&job, &small);
        assert_int_equal(job_start(&job, NULL), 0);
        g_autoptr(GError) error = NULL;
        assert_int_equal(engine_source_stop_and_copy(job.source.engine, job.device_in, false, USEC_PER_SEC * 10,
                                                     &error),
                         0);
        assert_true(job_wait(&job, &job.dest.ready));
        assert_int_equal(engine_dest_loaded(job.dest.engine, &error), 0);
        assert_true(job_wait(&job, &job.source.ready));
        bool committed = true;
        assert_int_equal(engine_dest_refuse(job.dest.engine, NULL, &committed, &error), 0);
        assert_false(committed);
        job_wait_failed(&job, &job.source);
        /* Known not to have been sent: the guest may run on. */
        int r = engine_source_commit(job.source.engine, USEC_PER_SEC * 5, &error);
        assert_true(r < 0 && r != -ENOTCONN && r != -ETIMEDOUT);
        job_close(&job);
}

FIBER_TEST(test_refuse_after_commit) {
        Job job;
        job_open(&job, &small);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_int_equal(engine_source_stop_and_copy(job.source.engine, job.device_in, false, USEC_PER_SEC * 10, NULL),
                         0);
        assert_true(job_wait(&job, &job.dest.ready));
        assert_int_equal(engine_dest_loaded(job.dest.engine, NULL), 0);
        assert_true(job_wait(&job, &job.source.ready));
        assert_int_equal(engine_source_commit(job.source.engine, USEC_PER_SEC * 5, NULL), 0);
        bool committed = false;
        assert_int_equal(engine_dest_refuse(job.dest.engine, NULL, &committed, NULL), 0);
        assert_true(committed);
        g_autoptr(GError) error = NULL;
        assert_true(engine_source_cancel(job.source.engine, &error) < 0);
        job_close(&job);
}

static void cut(ProxyFault fault, uint64_t after_bytes, const char *text) {
        Job job;
        job_open(&job, &small);
        job_fill(&job, 0, 16 * MIB, 100);
        Proxy proxy;
        proxy_start(&proxy, job.port, fault, after_bytes);
        job.args.proxy_port = proxy.port;
        standin_run(&job.guest);
        g_autoptr(GError) error = NULL;
        if (job_start(&job, &error) < 0)
                assert_non_null(error);
        job_wait_failed(&job, &job.source);
        if (text)
                assert_text(job.source.error, text);
        assert_false(job.source.gone);
        job_assert_guest_free(&job);
        proxy_end(&proxy);
        job_close(&job);
}

FIBER_TEST(test_link_cut) {
        static const uint64_t points[] = {
                0,       10,       WIRE_HELLO_BYTES, WIRE_HELLO_BYTES + 20, 120, 260, 300, 4096, 70000, 1 * MIB,
                5 * MIB, 15 * MIB, 17 * MIB
        };
        for (size_t i = 0; i < G_N_ELEMENTS(points); i++)
                cut(PROXY_CUT, points[i], NULL);
}

FIBER_TEST(test_return_path_cut) {
        static const uint64_t points[] = { 0, 10, WIRE_HELLO_BYTES, 112, 128, 144 };
        for (size_t i = 0; i < G_N_ELEMENTS(points); i++)
                cut(PROXY_CUT_BACK, points[i], NULL);
}

FIBER_TEST(test_link_silent) {
        cut(PROXY_STALL, 2 * MIB, "silent");
}

FIBER_TEST(test_bytes_damaged) {
        /* In the first frame's header, after hello, proof, and the RAM table: type, count, length, and offset and block
         * of a run. */
        uint64_t frames =
                WIRE_HELLO_BYTES + WIRE_HEADER_BYTES + WIRE_PROOF_BYTES + WIRE_HEADER_BYTES + WIRE_BLOCK_BYTES;
        static const unsigned offsets[] = {
                1, 5, 14, WIRE_HEADER_BYTES + 0, WIRE_HEADER_BYTES + 7, WIRE_HEADER_BYTES + 13
        };
        for (size_t i = 0; i < G_N_ELEMENTS(offsets); i++)
                cut(PROXY_FLIP, frames + offsets[i], NULL);
}

FIBER_TEST(test_destination_killed) {
        Job job;
        job_open(&job, &small);
        job_fill(&job, 0, 16 * MIB, 100);
        standin_run(&job.guest);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 2));
        kill(engine_pid(job.dest.engine), SIGKILL);
        job_wait_failed(&job, &job.dest);
        assert_true(job.dest.gone);
        assert_text(job.dest.error, "signal 9");
        job_wait_failed(&job, &job.source);
        assert_false(job.source.gone);
        assert_text(job.source.error, "copying memory");
        job_assert_guest_free(&job);
        job_close(&job);
}

static void source_killed(void) {
        Job job;
        job_open(&job, &small);
        job_fill(&job, 0, 16 * MIB, 100);
        standin_run(&job.guest);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 2));
        kill(engine_pid(job.source.engine), SIGKILL);
        job_wait_failed(&job, &job.source);
        assert_true(job.source.gone);
        g_autoptr(GError) error = NULL;
        assert_int_equal(engine_source_unprotect(&job.source_block, 1, job.guest.pid, job.guest.uffd_async,
                                                 job.guest.uffd_sync, &error),
                         0);
        job_assert_guest_free(&job);
        standin_stop(&job.guest);
        job_wait_failed(&job, &job.dest);
        assert_text(job.dest.error, "receiving memory");
        job_close(&job);
}

FIBER_TEST(test_source_killed) {
        source_killed();
}

FIBER_TEST(test_source_killed_sync) {
        setenv("FERRY_DISABLE_KERNEL", "uffd-wp-async", 1);
        source_killed();
        unsetenv("FERRY_DISABLE_KERNEL");
}

FIBER_TEST(test_guest_killed) {
        Job job;
        job_open(&job, &small);
        job_fill(&job, 0, 16 * MIB, 100);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(job_wait_count(&job, &job.source.pendings, 1));
        kill(job.guest.pid, SIGKILL);
        job_wait_failed(&job, &job.source);
        job_wait_failed(&job, &job.dest);
        assert_text(job.source.error, "is gone");
        assert_text(job.dest.error, "is gone"); /* the source says why */
        job_close(&job);
}

FIBER_TEST(test_device_state_too_large) {
        Job job;
        JobArgs args = small;
        args.device_max_bytes = 100000;
        job_open(&job, &args);
        assert_int_equal(job_start(&job, NULL), 0);
        g_autoptr(GError) error = NULL;
        (void) engine_source_stop_and_copy(job.source.engine, job.device_in, false, USEC_PER_SEC * 10, &error);
        job_wait_failed(&job, &job.source);
        job_wait_failed(&job, &job.dest);
        assert_text(job.dest.error, "device state is larger");
        assert_text(job.source.error, "device state is larger");
        job_close(&job);
}

/* The destination's memory file cannot grow any more: found while data arrives, and when a large folio is asked for. */
FIBER_TEST(test_no_memory) {
        char folder[] = "/tmp/ferry-full-XXXXXX";
        assert_non_null(mkdtemp(folder));
        if (mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=4M") < 0) {
                print_message("tmpfs cannot be mounted here\n");
                rmdir(folder);
                return;
        }
        for (unsigned percent = 50; percent <= 100; percent += 50) {
                Job job;
                JobArgs args = small;
                g_autofree char *path = g_strdup_printf("%s/ram", folder);
                args.dest_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                assert_true(args.dest_fd >= 0);
                (void) unlink(path);
                assert_int_equal(ftruncate(args.dest_fd, (off_t) args.size_bytes), 0);
                job_open(&job, &args);
                job_fill(&job, 0, 16 * MIB, percent);
                (void) job_start(&job, NULL);
                job_wait_failed(&job, &job.source);
                job_wait_failed(&job, &job.dest);
                assert_int_equal(job.dest.error->code, VIR_ERR_NO_MEMORY);
                assert_text(job.dest.error, "no memory is left for the guest's RAM block 'ram0'");
                assert_text(job.source.error, "no memory is left");
                job_assert_guest_free(&job);
                job_close(&job);
        }
        umount2(folder, MNT_DETACH);
        rmdir(folder);
}

FIBER_TEST(test_order_of_calls) {
        Job job;
        job_open(&job, &small);
        g_autoptr(GError) error = NULL;
        assert_true(engine_dest_loaded(job.dest.engine, &error) < 0);
        g_clear_error(&error);
        assert_true(engine_dest_running(job.dest.engine, 1, &error) < 0);
        g_clear_error(&error);
        assert_true(engine_source_commit(job.source.engine, USEC_PER_SEC, &error) < 0);
        g_clear_error(&error);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(engine_source_commit(job.source.engine, USEC_PER_SEC, &error) < 0);
        assert_int_equal(error->code, VIR_ERR_OPERATION_INVALID);
        g_clear_error(&error);
        assert_true(job_start(&job, &error) < 0);
        assert_false(job.source.failed);
        job_close(&job);
}

FIBER_TEST(test_bandwidth_limit) {
        Job job;
        JobArgs args = { .size_bytes = 32 * MIB, .bandwidth_bytes_per_sec = 20 * MIB };
        job_open(&job, &args);
        job_fill(&job, 0, 8 * MIB, 100);
        uint64_t start = clock_monotonic_usec();
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 1));
        uint64_t took = clock_monotonic_usec() - start;
        assert_true(took > 300 * USEC_PER_MSEC);
        assert_true(took < 3 * USEC_PER_SEC);
        assert_int_equal(engine_source_set_bandwidth(job.source.engine, 0, NULL), 0);
        job_switch_over(&job);
        job_verify(&job);
        job_close(&job);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_wrong_token),
                cmocka_unit_test(test_other_layout),
                cmocka_unit_test(test_no_uffd),
                cmocka_unit_test(test_nobody_listens),
                cmocka_unit_test(test_cancel),
                cmocka_unit_test(test_again_after_cancel),
                cmocka_unit_test(test_refuse_when_ready),
                cmocka_unit_test(test_refuse_after_commit),
                cmocka_unit_test(test_link_cut),
                cmocka_unit_test(test_return_path_cut),
                cmocka_unit_test(test_link_silent),
                cmocka_unit_test(test_bytes_damaged),
                cmocka_unit_test(test_destination_killed),
                cmocka_unit_test(test_source_killed),
                cmocka_unit_test(test_source_killed_sync),
                cmocka_unit_test(test_guest_killed),
                cmocka_unit_test(test_device_state_too_large),
                cmocka_unit_test(test_no_memory),
                cmocka_unit_test(test_order_of_calls),
                cmocka_unit_test(test_bandwidth_limit),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
