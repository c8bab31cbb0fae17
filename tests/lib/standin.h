/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A stand-in for a guest's QEMU: a child process that maps a RAM file, opens the two userfaultfds as the shim does, and
 * whose threads write to the memory until it is told to stop.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct StandinArgs {
        int ram_fd;
        uint64_t size_bytes;
        unsigned n_writers;
        uint64_t work_offset_bytes, work_bytes; /* what the writers write to */
        unsigned pages_per_msec;                /* per writer; 0: as fast as they can */
        bool punch;                             /* writers also give pages back, and write zeros */
        bool no_uffd;
} StandinArgs;

typedef struct Standin {
        pid_t pid;
        int control;
        int uffd_async, uffd_sync;
} Standin;

/* 0, or -ENOTSUP when this process may not open a userfaultfd. */
int standin_start(Standin *standin, const StandinArgs *args);
/* Starts or stops the writers; when it returns the change is complete. */
void standin_run(Standin *standin);
void standin_stop(Standin *standin);
/* Writes one page now, from the main thread of the child; false if that took longer than a second (a writer that nobody
 * wakes). */
bool standin_poke(Standin *standin, uint64_t offset_bytes, unsigned char value);
/* Ends the child. */
void standin_end(Standin *standin);
