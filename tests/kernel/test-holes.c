/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Holes of shared memory: which accesses allocate, and what takes pages away again. The engine reads only what
 * SEEK_DATA names, and punches to make a page zero; MADV_DONTNEED would be wrong.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "driver/base/uapi.h"
#include "tests/kernel/guest.h"

#define PAGES 16
#define LARGE ((size_t) 2 << 20)

static uint8_t *map_file(int fd, size_t length) {
        uint8_t *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        assert_ptr_not_equal(memory, MAP_FAILED);
        return memory;
}

static int new_file(void) {
        int fd = memfd_create("holes", MFD_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, PAGES * GUEST_PAGE), 0);
        return fd;
}

static void assert_extent(int fd, size_t from, off_t data, off_t hole) {
        off_t start = lseek(fd, (off_t) (from * GUEST_PAGE), SEEK_DATA);
        assert_int_equal(start, data * GUEST_PAGE);
        assert_int_equal(lseek(fd, start, SEEK_HOLE), hole * GUEST_PAGE);
}

static void test_extents(void **state) {
        _cleanup_fd_ int fd = new_file();
        uint8_t *memory = map_file(fd, PAGES * GUEST_PAGE);

        assert_true(lseek(fd, 0, SEEK_DATA) < 0 && errno == ENXIO);
        memory[3 * GUEST_PAGE] = memory[4 * GUEST_PAGE] = memory[10 * GUEST_PAGE] = 1;
        assert_extent(fd, 0, 3, 5);
        assert_extent(fd, 5, 10, 11);
        assert_true(lseek(fd, 11 * GUEST_PAGE, SEEK_DATA) < 0 && errno == ENXIO);
        assert_int_equal(file_pages(fd), 3);
        munmap(memory, PAGES * GUEST_PAGE);
}

/* A load from a hole takes a page, a read() does not: this is how a guest grows when it is read through its mapping. */
static void test_reading_allocates(void **state) {
        _cleanup_fd_ int fd = new_file();
        uint8_t *memory = map_file(fd, PAGES * GUEST_PAGE);
        uint8_t byte;

        assert_int_equal(pread(fd, &byte, 1, 2 * GUEST_PAGE), 1);
        assert_int_equal(file_pages(fd), 0);
        assert_int_equal(*(volatile uint8_t *) (memory + 2 * GUEST_PAGE), 0);
        assert_int_equal(file_pages(fd), 1);
        munmap(memory, PAGES * GUEST_PAGE);
}

/* Punching takes the page from every mapping, in other processes, too; a page that is written again begins with
 * zeros. */
static void test_punch(void **state) {
        Guest guest;
        guest_start(&guest, PAGES);
        for (size_t page = 0; page < PAGES; page++)
                guest_write(&guest, page, 0xaa);
        assert_int_equal(file_pages(guest.memfd), PAGES);

        assert_int_equal(fallocate(guest.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * GUEST_PAGE,
                                   8 * GUEST_PAGE),
                         0);
        assert_int_equal(file_pages(guest.memfd), PAGES - 8);
        assert_extent(guest.memfd, 0, 0, 4);
        assert_extent(guest.memfd, 4, 12, PAGES);
        assert_int_equal(guest_read(&guest, 3), 0xaa);
        assert_int_equal(guest_read(&guest, 4), 0);
        assert_int_equal(guest_read(&guest, 11), 0);
        assert_int_equal(guest_read(&guest, 12), 0xaa);
        guest_end(&guest);
}

/* What MADV_DONTNEED drops is the mapping; the page stays in the file, with its content. */
static void test_dontneed_keeps(void **state) {
        _cleanup_fd_ int fd = new_file();
        uint8_t *memory = map_file(fd, PAGES * GUEST_PAGE);

        memset(memory, 0xaa, PAGES * GUEST_PAGE);
        assert_int_equal(madvise(memory, PAGES * GUEST_PAGE, MADV_DONTNEED), 0);
        assert_int_equal(memory[5 * GUEST_PAGE], 0xaa);
        assert_int_equal(file_pages(fd), PAGES);
        munmap(memory, PAGES * GUEST_PAGE);
}

static void test_populate(void **state) {
        _cleanup_fd_ int fd = new_file();
        uint8_t *memory = map_file(fd, PAGES * GUEST_PAGE);

        if (madvise(memory + 4 * GUEST_PAGE, 4 * GUEST_PAGE, MADV_POPULATE_WRITE) < 0 && errno == EINVAL) {
                print_message("this kernel has no MADV_POPULATE_WRITE (Linux 5.14)\n");
                skip();
        }
        assert_int_equal(file_pages(fd), 4);
        assert_extent(fd, 0, 4, 8);
        munmap(memory, PAGES * GUEST_PAGE);
}

/* In a process and mount namespace of its own: two mappings of one file on a tmpfs with huge=advise. 77: not possible
 * here. */
static int large_and_small(void) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return 77;
        if (mount("tmpfs", "/tmp", "tmpfs", 0, "huge=advise,size=64m") < 0)
                return 77;
        int fd = open("/tmp/ram", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, 4 * LARGE) < 0)
                return 1;
        uint8_t *area = mmap(NULL, 6 * LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        uint8_t *aligned = (uint8_t *) (((uintptr_t) area + LARGE - 1) & ~(LARGE - 1));
        uint8_t *large = mmap(aligned, 4 * LARGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
        uint8_t *small = mmap(NULL, 4 * LARGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (madvise(large, 4 * LARGE, MADV_HUGEPAGE) < 0 || madvise(small, 4 * LARGE, MADV_NOHUGEPAGE) < 0)
                return 77;

        small[3 * LARGE] = 1;
        if (file_pages(fd) != 1)
                return 2;
        if (madvise(large, LARGE, MADV_POPULATE_WRITE) < 0 || file_pages(fd) != 1 + LARGE / GUEST_PAGE)
                return 3;
        /* A small piece of a large folio becomes zero when it is punched, whether or not that frees anything. */
        memset(small, 0xaa, LARGE);
        if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, GUEST_PAGE, GUEST_PAGE) < 0)
                return 4;
        return small[0] == 0xaa && small[GUEST_PAGE] == 0 && small[2 * GUEST_PAGE - 1] == 0 &&
                               small[2 * GUEST_PAGE] == 0xaa
                       ? 0
                       : 5;
}

static void test_large_folios(void **state) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
                _exit(large_and_small());
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77) {
                print_message("a tmpfs with large folios cannot be mounted here\n");
                skip();
        }
        assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_extents),
                cmocka_unit_test(test_reading_allocates),
                cmocka_unit_test(test_punch),
                cmocka_unit_test(test_dontneed_keeps),
                cmocka_unit_test(test_populate),
                cmocka_unit_test(test_large_folios),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
