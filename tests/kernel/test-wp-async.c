/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Asynchronous write protection of shared memory, driven from another process: the userfaultfd came over a socket, the
 * page tables are read in /proc/PID/pagemap.
 */

#include <glib.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "driver/base/uapi.h"
#include "tests/kernel/guest.h"

#define PAGES 8
#define FEATURES (UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)
#define PROTECT (PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC)

static int setup(void **state) {
        Guest *guest = g_new0(Guest, 1);
        guest_start(guest, PAGES);
        guest_enable(guest, FEATURES);
        for (size_t page = 0; page < PAGES / 2; page++)
                guest_write(guest, page, 1);
        guest_register(guest, UFFDIO_REGISTER_MODE_WP);
        *state = guest;
        return 0;
}

static int teardown(void **state) {
        guest_end(*state);
        g_free(*state);
        return 0;
}

static void assert_scan(const Guest *guest, uint64_t flags, const char *expected) {
        g_autofree char *written = guest_scan(guest, flags);
        assert_string_equal(written, expected);
}

/* Never protected means written; a hole that nobody touched, too, so holes must come from elsewhere. */
static void test_unprotected_is_written(void **state) {
        assert_scan(*state, 0, "wwwwwwww");
}

/* One call finds and protects again; a write afterwards does not stop the writer and is found by the next call. */
static void test_scan_protects(void **state) {
        Guest *guest = *state;

        assert_scan(guest, PROTECT, "wwwwwwww");
        assert_scan(guest, PROTECT, "........");
        guest_write(guest, 1, 2);
        guest_write(guest, 3, 2);
        assert_scan(guest, PROTECT, ".w.w....");
        assert_scan(guest, PROTECT, "........");
        guest_write(guest, 1, 3);
        assert_scan(guest, 0, ".w......");
        assert_scan(guest, 0, ".w......");
}

/* Two steps: what is written between looking and protecting is still marked if the second step does not touch it. */
static void test_two_steps(void **state) {
        Guest *guest = *state;

        assert_scan(guest, PROTECT, "wwwwwwww");
        guest_write(guest, 0, 2);
        assert_scan(guest, 0, "w.......");
        guest_write(guest, 2, 2);
        guest_protect(guest, 0, 1, true);
        assert_scan(guest, 0, "..w.....");
        assert_int_equal(guest_read(guest, 0), 2);
}

/* A page that appears in a protected hole is a write. */
static void test_new_page(void **state) {
        Guest *guest = *state;

        assert_scan(guest, PROTECT, "wwwwwwww");
        guest_write(guest, 6, 1);
        assert_scan(guest, 0, "......w.");
        assert_int_equal(file_pages(guest->memfd), PAGES / 2 + 1);
}

/* A protected page that is punched is not reported: pages that vanish must be found in the file. Written again, it
 * is. */
static void test_punched_page(void **state) {
        Guest *guest = *state;

        assert_scan(guest, PROTECT, "wwwwwwww");
        assert_int_equal(fallocate(guest->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * GUEST_PAGE,
                                   GUEST_PAGE),
                         0);
        assert_scan(guest, 0, "........");
        guest_write(guest, 2, 5);
        assert_scan(guest, 0, "..w.....");
}

/* A read changes nothing, and what this process writes through its own mapping is not seen in the other's page
 * table. */
static void test_not_a_write(void **state) {
        Guest *guest = *state;
        uint8_t *mine = mmap(NULL, PAGES * GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, guest->memfd, 0);

        assert_ptr_not_equal(mine, MAP_FAILED);
        assert_scan(guest, PROTECT, "wwwwwwww");
        assert_int_equal(guest_read(guest, 1), 1);
        mine[2 * GUEST_PAGE] = 7;
        assert_scan(guest, 0, "........");
        assert_int_equal(guest_read(guest, 2), 7);
        munmap(mine, PAGES * GUEST_PAGE);
}

/* Afterwards the memory is as if it had never been tracked. */
static void test_unregister(void **state) {
        Guest *guest = *state;
        struct uffdio_range range = { guest->address, PAGES * GUEST_PAGE };

        assert_scan(guest, PROTECT, "wwwwwwww");
        assert_int_equal(ioctl(guest->uffd, UFFDIO_UNREGISTER, &range), 0);
        for (size_t page = 0; page < PAGES; page++)
                guest_write(guest, page, 9);
        assert_scan(guest, 0, "wwwwwwww");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_unprotected_is_written, setup, teardown),
                cmocka_unit_test_setup_teardown(test_scan_protects, setup, teardown),
                cmocka_unit_test_setup_teardown(test_two_steps, setup, teardown),
                cmocka_unit_test_setup_teardown(test_new_page, setup, teardown),
                cmocka_unit_test_setup_teardown(test_punched_page, setup, teardown),
                cmocka_unit_test_setup_teardown(test_not_a_write, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unregister, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
