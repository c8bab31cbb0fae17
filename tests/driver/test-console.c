/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/console.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/fiber.h"
#include "driver/base/io.h"

#define WAIT_USEC 5000000

typedef struct Bed {
        int device, client;
        Console *console;
        unsigned ended;
} Bed;

static void on_ended(Console *console, void *userdata) {
        Bed *bed = userdata;

        bed->ended++;
}

static void bed_open(Bed *bed) {
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        bed->device = pair[0];
        assert_int_equal(console_new(fiber_event(), pair[1], on_ended, bed, &bed->console, &bed->client, NULL), 0);
}

static void bed_close(Bed *bed) {
        bed->console = console_free(bed->console);
        bed->device = fd_close(bed->device);
        bed->client = fd_close(bed->client);
}

static void expect(int fd, const char *text) {
        char got[64] = "";

        assert_int_equal(fiber_wait_fd(fd, EPOLLIN, WAIT_USEC, NULL), 0);
        assert_int_equal(read(fd, got, sizeof(got) - 1), strlen(text));
        assert_string_equal(got, text);
}

static void both_ways(void *userdata) {
        Bed bed = { 0 };

        bed_open(&bed);
        assert_int_equal(write(bed.device, "login:", 6), 6);
        expect(bed.client, "login:");
        assert_int_equal(write(bed.client, "root\n", 5), 5);
        expect(bed.device, "root\n");
        assert_true(console_is_client(bed.console, bed.client));
        assert_false(console_is_client(bed.console, bed.device));
        bed_close(&bed);
}

/* A client that does not read must not make us hold more than one piece. */
static void slow_client(void *userdata) {
        static char block[4096];
        size_t written = 0, got = 0;
        Bed bed = { 0 };

        bed_open(&bed);
        for (;;) {
                ssize_t n = write(bed.device, block, sizeof(block));

                if (n < 0 && fiber_wait_fd(bed.device, EPOLLOUT, 20000, NULL) < 0)
                        break;
                written += n > 0 ? (size_t) n : 0;
        }
        while (got < written) {
                ssize_t n;

                assert_int_equal(fiber_wait_fd(bed.client, EPOLLIN, WAIT_USEC, NULL), 0);
                n = read(bed.client, block, sizeof(block));
                assert_true(n > 0);
                got += (size_t) n;
        }
        assert_int_equal(got, written);
        bed_close(&bed);
}

static void ends(void *userdata) {
        Bed bed = { 0 };
        char byte;

        bed_open(&bed);
        bed.client = fd_close(bed.client);
        while (bed.ended == 0)
                assert_int_equal(fiber_sleep(0), 0);
        bed_close(&bed);
        bed_open(&bed);
        bed.console = console_free(bed.console);
        assert_int_equal(fiber_wait_fd(bed.client, EPOLLIN, WAIT_USEC, NULL), 0);
        assert_int_equal(read(bed.client, &byte, 1), 0);
        bed_close(&bed);
        assert_int_equal(bed.ended, 1);
}

static void test_both_ways(void **state) {
        assert_int_equal(fiber_run("both ways", both_ways, NULL), 0);
}

static void test_slow_client(void **state) {
        assert_int_equal(fiber_run("slow client", slow_client, NULL), 0);
}

static void test_ends(void **state) {
        assert_int_equal(fiber_run("ends", ends, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_both_ways),
                cmocka_unit_test(test_slow_client),
                cmocka_unit_test(test_ends),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
