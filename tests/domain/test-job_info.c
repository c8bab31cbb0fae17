/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka's header needs the four above. */
#include <cmocka.h>

#include "driver/domain/job_info.h"

static void test_copy(void **state) {
        g_auto(DriverJobInfo) info = { .number = 7, .domain = g_strdup("vm1"), .peer = g_strdup("ferry+ssh://b/system"),
                                       .reason = g_strdup("why") };
        g_auto(DriverJobInfo) copy = { 0 };

        info.fault_histogram[3] = 5;
        driver_job_info_copy(&info, &copy);
        assert_int_equal(copy.number, 7);
        assert_int_equal(copy.fault_histogram[3], 5);
        assert_string_equal(copy.domain, "vm1");
        assert_string_equal(copy.peer, info.peer);
        assert_ptr_not_equal(copy.peer, info.peer);
        assert_string_equal(copy.reason, "why");
        assert_null(copy.error);
}

static void test_names(void **state) {
        assert_string_equal(driver_job_outcome_to_string(DRIVER_JOB_RUNNING), "running");
        assert_string_equal(driver_job_outcome_to_string(DRIVER_JOB_COMPLETED), "completed");
        assert_string_equal(driver_job_outcome_to_string(DRIVER_JOB_FAILED), "failed");
        assert_string_equal(driver_job_outcome_to_string(_DRIVER_JOB_OUTCOME_MAX), "invalid");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_copy),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
