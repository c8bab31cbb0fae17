/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/guest_map.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"

#define SIZE (1u << 20)

static int make_ram(void) {
        int fd = memfd_create("ram", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fd, SIZE), 0);
        return fd;
}

static void test_found(void **state) {
        _cleanup_fd_ int fd = make_ram();
        uint64_t address = 1;
        g_autoptr(GError) error = NULL;
        assert_int_equal(guest_map_find(getpid(), fd, SIZE, "ram0", &address, &error), -ENOENT);
        assert_non_null(strstr(error->message, "ram0"));
        assert_int_equal(address, 1);

        /* Read-only and private mappings are not the guest's. */
        char *other = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0),
             *copy = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
        assert_int_equal(guest_map_find(getpid(), fd, SIZE, "ram0", &address, NULL), -ENOENT);
        char *ram = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        assert_int_equal(guest_map_find(getpid(), fd, SIZE, "ram0", &address, NULL), 0);
        assert_int_equal(address, (uintptr_t) ram);

        /* Advice splits the kernel's entry; it is still one mapping. */
        assert_int_equal(madvise(ram + SIZE / 4, SIZE / 4, MADV_DONTFORK), 0);
        address = 0;
        assert_int_equal(guest_map_find(getpid(), fd, SIZE, "ram0", &address, NULL), 0);
        assert_int_equal(address, (uintptr_t) ram);

        /* A part of it is not enough, and twice is too much. */
        char *twice = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        assert_int_equal(guest_map_find(getpid(), fd, SIZE, "ram0", &address, NULL), -ENOTUNIQ);
        munmap(twice, SIZE);
        munmap(ram + SIZE / 2, SIZE / 2);
        assert_int_equal(guest_map_find(getpid(), fd, SIZE, "ram0", &address, NULL), -ENOENT);
        munmap(ram, SIZE / 2);
        munmap(other, SIZE);
        munmap(copy, SIZE);
}

static void test_no_process(void **state) {
        _cleanup_fd_ int fd = make_ram();
        uint64_t address;
        g_autoptr(GError) error = NULL;
        assert_int_equal(guest_map_find(0x7ffffff0, fd, SIZE, "ram0", &address, &error), -ESRCH);
        assert_non_null(strstr(error->message, "is gone"));
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_found), cmocka_unit_test(test_no_process) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
