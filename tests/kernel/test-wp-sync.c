/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Synchronous write protection of shared memory, for kernels without the asynchronous one: the writer waits for our
 * answer. */

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "driver/base/uapi.h"
#include "tests/kernel/guest.h"

#define PAGES 8
#define LONG_MSEC 10000
#define SHORT_MSEC 50

static Guest guest;

static int setup(void **state) {
        guest_start(&guest, PAGES);
        guest_enable(&guest, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
        for (size_t page = 0; page < PAGES / 2; page++)
                guest_write(&guest, page, 1);
        guest_register(&guest, UFFDIO_REGISTER_MODE_WP);
        guest_protect(&guest, 0, PAGES, true);
        return 0;
}

static int teardown(void **state) {
        guest_end(&guest);
        return 0;
}

/* The page of the next write fault. */
static size_t next_fault(void) {
        struct pollfd fd = { .fd = guest.uffd, .events = POLLIN };
        struct uffd_msg message;

        assert_int_equal(poll(&fd, 1, LONG_MSEC), 1);
        assert_int_equal(read(guest.uffd, &message, sizeof(message)), sizeof(message));
        assert_int_equal(message.event, UFFD_EVENT_PAGEFAULT);
        assert_true(message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
        return (message.arg.pagefault.address - guest.address) / GUEST_PAGE;
}

static void test_writer_waits(void **state) {
        guest_write_begin(&guest, 2, 7);
        assert_int_equal(next_fault(), 2);
        assert_false(guest_wait(&guest, SHORT_MSEC));
        guest_protect(&guest, 2, 1, false);
        assert_true(guest_wait(&guest, LONG_MSEC));
        assert_int_equal(guest_read(&guest, 2), 7);
        /* and no second time */
        guest_write(&guest, 2, 8);
        /* until it is protected again */
        guest_protect(&guest, 2, 1, true);
        guest_write_begin(&guest, 2, 9);
        assert_int_equal(next_fault(), 2);
        guest_protect(&guest, 2, 1, false);
        assert_true(guest_wait(&guest, LONG_MSEC));
}

static void test_readers_pass(void **state) {
        assert_int_equal(guest_read(&guest, 1), 1);
}

/* Protection of a hole stays for the page that appears there; without it, nobody hears of a new page, so the extents
 * tell. */
static void test_holes(void **state) {
        guest_write_begin(&guest, PAGES - 1, 5);
        assert_int_equal(next_fault(), PAGES - 1);
        guest_protect(&guest, PAGES - 1, 1, false);
        assert_true(guest_wait(&guest, LONG_MSEC));
        guest_protect(&guest, PAGES - 2, 1, false);
        guest_write(&guest, PAGES - 2, 5);
        assert_int_equal(file_pages(guest.memfd), PAGES / 2 + 2);
}

/* Unregistering lets a writer go that waits. */
static void test_unregister_wakes(void **state) {
        struct uffdio_range range = { guest.address, PAGES * GUEST_PAGE };

        guest_write_begin(&guest, 0, 3);
        assert_int_equal(next_fault(), 0);
        assert_int_equal(ioctl(guest.uffd, UFFDIO_UNREGISTER, &range), 0);
        assert_int_equal(ioctl(guest.uffd, UFFDIO_WAKE, &range), 0);
        assert_true(guest_wait(&guest, LONG_MSEC));
}

/* As long as the other process has its own descriptor, ours may go and the writer still waits: nothing is lost when a
 * helper dies. */
static void test_survives_our_end(void **state) {
        int copy = dup(guest.uffd);

        assert_true(copy >= 0);
        guest_write_begin(&guest, 3, 4);
        assert_int_equal(next_fault(), 3);
        close(copy);
        assert_false(guest_wait(&guest, SHORT_MSEC));
        guest_protect(&guest, 3, 1, false);
        assert_true(guest_wait(&guest, LONG_MSEC));
}

/* A process that waits for an answer can be killed. */
static void test_waiter_can_be_killed(void **state) {
        guest_write_begin(&guest, 1, 4);
        assert_int_equal(next_fault(), 1);
        /* teardown kills it and waits for its end */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_writer_waits, setup, teardown),
                cmocka_unit_test_setup_teardown(test_readers_pass, setup, teardown),
                cmocka_unit_test_setup_teardown(test_holes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unregister_wakes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_survives_our_end, setup, teardown),
                cmocka_unit_test_setup_teardown(test_waiter_can_be_killed, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
