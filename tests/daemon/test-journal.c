/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/systemd/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "tests/daemon/driver_double.h"

/* What is written to stderr between the two calls; there is no journal here. */
static int saved_stderr = -EBADF, captured_fd = -EBADF;

static void capture(void) {
        fflush(stderr);
        saved_stderr = dup(STDERR_FILENO);
        captured_fd = memfd_create("stderr", MFD_CLOEXEC);
        assert_true(dup2(captured_fd, STDERR_FILENO) >= 0);
}

static char *captured(void) {
        fflush(stderr);
        off_t length = lseek(captured_fd, 0, SEEK_END);
        char *text = g_malloc0((size_t) length + 1);

        assert_int_equal(pread(captured_fd, text, (size_t) length, 0), length);
        assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
        saved_stderr = fd_close(saved_stderr);
        captured_fd = fd_close(captured_fd);
        return text;
}

static void lifecycle(int event, int detail) {
        DomainRef ref = { .name = (char *) "vm1", .id = 7 };
        DriverEvent all = { .id = VIR_DOMAIN_EVENT_ID_LIFECYCLE, .domain = &ref };

        all.lifecycle.event = event;
        all.lifecycle.detail = detail;
        double_event(&all);
}

static void job(DriverJobChange change) {
        DomainRef ref = { .name = (char *) "vm1", .id = 7 };
        DriverEvent all = { .id = DRIVER_EVENT_JOB, .domain = &ref };

        all.job.number = driver_double.job.number;
        all.job.change = change;
        double_event(&all);
}

static void assert_lines(const char *text, const char *const *expected) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        unsigned i = 0;

        for (; expected[i]; i++)
                if (!lines[i] || !g_str_has_suffix(lines[i], expected[i]))
                        fail_msg("line %u is '%s' instead of '%s'", i, lines[i], expected[i]);
        assert_string_equal(lines[i], "");
}

static void test_guests(void **state) {
        double_reset();
        g_autoptr(Journal) journal = journal_new(NULL);
        const char *const expected[] = {
                "Z info: Virtual machine 'vm1' has started",
                "Z info: Virtual machine 'vm1' has ended: it was destroyed",
                "Z warning: Virtual machine 'vm1' has ended: it has failed",
                NULL,
        };

        capture();
        lifecycle(VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
        lifecycle(VIR_DOMAIN_EVENT_RESUMED, 0);
        lifecycle(VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED);
        lifecycle(VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_FAILED);
        g_autofree char *text = captured();
        assert_lines(text, expected);
}

static void test_jobs(void **state) {
        double_reset();
        g_autoptr(Journal) journal = journal_new(NULL);
        const char *const expected[] = {
                "Z info: Migration 4 of 'vm1' has begun (outgoing)",
                "Z info: Migration 4 of 'vm1': precopy",
                "Z info: Migration 4 of 'vm1': committing",
                "Z info: Migration 4 of 'vm1' is complete, 13 ms without the guest running",
                "Z info: Migration 5 of 'vm1' has begun (incoming)",
                "Z warning: Migration 5 of 'vm1' has failed: the link broke",
                NULL,
        };

        capture();
        driver_double.job = (DriverJobInfo){ .number = 4, .domain = (char *) "vm1", .phase = "begin" };
        job(DRIVER_JOB_NEW);
        driver_double.job.phase = "precopy";
        job(DRIVER_JOB_PHASE);
        job(DRIVER_JOB_PHASE); /* a setting was changed */
        job(DRIVER_JOB_ROUND);
        driver_double.job.phase = "committing";
        job(DRIVER_JOB_PHASE);
        driver_double.job.outcome = DRIVER_JOB_COMPLETED;
        driver_double.job.blackout_usec = 12345;
        job(DRIVER_JOB_ENDED);
        job(DRIVER_JOB_GONE);
        driver_double.job =
                (DriverJobInfo){ .number = 5, .domain = (char *) "vm1", .phase = "prepared", .incoming = true };
        job(DRIVER_JOB_NEW);
        driver_double.job.outcome = DRIVER_JOB_FAILED;
        driver_double.job.error = (char *) "the link broke";
        job(DRIVER_JOB_ENDED);
        g_autofree char *text = captured();
        assert_lines(text, expected);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_guests),
                cmocka_unit_test(test_jobs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
