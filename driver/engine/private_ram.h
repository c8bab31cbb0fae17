/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* RAM that QEMU keeps to itself (video memory, ROMs): QEMU sends it with its device state, page by page as far as it is
 * not zero. */

#include <stdint.h>
#include <sys/types.h>

#define PRIVATE_RAM_BLOCKS_MAX 64
#define PRIVATE_RAM_BLOCK_BYTES_MAX (UINT64_C(1) << 30)

/*
 * How much of it is there: what is present of the private anonymous mappings of process pid that have these sizes. A
 * block whose size no mapping has, or more mappings than there are such blocks, counts as a whole. Returns bytes, at
 * most the sum of sizes; negative errno if the process cannot be read.
 */
int private_ram_resident(pid_t pid, const uint64_t *sizes, unsigned n_sizes, uint64_t *ret_bytes);
