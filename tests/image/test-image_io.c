/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/image/image_io.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Pieces of any size at any place come back, with direct I/O and without. */
static void test_pieces(void **state) {
        static const int flags[] = { 0, O_DIRECT };

        for (unsigned k = 0; k < G_N_ELEMENTS(flags); k++) {
                g_autofree char *path = g_strdup_printf("%s/ferry-io-XXXXXX", g_get_tmp_dir());
                int made = mkostemp(path, O_CLOEXEC), fd = open(path, O_RDWR | O_CLOEXEC | flags[k]);
                unlink(path);
                close(made);
                if (fd < 0 && flags[k]) {
                        print_message("no direct I/O in %s\n", g_get_tmp_dir());
                        continue;
                }
                assert_true(fd >= 0);
                size_t length = 700001;
                _cleanup_image_io_ unsigned char *data = image_io_alloc(length), *back = image_io_alloc(length);
                for (size_t i = 0; i < length; i++)
                        data[i] = (unsigned char) (i * 13 + i / 997);
                assert_int_equal(image_io_write(fd, 8192, data, length), 0);
                static const size_t offsets[] = { 0, 1, 4095, 4096, 5000, 300000 };
                for (unsigned i = 0; i < G_N_ELEMENTS(offsets); i++) {
                        size_t n = length - offsets[i];
                        memset(back, 0, length);
                        assert_int_equal(image_io_read(fd, 8192 + offsets[i], back, n), 0);
                        assert_memory_equal(back, data + offsets[i], n);
                }
                assert_int_equal(image_io_read(fd, 1 << 20, back, 4096), -ENODATA);
                close(fd);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_pieces) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
