/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The fault core against another process, with the test as its page source. */

#include "driver/engine/fault.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "driver/base/units.h"
#include "tests/lib/standin.h"

#define RAM_BYTES (8 * MIB)
#define PAGE 4096u
#define LONG_MSEC 10000
#define SHORT_MSEC 100

typedef struct Scene {
        Standin guest;
        RamBlock ram;
        PageStates states;
        int states_fd;
        Fault *fault;
        int asked_fd; /* eventfd: one more request */
        atomic_uint_least64_t asked_page;
        atomic_uint n_asked, n_complete;
} Scene;

static void on_request(void *userdata, unsigned block, uint64_t page) {
        Scene *scene = userdata;
        atomic_store(&scene->asked_page, page);
        atomic_fetch_add(&scene->n_asked, 1);
        (void) eventfd_write(scene->asked_fd, 1);
}

static void on_complete(void *userdata) {
        Scene *scene = userdata;
        atomic_fetch_add(&scene->n_complete, 1);
}

static const FaultSource page_source = { .request = on_request, .complete = on_complete };

static void attach(Scene *scene) {
        FaultBlock block = { &scene->ram, &scene->states };
        g_autoptr(GError) error = NULL;
        int r = fault_new(&block, 1, scene->guest.pid, scene->guest.uffd_sync, &page_source, scene, &scene->fault,
                          &error);
        if (r == -ENOTSUP) {
                print_message("%s\n", error->message);
                exit(77);
        }
        assert_int_equal(r, 0);
}

static void open_scene(Scene *scene, EngineRamPolicy policy) {
        *scene = (Scene) { .asked_fd = eventfd(0, EFD_CLOEXEC) };
        int fd = memfd_create("ram", MFD_CLOEXEC);
        assert_true(fd >= 0 && ftruncate(fd, RAM_BYTES) >= 0);
        StandinArgs args = { .ram_fd = fd, .size_bytes = RAM_BYTES };
        if (standin_start(&scene->guest, &args) < 0) {
                print_message("no userfaultfd is allowed here\n");
                exit(77);
        }
        /* Only now: a child has the mappings of its parent. */
        EngineRamBlock config = { .id = "ram0", .size_bytes = RAM_BYTES, .page_bytes = PAGE, .policy = policy };
        assert_int_equal(ram_block_init(&scene->ram, &config, fd, RAM_BLOCK_WRITE, NULL), 0);
        assert_int_equal(page_states_init(&scene->states, scene->ram.n_pages), 0);
        attach(scene);
}

static void close_scene(Scene *scene) {
        fault_free(scene->fault);
        standin_end(&scene->guest);
        page_states_deinit(&scene->states);
        ram_block_deinit(&scene->ram);
        fd_close(scene->asked_fd);
}

static void fill(Scene *scene, uint64_t page, uint64_t value, PageState state) {
        *(uint64_t *) (scene->ram.map + page * PAGE) = value;
        page_states_set(&scene->states, page, 1, state);
}

static uint64_t read_now(Scene *scene, uint64_t page) {
        uint64_t value = 0;
        standin_read_begin(&scene->guest, page * PAGE);
        assert_true(standin_read_end(&scene->guest, LONG_MSEC, &value));
        return value;
}

/* Waits until the page was asked for. */
static void assert_asked(Scene *scene, uint64_t page) {
        eventfd_t n;
        struct pollfd pollfd = { .fd = scene->asked_fd, .events = POLLIN };
        assert_int_equal(poll(&pollfd, 1, LONG_MSEC), 1);
        assert_int_equal(eventfd_read(scene->asked_fd, &n), 0);
        assert_int_equal(atomic_load(&scene->asked_page), page);
}

static uint64_t allocated_pages(const Scene *scene) {
        return ram_block_allocated(&scene->ram) / PAGE;
}

static void test_present(void **state) {
        Scene scene;
        open_scene(&scene, ENGINE_RAM_SPARSE);
        for (uint64_t page = 0; page < 100; page++)
                fill(&scene, page, page + 1, PAGE_VALID);
        assert_int_equal(fault_start(scene.fault), 0);
        assert_int_equal(scene.n_complete, 1);
        for (uint64_t page = 0; page < 100; page++)
                assert_int_equal(read_now(&scene, page), page + 1);
        /* Never sent: zero, and only what is touched gets allocated. */
        assert_int_equal(read_now(&scene, 1000), 0);
        assert_int_equal(allocated_pages(&scene), 101);
        assert_int_equal(scene.n_asked, 0);
        EngineStats stats = { 0 };
        fault_stats(scene.fault, &stats);
        assert_int_equal(stats.valid_pages, 100);
        assert_int_equal(stats.never_pages, RAM_BYTES / PAGE - 100);
        assert_int_equal(stats.faults_zero, 1);
        close_scene(&scene);
}

static void test_stale(void **state) {
        Scene scene;
        uint64_t value = 0;
        open_scene(&scene, ENGINE_RAM_SPARSE);
        fill(&scene, 7, 1, PAGE_STALE);
        fill(&scene, 8, 2, PAGE_STALE);
        assert_int_equal(fault_start(scene.fault), 0);
        assert_int_equal(fault_lacking(scene.fault), 2);
        standin_read_begin(&scene.guest, 7 * PAGE);
        assert_asked(&scene, 7);
        assert_false(standin_read_end(&scene.guest, SHORT_MSEC, &value));

        assert_true(fault_claim(scene.fault, 0, 7));
        assert_false(fault_claim(scene.fault, 0, 7)); /* whoever comes second */
        assert_false(fault_claim(scene.fault, 0, 9)); /* never sent: zero */
        *(uint64_t *) (scene.ram.map + 7 * PAGE) = 70;
        assert_false(standin_read_end(&scene.guest, SHORT_MSEC, &value));
        fault_placed(scene.fault, 0, 7, 1);
        assert_true(standin_read_end(&scene.guest, LONG_MSEC, &value));
        assert_int_equal(value, 70);
        assert_false(fault_claim(scene.fault, 0, 7));
        assert_int_equal(scene.n_complete, 0);

        /* Zero content: no page is left in the file but where somebody waits. */
        ZeroCounts counts = { 0 };
        assert_true(fault_claim(scene.fault, 0, 8));
        assert_int_equal(fault_place_zero(scene.fault, 0, 8, 1, &counts), 0);
        assert_int_equal(counts.punched_bytes, PAGE);
        assert_int_equal(allocated_pages(&scene), 1);
        assert_int_equal(scene.n_complete, 1);
        assert_int_equal(read_now(&scene, 8), 0);

        EngineStats stats = { 0 };
        fault_stats(scene.fault, &stats);
        assert_int_equal(stats.faults_requested, 1);
        assert_true(stats.fault_block_usec >= SHORT_MSEC * 1000);
        assert_int_equal(stats.fault_threads, 1);
        assert_int_equal(stats.fault_thread_ids[0], scene.guest.pid);
        assert_int_equal(stats.fault_thread_usec[0], stats.fault_block_usec);
        uint64_t in_buckets = 0;
        for (unsigned i = 0; i < ENGINE_LATENCY_BUCKETS; i++)
                in_buckets += stats.fault_latency[i];
        assert_int_equal(in_buckets, 1);
        close_scene(&scene);
}

/* Zero content for a page that somebody waits for. */
static void test_zero_wanted(void **state) {
        Scene scene;
        uint64_t value = 1;
        open_scene(&scene, ENGINE_RAM_SPARSE);
        fill(&scene, 3, 5, PAGE_STALE);
        assert_int_equal(fault_start(scene.fault), 0);
        standin_read_begin(&scene.guest, 3 * PAGE);
        assert_asked(&scene, 3);
        ZeroCounts counts = { 0 };
        assert_true(fault_claim(scene.fault, 0, 3));
        assert_int_equal(fault_place_zero(scene.fault, 0, 3, 1, &counts), 0);
        assert_true(standin_read_end(&scene.guest, LONG_MSEC, &value));
        assert_int_equal(value, 0);
        close_scene(&scene);
}

/* The guest's process has looked at a page before it became stale: it must not see the old content again. */
static void test_mapped_early(void **state) {
        Scene scene;
        uint64_t value = 0;
        open_scene(&scene, ENGINE_RAM_SPARSE);
        fill(&scene, 5, 1, PAGE_VALID);
        fill(&scene, 6, 2, PAGE_VALID);
        assert_int_equal(read_now(&scene, 5), 1);
        assert_int_equal(read_now(&scene, 6), 2);
        assert_int_equal(read_now(&scene, 9), 0);
        page_states_set(&scene.states, 5, 1, PAGE_STALE);
        page_states_set(&scene.states, 9, 1, PAGE_STALE);
        assert_int_equal(fault_start(scene.fault), 0);
        assert_int_equal(read_now(&scene, 6), 2);
        for (uint64_t page = 5; page <= 9; page += 4) {
                standin_read_begin(&scene.guest, page * PAGE);
                assert_asked(&scene, page);
                assert_true(fault_claim(scene.fault, 0, page));
                *(uint64_t *) (scene.ram.map + page * PAGE) = page * 10;
                fault_placed(scene.fault, 0, page, 1);
                assert_true(standin_read_end(&scene.guest, LONG_MSEC, &value));
                assert_int_equal(value, page * 10);
        }
        close_scene(&scene);
}

/* What the guest gives back reads as zero, and nobody is asked for it. */
static void test_discarded(void **state) {
        Scene scene;
        open_scene(&scene, ENGINE_RAM_SPARSE);
        fill(&scene, 20, 1, PAGE_VALID);
        fill(&scene, 21, 1, PAGE_STALE);
        assert_int_equal(fault_start(scene.fault), 0);
        assert_int_equal(read_now(&scene, 20), 1);
        standin_discard(&scene.guest, 20 * PAGE, PAGE);
        assert_int_equal(read_now(&scene, 20), 0);
        assert_int_equal(scene.n_asked, 0);
        close_scene(&scene);
}

/* An engine that dies leaves waiting threads and claims behind; the next one takes them over. */
static void test_next_engine(void **state) {
        Scene scene;
        uint64_t value = 0;
        open_scene(&scene, ENGINE_RAM_SPARSE);
        fill(&scene, 4, 1, PAGE_STALE);
        fill(&scene, 5, 2, PAGE_STALE);
        fill(&scene, 6, 3, PAGE_VALID);
        assert_int_equal(fault_start(scene.fault), 0);
        standin_read_begin(&scene.guest, 4 * PAGE);
        assert_asked(&scene, 4);
        assert_true(fault_claim(scene.fault, 0, 4));
        *(uint64_t *) (scene.ram.map + 4 * PAGE) = 40; /* half of it, say */
        scene.fault = fault_detach(scene.fault);

        attach(&scene);
        assert_int_equal(fault_start(scene.fault), 0);
        assert_int_equal(fault_lacking(scene.fault), 2);
        assert_asked(&scene, 4);
        assert_false(standin_read_end(&scene.guest, SHORT_MSEC, &value));
        /* A link that was broken is back. */
        fault_ask_again(scene.fault);
        assert_asked(&scene, 4);
        assert_true(fault_claim(scene.fault, 0, 4));
        fault_unclaim(scene.fault, 0, 4, 1);
        assert_true(fault_claim(scene.fault, 0, 4));
        *(uint64_t *) (scene.ram.map + 4 * PAGE) = 41;
        fault_placed(scene.fault, 0, 4, 1);
        assert_true(standin_read_end(&scene.guest, LONG_MSEC, &value));
        assert_int_equal(value, 41);
        assert_int_equal(read_now(&scene, 6), 3);
        assert_int_equal(fault_lacking(scene.fault), 1);
        close_scene(&scene);
}

/* A thread that touches a missing page before the start gets neither what is there nor an answer of the page source. */
static void test_stale_before_start(void **state) {
        Scene scene;
        uint64_t value = 0;
        open_scene(&scene, ENGINE_RAM_SPARSE);
        fill(&scene, 4, 1, PAGE_STALE);
        standin_read_begin(&scene.guest, 4 * PAGE);
        assert_false(standin_read_end(&scene.guest, SHORT_MSEC, &value));
        assert_int_equal(scene.n_asked, 0);
        assert_false(fault_claim(scene.fault, 0, 4));
        assert_int_equal(fault_start(scene.fault), 0);
        assert_asked(&scene, 4);
        assert_true(fault_claim(scene.fault, 0, 4));
        *(uint64_t *) (scene.ram.map + 4 * PAGE) = 40;
        fault_placed(scene.fault, 0, 4, 1);
        assert_true(standin_read_end(&scene.guest, LONG_MSEC, &value));
        assert_int_equal(value, 40);
        assert_int_equal(fault_lacking(scene.fault), 0);
        close_scene(&scene);
}

/* Freed while somebody waits: nobody is left hanging. */
static void test_free_wakes(void **state) {
        Scene scene;
        uint64_t value = 0;
        open_scene(&scene, ENGINE_RAM_POPULATED);
        fill(&scene, 4, 11, PAGE_STALE);
        assert_int_equal(fault_start(scene.fault), 0);
        standin_read_begin(&scene.guest, 4 * PAGE);
        assert_asked(&scene, 4);
        scene.fault = fault_free(scene.fault);
        assert_true(standin_read_end(&scene.guest, LONG_MSEC, &value));
        assert_int_equal(value, 11);
        close_scene(&scene);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_present),
                cmocka_unit_test(test_stale),
                cmocka_unit_test(test_zero_wanted),
                cmocka_unit_test(test_mapped_early),
                cmocka_unit_test(test_discarded),
                cmocka_unit_test(test_next_engine),
                cmocka_unit_test(test_stale_before_start),
                cmocka_unit_test(test_free_wakes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
