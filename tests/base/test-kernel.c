/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/kernel.h"

#include <fcntl.h>
#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"

/* What a fresh process probes, as a mask. The table is made once in each, so this one must never ask. */
static unsigned probed_with(const char *disable) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                if (disable)
                        setenv("FERRY_DISABLE_KERNEL", disable, 1);
                else
                        unsetenv("FERRY_DISABLE_KERNEL");
                int mask = kernel_has(KERNEL_FEATURE_MAX_) ? 0x80 : 0;
                for (unsigned i = 0; i < KERNEL_FEATURE_MAX_; i++)
                        mask |= kernel_has(i) << i;
                _exit(mask);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        return (unsigned) WEXITSTATUS(status);
}

static void test_names(void **state) {
        for (unsigned i = 0; i < KERNEL_FEATURE_MAX_; i++) {
                assert_non_null(kernel_feature_name(i));
                for (unsigned k = 0; k < i; k++)
                        assert_string_not_equal(kernel_feature_name(i), kernel_feature_name(k));
        }
}

/* Each feature can be switched off by its name, alone and in a list, and nothing else goes with it. */
static void test_disable(void **state) {
        unsigned all = probed_with(NULL);
        for (unsigned i = 0; i < KERNEL_FEATURE_MAX_; i++) {
                assert_int_equal(probed_with(kernel_feature_name(i)), all & ~(1u << i));
                g_autofree char *list = g_strdup_printf("nonsense,%s", kernel_feature_name(i));
                assert_int_equal(probed_with(list), all & ~(1u << i));
        }
        assert_int_equal(probed_with("nonsense"), all);
}

static void test_userfaultfd(void **state) {
        _cleanup_fd_ int fd = kernel_userfaultfd(true);
        if (fd < 0) {
                print_message("userfaultfd is not allowed here: %s\n", strerror(-fd));
                skip();
        }
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_disable),
                cmocka_unit_test(test_userfaultfd),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
