/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/spawn.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/io.h"

static void runs(void *userdata) {
        const char *const echo[] = { "/bin/sh", "-c", "echo out; echo err >&2", NULL };
        const char *const fail[] = { "/bin/sh", "-c", "echo broken >&2; exit 3", NULL };
        const char *const none[] = { "/nonexistent/program", NULL };
        const char *const hang[] = { "/bin/sh", "-c", "read x", NULL };
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;

        assert_int_equal(spawn_run(echo, 10000000, &text, &error), 0);
        assert_string_equal(text, "out\n");
        assert_true(spawn_run(fail, 10000000, NULL, &error) < 0);
        assert_string_equal(error->message, "'/bin/sh' failed with status 3: broken");
        g_clear_error(&error);
        assert_int_equal(spawn_run(none, 10000000, NULL, &error), -ENOENT);
        assert_string_equal(error->message, "cannot run '/nonexistent/program': No such file or directory");
        /* stdin is /dev/null, so this one ends as well. */
        g_clear_error(&error);
        assert_true(spawn_run(hang, 10000000, NULL, &error) < 0);
}

static void test_run(void **state) {
        assert_int_equal(fiber_run("test", runs, NULL), 0);
}

static void passes_fds(void *userdata) {
        const char *const argv[] = { "/bin/sh", "-c", "echo via seven >&7; test ! -e /proc/self/fd/8", NULL };
        int ends[2], status = -1, pidfd = -1;
        char text[32] = "";
        SpawnFd fd = { .target = 7 };
        pid_t pid;

        assert_int_equal(pipe(ends), 0);
        fd.fd = ends[1];
        assert_int_equal(spawn(&(SpawnArgs){ .argv = argv, .fds = &fd, .n_fds = 1, .stdin_fd = -1, .stdout_fd = -1,
                                             .stderr_fd = -1 },
                               &pid, &pidfd, NULL),
                         0);
        assert_int_equal(spawn_wait(pidfd, 10000000, &status), 0);
        assert_int_equal(status, 0);
        assert_int_equal(read(ends[0], text, sizeof(text) - 1), 10);
        assert_string_equal(text, "via seven\n");
        fd_close(ends[0]);
        fd_close(ends[1]);
        fd_close(pidfd);
}

static void test_fds(void **state) {
        assert_int_equal(fiber_run("test", passes_fds, NULL), 0);
}

static void ends_child(void *userdata) {
        const char *const argv[] = { "/bin/sh", "-c", "trap '' TERM; while :; do read x <&5; done", NULL };
        int ends[2], status = 0, pidfd = -1;
        SpawnFd fd = { .target = 5 };
        pid_t pid;

        assert_int_equal(pipe(ends), 0);
        fd.fd = ends[0];
        assert_int_equal(spawn(&(SpawnArgs){ .argv = argv, .fds = &fd, .n_fds = 1, .stdin_fd = -1, .stdout_fd = -1,
                                             .stderr_fd = -1 },
                               &pid, &pidfd, NULL),
                         0);
        assert_int_equal(spawn_end(pidfd, 10000, &status), 0);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(spawn_kill(pidfd, SIGTERM), -ESRCH);
        fd_close(ends[0]);
        fd_close(ends[1]);
        fd_close(pidfd);
}

static void test_end(void **state) {
        assert_int_equal(fiber_run("test", ends_child, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_run),
                cmocka_unit_test(test_fds),
                cmocka_unit_test(test_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
