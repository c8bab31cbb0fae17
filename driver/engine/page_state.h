/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Destination: what is known of each page of a RAM block, and what a zero page means for it.
 *
 * The table is a byte per page in a memfd of its own, so that it outlives this process when somebody else holds the
 * descriptor, and so that the parts that nobody touches take no memory. One thread (the receiver) writes it.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/engine/ram_block.h"

typedef enum PageState {
        PAGE_NEVER = 0,    /* nothing has arrived: memory is as it was made, zero */
        PAGE_VALID = 1,    /* holds the newest content that was sent */
        PAGE_STALE = 2,    /* holds something, but newer content exists at the source */
        PAGE_INFLIGHT = 3, /* claimed: its content is being received */
        PAGE_STATE_MAX_,
} PageState;

/* For messages. NULL if it is none. */
const char *page_state_name(PageState state);

typedef struct PageStates {
        int fd; /* owned */
        unsigned char *states;
        uint64_t n_pages;
} PageStates;

/* Makes a table of n_pages, all NEVER. 0 or negative errno; deinit in any case. */
int page_states_init(PageStates *states, uint64_t n_pages);
/* The same over the file fd, which is taken over (also on failure): it gets its size if it is shorter, and keeps what
 * it holds. */
int page_states_open(PageStates *states, uint64_t n_pages, int fd);
/* Frees the table; the file stays. */
void page_states_deinit(PageStates *states);
/* One page's state; [first, first + count) get state. Not checked against n_pages. */
static inline PageState page_states_get(const PageStates *states, uint64_t page) {
        return (PageState) __atomic_load_n(&states->states[page], __ATOMIC_ACQUIRE);
}
/* Moves a page from one state to another, if it still is in the first. Any thread. */
static inline bool page_states_move(PageStates *states, uint64_t page, PageState from, PageState to) {
        unsigned char expected = (unsigned char) from;
        return __atomic_compare_exchange_n(&states->states[page], &expected, (unsigned char) to, false,
                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
void page_states_set(PageStates *states, uint64_t first, uint64_t count, PageState state);

/* What to do with a page that the source says is zero. */
typedef enum ZeroAction {
        ZERO_NOTHING, /* it is zero already: no read, no write, no system call */
        ZERO_PUNCH,   /* give its memory back, batched over the run */
        ZERO_WRITE,   /* write zeros: memory that must stay allocated, or a part of a huge page */
} ZeroAction;

/* The one place that decides it (design: the table of the destination). partial: the zero run covers only a part of
 * this (huge) page. */
ZeroAction page_state_zero_action(PageState state, EngineRamPolicy policy, bool partial);

typedef struct ZeroCounts {
        uint64_t punched_bytes, written_bytes;
        uint64_t punches, writes; /* operations: one for all neighbours that need the same */
} ZeroCounts;

/* Makes [offset, offset + length) of the block zero, whatever was there, and marks its pages VALID. counts is added to.
 * 0 or negative errno (-ENOSPC, -EFAULT: the memory file is full). */
int page_states_zero(PageStates *states, const RamBlock *block, uint64_t offset_bytes, uint64_t length_bytes,
                     ZeroCounts *counts);

/* Claims the pages of a data run before its content is received, and afterwards marks them VALID. */
void page_states_claim(PageStates *states, const RamBlock *block, uint64_t offset_bytes, uint64_t length_bytes);
void page_states_done(PageStates *states, const RamBlock *block, uint64_t offset_bytes, uint64_t length_bytes);
