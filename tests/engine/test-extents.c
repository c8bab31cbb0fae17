/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/extents.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"

#define PAGE 4096u
#define N 1024u

static void touch(int fd, unsigned page) {
        assert_int_equal(pwrite(fd, "x", 1, (off_t) page * PAGE), 1);
}

static void test_scan(void **state) {
        _cleanup_fd_ int fd = memfd_create("extents", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fd, (off_t) N * PAGE), 0);
        g_auto(PageSet) known = { 0 }, fresh = { 0 };
        assert_int_equal(page_set_init(&known, N), 0);
        assert_int_equal(page_set_init(&fresh, N), 0);
        assert_int_equal(extents_scan(fd, PAGE, &known), 0);
        assert_int_equal(known.n_set, 0);

        touch(fd, 0);
        touch(fd, 1);
        touch(fd, 500);
        touch(fd, N - 1);
        assert_int_equal(extents_scan(fd, PAGE, &known), 0);
        assert_int_equal(known.n_set, 4);
        assert_true(page_set_has(&known, 0) && page_set_has(&known, 1) && page_set_has(&known, 500) &&
                    page_set_has(&known, N - 1));

        /* Looking allocates nothing. */
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_blocks, 4 * PAGE / 512);

        touch(fd, 2);
        touch(fd, 700);
        assert_int_equal(extents_scan_holes(fd, PAGE, &known, &fresh), 0);
        assert_int_equal(fresh.n_set, 2);
        assert_true(page_set_has(&fresh, 2) && page_set_has(&fresh, 700));

        /* Larger pages: rounded outward. */
        g_auto(PageSet) large = { 0 };
        assert_int_equal(page_set_init(&large, N / 8), 0);
        assert_int_equal(extents_scan(fd, 8 * PAGE, &large), 0);
        assert_int_equal(large.n_set, 4);

        assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t) N * PAGE), 0);
        assert_int_equal(extents_scan(fd, PAGE, &known), 0);
        assert_int_equal(known.n_set, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_scan) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
