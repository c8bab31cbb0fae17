/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/fiber.h"

#include <errno.h>
#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"

typedef struct Shared {
        FiberCond cond;
        GString *order;
        int result;
        bool ready;
} Shared;

static void waiter(void *userdata) {
        Shared *shared = userdata;

        g_string_append(shared->order, "w");
        while (!shared->ready)
                shared->result = fiber_cond_wait(&shared->cond, 5000000);
        g_string_append(shared->order, "W");
}

static void two_fibers(void *userdata) {
        Shared *shared = userdata;

        assert_true(fiber_running());
        assert_int_equal(fiber_start(fiber_event(), "waiter", waiter, shared), 0);
        g_string_append(shared->order, "a");
        assert_int_equal(fiber_sleep(0), 0);
        g_string_append(shared->order, "b");
        shared->ready = true;
        fiber_cond_broadcast(&shared->cond);
        while (shared->order->len < 4)
                assert_int_equal(fiber_sleep(0), 0);
}

static void test_broadcast_wakes_in_order(void **state) {
        Shared shared = { .order = g_string_new(NULL) };

        assert_false(fiber_running());
        assert_int_equal(fiber_run("test", two_fibers, &shared), 0);
        assert_string_equal(shared.order->str, "awbW");
        assert_int_equal(shared.result, 0);
        g_string_free(shared.order, TRUE);
}

static void cond_times_out(void *userdata) {
        FiberCond cond = { 0 };

        assert_int_equal(fiber_cond_wait(&cond, 1000), -ETIMEDOUT);
        assert_null(cond.waiters);
}

static void test_cond_timeout(void **state) {
        assert_int_equal(fiber_run("test", cond_times_out, NULL), 0);
}

static void fd_waits(void *userdata) {
        int *ends = userdata;
        uint32_t revents = 0;

        assert_int_equal(fiber_wait_fd(ends[0], EPOLLIN, 1000, NULL), -ETIMEDOUT);
        assert_int_equal(write(ends[1], "x", 1), 1);
        assert_int_equal(fiber_wait_fd(ends[0], EPOLLIN, 5000000, &revents), 0);
        assert_true(revents & EPOLLIN);
}

static void test_wait_fd(void **state) {
        int ends[2];

        assert_int_equal(pipe(ends), 0);
        assert_int_equal(fiber_run("test", fd_waits, ends), 0);
        fd_close(ends[0]);
        fd_close(ends[1]);
}

static void fd_waits_twice(void *userdata) {
        int *ends = userdata;

        assert_int_equal(fiber_wait_fd(ends[0], EPOLLIN, 5000000, NULL), 0);
        ends[2]++;
}

static void starts_two(void *userdata) {
        int *ends = userdata;

        assert_int_equal(fiber_start(fiber_event(), "one", fd_waits_twice, ends), 0);
        assert_int_equal(fiber_start(fiber_event(), "two", fd_waits_twice, ends), 0);
        assert_int_equal(fiber_sleep(0), 0);
        assert_int_equal(write(ends[1], "x", 1), 1);
        while (ends[2] < 2)
                assert_int_equal(fiber_sleep(0), 0);
}

static void test_two_fibers_wait_for_one_fd(void **state) {
        int ends[3] = { 0 };

        assert_int_equal(pipe(ends), 0);
        assert_int_equal(fiber_run("test", starts_two, ends), 0);
        assert_int_equal(ends[2], 2);
        fd_close(ends[0]);
        fd_close(ends[1]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_broadcast_wakes_in_order),
                cmocka_unit_test(test_cond_timeout),
                cmocka_unit_test(test_wait_fd),
                cmocka_unit_test(test_two_fibers_wait_for_one_fd),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
