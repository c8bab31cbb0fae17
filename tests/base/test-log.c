/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"

static unsigned evaluated;

static int evaluate(void) {
        return (int) ++evaluated;
}

/* What the calls write to stderr. */
static char *captured(void (*calls)(void)) {
        _cleanup_fd_ int file = memfd_create("stderr", MFD_CLOEXEC), saved = dup(STDERR_FILENO);
        assert_true(file >= 0 && saved >= 0);
        fflush(stderr);
        assert_true(dup2(file, STDERR_FILENO) >= 0);
        calls();
        fflush(stderr);
        assert_true(dup2(saved, STDERR_FILENO) >= 0);

        off_t length = lseek(file, 0, SEEK_END);
        char *text = g_malloc0((size_t) length + 1);
        assert_int_equal(pread(file, text, (size_t) length, 0), length);
        return text;
}

static void two_levels(void) {
        log_warning("disk '%s' is slow", "vda");
        log_debug("number %d", evaluate());
}

static void test_level(void **state) {
        assert_int_equal(log_get_level(), LOG_INFO);
        g_autofree char *quiet = captured(two_levels);
        assert_non_null(strstr(quiet, "Z warning: disk 'vda' is slow\n"));
        assert_null(strstr(quiet, "number"));
        /* what is not logged is not computed */
        assert_int_equal(evaluated, 0);

        log_set_level(LOG_DEBUG);
        g_autofree char *loud = captured(two_levels);
        assert_non_null(strstr(loud, "Z debug: number 1\n"));
        log_set_level(LOG_ERR);
        g_autofree char *silent = captured(two_levels);
        assert_string_equal(silent, "");
        log_set_level(LOG_INFO);
}

/* A service's stderr that was redirected is not the journal any more. */
static void test_redirected(void **state) {
        setenv("JOURNAL_STREAM", "1:2", 1);
        g_autofree char *text = captured(two_levels);
        assert_non_null(strstr(text, "disk 'vda' is slow"));
        setenv("JOURNAL_STREAM", "nonsense", 1);
        g_autofree char *again = captured(two_levels);
        assert_non_null(strstr(again, "disk 'vda' is slow"));
        unsetenv("JOURNAL_STREAM");
}

/* A message with fields looks like any other outside the journal, and a level that is not logged is not. */
static void recorded(void) {
        const LogField fields[] = { { "FERRY_DOMAIN", "vm1" }, { "FERRY_PEER", NULL } };

        log_record(LOG_WARNING, "873ee1ec916b4713a60174314ec54002", fields, 2, "'%s' has ended", "vm1");
        log_record(LOG_DEBUG, NULL, NULL, 0, "quiet");
}

static void test_record(void **state) {
        g_autofree char *text = captured(recorded);

        assert_true(g_str_has_suffix(text, "Z warning: 'vm1' has ended\n"));
        assert_null(strstr(text, "quiet"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_level),
                cmocka_unit_test(test_redirected),
                cmocka_unit_test(test_record),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
