/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whole transfers between two helpers, from an ordinary child process that writes while it is copied. */

#include "driver/engine/engine.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "driver/base/units.h"
#include "tests/engine/job.h"

/* Each test is a fiber on a loop of its own. */
#define FIBER_TEST(name)                                                                                               \
        static void name##_fiber(void *userdata);                                                                      \
        static void name(void **state) {                                                                               \
                assert_int_equal(fiber_run(#name, name##_fiber, NULL), 0);                                             \
        }                                                                                                              \
        static void name##_fiber(void *userdata)

FIBER_TEST(test_idle) {
        Job job;
        job_open(&job, &(JobArgs) { .size_bytes = 64 * MIB });
        job_fill(&job, 4 * MIB, 16 * MIB, 100);
        job_fill(&job, 40 * MIB, 8 * MIB, 10);
        uint64_t before = job_allocated(job.source_fd);
        g_autoptr(GError) error = NULL;
        assert_int_equal(job_start(&job, &error), 0);
        assert_true(job_wait_count(&job, &job.source.pendings, 1));
        /* One round with bytes: the counter has moved once, and does not move while nothing happens. */
        assert_int_equal(job.source.iterations, 1);
        assert_int_equal(job.source.last.round, 2);
        assert_true(job_wait_count(&job, &job.source.pendings, 3));
        assert_int_equal(job.source.iterations, 1);
        assert_int_equal(engine_stats(job.source.engine)->precopy_bytes, 0);
        assert_true(engine_stats(job.source.engine)->stopcopy_bytes > 0);
        job_switch_over(&job);
        job_verify(&job);
        assert_int_equal(job_allocated(job.source_fd), before);
        job_close(&job);
}

static void write_load(bool use_unix, bool punch) {
        Job job;
        job_open(&job, &(JobArgs){ .size_bytes = 64 * MIB,
                                   .n_writers = 2,
                                   .work_offset_bytes = 8 * MIB,
                                   .work_bytes = 32 * MIB,
                                   .pages_per_msec = 8,
                                   .use_unix = use_unix,
                                   .punch = punch });
        job_fill(&job, 0, 24 * MIB, 100);
        standin_run(&job.guest);
        g_autoptr(GError) error = NULL;
        assert_int_equal(job_start(&job, &error), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 5));
        EngineStats stats;
        assert_int_equal(engine_query_pending(job.source.engine, true, &stats, &error), 0);
        assert_true(stats.scan_usec > 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 8));
        job_switch_over(&job);
        job_verify(&job);
        job_close(&job);
}

FIBER_TEST(test_write_load) {
        write_load(false, false);
}

FIBER_TEST(test_write_load_with_discards) {
        write_load(true, true);
}

/* The way of kernels before 6.7, forced. */
FIBER_TEST(test_write_load_synchronous) {
        setenv("FERRY_DISABLE_KERNEL", "uffd-wp-async,pagemap-scan", 1);
        write_load(false, true);
        unsetenv("FERRY_DISABLE_KERNEL");
}

/* Each 2 MiB is filled to a part: large folios are taken only where they do not cost more than 2 %. */
FIBER_TEST(test_density) {
        static const unsigned percents[] = { 3, 50, 90, 97, 98, 99, 100 };
        for (size_t i = 0; i < G_N_ELEMENTS(percents); i++) {
                Job job;
                job_open(&job, &(JobArgs) { .size_bytes = 64 * MIB });
                job_fill(&job, 1 * MIB, 30 * MIB, percents[i]);
                assert_int_equal(job_start(&job, NULL), 0);
                assert_true(job_wait_count(&job, &job.source.pendings, 1));
                job_switch_over(&job);
                job_verify(&job);
                job_close(&job);
        }
}

/* Memory that must stay allocated on the destination (prealloc, locked). */
FIBER_TEST(test_populated) {
        Job job;
        job_open(&job, &(JobArgs){ .size_bytes = 32 * MIB,
                                   .n_writers = 1,
                                   .work_bytes = 16 * MIB,
                                   .pages_per_msec = 8,
                                   .punch = true,
                                   .populated = true });
        job_fill(&job, 0, 8 * MIB, 100);
        assert_int_equal(fallocate(job.dest_fd, 0, 0, 32 * MIB), 0);
        standin_run(&job.guest);
        assert_int_equal(job_start(&job, NULL), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 4));
        job_switch_over(&job);
        job_verify_content(&job);
        assert_true(job_allocated(job.dest_fd) >= 32 * MIB);
        job_close(&job);
}

/* Huge pages: tracked and kept whole, sent by their parts. */
FIBER_TEST(test_hugetlb) {
        if (job_hugetlb_pages(40) < 0) {
                print_message("no huge pages can be reserved here\n");
                return;
        }
        int source_fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB),
            dest_fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
        assert_int_equal(ftruncate(source_fd, 32 * MIB), 0);
        assert_int_equal(ftruncate(dest_fd, 32 * MIB), 0);
        Job job;
        job_open(&job, &(JobArgs){ .size_bytes = 32 * MIB,
                                   .source_fd = source_fd,
                                   .dest_fd = dest_fd,
                                   .page_bytes = 2 * MIB,
                                   .n_writers = 1,
                                   .work_bytes = 8 * MIB,
                                   .pages_per_msec = 1 });
        job_fill(&job, 0, 16 * MIB, 30);
        standin_run(&job.guest);
        g_autoptr(GError) error = NULL;
        assert_int_equal(job_start(&job, &error), 0);
        assert_true(job_wait_count(&job, &job.source.iterations, 4));
        job_switch_over(&job);
        job_verify_content(&job);
        job_close(&job);
        (void) job_hugetlb_pages(-40);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_idle),
                cmocka_unit_test(test_write_load),
                cmocka_unit_test(test_write_load_with_discards),
                cmocka_unit_test(test_write_load_synchronous),
                cmocka_unit_test(test_density),
                cmocka_unit_test(test_populated),
                cmocka_unit_test(test_hugetlb),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
