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
        /* The writers of a destination: each page must hold what this file holds (the source's memory, which nobody
         * changes any more) but for one word per writer at its end, which it adds one to. 0: none. */
        int reference_fd;
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
/* Begins to read the 8 bytes at offset, and waits for them: false after the timeout, then it may be asked again. */
void standin_read_begin(Standin *standin, uint64_t offset_bytes);
bool standin_read_end(Standin *standin, int timeout_msec, uint64_t *ret_value);
/* Gives pages back, as a balloon does. */
void standin_discard(Standin *standin, uint64_t offset_bytes, uint64_t length_bytes);
/* Looks at all pages, as its own writers know them. The number of those that are wrong, found now or by a writer. */
uint64_t standin_verify(Standin *standin);
/* Ends the child. */
void standin_end(Standin *standin);
