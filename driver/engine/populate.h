/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Destination: large folios are taken before their data comes, by threads beside the receiver.
 *
 * To clear 2 MiB is most of what receiving them costs (all of it where a hypervisor has yet to find the memory), and
 * the source names such regions some way ahead of their data. So threads work through what was announced, in order; the
 * receiver, when it gets to a region that nobody has begun, does it itself, and waits for one that is being done.
 */

#include <stdbool.h>
#include <stdint.h>

#include "driver/engine/ram_block.h"

typedef struct Populate Populate;

/* For regions of RAM_BLOCK_LARGE_BYTES in these blocks, which must outlive it, with its threads. Never NULL; without a
 * thread (none could be started) the receiver does all of it. */
Populate *populate_new(const RamBlock *const *blocks, unsigned n_blocks);
/* Ends the threads. NULL is fine. */
Populate *populate_free(Populate *populate);

/* The region will be wanted. Once for each region; a second time does nothing. The block must have map_large. Any
 * thread. */
void populate_announce(Populate *populate, unsigned block, uint64_t region);
/* Comes back when the region, if it was announced, is populated. 1: it is, 0: it was not announced, or the kernel
 * cannot populate; -ENOMEM and others: no memory was left. Any thread. */
int populate_wait(Populate *populate, unsigned block, uint64_t region);
