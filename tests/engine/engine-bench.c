/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Numbers of one engine-to-engine job over loopback: total time from start to RUNNING, sending rate, last scan, time
 * with the guest stopped, allocation on both ends. Not a test.
 *
 *      engine-bench [size-MiB [filled-MiB [kind [percent [writer pages per msec]]]]]     kind: memfd, or the path of a
 * tmpfs percent: how many pages of the filled area hold data (the rest are holes)
 */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/units.h"
#include "tests/engine/job.h"

typedef struct Bench {
        uint64_t size_bytes, filled_bytes;
        const char *kind;
        unsigned percent, pages_per_msec;
} Bench;

static int make_file(const Bench *bench, const char *name) {
        int fd;
        if (strcmp(bench->kind, "memfd") == 0)
                fd = memfd_create(name, MFD_CLOEXEC);
        else {
                g_autofree char *path = g_strdup_printf("%s/%s-%d", bench->kind, name, (int) getpid());
                fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                (void) unlink(path);
        }
        if (fd < 0 || ftruncate(fd, (off_t) bench->size_bytes) < 0) {
                perror(bench->kind);
                exit(1);
        }
        return fd;
}

/* As QEMU would: huge pages where the file gives them. */
static void warm(int fd, uint64_t bytes) {
        void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        (void) madvise(map, bytes, MADV_HUGEPAGE);
        (void) madvise(map, bytes, 23 /* MADV_POPULATE_WRITE */);
        munmap(map, bytes);
}

static void run(void *userdata) {
        const Bench *bench = userdata;
        Job job;
        job_open(&job, &(JobArgs){ .size_bytes = bench->size_bytes,
                                   .source_fd = make_file(bench, "src"),
                                   .dest_fd = make_file(bench, "dst"),
                                   .n_writers = bench->pages_per_msec > 0,
                                   .work_offset_bytes = 0,
                                   .work_bytes = bench->filled_bytes,
                                   .pages_per_msec = bench->pages_per_msec });
        if (bench->percent >= 100)
                warm(job.source_fd, bench->filled_bytes);
        job_fill(&job, 0, bench->filled_bytes, bench->percent);
        uint64_t source_before = job_allocated(job.source_fd);
        if (bench->pages_per_msec > 0)
                standin_run(&job.guest);

        uint64_t start = clock_monotonic_usec();
        g_autoptr(GError) error = NULL;
        if (job_start(&job, &error) < 0)
                exit(1);
        if (bench->pages_per_msec > 0)
                job_wait_count(&job, &job.source.iterations, 4);
        else
                job_wait_count(&job, &job.source.iterations, 1);
        uint64_t stopped = clock_monotonic_usec();
        job_switch_over(&job);
        uint64_t end = clock_monotonic_usec();
        EngineStats stats = *engine_stats(job.source.engine);
        pid_t pids[] = { engine_pid(job.source.engine), engine_pid(job.dest.engine) };
        double cpu[2] = { 0 };
        for (int i = 0; i < 2; i++) {
                g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int) pids[i]);
                FILE *f = fopen(path, "re");
                unsigned long user = 0, sys = 0;
                if (f) {
                        if (fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) == 2)
                                cpu[i] = (double) (user + sys) / (double) sysconf(_SC_CLK_TCK);
                        fclose(f);
                }
        }
        printf("%6" G_GUINT64_FORMAT " MiB, %5" G_GUINT64_FORMAT
               " filled, %s %u%%: total %.3f s, setup %.1f ms, stopped %.1f ms (scan %.2f ms), rate %.2f GiB/s, sent "
               "%.0f MiB, "
               "cpu %.2f+%.2f s, alloc %.0f -> %.0f / %.0f MiB\n",
               bench->size_bytes / MIB, bench->filled_bytes / MIB, bench->kind, bench->percent,
               (double) (end - start) / 1e6, (double) stats.setup_usec / 1e3, (double) (end - stopped) / 1e3,
               (double) stats.final_scan_usec / 1e3, (double) stats.bandwidth_bytes_per_sec / (double) GIB,
               (double) stats.transferred_bytes / (double) MIB, cpu[0], cpu[1], (double) source_before / (double) MIB,
               (double) job_allocated(job.source_fd) / (double) MIB,
               (double) job_allocated(job.dest_fd) / (double) MIB);
        job_verify(&job);
        job_close(&job);
}

int main(int argc, char **argv) {
        Bench bench = {
                .size_bytes = (argc > 1 ? strtoull(argv[1], NULL, 0) : 4096) * MIB,
                .filled_bytes = (argc > 2 ? strtoull(argv[2], NULL, 0) : 1229) * MIB,
                .kind = argc > 3 ? argv[3] : "memfd",
                .percent = argc > 4 ? (unsigned) atoi(argv[4]) : 100,
                .pages_per_msec = argc > 5 ? (unsigned) atoi(argv[5]) : 0,
        };
        return fiber_run("bench", run, &bench) < 0;
}
