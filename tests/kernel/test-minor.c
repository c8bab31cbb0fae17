/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Missing and minor faults of shared memory, answered from outside: what postcopy and lazy restore rest on
 * (docs/postcopy-engine.md). */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "driver/base/uapi.h"
#include "tests/kernel/guest.h"

#define PAGES 16
#define LONG_MSEC 10000
#define SHORT_MSEC 50

static Guest guest;

/* Pages 0 to 7 hold their number plus one; the rest are holes. */
static int setup(void **state) {
        guest_start(&guest, PAGES);
        guest_enable(&guest, UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM);
        for (size_t page = 0; page < PAGES / 2; page++) {
                unsigned char value = (unsigned char) (page + 1);
                assert_int_equal(pwrite(guest.memfd, &value, 1, (off_t) (page * GUEST_PAGE)), 1);
        }
        guest_register(&guest, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR);
        return 0;
}

static int teardown(void **state) {
        guest_end(&guest);
        return 0;
}

static size_t next_fault(void) {
        struct pollfd fd = { .fd = guest.uffd, .events = POLLIN };
        struct uffd_msg message;

        assert_int_equal(poll(&fd, 1, LONG_MSEC), 1);
        assert_int_equal(read(guest.uffd, &message, sizeof(message)), sizeof(message));
        return (message.arg.pagefault.address - guest.address) / GUEST_PAGE;
}

/* Negative errno; pages that were mapped in *ret_mapped. */
static int map_pages(size_t first, size_t n, size_t *ret_mapped) {
        struct uffdio_continue arg = { .range = { guest.address + first * GUEST_PAGE, n * GUEST_PAGE } };
        int r = ioctl(guest.uffd, UFFDIO_CONTINUE, &arg) < 0 ? -errno : 0;
        *ret_mapped = arg.mapped > 0 ? (size_t) arg.mapped / GUEST_PAGE : 0;
        return r;
}

static void wake_all(void) {
        struct uffdio_range range = { guest.address, PAGES * GUEST_PAGE };
        assert_int_equal(ioctl(guest.uffd, UFFDIO_WAKE, &range), 0);
}

/* A page that the file holds traps all the same, and so does its neighbour: nothing is mapped around a fault. */
static void test_each_page_traps(void **state) {
        size_t mapped;
        for (size_t page = 0; page < 3; page++) {
                guest_write_begin(&guest, page, 9);
                assert_int_equal(next_fault(), page);
                assert_false(guest_wait(&guest, SHORT_MSEC));
                assert_int_equal(map_pages(page, 1, &mapped), 0);
                assert_true(guest_wait(&guest, LONG_MSEC));
        }
}

/* It maps as far as it can, and then says why it stopped. */
static void test_continue_stops(void **state) {
        size_t mapped;
        assert_int_equal(map_pages(4, 8, &mapped), -EAGAIN);
        assert_int_equal(mapped, 4);
        assert_int_equal(map_pages(8, 4, &mapped), -EFAULT); /* a hole */
        assert_int_equal(map_pages(4, 1, &mapped), -EEXIST);
        assert_int_equal(guest_read(&guest, 5), 6);
        assert_int_equal(file_pages(guest.memfd), PAGES / 2);
}

/* One page for a hole, and only one. */
static void test_zero_page(void **state) {
        struct uffdio_zeropage arg = { .range = { guest.address + 12 * GUEST_PAGE, GUEST_PAGE } };
        guest_write_begin(&guest, 12, 3);
        assert_int_equal(next_fault(), 12);
        assert_int_equal(ioctl(guest.uffd, UFFDIO_ZEROPAGE, &arg), 0);
        assert_true(guest_wait(&guest, LONG_MSEC));
        assert_int_equal(guest_read(&guest, 12), 3);
        assert_int_equal(file_pages(guest.memfd), PAGES / 2 + 1);
        assert_int_equal(ioctl(guest.uffd, UFFDIO_ZEROPAGE, &arg), -1);
        assert_int_equal(errno, EEXIST);
}

/* A hole that is punched unmaps the page: the next access traps again. */
static void test_punched(void **state) {
        size_t mapped;
        assert_int_equal(map_pages(3, 1, &mapped), 0);
        assert_int_equal(guest_read(&guest, 3), 4);
        assert_int_equal(fallocate(guest.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * GUEST_PAGE, GUEST_PAGE),
                         0);
        guest_write_begin(&guest, 3, 1);
        assert_int_equal(next_fault(), 3);
}

/* A fault that was read and not answered comes again after a wake. */
static void test_wake_faults_again(void **state) {
        guest_write_begin(&guest, 6, 1);
        assert_int_equal(next_fault(), 6);
        wake_all();
        assert_int_equal(next_fault(), 6);
        assert_false(guest_wait(&guest, SHORT_MSEC));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_each_page_traps, setup, teardown),
                cmocka_unit_test_setup_teardown(test_continue_stops, setup, teardown),
                cmocka_unit_test_setup_teardown(test_zero_page, setup, teardown),
                cmocka_unit_test_setup_teardown(test_punched, setup, teardown),
                cmocka_unit_test_setup_teardown(test_wake_faults_again, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
