/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A disk under direct I/O, checked at both ends: reads go straight into pages that nothing else writes (a host that
 * loses sight of such a write leaves an old page behind), and every block's last written version is known (a host that
 * loses a write to the image is found by reading it back).
 *
 * Thread: disk_start() and disk_verify() are called by one thread at a time.
 */

#include <stdint.h>

typedef struct Disk Disk;

typedef struct DiskVerdict {
        uint64_t reads, writes;        /* operations done since disk_start() */
        uint64_t slots, bad_slots;     /* pages that a read filled; that hold something else now */
        uint64_t blocks, bad_blocks;   /* blocks of the image read back; that hold something else */
        uint64_t io_errors;
} DiskVerdict;

/* Writes the first mib of the device, then starts n_threads threads that read and write single blocks. 0 or negative
 * errno. */
int disk_start(const char *device, uint64_t mib, unsigned n_threads, Disk **ret_disk);

/* Operations done so far. */
uint64_t disk_operations(const Disk *disk);

/* Ends the threads, checks everything, frees disk. 0 or negative errno. */
int disk_verify(Disk *disk, DiskVerdict *ret_verdict);
