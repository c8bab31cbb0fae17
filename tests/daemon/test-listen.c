/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/listen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/error.h"
#include "driver/base/io.h"

static char dir[] = "/tmp/ferry-test-XXXXXX";

static void test_lock(void **state) {
        g_autofree char *path = g_build_filename(dir, "pid", NULL), *text = NULL;
        g_autoptr(GError) error = NULL;
        int first = -EBADF, second = -EBADF;

        assert_int_equal(listen_lock(path, &first, &error), 0);
        assert_true(g_file_get_contents(path, &text, NULL, NULL));
        assert_int_equal(atoi(text), getpid());
        assert_true(listen_lock(path, &second, &error) < 0);
        assert_true(error_is(error, VIR_ERR_OPERATION_INVALID));
        fd_close(first);
        assert_int_equal(listen_lock(path, &second, NULL), 0);
        fd_close(second);
        unlink(path);
}

static void test_unix(void **state) {
        g_autofree char *path = g_build_filename(dir, "sock", NULL);
        g_autoptr(GError) error = NULL;
        struct stat st = { 0 };
        int fd = -EBADF;

        assert_int_equal(listen_unix(path, 0770, NULL, &fd, &error), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_true(S_ISSOCK(st.st_mode));
        assert_int_equal(st.st_mode & 0777, 0770);
        fd_close(fd);
        assert_int_equal(listen_unix(path, 0700, "root", &fd, &error), 0); /* in place of the stale one */
        fd_close(fd);
        unlink(path);
}

static void test_unix_errors(void **state) {
        g_autofree char *path = g_build_filename(dir, "sock", NULL), *name = g_strnfill(200, 'x');
        g_autofree char *long_path = g_build_filename(dir, name, NULL);
        g_autoptr(GError) error = NULL, second = NULL;
        int fd = -EBADF;

        assert_true(listen_unix(path, 0700, "no-such-group", &fd, &error) < 0);
        assert_non_null(strstr(error->message, "'no-such-group'"));
        assert_true(listen_unix(long_path, 0700, NULL, &fd, &second) < 0);
        assert_non_null(strstr(second->message, "--root"));
        assert_int_equal(fd, -EBADF);
        assert_int_equal(access(path, F_OK), -1);
}

int main(void) {
        if (!mkdtemp(dir))
                return 1;
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lock),
                cmocka_unit_test(test_unix),
                cmocka_unit_test(test_unix_errors),
        };
        int r = cmocka_run_group_tests(tests, NULL, NULL);
        rmdir(dir);
        return r;
}
