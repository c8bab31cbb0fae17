/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A daemon that dies in the middle: its helper goes on copying, but nothing is switched over. The daemon that dies is a
 * child process; the other host's daemon is this one.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/io.h"
#include "driver/base/units.h"
#include "tests/engine/job.h"

#define SIZE (16 * MIB)
#define WAIT_USEC (20 * USEC_PER_SEC)

/* One daemon's half of a job. */
typedef struct Half {
        Engine *engine;
        bool ready, committed, failed;
        unsigned seen; /* iterations and idle reports */
        FiberCond changed;
        /* of the one that dies */
        int report_fd; /* one tells the other how far it is, and its port */
        int order_fd;
        int ram_fd, copy_fd, device_fd;
        Standin *guest;
} Half;

static void on_seen(Engine *engine, const EngineStats *stats, void *userdata) {
        Half *half = userdata;
        half->seen++;
        fiber_cond_broadcast(&half->changed);
}

static void on_ready(Engine *engine, void *userdata) {
        Half *half = userdata;
        half->ready = true;
        fiber_cond_broadcast(&half->changed);
}

static void on_committed(Engine *engine, void *userdata) {
        Half *half = userdata;
        half->committed = true;
        fiber_cond_broadcast(&half->changed);
}

static void on_failed(Engine *engine, const GError *error, bool gone, void *userdata) {
        Half *half = userdata;
        half->failed = true;
        fiber_cond_broadcast(&half->changed);
}

static void on_abandoned(Engine *engine, const char *reason, void *userdata) {
        Half *half = userdata;
        half->failed = true;
        fiber_cond_broadcast(&half->changed);
}

static const EngineCallbacks callbacks = { .iteration = on_seen,
                                           .pending = on_seen,
                                           .ready = on_ready,
                                           .committed = on_committed,
                                           .abandoned = on_abandoned,
                                           .failed = on_failed };

static bool wait_for(Half *half, const bool *flag) {
        uint64_t until = clock_monotonic_usec() + WAIT_USEC;
        while (!*flag && clock_monotonic_usec() < until)
                (void) fiber_cond_wait(&half->changed, USEC_PER_SEC);
        return *flag;
}

static int make_file(uint64_t bytes) {
        int fd = memfd_create("orphan", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fd, (off_t) bytes), 0);
        return fd;
}

static EngineRamBlock block_of(int fd) {
        return (EngineRamBlock) { .id = "ram0", .fd = fd, .size_bytes = SIZE, .page_bytes = 4096 };
}

static int listen_half(Half *half, int ram_fd, int device_fd, unsigned *ret_port) {
        EngineRamBlock block = block_of(ram_fd);
        EngineDestArgs args = { .blocks = &block,
                                .n_blocks = 1,
                                .listen_address = "127.0.0.1",
                                .port_min = 43000,
                                .port_max = 43999,
                                .device_state_fd = device_fd,
                                .commit_fd = -1 };
        int r = engine_new(fiber_event(), ENGINE_HELPER, "dest", -1, &callbacks, half, &half->engine, NULL);
        return r < 0 ? r : engine_dest_listen(half->engine, &args, ret_port, NULL);
}

static int start_half(Half *half, int ram_fd, const Standin *guest, unsigned port) {
        EngineRamBlock block = block_of(ram_fd);
        EngineSourceArgs args = { .blocks = &block,
                                  .n_blocks = 1,
                                  .qemu_pid = guest->pid,
                                  .uffd_async = guest->uffd_async,
                                  .uffd_sync = guest->uffd_sync,
                                  .host = "127.0.0.1",
                                  .port = port };
        int r = engine_new(fiber_event(), ENGINE_HELPER, "source", -1, &callbacks, half, &half->engine, NULL);
        return r < 0 ? r : engine_source_start(half->engine, &args, NULL);
}

static void report(const Half *half, char what) {
        if (write(half->report_fd, &what, 1) != 1)
                _exit(1);
}

/* Both tests: the files, the guest, the daemon that lives (a fiber here) and the one that dies (a child, made before
 * the first fiber). */
typedef struct Scene {
        Standin guest;
        int ram, copy, device_in, device_out;
        Half dying;
        pid_t dying_pid;
        int report_fd, order_fd;
} Scene;

static void open_scene(Scene *scene, FiberFunc dying) {
        *scene = (Scene){ .ram = make_file(SIZE),
                          .copy = make_file(SIZE),
                          .device_in = make_file(1000),
                          .device_out = make_file(0) };
        if (standin_start(&scene->guest, &(StandinArgs) { .ram_fd = scene->ram, .size_bytes = SIZE }) < 0) {
                print_message("no userfaultfd is allowed here\n");
                exit(77);
        }
        int reports[2], orders[2];
        assert_int_equal(pipe2(reports, O_CLOEXEC), 0);
        assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
        scene->dying_pid = fork();
        assert_true(scene->dying_pid >= 0);
        if (scene->dying_pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                scene->dying = (Half) { .report_fd = reports[1], .order_fd = orders[0], .guest = &scene->guest };
                scene->dying.ram_fd = scene->ram;
                scene->dying.copy_fd = scene->copy;
                scene->dying.device_fd = scene->device_out;
                _exit(fiber_run("dying", dying, &scene->dying) < 0);
        }
        close(reports[1]);
        close(orders[0]);
        scene->report_fd = reports[0];
        scene->order_fd = orders[1];
}

/* Like a crash: without a word to its helper. */
static void crash(Scene *scene) {
        kill(scene->dying_pid, SIGKILL);
        waitpid(scene->dying_pid, NULL, 0);
}

static void close_scene(Scene *scene) {
        standin_end(&scene->guest);
        int fds[] = { scene->ram, scene->copy, scene->device_in, scene->device_out, scene->report_fd, scene->order_fd };
        for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
                fd_close(fds[i]);
}

static void expect(int report_fd, char what) {
        struct pollfd pollfd = { .fd = report_fd, .events = POLLIN };
        char got = 0;
        assert_int_equal(poll(&pollfd, 1, (int) (WAIT_USEC / USEC_PER_MSEC)), 1);
        assert_int_equal(read(report_fd, &got, 1), 1);
        assert_int_equal(got, what);
}

/* ---- the source's daemon dies ---- */

static void dying_source(void *userdata) {
        Half *half = userdata;
        unsigned port;
        if (read(half->order_fd, &port, sizeof(port)) != sizeof(port) ||
            start_half(half, half->ram_fd, half->guest, port) < 0)
                _exit(1);
        while (half->seen < 2)
                (void) fiber_cond_wait(&half->changed, USEC_PER_SEC);
        report(half, 'c');
        for (;;) /* until it is killed */
                (void) fiber_cond_wait(&half->changed, USEC_PER_SEC);
}

static bool arrives(int ram_fd, uint64_t offset, unsigned char value) {
        uint64_t until = clock_monotonic_usec() + WAIT_USEC;
        unsigned char *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, ram_fd, 0);
        assert_true(map != MAP_FAILED);
        bool arrived = false;
        while (!arrived && clock_monotonic_usec() < until) {
                arrived = __atomic_load_n(map + offset, __ATOMIC_ACQUIRE) == value;
                (void) fiber_sleep(0);
        }
        munmap(map, SIZE);
        return arrived;
}

static void source_dies(void *userdata) {
        Scene *scene = userdata;
        Half dest = { 0 };
        assert_true(standin_poke(&scene->guest, 4096, 1));
        unsigned port;
        assert_int_equal(listen_half(&dest, scene->copy, scene->device_out, &port), 0);
        assert_int_equal(write(scene->order_fd, &port, sizeof(port)), sizeof(port));
        expect(scene->report_fd, 'c');
        crash(scene);

        /* What is written afterwards still gets across, and nothing more happens. */
        assert_true(standin_poke(&scene->guest, 8192, 77));
        assert_true(arrives(scene->copy, 8192, 77));
        assert_false(dest.ready);
        assert_false(dest.failed);

        /* With the guest gone there is nothing left to copy: the helper ends, and says why. */
        standin_end(&scene->guest);
        assert_true(wait_for(&dest, &dest.failed));
        assert_false(dest.committed);
        engine_unref(dest.engine);
}

static void test_source_daemon_dies(void **state) {
        Scene scene;
        open_scene(&scene, dying_source);
        assert_int_equal(fiber_run("source-dies", source_dies, &scene), 0);
        close_scene(&scene);
}

/* ---- the destination's daemon dies, just before COMMIT ---- */

static void dying_dest(void *userdata) {
        Half *half = userdata;
        unsigned port;
        if (listen_half(half, half->copy_fd, half->device_fd, &port) < 0 ||
            write(half->report_fd, &port, sizeof(port)) != sizeof(port))
                _exit(1);
        if (!wait_for(half, &half->ready) || engine_dest_loaded(half->engine, NULL) < 0)
                _exit(1);
        report(half, 'l');
        for (;;)
                (void) fiber_cond_wait(&half->changed, USEC_PER_SEC);
}

static void dest_dies(void *userdata) {
        Scene *scene = userdata;
        Half source = { 0 };
        unsigned port;
        assert_int_equal(read(scene->report_fd, &port, sizeof(port)), sizeof(port));
        assert_int_equal(start_half(&source, scene->ram, &scene->guest, port), 0);
        g_autoptr(GError) error = NULL;
        assert_int_equal(engine_source_stop_and_copy(source.engine, scene->device_in, false, WAIT_USEC, &error), 0);
        expect(scene->report_fd, 'l');
        assert_true(wait_for(&source, &source.ready));
        crash(scene);

        /* Nobody could start the guest there: COMMIT is not sent any more, or not taken; in both cases that is
         * certain. */
        int r = engine_source_commit(source.engine, WAIT_USEC, &error);
        assert_true(r < 0 && r != -ETIMEDOUT && r != -ENOTCONN);
        assert_true(wait_for(&source, &source.failed));
        assert_true(standin_poke(&scene->guest, 0, 1));
        engine_unref(source.engine);
}

static void test_destination_daemon_dies(void **state) {
        Scene scene;
        open_scene(&scene, dying_dest);
        assert_int_equal(fiber_run("dest-dies", dest_dies, &scene), 0);
        close_scene(&scene);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_source_daemon_dies),
                                            cmocka_unit_test(test_destination_daemon_dies) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
