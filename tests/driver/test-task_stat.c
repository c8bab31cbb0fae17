/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/task_stat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

/* Parentheses and spaces in the name must not move the fields. */
static void test_own(void **state) {
        TaskStat before, after;
        volatile unsigned work = 0;

        assert_int_equal(prctl(PR_SET_NAME, "a) b (c"), 0);
        assert_int_equal(task_stat_read(getpid(), 0, &before), 0);
        do {
                for (unsigned i = 0; i < 1000000; i++)
                        work += i;
                assert_int_equal(task_stat_read(getpid(), getpid(), &after), 0);
        } while (after.cpu_nsec == before.cpu_nsec);
        assert_true(after.cpu_nsec > before.cpu_nsec);
        assert_int_equal(after.cpu_nsec, after.user_nsec + after.system_nsec);
        assert_in_range(after.last_cpu, 0, 4096);
}

static void test_gone(void **state) {
        TaskStat stat;

        assert_true(task_stat_read(0x7ffffff0, 0, &stat) < 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_own),
                cmocka_unit_test(test_gone),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
