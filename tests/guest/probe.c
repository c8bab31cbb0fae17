/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define PAGE_BYTES 4096U

struct Probe {
        pthread_t thread;
        const volatile unsigned char *memory;
        uint64_t n_pages;
        bool *seen; /* pages that were read before */
        atomic_bool stop;
        ProbeResult result;
};

static uint64_t now_nsec(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000000U + (uint64_t) now.tv_nsec;
}

static unsigned bucket_of(uint64_t nsec) {
        unsigned bucket = nsec < 2 ? 0 : 63U - (unsigned) __builtin_clzll(nsec);

        return bucket < PROBE_BUCKETS ? bucket : PROBE_BUCKETS - 1;
}

static void *probe_main(void *userdata) {
        Probe *probe = userdata;
        uint64_t random = 88172645463325252U;

        while (!probe->stop && probe->result.reads < probe->n_pages) {
                uint64_t page, start;

                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                page = random % probe->n_pages;
                if (probe->seen[page])
                        continue;
                probe->seen[page] = true;
                start = now_nsec();
                (void) probe->memory[page * PAGE_BYTES + random % PAGE_BYTES];
                probe->result.counts[bucket_of(now_nsec() - start)]++;
                probe->result.reads++;
        }
        return NULL;
}

Probe *probe_start(const void *memory, uint64_t n_pages) {
        Probe *probe = calloc(1, sizeof(*probe));

        if (!probe)
                return NULL;
        probe->memory = memory;
        probe->n_pages = n_pages;
        probe->seen = calloc(n_pages, sizeof(*probe->seen));
        if (!probe->seen || pthread_create(&probe->thread, NULL, probe_main, probe) != 0) {
                free(probe->seen);
                free(probe);
                return NULL;
        }
        return probe;
}

void probe_stop(Probe *probe, ProbeResult *ret_result) {
        probe->stop = true;
        pthread_join(probe->thread, NULL);
        *ret_result = probe->result;
        free(probe->seen);
        free(probe);
}
