/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A set of page numbers of one RAM block: a bitmap, with its size kept. A page is the block's own (4 KiB, or a huge
 * page). Not locked: each set belongs to one thread.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct PageSet {
        uint64_t *words;
        uint64_t n_pages;  /* of the block */
        uint64_t n_set;
} PageSet;

/* Makes an empty set for a block of n_pages. 0 or -ENOMEM. */
int page_set_init(PageSet *set, uint64_t n_pages);
/* Also of a zeroed set. */
void page_set_deinit(PageSet *set);

static inline bool page_set_has(const PageSet *set, uint64_t page) {
        return (set->words[page / 64] >> (page % 64)) & 1;
}
/* Adds or removes [first, first + count). */
void page_set_add(PageSet *set, uint64_t first, uint64_t count);
void page_set_remove(PageSet *set, uint64_t first, uint64_t count);
/* Removes all. */
void page_set_clear(PageSet *set);
/* set |= other. Same block. */
void page_set_merge(PageSet *set, const PageSet *other);
/* How many of [first, first + count) are in it. */
uint64_t page_set_count(const PageSet *set, uint64_t first, uint64_t count);
/* The first page >= from that is (is not) in the set, or n_pages. */
uint64_t page_set_next(const PageSet *set, uint64_t from);
uint64_t page_set_next_gap(const PageSet *set, uint64_t from);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PageSet, page_set_deinit)
