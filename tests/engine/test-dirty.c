/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Both trackers against a process that writes one page at a time: each sync finds exactly what was written. */

#include "driver/engine/dirty.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/units.h"
#include "driver/engine/guest_map.h"
#include "driver/base/kernel.h"
#include "tests/lib/standin.h"

#define PAGE 4096u
#define SIZE (16 * MIB)

typedef struct Tracked {
        Standin guest;
        RamBlock block;
        Dirty *dirty;
        PageSet set;
} Tracked;

static void open_tracked(Tracked *t, DirtyMode mode) {
        *t = (Tracked) { 0 };
        int fd = memfd_create("ram", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fd, SIZE), 0);
        if (standin_start(&t->guest, &(StandinArgs) { .ram_fd = fd, .size_bytes = SIZE }) == -ENOTSUP)
                skip();
        EngineRamBlock config = { .id = "ram0", .size_bytes = SIZE, .page_bytes = PAGE };
        assert_int_equal(ram_block_init(&t->block, &config, fd, RAM_BLOCK_READ, NULL), 0);
        for (unsigned page = 0; page < 1024; page++)
                assert_true(standin_poke(&t->guest, (uint64_t) page * PAGE, 1));
        assert_int_equal(page_set_init(&t->set, t->block.n_pages), 0);
        g_autoptr(GError) error = NULL;
        int r = dirty_new(&t->block, 1, t->guest.pid, t->guest.uffd_async, t->guest.uffd_sync, mode, &t->dirty, &error);
        if (r < 0)
                print_error("%s\n", error->message);
        assert_int_equal(r, 0);
        assert_int_equal(t->dirty->blocks[0].known.n_set, 1024);
}

static void close_tracked(Tracked *t) {
        t->dirty = dirty_free(t->dirty);
        /* Free of all protection. */
        for (unsigned page = 0; page < 2048; page += 7)
                assert_true(standin_poke(&t->guest, (uint64_t) page * PAGE, 9));
        page_set_deinit(&t->set);
        ram_block_deinit(&t->block);
        standin_end(&t->guest);
}

static void poke(Tracked *t, unsigned page) {
        assert_true(standin_poke(&t->guest, (uint64_t) page * PAGE, 2));
}

static uint64_t sync_now(Tracked *t, bool final) {
        page_set_clear(&t->set);
        g_autoptr(GError) error = NULL;
        assert_int_equal(dirty_sync(t->dirty, final, &t->set, &error), 0);
        return t->set.n_set;
}

static void exact(DirtyMode mode) {
        Tracked t;
        open_tracked(&t, mode);
        assert_int_equal(sync_now(&t, false), 0);

        poke(&t, 5);
        poke(&t, 900);
        assert_int_equal(sync_now(&t, false), 2);
        assert_true(page_set_has(&t.set, 5) && page_set_has(&t.set, 900));
        assert_int_equal(sync_now(&t, false), 0);

        /* The same page again, and most of a 2 MiB piece (protected by one call). */
        poke(&t, 5);
        for (unsigned page = 512; page < 900; page++)
                poke(&t, page);
        assert_int_equal(sync_now(&t, false), 389);
        assert_int_equal(sync_now(&t, false), 0);
        poke(&t, 513);
        assert_int_equal(sync_now(&t, false), 1);

        /* A page that appears in a hole, and its next write. */
        poke(&t, 3000);
        assert_int_equal(sync_now(&t, false), 1);
        assert_true(page_set_has(&t.set, 3000));
        assert_int_equal(sync_now(&t, false), 0);
        poke(&t, 3000);
        assert_int_equal(sync_now(&t, false), 1);

        /* A page that becomes a hole, and comes back. */
        assert_int_equal(fallocate(t.block.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 7 * PAGE, PAGE), 0);
        assert_int_equal(sync_now(&t, false), 1);
        assert_true(page_set_has(&t.set, 7));
        assert_false(page_set_has(&t.dirty->blocks[0].known, 7));
        poke(&t, 7);
        assert_int_equal(sync_now(&t, false), 1);
        assert_true(page_set_has(&t.dirty->blocks[0].known, 7));

        /* The last sync: one vanished while one appeared, so the count is the same. */
        assert_int_equal(fallocate(t.block.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 11 * PAGE, PAGE), 0);
        poke(&t, 2000);
        poke(&t, 1);
        assert_int_equal(sync_now(&t, true), 3);
        assert_true(page_set_has(&t.set, 11) && page_set_has(&t.set, 2000) && page_set_has(&t.set, 1));
        close_tracked(&t);
}

static void test_asynchronous(void **state) {
        if (!kernel_has(KERNEL_PAGEMAP_SCAN))
                skip();
        exact(DIRTY_ASYNC);
}

static void test_synchronous(void **state) {
        exact(DIRTY_SYNC);
}

/* Written pieces move to the other context; nothing that is written there is lost, and what is not written much
 * stays. */
static void test_throttle(void **state) {
        if (!kernel_has(KERNEL_PAGEMAP_SCAN))
                skip();
        Tracked t;
        open_tracked(&t, DIRTY_ASYNC);
        assert_int_equal(sync_now(&t, false), 0);
        g_autoptr(GError) error = NULL;
        assert_int_equal(dirty_throttle(t.dirty, t.guest.uffd_sync, 5000, &error), 0);

        /* An eighth of the first piece, a little of the second: the first moves, and counts as a whole. */
        for (unsigned page = 100; page < 164; page++)
                poke(&t, page);
        poke(&t, 600);
        assert_int_equal(sync_now(&t, false), 513);
        assert_int_equal(t.dirty->blocks[0].moved.n_set, 512);
        assert_int_equal(sync_now(&t, false), 0);

        /* Reads wait for nobody; a write is answered and found, also twice, also beside one that is not throttled. */
        for (unsigned round = 0; round < 3; round++) {
                poke(&t, 5);
                poke(&t, 5);
                poke(&t, 511);
                poke(&t, 600);
                assert_int_equal(sync_now(&t, false), 3);
                assert_true(page_set_has(&t.set, 5) && page_set_has(&t.set, 511) && page_set_has(&t.set, 600));
        }
        /* What comes and goes inside a moved piece. */
        assert_int_equal(fallocate(t.block.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 7 * PAGE, PAGE), 0);
        assert_int_equal(sync_now(&t, false), 1);
        poke(&t, 7);
        assert_int_equal(sync_now(&t, false), 1);
        poke(&t, 7);
        assert_int_equal(sync_now(&t, false), 1);
        /* The rate holds: 200 pages at 1000 a second, one burst of 5 ms apart. */
        assert_int_equal(dirty_throttle(t.dirty, t.guest.uffd_sync, 1000, NULL), 0);
        uint64_t begin = clock_monotonic_usec();
        for (unsigned page = 0; page < 200; page++)
                poke(&t, page);
        assert_true(clock_monotonic_usec() - begin > 180000);
        assert_int_equal(sync_now(&t, false), 200);
        /* Without a limit they are still found. */
        assert_int_equal(dirty_throttle(t.dirty, t.guest.uffd_sync, 0, NULL), 0);
        for (unsigned page = 0; page < 300; page++)
                poke(&t, page);
        poke(&t, 700);
        assert_int_equal(sync_now(&t, true), 301);
        close_tracked(&t);
}

/* The helper is killed while pieces are moved: the daemon sets everybody free. */
static void test_throttle_unregister(void **state) {
        if (!kernel_has(KERNEL_PAGEMAP_SCAN))
                skip();
        Tracked t;
        open_tracked(&t, DIRTY_ASYNC);
        assert_int_equal(dirty_throttle(t.dirty, t.guest.uffd_sync, 100, NULL), 0);
        for (unsigned page = 0; page < 1024; page++)
                poke(&t, page);
        sync_now(&t, false);
        assert_int_equal(t.dirty->blocks[0].moved.n_set, 1024);
        uint64_t address = t.dirty->blocks[0].address;
        assert_int_equal(guest_map_unregister(address, SIZE, t.guest.uffd_async, t.guest.uffd_sync), 0);
        uint64_t begin = clock_monotonic_usec();
        for (unsigned page = 0; page < 1024; page++)
                poke(&t, page);
        assert_true(clock_monotonic_usec() - begin < 5000000);
        close_tracked(&t);
}

static void test_throttle_refused(void **state) {
        Tracked t;
        open_tracked(&t, DIRTY_SYNC);
        g_autoptr(GError) error = NULL;
        assert_int_equal(dirty_throttle(t.dirty, t.guest.uffd_sync, 5000, &error), -EOPNOTSUPP);
        assert_non_null(error);
        assert_int_equal(dirty_throttle(t.dirty, t.guest.uffd_sync, 0, NULL), 0);
        poke(&t, 3);
        assert_int_equal(sync_now(&t, false), 1);
        close_tracked(&t);
}

/* One after the other on the same guest: the first leaves nothing behind. */
static void test_again(void **state) {
        Tracked t;
        open_tracked(&t, DIRTY_AUTO);
        for (int i = 0; i < 3; i++) {
                t.dirty = dirty_free(t.dirty);
                poke(&t, 20);
                assert_int_equal(dirty_new(&t.block, 1, t.guest.pid, t.guest.uffd_async, t.guest.uffd_sync,
                                           i % 2 ? DIRTY_AUTO : DIRTY_SYNC, &t.dirty, NULL),
                                 0);
                poke(&t, 21);
                assert_int_equal(sync_now(&t, false), 1);
                assert_true(page_set_has(&t.set, 21));
        }
        close_tracked(&t);
}

static void test_process_gone(void **state) {
        Tracked t;
        open_tracked(&t, DIRTY_AUTO);
        standin_end(&t.guest);
        g_autoptr(GError) error = NULL;
        assert_int_equal(dirty_sync(t.dirty, false, &t.set, &error), -ESRCH);
        assert_non_null(error);
        dirty_free(t.dirty);
        page_set_deinit(&t.set);
        ram_block_deinit(&t.block);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_asynchronous),
                cmocka_unit_test(test_synchronous),
                cmocka_unit_test(test_again),
                cmocka_unit_test(test_throttle),
                cmocka_unit_test(test_throttle_unregister),
                cmocka_unit_test(test_throttle_refused),
                cmocka_unit_test(test_process_gone),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
