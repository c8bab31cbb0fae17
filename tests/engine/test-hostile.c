/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A source that knows the token but not the manners: the destination must end the job with a sentence, not with a crash
 * or with someone else's memory. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "driver/base/units.h"
#include "driver/engine/engine.h"
#include "driver/engine/frame.h"
#include "driver/engine/handshake.h"

#define SIZE (16 * MIB)

typedef struct Target {
        Engine *engine;
        unsigned port;
        int ram_fd, device_fd;
        unsigned char token[ENGINE_TOKEN_BYTES];
        Channel *channel;
        bool failed, gone, committed;
        GError *error;
        FiberCond changed;
} Target;

static void on_failed(Engine *engine, const GError *error, bool gone, void *userdata) {
        Target *target = userdata;
        target->failed = true;
        target->gone = gone;
        target->error = g_error_copy(error);
        fiber_cond_broadcast(&target->changed);
}

static void on_committed(Engine *engine, void *userdata) {
        ((Target *) userdata)->committed = true;
}

static const EngineCallbacks callbacks = { .failed = on_failed, .committed = on_committed };

static void open_target(Target *target) {
        *target = (Target) { 0 };
        target->ram_fd = memfd_create("ram", MFD_CLOEXEC);
        target->device_fd = memfd_create("device", MFD_CLOEXEC);
        assert_int_equal(ftruncate(target->ram_fd, SIZE), 0);
        memset(target->token, 7, sizeof(target->token));
        EngineRamBlock block = { .id = "ram0", .fd = target->ram_fd, .size_bytes = SIZE, .page_bytes = 4096 };
        EngineDestArgs args = { .blocks = &block,
                                .n_blocks = 1,
                                .listen_address = "127.0.0.1",
                                .port_min = 44000,
                                .port_max = 44999,
                                .device_state_fd = target->device_fd,
                                .commit_fd = -1,
                                .idle_timeout_usec = 3 * USEC_PER_SEC };
        memcpy(args.token, target->token, sizeof(args.token));
        assert_int_equal(engine_new(fiber_event(), ENGINE_HELPER, "hostile", -1, &callbacks, target, &target->engine,
                                    NULL),
                         0);
        assert_int_equal(engine_dest_listen(target->engine, &args, &target->port, NULL), 0);

        int fd;
        g_autofree char *peer = NULL;
        assert_int_equal(channel_connect("127.0.0.1", target->port, NULL, 5 * USEC_PER_SEC, &fd, &peer, NULL), 0);
        target->channel = channel_new(fd, peer, 3 * USEC_PER_SEC);
        assert_int_equal(handshake_source(target->channel, target->token, 0, NULL), 0);
}

static void send_table(Target *target) {
        unsigned char bytes[WIRE_BLOCK_BYTES];
        wire_block_encode(&(WireBlock) { .size_bytes = SIZE, .page_bytes = 4096, .id = "ram0" }, bytes);
        assert_int_equal(frame_send(target->channel, WIRE_RAM_TABLE, 1, bytes, sizeof(bytes)), 0);
        assert_int_equal(frame_expect(target->channel, WIRE_ACCEPT, NULL, 0, "", NULL), 0);
}

/* The destination has given up, and is still there to say so. */
static void expect_refusal(Target *target) {
        uint64_t until = clock_monotonic_usec() + 10 * USEC_PER_SEC;
        while (!target->failed && clock_monotonic_usec() < until)
                (void) fiber_cond_wait(&target->changed, USEC_PER_SEC);
        assert_true(target->failed);
        assert_false(target->gone);
        assert_false(target->committed);
        assert_true(strlen(target->error->message) > 10);
        bool committed = true;
        assert_int_equal(engine_dest_refuse(target->engine, NULL, &committed, NULL), 0);
        assert_false(committed);
        channel_free(target->channel);
        engine_unref(target->engine);
        g_clear_error(&target->error);
        fd_close(target->ram_fd);
        fd_close(target->device_fd);
}

static void send_raw(Target *target, const void *data, size_t length) {
        struct iovec iov = { (void *) data, length };
        (void) channel_send(target->channel, &iov, 1);
}

static void send_header(Target *target, uint16_t type, uint32_t count, uint64_t length) {
        unsigned char bytes[WIRE_HEADER_BYTES];
        wire_header_encode(&(WireHeader) { .type = type, .count = count, .length_bytes = length }, bytes);
        send_raw(target, bytes, sizeof(bytes));
}

static void send_run(Target *target, WireRun run) {
        unsigned char bytes[WIRE_RUN_BYTES];
        wire_run_encode(&run, bytes);
        send_header(target, WIRE_PAGES, 1, WIRE_RUN_BYTES + (run.kind == WIRE_KIND_DATA ? wire_run_bytes(&run) : 0));
        send_raw(target, bytes, sizeof(bytes));
}

static void no_table(Target *target) {
        send_run(target, (WireRun) { .pages = 1, .kind = WIRE_KIND_ZERO });
}

static void unknown_type(Target *target) {
        send_table(target);
        send_header(target, 200, 0, 0);
}

static void endless_frame(Target *target) {
        send_table(target);
        send_header(target, WIRE_PAGES, 1, UINT64_MAX);
}

static void run_outside(Target *target) {
        send_table(target);
        send_run(target, (WireRun) { .offset_bytes = SIZE - 4096, .pages = 2, .kind = WIRE_KIND_ZERO });
}

static void run_wraps(Target *target) {
        send_table(target);
        send_run(target, (WireRun) { .offset_bytes = UINT64_MAX - 4095, .pages = UINT32_MAX, .kind = WIRE_KIND_ZERO });
}

static void wrong_block(Target *target) {
        send_table(target);
        send_run(target, (WireRun) { .pages = 1, .block = 1, .kind = WIRE_KIND_ZERO });
}

static void payload_without_run(Target *target) {
        send_table(target);
        send_header(target, WIRE_PAGES, 1, WIRE_RUN_BYTES + 4096);
        unsigned char bytes[WIRE_RUN_BYTES];
        wire_run_encode(&(WireRun) { .pages = 1, .kind = WIRE_KIND_ZERO }, bytes);
        send_raw(target, bytes, sizeof(bytes));
}

static void early_commit(Target *target) {
        send_table(target);
        send_header(target, WIRE_COMMIT, 0, 0);
}

static void page_after_the_last(Target *target) {
        send_table(target);
        send_header(target, WIRE_RAM_FINAL, 0, 0);
        send_run(target, (WireRun) { .pages = 1, .kind = WIRE_KIND_ZERO });
}

static void end_without_final(Target *target) {
        send_table(target);
        unsigned char bytes[WIRE_END_BYTES];
        wire_end_encode(&(WireEnd) { 0 }, bytes);
        (void) frame_send(target->channel, WIRE_END, 0, bytes, sizeof(bytes));
}

static void commit_before_ready(Target *target) {
        send_table(target);
        send_header(target, WIRE_RAM_FINAL, 0, 0);
        unsigned char bytes[WIRE_END_BYTES];
        wire_end_encode(&(WireEnd) { 0 }, bytes);
        assert_int_equal(frame_send(target->channel, WIRE_END, 0, bytes, sizeof(bytes)), 0);
        send_header(target, WIRE_COMMIT, 0, 0);
}

static void wrong_totals(Target *target) {
        send_table(target);
        send_run(target, (WireRun) { .pages = 3, .kind = WIRE_KIND_ZERO });
        send_header(target, WIRE_RAM_FINAL, 0, 0);
        unsigned char bytes[WIRE_END_BYTES];
        wire_end_encode(&(WireEnd) { .zero_pages = 4 }, bytes);
        assert_int_equal(frame_send(target->channel, WIRE_END, 0, bytes, sizeof(bytes)), 0);
}

static void end_in_the_middle(Target *target) {
        send_table(target);
        send_header(target, WIRE_DEVICE, 0, 100);
        send_raw(target, "abc", 3);
        channel_shutdown(target->channel);
}

static void silence(Target *target) {
        send_table(target);
}

static void destinations_words(Target *target) {
        send_table(target);
        send_header(target, WIRE_READY, 0, 0);
}

static void (*const attacks[])(Target *target) = {
        no_table,
        unknown_type,
        endless_frame,
        run_outside,
        run_wraps,
        wrong_block,
        payload_without_run,
        early_commit,
        commit_before_ready,
        wrong_totals,
        end_in_the_middle,
        silence,
        destinations_words,
        page_after_the_last,
        end_without_final,
};

static void attack_fiber(void *userdata) {
        for (size_t i = 0; i < G_N_ELEMENTS(attacks); i++) {
                Target target;
                open_target(&target);
                attacks[i](&target);
                expect_refusal(&target);
        }
}

static void test_attacks(void **state) {
        assert_int_equal(fiber_run("attacks", attack_fiber, NULL), 0);
}

/* Strangers on the port: more of them than there are places, silent or loud; the real source still gets through. */
static void strangers_fiber(void *userdata) {
        Target target = { 0 };
        int strangers[12];
        target.ram_fd = memfd_create("ram", MFD_CLOEXEC);
        target.device_fd = memfd_create("device", MFD_CLOEXEC);
        assert_int_equal(ftruncate(target.ram_fd, SIZE), 0);
        EngineRamBlock block = { .id = "ram0", .fd = target.ram_fd, .size_bytes = SIZE, .page_bytes = 4096 };
        EngineDestArgs args = { .blocks = &block,
                                .n_blocks = 1,
                                .listen_address = "127.0.0.1",
                                .port_min = 44000,
                                .port_max = 44999,
                                .device_state_fd = target.device_fd,
                                .commit_fd = -1 };
        assert_int_equal(engine_new(fiber_event(), ENGINE_HELPER, "strangers", -1, &callbacks, &target, &target.engine,
                                    NULL),
                         0);
        assert_int_equal(engine_dest_listen(target.engine, &args, &target.port, NULL), 0);
        for (size_t i = 0; i < G_N_ELEMENTS(strangers); i++) {
                g_autofree char *name = NULL;
                assert_int_equal(channel_connect("127.0.0.1", target.port, NULL, 5 * USEC_PER_SEC, &strangers[i], &name,
                                                 NULL),
                                 0);
                if (i % 2 == 0) {
                        char noise[WIRE_HELLO_BYTES];
                        memset(noise, 'G', sizeof(noise));
                        (void) fd_write_all(strangers[i], noise, sizeof(noise));
                }
        }
        /* Half of them go away at once; the rest is timed out. The source tries again for as long as a stranger may
         * hold a place. */
        int r = -1;
        uint64_t until = clock_monotonic_usec() + 15 * USEC_PER_SEC;
        while (r < 0 && clock_monotonic_usec() < until) {
                int fd;
                g_autofree char *peer = NULL;
                assert_int_equal(channel_connect("127.0.0.1", target.port, NULL, 5 * USEC_PER_SEC, &fd, &peer, NULL),
                                 0);
                g_autoptr(Channel) channel = channel_new(fd, peer, 2 * USEC_PER_SEC);
                r = handshake_source(channel, args.token, 0, NULL);
                if (r >= 0)
                        target.channel = g_steal_pointer(&channel);
        }
        assert_int_equal(r, 0);
        send_table(&target);
        for (size_t i = 0; i < G_N_ELEMENTS(strangers); i++)
                fd_close(strangers[i]);
        assert_false(target.failed);
        send_header(&target, 200, 0, 0);
        expect_refusal(&target);
}

static void test_strangers(void **state) {
        assert_int_equal(fiber_run("strangers", strangers_fiber, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_attacks), cmocka_unit_test(test_strangers) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
