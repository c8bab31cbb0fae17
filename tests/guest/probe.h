/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How long the guest waits for memory: a thread reads random pages, each of them once, and sorts the reads by how long
 * they took. A read of a page that is there takes less than a microsecond, so what took long was waited for.
 */

#include <stddef.h>
#include <stdint.h>

#define PROBE_BUCKETS 32 /* bucket i: reads of [2^i, 2^(i+1)) ns; the last without end */

typedef struct Probe Probe;

typedef struct ProbeResult {
        uint64_t reads;
        uint64_t counts[PROBE_BUCKETS];
} ProbeResult;

/* Reads pages of this area until probe_stop(), or until each was read. NULL: out of memory. */
Probe *probe_start(const void *memory, uint64_t n_pages);
/* Ends the thread and frees it. */
void probe_stop(Probe *probe, ProbeResult *ret_result);
