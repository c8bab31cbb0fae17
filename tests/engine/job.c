/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/engine/job.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/io.h"

#define DEVICE_STATE_BYTES 300000u
#define WAIT_USEC (20 * USEC_PER_SEC)
#define PAGE UINT64_C(4096)

static JobSide *side_of(Job *job, Engine *engine) {
        return engine == job->source.engine ? &job->source : &job->dest;
}

static void on_iteration(Engine *engine, const EngineStats *stats, void *userdata) {
        Job *job = userdata;
        JobSide *side = side_of(job, engine);
        side->iterations++;
        side->last = *stats;
        fiber_cond_broadcast(&job->changed);
}

static void on_pending(Engine *engine, const EngineStats *stats, void *userdata) {
        Job *job = userdata;
        side_of(job, engine)->pendings++;
        fiber_cond_broadcast(&job->changed);
}

static void on_ready(Engine *engine, void *userdata) {
        Job *job = userdata;
        side_of(job, engine)->ready = true;
        fiber_cond_broadcast(&job->changed);
}

static void on_committed(Engine *engine, void *userdata) {
        Job *job = userdata;
        side_of(job, engine)->committed = true;
        fiber_cond_broadcast(&job->changed);
}

static void on_running(Engine *engine, uint64_t resume_usec, void *userdata) {
        Job *job = userdata;
        side_of(job, engine)->running = true;
        fiber_cond_broadcast(&job->changed);
}

static void on_complete(Engine *engine, const EngineStats *stats, void *userdata) {
        Job *job = userdata;
        assert_false(side_of(job, engine)->complete);
        side_of(job, engine)->complete = true;
        side_of(job, engine)->last = *stats;
        fiber_cond_broadcast(&job->changed);
}

static void on_paused(Engine *engine, const GError *error, void *userdata) {
        Job *job = userdata;
        side_of(job, engine)->paused++;
        fiber_cond_broadcast(&job->changed);
}

static void on_resumed(Engine *engine, void *userdata) {
        Job *job = userdata;
        side_of(job, engine)->resumed++;
        fiber_cond_broadcast(&job->changed);
}

static void on_failed(Engine *engine, const GError *error, bool gone, void *userdata) {
        Job *job = userdata;
        JobSide *side = side_of(job, engine);
        if (engine != side->engine) /* of a daemon that is no more; its successor has reaped the helper */
                return;
        assert_false(side->failed);
        side->failed = true;
        side->gone = gone;
        side->error = g_error_copy(error);
        fiber_cond_broadcast(&job->changed);
}

static const EngineCallbacks callbacks = {
        .iteration = on_iteration,
        .pending = on_pending,
        .ready = on_ready,
        .committed = on_committed,
        .running = on_running,
        .failed = on_failed,
        .postcopy_complete = on_complete,
        .postcopy_paused = on_paused,
        .postcopy_resumed = on_resumed,
};

static int make_ram(uint64_t size_bytes) {
        int fd = memfd_create("ram", MFD_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t) size_bytes), 0);
        return fd;
}

static void assert_ok(int r, GError *error) {
        if (r < 0)
                print_error("%s\n", error ? error->message : strerror(-r));
        assert_true(r >= 0);
}

static void fill_dest_args(Job *job, EngineDestArgs *ret_args) {
        *ret_args = (EngineDestArgs) {
                .blocks = &job->dest_block,
                .n_blocks = 1,
                .listen_address = "127.0.0.1",
                .port_min = 45000,
                .port_max = 45999,
                .device_state_fd = job->device_out,
                .commit_fd = -EBADF,
                .device_state_max_bytes = job->args.device_max_bytes,
                .idle_timeout_usec = job->args.idle_timeout_usec,
                .unix_path = job->unix_path,
                .postcopy = job->args.postcopy,
                .qemu_pid = job->dest_guest.pid,
                .uffd = job->dest_guest.uffd_sync,
        };
        memcpy(ret_args->token, job->token, sizeof(ret_args->token));
}

static void start_dest_guest(Job *job) {
        StandinArgs guest = {
                .ram_fd = job->dest_fd,
                .size_bytes = job->args.size_bytes,
                .n_writers = job->args.n_dest_writers,
                .work_bytes = job->args.size_bytes,
                .pages_per_msec = job->args.dest_pages_per_msec,
                .reference_fd = job->source_fd,
        };
        job->states_fd = make_ram(0);
        job->dest_block.states_fd = job->states_fd;
        assert_int_equal(standin_start(&job->dest_guest, &guest), 0);
}

void job_open(Job *job, const JobArgs *args) {
        *job = (Job) { .args = *args, .states_fd = -EBADF };
        job->source_fd = args->source_fd ?: make_ram(args->size_bytes);
        job->dest_fd = args->dest_fd ?: make_ram(args->dest_size_bytes ?: args->size_bytes);
        StandinArgs guest = {
                .ram_fd = job->source_fd,
                .size_bytes = args->size_bytes,
                .n_writers = args->n_writers,
                .work_offset_bytes = args->work_offset_bytes,
                .work_bytes = args->work_bytes,
                .pages_per_msec = args->pages_per_msec,
                .punch = args->punch,
        };
        if (standin_start(&job->guest, &guest) == -ENOTSUP) {
                print_message("no userfaultfd is allowed here\n");
                exit(77);
        }
        job->device_in = make_ram(DEVICE_STATE_BYTES);
        job->device_out = make_ram(0);
        for (unsigned i = 0; i < DEVICE_STATE_BYTES / 4; i++) {
                uint32_t word = i * 2654435761u;
                assert_int_equal(pwrite(job->device_in, &word, 4, (off_t) i * 4), 4);
        }
        for (unsigned i = 0; i < sizeof(job->token); i++)
                job->token[i] = (unsigned char) (i * 7 + 1);

        job->source_block = (EngineRamBlock){ .id = "ram0",
                                              .fd = job->source_fd,
                                              .size_bytes = args->size_bytes,
                                              .page_bytes = args->page_bytes ?: PAGE };
        job->dest_block = job->source_block;
        job->dest_block.fd = job->dest_fd;
        job->dest_block.size_bytes = args->dest_size_bytes ?: args->size_bytes;
        job->dest_block.policy = args->populated ? ENGINE_RAM_POPULATED : ENGINE_RAM_SPARSE;

        g_autoptr(GError) error = NULL;
        assert_ok(engine_new(fiber_event(), ENGINE_HELPER, "source", -1, &callbacks, job, &job->source.engine, &error),
                  error);
        assert_ok(engine_new(fiber_event(), ENGINE_HELPER, "dest", -1, &callbacks, job, &job->dest.engine, &error),
                  error);
        if (args->use_unix)
                job->unix_path = g_strdup_printf("%s/ferry-test-%d.sock", g_get_tmp_dir(), (int) getpid());
        if (args->postcopy)
                start_dest_guest(job);
        EngineDestArgs dest;
        fill_dest_args(job, &dest);
        assert_ok(engine_dest_listen(job->dest.engine, &dest, &job->port, &error), error);
        assert_true(args->use_unix ? job->port == 0 : job->port >= 45000);
}

void job_close(Job *job) {
        engine_unref(job->source.engine);
        engine_unref(job->dest.engine);
        standin_end(&job->guest);
        if (job->args.postcopy)
                standin_end(&job->dest_guest);
        fd_close(job->states_fd);
        g_clear_error(&job->source.error);
        g_clear_error(&job->dest.error);
        fd_close(job->source_fd);
        fd_close(job->dest_fd);
        fd_close(job->device_in);
        fd_close(job->device_out);
        g_free(job->unix_path);
}

void job_fill(Job *job, uint64_t offset_bytes, uint64_t length_bytes, unsigned percent) {
        unsigned char *ram =
                mmap(NULL, length_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, job->source_fd, (off_t) offset_bytes);
        assert_true(ram != MAP_FAILED);
        for (uint64_t page = 0; page < length_bytes / PAGE; page++)
                if (page % 100 < percent)
                        for (unsigned i = 0; i < PAGE / 8; i += 32)
                                ((uint64_t *) (ram + page * PAGE))[i] = page * 1000003 + i + 1;
        munmap(ram, length_bytes);
}

void job_fill_args(Job *job, EngineSourceArgs *ret_args) {
        *ret_args = (EngineSourceArgs) {
                .blocks = &job->source_block,
                .n_blocks = 1,
                .qemu_pid = job->guest.pid,
                .uffd_async = job->guest.uffd_async,
                .uffd_sync = job->guest.uffd_sync,
                .host = "127.0.0.1",
                .port = job->args.proxy_port ?: job->port,
                .unix_path = job->unix_path,
                .bandwidth_bytes_per_sec = job->args.bandwidth_bytes_per_sec,
                .idle_timeout_usec = job->args.idle_timeout_usec,
                .postcopy = job->args.postcopy,
                .postcopy_bandwidth_bytes_per_sec = job->args.postcopy_bandwidth_bytes_per_sec,
        };
        memcpy(ret_args->token, job->token, sizeof(ret_args->token));
        if (job->args.wrong_token)
                ret_args->token[0] ^= 1;
}

int job_start(Job *job, GError **reterr) {
        g_autoptr(GError) error = NULL;
        EngineSourceArgs args;
        job_fill_args(job, &args);
        int r = engine_source_start(job->source.engine, &args, &error);
        if (r < 0) {
                print_message("start: %s\n", error->message);
                g_propagate_error(reterr, g_steal_pointer(&error));
        }
        return r;
}

bool job_wait(Job *job, const bool *flag) {
        uint64_t until = clock_monotonic_usec() + WAIT_USEC;
        while (!*flag && clock_monotonic_usec() < until) {
                if (job->source.failed || job->dest.failed)
                        break;
                (void) fiber_cond_wait(&job->changed, USEC_PER_SEC);
        }
        return *flag;
}

bool job_wait_count(Job *job, const unsigned *count, unsigned at_least) {
        uint64_t until = clock_monotonic_usec() + WAIT_USEC;
        while (*count < at_least && clock_monotonic_usec() < until) {
                if (job->source.failed || job->dest.failed)
                        break;
                (void) fiber_cond_wait(&job->changed, USEC_PER_SEC);
        }
        return *count >= at_least;
}

void job_wait_failed(Job *job, JobSide *side) {
        uint64_t until = clock_monotonic_usec() + WAIT_USEC;
        while (!side->failed && clock_monotonic_usec() < until)
                (void) fiber_cond_wait(&job->changed, USEC_PER_SEC);
        assert_true(side->failed);
}

static void show_failures(Job *job) {
        if (job->source.error)
                print_error("source: %s\n", job->source.error->message);
        if (job->dest.error)
                print_error("destination: %s\n", job->dest.error->message);
}

void job_switch_over(Job *job) {
        g_autoptr(GError) error = NULL;
        standin_stop(&job->guest);
        assert_ok(engine_source_stop_and_copy(job->source.engine, job->device_in, false, WAIT_USEC, &error), error);
        if (!job_wait(job, &job->dest.ready)) {
                show_failures(job);
                fail();
        }
        assert_ok(engine_dest_loaded(job->dest.engine, &error), error);
        assert_true(job_wait(job, &job->source.ready));
        assert_false(job->dest.committed);
        assert_ok(engine_source_commit(job->source.engine, WAIT_USEC, &error), error);
        assert_true(job_wait(job, &job->dest.committed));
        assert_ok(engine_dest_running(job->dest.engine, 1234, &error), error);
        assert_true(job_wait(job, &job->source.running));
        assert_false(job->source.failed);
        assert_false(job->dest.failed);
}

void job_switch_postcopy(Job *job) {
        g_autoptr(GError) error = NULL;
        standin_stop(&job->guest);
        assert_ok(engine_source_stop_and_copy(job->source.engine, job->device_in, true, WAIT_USEC, &error), error);
        if (!job_wait(job, &job->dest.ready)) {
                show_failures(job);
                fail();
        }
        assert_true(engine_is_postcopy(job->dest.engine));
        /* Loading the device state reads memory. */
        uint64_t value = 0;
        standin_read_begin(&job->dest_guest, 4096);
        assert_true(standin_read_end(&job->dest_guest, 10000, &value));
        assert_ok(engine_dest_loaded(job->dest.engine, &error), error);
        assert_true(job_wait(job, &job->source.ready));
        assert_ok(engine_source_commit(job->source.engine, WAIT_USEC, &error), error);
        assert_true(job_wait(job, &job->dest.committed));
        standin_run(&job->dest_guest);
        assert_ok(engine_dest_running(job->dest.engine, 1234, &error), error);
        assert_true(job_wait(job, &job->source.running));
}

void job_finish_postcopy(Job *job) {
        bool there = job_wait(job, &job->dest.complete) && job_wait(job, &job->source.complete);
        show_failures(job);
        if (!there)
                fail_msg("source %s, destination %s, lacking %" G_GUINT64_FORMAT,
                         engine_state_name(engine_state(job->source.engine)),
                         engine_state_name(engine_state(job->dest.engine)),
                         engine_stats(job->dest.engine)->postcopy_bytes);
        assert_int_equal(engine_state(job->source.engine), ENGINE_STATE_DONE);
        assert_int_equal(engine_state(job->dest.engine), ENGINE_STATE_DONE);
        standin_stop(&job->dest_guest);
        assert_int_equal(standin_verify(&job->dest_guest), 0);
}

void job_replace_source(Job *job) {
        g_autoptr(GError) error = NULL;
        engine_end(job->source.engine);
        engine_unref(job->source.engine);
        assert_ok(engine_new(fiber_event(), ENGINE_HELPER, "source", -1, &callbacks, job, &job->source.engine, &error),
                  error);
}

void job_replace_dest(Job *job) {
        g_autoptr(GError) error = NULL;
        engine_end(job->dest.engine);
        engine_unref(job->dest.engine);
        assert_ok(engine_new(fiber_event(), ENGINE_HELPER, "dest", -1, &callbacks, job, &job->dest.engine, &error),
                  error);
        EngineDestArgs args;
        fill_dest_args(job, &args);
        assert_ok(engine_dest_adopt(job->dest.engine, &args, true, &error), error);
}

int job_recover(Job *job, GError **reterr) {
        EngineDestArgs dest;
        EngineSourceArgs source;
        job->token[0]++; /* each time another one */
        fill_dest_args(job, &dest);
        int r = engine_dest_recover(job->dest.engine, &dest, &job->port, reterr);
        job_fill_args(job, &source);
        return r < 0 ? r : engine_source_recover(job->source.engine, &source, reterr);
}

uint64_t job_allocated(int fd) {
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        return (uint64_t) st.st_blocks * 512;
}

static void compare_files(int a, int b, uint64_t size_bytes) {
        const size_t chunk = 1 << 20;
        g_autofree unsigned char *left = g_malloc(chunk), *right = g_malloc(chunk);
        for (uint64_t at = 0; at < size_bytes;) {
                off_t data_a = lseek(a, (off_t) at, SEEK_DATA), data_b = lseek(b, (off_t) at, SEEK_DATA);
                if (data_a < 0 && data_b < 0)
                        return;
                at = (uint64_t) (data_a < 0 ? data_b : data_b < 0 ? data_a : MIN(data_a, data_b)) / PAGE * PAGE;
                size_t length = (size_t) MIN(chunk, size_bytes - at);
                assert_int_equal(pread(a, left, length, (off_t) at), length);
                assert_int_equal(pread(b, right, length, (off_t) at), length);
                if (memcmp(left, right, length) != 0)
                        for (size_t i = 0; i < length; i += PAGE)
                                if (memcmp(left + i, right + i, PAGE) != 0)
                                        fail_msg("page %" G_GUINT64_FORMAT " differs", (at + i) / PAGE);
                at += length;
        }
}

void job_verify_content(Job *job) {
        compare_files(job->source_fd, job->dest_fd, job->args.size_bytes);
        compare_files(job->device_in, job->device_out, DEVICE_STATE_BYTES);
}

void job_verify(Job *job) {
        job_verify_content(job);
        uint64_t source = job_allocated(job->source_fd), dest = job_allocated(job->dest_fd);
        if (dest * 100 > source * 102)
                fail_msg("the destination has %" G_GUINT64_FORMAT " KiB, the source %" G_GUINT64_FORMAT, dest / 1024,
                         source / 1024);
}

void job_assert_guest_free(Job *job) {
        for (uint64_t offset = 0; offset < job->args.size_bytes; offset += job->args.size_bytes / 16)
                assert_true(standin_poke(&job->guest, offset, 0x5a));
}

const EngineCallbacks *job_callbacks(void) {
        return &callbacks;
}

int job_hugetlb_pages(int change) {
        static const char path[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
        g_autofree char *text = NULL;
        if (file_read(path, 64, &text, NULL, NULL) < 0)
                return -1;
        g_autofree char *wanted = g_strdup_printf("%d", atoi(text) + change);
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd < 0 || write(fd, wanted, strlen(wanted)) < 0 ? -1 : 0;
}
