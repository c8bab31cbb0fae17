/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/io.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/error.h"

static void test_fds_travel(void **state) {
        int sockets[2], pair[2], got[2] = { -1, -1 };
        size_t n_got = 0;
        char text[8];
        struct stat a, b;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
        assert_int_equal(pipe(pair), 0);
        assert_int_equal(fd_send_with_fds(sockets[0], "hello", 5, pair, 2), 5);
        /* Room for one only: the other must not leak into the process. */
        assert_int_equal(fd_recv_with_fds(sockets[1], text, sizeof(text), got, 1, &n_got), 5);
        assert_int_equal(n_got, 1);
        fstat(pair[0], &a);
        fstat(got[0], &b);
        assert_int_equal(a.st_ino, b.st_ino);
        assert_int_equal(fd_send_with_fds(sockets[0], "", 1, pair, 17), -E2BIG);
        fd_close(got[0]);
        for (int i = 0; i < 2; i++) {
                fd_close(pair[i]);
                fd_close(sockets[i]);
        }
}

static void test_files(void **state) {
        g_autofree char *dir = g_dir_make_tmp("ferry-io-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(dir, "a", NULL);
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;
        size_t length = 0;

        assert_int_equal(file_write_atomic(path, "one", 3, 0600, NULL), 0);
        assert_int_equal(file_write_atomic(path, "two!", 4, 0600, NULL), 0);
        assert_int_equal(file_read(path, 4, &text, &length, NULL), 0);
        assert_string_equal(text, "two!");
        assert_int_equal(length, 4);
        g_clear_pointer(&text, g_free);
        assert_int_equal(file_read(path, 3, &text, NULL, &error), -EFBIG);
        assert_null(text);
        unlink(path);
        g_clear_error(&error);
        assert_int_equal(file_read(path, 3, &text, NULL, &error), -ENOENT);
        rmdir(dir);
}

static void test_read_all_needs_all(void **state) {
        int ends[2];
        char text[8];

        assert_int_equal(pipe(ends), 0);
        assert_int_equal(fd_write_all(ends[1], "abc", 3), 0);
        ends[1] = fd_close(ends[1]);
        assert_int_equal(fd_read_all(ends[0], text, 4), -ENODATA);
        fd_close(ends[0]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fds_travel),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_read_all_needs_all),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
