/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/page_set.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static size_t set_bytes(const PageSet *set) {
        return (size_t) ((set->n_pages + 63) / 64 * sizeof(uint64_t));
}

int page_set_init(PageSet *set, uint64_t n_pages) {
        *set = (PageSet) { .n_pages = n_pages };
        /* Straight from the kernel: the parts of a large and sparse block's bitmap that nobody touches cost nothing. */
        void *words = mmap(NULL, set_bytes(set), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (words == MAP_FAILED)
                return -errno;
        set->words = words;
        return 0;
}

void page_set_deinit(PageSet *set) {
        if (set->words)
                munmap(set->words, set_bytes(set));
        *set = (PageSet) { 0 };
}

/* The bits of one word that lie in [first, end). */
static uint64_t word_mask(uint64_t word, uint64_t first, uint64_t end) {
        uint64_t mask = ~UINT64_C(0);
        if (first > word * 64)
                mask &= ~UINT64_C(0) << (first % 64);
        if (end < (word + 1) * 64)
                mask &= ~(~UINT64_C(0) << (end % 64));
        return mask;
}

void page_set_add(PageSet *set, uint64_t first, uint64_t count) {
        uint64_t end = first + count;
        for (uint64_t w = first / 64; w * 64 < end; w++) {
                uint64_t fresh = word_mask(w, first, end) & ~set->words[w];
                set->words[w] |= fresh;
                set->n_set += (uint64_t) __builtin_popcountll(fresh);
        }
}

void page_set_remove(PageSet *set, uint64_t first, uint64_t count) {
        uint64_t end = first + count;
        for (uint64_t w = first / 64; w * 64 < end; w++) {
                uint64_t gone = word_mask(w, first, end) & set->words[w];
                if (!gone)
                        continue;
                set->words[w] &= ~gone;
                set->n_set -= (uint64_t) __builtin_popcountll(gone);
        }
}

void page_set_clear(PageSet *set) {
        if (set->n_set > 0)
                memset(set->words, 0, set_bytes(set));
        set->n_set = 0;
}

void page_set_merge(PageSet *set, const PageSet *other) {
        if (other->n_set == 0)
                return;
        for (uint64_t w = 0; w * 64 < set->n_pages; w++) {
                uint64_t fresh = other->words[w] & ~set->words[w];
                if (!fresh)
                        continue;
                set->words[w] |= fresh;
                set->n_set += (uint64_t) __builtin_popcountll(fresh);
        }
}

uint64_t page_set_count(const PageSet *set, uint64_t first, uint64_t count) {
        uint64_t end = first + count, n = 0;
        for (uint64_t w = first / 64; w * 64 < end; w++)
                n += (uint64_t) __builtin_popcountll(set->words[w] & word_mask(w, first, end));
        return n;
}

uint64_t page_set_next(const PageSet *set, uint64_t from) {
        if (from >= set->n_pages)
                return set->n_pages;
        uint64_t w = from / 64, bits = set->words[w] & (~UINT64_C(0) << (from % 64));
        while (!bits) {
                w++;
                if (w * 64 >= set->n_pages)
                        return set->n_pages;
                bits = set->words[w];
        }
        return w * 64 + (uint64_t) __builtin_ctzll(bits);
}

uint64_t page_set_next_gap(const PageSet *set, uint64_t from) {
        if (from >= set->n_pages)
                return set->n_pages;
        uint64_t w = from / 64, bits = ~set->words[w] & (~UINT64_C(0) << (from % 64));
        while (!bits) {
                w++;
                if (w * 64 >= set->n_pages)
                        return set->n_pages;
                bits = ~set->words[w];
        }
        return MIN(w * 64 + (uint64_t) __builtin_ctzll(bits), set->n_pages);
}
