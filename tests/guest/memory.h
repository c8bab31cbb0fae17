/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Memory that can be checked: every page's right content follows from (seed, page, number of writes to that page), and
 * the number of writes follows from one counter. No per-page table is needed while the writer runs, so a page and its
 * own record cannot both be lost and still agree; the counter itself goes out with every heartbeat, where the host sees
 * that it never falls back.
 *
 * Thread: each call may come from any thread; a lock inside orders them. The writer thread belongs to this file.
 */

#include <stddef.h>
#include <stdint.h>

typedef struct Memory Memory;

/* What a verification found. Counts are pages of 4 KiB. */
typedef struct MemoryVerdict {
        uint64_t pages;      /* looked at */
        uint64_t data, zero; /* were to hold data, zeros */
        uint64_t bad;        /* hold something else */
        uint64_t first_bad;  /* page number of the first; pages of the sparse area follow those of the filled one */
        uint64_t got, want;  /* its first wrong word */
        uint64_t writes;     /* page writes since the fill */
} MemoryVerdict;

/* Starts the writer thread, idle. NULL: out of memory. */
Memory *memory_new(void);

/* Forgets the former areas; fills fill_mib with data and makes a sparse area of sparse_mib beside it. 0 or negative
 * errno. */
int memory_fill(Memory *memory, uint64_t fill_mib, uint64_t sparse_mib, uint64_t seed);

/* Writes pages_per_sec pages a second (0: as many as it can) over the first wss_mib of the filled area, until
 * memory_stop(). */
int memory_write(Memory *memory, uint64_t pages_per_sec, uint64_t wss_mib);
void memory_stop(Memory *memory);

/* Takes every page of the sparse area to its next stage: data to zero, zero to data, untouched to data to given
 * back. */
int memory_flip(Memory *memory);

/* Page writes since the fill, without the lock: for the heartbeat. */
uint64_t memory_writes(const Memory *memory);

/* The filled area and its pages; NULL if nothing is filled. It stays where it is until the next fill. */
const void *memory_filled(Memory *memory, uint64_t *ret_pages);

/* Checks every page while the writer waits. */
void memory_verify(Memory *memory, MemoryVerdict *ret_verdict);

/* Content that disk.c shares. */
void memory_pattern(uint64_t *words, size_t n_words, uint64_t seed, uint64_t page, uint64_t version);
int memory_pattern_matches(const uint64_t *words, size_t n_words, uint64_t seed, uint64_t page, uint64_t version);
