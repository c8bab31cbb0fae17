/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What becomes of a page that is data, zeros, or given back, in one round after the other: whole jobs between two
 * helpers, over every kind of memory file that this machine has, for memory that is allocated on demand and memory that
 * must stay allocated. In the end the content is the guest's, and only what holds data is allocated (or everything).
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "driver/base/uapi.h"
#include "driver/base/units.h"
#include "tests/engine/job.h"

#define PAGE UINT64_C(4096)
#define HUGE (2 * MIB)
#define STEPS 4

/* Each test is a fiber on a loop of its own. */
#define FIBER_TEST(name)                                                                                               \
        static void name##_fiber(void *userdata);                                                                      \
        static void name(void **state) {                                                                               \
                assert_int_equal(fiber_run(#name, name##_fiber, NULL), 0);                                             \
        }                                                                                                              \
        static void name##_fiber(void *userdata)

typedef enum Act {
        NOTHING = '.',
        DATA = 'D',
        ZERO = 'z', /* written, and zero */
        BACK = 'b', /* given back, as by a balloon or free page reporting */
} Act;

/* One act before the job, three in rounds of it. */
static const char *const histories[] = {
        "....", "D...", "z...", "Dz..", "DzD.", "DzDz", "zDz.", "z.D.", ".z..", ".D..", ".Dz.",
        ".DzD", "Db..", "DbD.", "DbDb", ".Db.", "zb..", "bDbD", "Dzb.", "DbzD", "DDDb",
};

/* Runs of one history: a page, a few, many. */
static const struct {
        uint64_t first, count;
} runs[] = { { 0, 1 }, { 8, 3 }, { 16, 32 } };
#define HISTORY_PAGES UINT64_C(64)

typedef struct Backend {
        const char *name;
        int (*make)(const struct Backend *backend);
        const char *mount; /* options of a tmpfs; NULL: none is needed */
        uint64_t page_bytes;
        uint64_t slack_bytes; /* what the file system allocates for itself */
        bool punches_exactly; /* each page that is zero is free in the end */
        bool guest_takes_large; /* a guest that touches a page by itself gets 2 MiB */
} Backend;

static char mount_point[] = "/tmp/ferry-histories-XXXXXX";

static int make_memfd(const Backend *backend) {
        return memfd_create("ram", MFD_CLOEXEC);
}

static int make_huge(const Backend *backend) {
        return memfd_create("ram", MFD_CLOEXEC | MFD_HUGETLB);
}

static int make_in(const char *folder) {
        g_autofree char *path = g_strdup_printf("%s/ram-XXXXXX", folder);
        int fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
                unlink(path);
        return fd;
}

static int make_plain(const Backend *backend) {
        return make_in("/var/tmp");
}

static int make_on_tmpfs(const Backend *backend) {
        return make_in(mount_point);
}

/* With within_size and always a first write takes 2 MiB at the source; the destination's size follows the data. */
static const Backend memfd = { "memfd", make_memfd, NULL, PAGE, 0, true };
static const Backend plain = { "file", make_plain, NULL, PAGE, 256 * KIB, false };
static const Backend tmpfs[] = {
        { "tmpfs, small folios", make_on_tmpfs, "huge=never", PAGE, 0, true },
        { "tmpfs, folios as advised", make_on_tmpfs, "huge=advise", PAGE, 0, true },
        { "tmpfs, large folios within the size", make_on_tmpfs, "huge=within_size", PAGE, 0, true, true },
        { "tmpfs, large folios", make_on_tmpfs, "huge=always", PAGE, 0, true, true },
};
static const Backend huge = { "huge pages", make_huge, NULL, HUGE, 0, true };

typedef enum CaseKind {
        SPARSE,
        POPULATED, /* prealloc */
        LOCKED,    /* prealloc and mlock() */
        POSTCOPY,  /* sparse, and the last step's pages come after the switch */
} CaseKind;

typedef struct Case {
        const Backend *backend;
        bool populated;
        uint64_t own_bytes; /* what the destination's guest takes by itself */
        Job job;
        uint64_t size_bytes;
        void *lock_map;
} Case;

/* Where a page of a history is. Of huge pages each history has one. */
static uint64_t page_offset(const Case *c, size_t history, uint64_t page) {
        return c->backend->page_bytes > PAGE ? history * HUGE : (history * HISTORY_PAGES + page) * PAGE;
}

static void act_on(Case *c, Act act, uint64_t offset, uint64_t pages, unsigned char value) {
        uint64_t page_bytes = c->backend->page_bytes;
        if (act == BACK)
                standin_discard(&c->job.guest, offset, pages * page_bytes);
        for (uint64_t i = 0; i < pages && (act == DATA || act == ZERO); i++)
                assert_true(standin_poke(&c->job.guest, offset + i * page_bytes + 128, act == DATA ? value : 0));
}

static void do_step(Case *c, unsigned step) {
        for (size_t h = 0; h < G_N_ELEMENTS(histories); h++) {
                size_t n_runs = c->backend->page_bytes > PAGE ? 1 : G_N_ELEMENTS(runs);
                for (size_t r = 0; r < n_runs; r++)
                        act_on(c, (Act) histories[h][step], page_offset(c, h, runs[r].first), runs[r].count,
                               (unsigned char) (1 + h + step * 40));
        }
}

/* The rounds before are over: nothing is left to send. */
static void settle(Case *c) {
        /* One may have been on its way when the guest wrote. */
        assert_true(job_wait_count(&c->job, &c->job.source.pendings, c->job.source.pendings + 2));
}

static char last_act(size_t history) {
        char last = NOTHING;
        for (unsigned step = 0; step < STEPS; step++)
                if (histories[history][step] != NOTHING)
                        last = histories[history][step];
        return last;
}

static void check_allocation(Case *c) {
        uint64_t data = 0;
        for (size_t h = 0; h < G_N_ELEMENTS(histories); h++)
                for (size_t r = 0; r < G_N_ELEMENTS(runs); r++)
                        if (last_act(h) == DATA && (c->backend->page_bytes == PAGE || r == 0))
                                data += runs[r].count * c->backend->page_bytes;
        uint64_t allocated = job_allocated(c->job.dest_fd) - c->own_bytes;
        if (c->populated) {
                assert_true(allocated >= c->size_bytes);
                return;
        }
        if (allocated > data + c->backend->slack_bytes || (c->backend->punches_exactly && allocated != data))
                fail_msg("%s: %" G_GUINT64_FORMAT " KiB are allocated for %" G_GUINT64_FORMAT " KiB of data",
                         c->backend->name, allocated / KIB, data / KIB);
        if (!c->backend->punches_exactly || c->backend->page_bytes > PAGE)
                return;
        for (size_t h = 0; h < G_N_ELEMENTS(histories); h++)
                for (size_t r = 0; r < G_N_ELEMENTS(runs); r++) {
                        off_t at = (off_t) page_offset(c, h, runs[r].first);
                        bool there = lseek(c->job.dest_fd, at, SEEK_DATA) == at;
                        if (there != (last_act(h) == DATA))
                                fail_msg("%s: history '%s' ends %s", c->backend->name, histories[h],
                                         there ? "allocated" : "without memory");
                }
}

/* Why the engine punches: the call that looks like the right one does nothing of the kind to shared memory. */
static void check_dontneed(const Case *c) {
        uint64_t page_bytes = c->backend->page_bytes;
        unsigned char *map = mmap(NULL, c->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->job.dest_fd, 0);
        assert_true(map != MAP_FAILED);
        size_t h = 0;
        while (last_act(h) != DATA)
                h++;
        unsigned char *at = map + page_offset(c, h, 0), before = at[128];
        assert_int_not_equal(before, 0);
        assert_int_equal(madvise(at, page_bytes, MADV_DONTNEED), 0);
        assert_int_equal(at[128], before);
        munmap(map, c->size_bytes);
}

static void *populate(int fd, uint64_t size_bytes) {
        void *map = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        assert_true(map != MAP_FAILED);
        assert_int_equal(madvise(map, size_bytes, MADV_POPULATE_WRITE), 0);
        return map;
}

static void open_case(Case *c, const Backend *backend, CaseKind kind) {
        bool populated = kind == POPULATED || kind == LOCKED;
        /* With postcopy it reads a page that was never touched, as QEMU does when it loads its devices. */
        *c = (Case){ .backend = backend, .populated = populated, .own_bytes = kind == POSTCOPY ? PAGE : 0 };
        uint64_t pages = backend->page_bytes > PAGE ? 1 : HISTORY_PAGES;
        c->size_bytes = units_align_up((G_N_ELEMENTS(histories) * pages + 2) * backend->page_bytes, HUGE);
        int source_fd = backend->make(backend), dest_fd = backend->make(backend);
        assert_true(source_fd >= 0 && dest_fd >= 0);
        assert_int_equal(ftruncate(source_fd, (off_t) c->size_bytes), 0);
        assert_int_equal(ftruncate(dest_fd, (off_t) c->size_bytes), 0);
        if (populated) {
                munmap(populate(source_fd, c->size_bytes), c->size_bytes);
                c->lock_map = populate(dest_fd, c->size_bytes);
                if (kind == LOCKED)
                        assert_int_equal(mlock(c->lock_map, c->size_bytes), 0);
        }
        job_open(&c->job, &(JobArgs){ .size_bytes = c->size_bytes,
                                      .source_fd = source_fd,
                                      .dest_fd = dest_fd,
                                      .page_bytes = backend->page_bytes,
                                      .populated = populated,
                                      .postcopy = kind == POSTCOPY });
}

static void run_case(const Backend *backend, CaseKind kind) {
        Case c;
        open_case(&c, backend, kind);
        do_step(&c, 0);
        g_autoptr(GError) error = NULL;
        assert_int_equal(job_start(&c.job, &error), 0);
        for (unsigned step = 1; step < STEPS; step++) {
                settle(&c);
                do_step(&c, step);
        }
        uint64_t source = job_allocated(c.job.source_fd);
        if (kind == POSTCOPY) {
                /* The last step has just been done: its pages are missing, or stale, over there. */
                job_switch_postcopy(&c.job);
                assert_true(job_wait(&c.job, &c.job.dest.complete));
                assert_true(job_wait(&c.job, &c.job.source.complete));
        } else
                job_switch_over(&c.job);
        job_verify_content(&c.job);
        assert_int_equal(job_allocated(c.job.source_fd), source);
        check_allocation(&c);
        check_dontneed(&c);
        /* A part of a huge page that is zero beside data is written. */
        if (!c.populated && backend->page_bytes == PAGE)
                assert_int_equal(engine_stats(c.job.dest.engine)->written_zero_bytes, 0);
        else if (c.populated)
                assert_int_equal(engine_stats(c.job.dest.engine)->punched_bytes, 0);
        if (c.lock_map)
                munmap(c.lock_map, c.size_bytes);
        job_close(&c.job);
}

static void run_both(const Backend *backend) {
        print_message("%s\n", backend->name);
        run_case(backend, SPARSE);
        run_case(backend, POPULATED);
}

FIBER_TEST(test_memfd) {
        run_both(&memfd);
        run_case(&memfd, LOCKED);
        run_case(&memfd, POSTCOPY);
}

/* The tracker for older kernels finds the same. */
FIBER_TEST(test_sync) {
        setenv("FERRY_DISABLE_KERNEL", "uffd-wp-async,pagemap-scan", 1);
        run_both(&memfd);
        unsetenv("FERRY_DISABLE_KERNEL");
}

FIBER_TEST(test_file) {
        run_both(&plain);
}

FIBER_TEST(test_tmpfs) {
        for (size_t i = 0; i < G_N_ELEMENTS(tmpfs); i++) {
                assert_non_null(mkdtemp(strcpy(mount_point, "/tmp/ferry-histories-XXXXXX")));
                if (mount("tmpfs", mount_point, "tmpfs", MS_NOSUID | MS_NODEV, tmpfs[i].mount) < 0) {
                        print_message("a tmpfs with %s cannot be mounted here: %s\n", tmpfs[i].mount, strerror(errno));
                        rmdir(mount_point);
                        return;
                }
                run_both(&tmpfs[i]);
                if (!tmpfs[i].guest_takes_large)
                        run_case(&tmpfs[i], POSTCOPY);
                umount2(mount_point, MNT_DETACH);
                rmdir(mount_point);
        }
}

static bool reserve_huge(int change) {
        static const char path[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
        g_autofree char *text = NULL;
        if (file_read(path, 64, &text, NULL, NULL) < 0)
                return false;
        g_autofree char *wanted = g_strdup_printf("%d", atoi(text) + change), *now = NULL;
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd >= 0 && write(fd, wanted, strlen(wanted)) > 0 && file_read(path, 64, &now, NULL, NULL) >= 0 &&
               atoi(now) >= atoi(wanted);
}

FIBER_TEST(test_huge) {
        const int pages = 2 * (int) (G_N_ELEMENTS(histories) + 4);
        if (!reserve_huge(pages)) {
                print_message("no huge pages can be reserved here\n");
                return;
        }
        run_both(&huge);
        assert_true(reserve_huge(-pages));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_memfd), cmocka_unit_test(test_sync), cmocka_unit_test(test_file),
                cmocka_unit_test(test_tmpfs), cmocka_unit_test(test_huge),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
