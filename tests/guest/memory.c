/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * Filled area, page p after its n-th write (n = 0: the fill):
 *     p % 8 = 4    data, zeros, data, zeros, ...
 *     p % 8 = 5    only the first 64 bytes are new, the rest stays as filled
 *     p % 8 = 6    data, zeros, zeros, data, ...
 *     otherwise    new data over the whole page
 * The writer walks the working set (the first w pages) in rounds; in round k step i writes page (A * i + B(k)) mod w, A
 * being coprime to w, so each round writes each page once, in an order that looks random. With c page writes done, page
 * p has c / w of them, and one more if its step in this round is below c % w; the step is found with the inverse of A.
 * A new working set folds the counts so far into `base`, an array that nobody writes while the writer runs.
 *
 * Sparse area, page p at stage s:
 *     p % 16 = 0    data, zeros, data, ...
 *     p % 16 = 4    zeros that were written, data, zeros, ...
 *     p % 16 = 8    untouched, data, given back to the kernel, data, ...
 *     otherwise     never touched
 * It has MADV_NOHUGEPAGE: otherwise the first touch would clear 2 MiB.
 */

#include "memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE_BYTES 4096U
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))
#define PARTIAL_WORDS 8U
#define PAGES_PER_MIB 256U
#define STEP_PRIME 1000003U /* A; when it divides the working set, the next candidates are tried */
#define BATCH_PAGES 64U
#define TICK_NSEC 1000000L

struct Memory {
        pthread_mutex_t lock; /* everything below, except `total`, which may be read at any time */
        pthread_cond_t wake;
        uint64_t *fill, *sparse;
        uint64_t n_fill, n_sparse; /* pages */
        uint64_t seed;
        uint64_t stage; /* of the sparse area */
        uint32_t *base; /* writes of each filled page before the present working set */
        bool writing;
        unsigned n_waiting; /* threads that want the lock: the writer steps aside for them */
        uint64_t rate, n_wss;
        uint64_t multiplier, inverse; /* A and its inverse modulo n_wss */
        uint64_t count;               /* page writes in the present working set */
        _Atomic uint64_t total;
};

static uint64_t mix(uint64_t x) {
        x += 0x9e3779b97f4a7c15ULL;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
        return x ^ (x >> 31);
}

void memory_pattern(uint64_t *words, size_t n_words, uint64_t seed, uint64_t page, uint64_t version) {
        uint64_t value = mix(seed ^ mix((page << 24) + version));

        for (size_t i = 0; i < n_words; i++, value += 0x9e3779b97f4a7c15ULL)
                words[i] = value;
}

int memory_pattern_matches(const uint64_t *words, size_t n_words, uint64_t seed, uint64_t page, uint64_t version) {
        uint64_t value = mix(seed ^ mix((page << 24) + version)), difference = 0;

        for (size_t i = 0; i < n_words; i++, value += 0x9e3779b97f4a7c15ULL)
                difference |= words[i] ^ value;
        return difference == 0;
}

static bool is_zero(const uint64_t *words) {
        uint64_t any = 0;

        for (size_t i = 0; i < PAGE_WORDS; i++)
                any |= words[i];
        return any == 0;
}

static void memory_lock(Memory *memory) {
        __atomic_add_fetch(&memory->n_waiting, 1, __ATOMIC_RELAXED);
        pthread_mutex_lock(&memory->lock);
        __atomic_sub_fetch(&memory->n_waiting, 1, __ATOMIC_RELAXED);
}

static void memory_unlock(Memory *memory) {
        pthread_mutex_unlock(&memory->lock);
}

/* ---- the filled area ---- */

static bool fill_is_zero(uint64_t page, uint64_t version) {
        return (page % 8 == 4 && version % 2 == 1) || (page % 8 == 6 && version % 3 != 0);
}

static void fill_write_page(Memory *memory, uint64_t page, uint64_t version) {
        uint64_t *words = memory->fill + page * PAGE_WORDS;

        if (fill_is_zero(page, version))
                memset(words, 0, PAGE_BYTES);
        else
                memory_pattern(words, page % 8 == 5 && version > 0 ? PARTIAL_WORDS : PAGE_WORDS, memory->seed, page,
                               version);
}

static uint64_t round_shift(const Memory *memory, uint64_t round) {
        return mix(memory->seed + round) % memory->n_wss;
}

/* Number of writes that page has had. */
static uint64_t fill_version(const Memory *memory, uint64_t page) {
        uint64_t version = memory->base[page];

        if (page < memory->n_wss) {
                uint64_t round = memory->count / memory->n_wss, done = memory->count % memory->n_wss;
                uint64_t distance = (page + memory->n_wss - round_shift(memory, round)) % memory->n_wss;

                version += round + (distance * memory->inverse % memory->n_wss < done);
        }
        return version;
}

static bool fill_page_ok(const Memory *memory, uint64_t page, bool *ret_zero, size_t *ret_word, uint64_t *ret_want) {
        const uint64_t *words = memory->fill + page * PAGE_WORDS;
        uint64_t version = fill_version(memory, page), want[PAGE_WORDS];
        bool partial = page % 8 == 5 && version > 0;

        *ret_zero = fill_is_zero(page, version);
        if (*ret_zero ? is_zero(words)
                      : !partial && memory_pattern_matches(words, PAGE_WORDS, memory->seed, page, version))
                return true;
        memset(want, 0, sizeof(want));
        if (!*ret_zero)
                memory_pattern(want, PAGE_WORDS, memory->seed, page, partial ? 0 : version);
        if (partial)
                memory_pattern(want, PARTIAL_WORDS, memory->seed, page, version);
        for (*ret_word = 0; *ret_word < PAGE_WORDS; (*ret_word)++)
                if (words[*ret_word] != want[*ret_word]) {
                        *ret_want = want[*ret_word];
                        return false;
                }
        return true;
}

/* ---- the sparse area ---- */

typedef enum SparseState {
        SPARSE_UNTOUCHED,
        SPARSE_ZERO,
        SPARSE_DATA,
} SparseState;

static SparseState sparse_state(uint64_t page, uint64_t stage) {
        switch (page % 16) {
        case 0:
                return stage % 2 == 0 ? SPARSE_DATA : SPARSE_ZERO;
        case 4:
                return stage % 2 == 0 ? SPARSE_ZERO : SPARSE_DATA;
        case 8:
                return stage % 2 == 0 ? SPARSE_UNTOUCHED : SPARSE_DATA;
        default:
                return SPARSE_UNTOUCHED;
        }
}

/* Page numbers of the sparse area start behind any filled one, so no two pages share their content. */
static uint64_t sparse_number(uint64_t page) {
        return page + (1ULL << 36);
}

static void sparse_set(Memory *memory, uint64_t stage) {
        for (uint64_t page = 0; page < memory->n_sparse; page += 4) {
                uint64_t *words = memory->sparse + page * PAGE_WORDS;

                switch (sparse_state(page, stage)) {
                case SPARSE_DATA:
                        memory_pattern(words, PAGE_WORDS, memory->seed, sparse_number(page), stage);
                        break;
                case SPARSE_ZERO:
                        memset(words, 0, PAGE_BYTES);
                        break;
                case SPARSE_UNTOUCHED:
                        if (stage > 0 && page % 16 == 8)
                                madvise(words, PAGE_BYTES, MADV_DONTNEED);
                        break;
                }
        }
        memory->stage = stage;
}

int memory_flip(Memory *memory) {
        memory_lock(memory);
        sparse_set(memory, memory->stage + 1);
        memory_unlock(memory);
        return 0;
}

/* ---- the writer ---- */

static uint64_t gcd(uint64_t a, uint64_t b) {
        while (b != 0) {
                uint64_t rest = a % b;

                a = b;
                b = rest;
        }
        return a;
}

/* The inverse of a modulo n (extended Euclid); a and n are coprime, n < 2^32. */
static uint64_t inverse_modulo(uint64_t a, uint64_t n) {
        int64_t t = 0, next_t = 1, r = (int64_t) n, next_r = (int64_t) (a % n);

        while (next_r != 0) {
                int64_t quotient = r / next_r, swap = t - quotient * next_t;

                t = next_t;
                next_t = swap;
                swap = r - quotient * next_r;
                r = next_r;
                next_r = swap;
        }
        return (uint64_t) (t < 0 ? t + (int64_t) n : t);
}

/* Takes what the present working set has done into base. Writer stopped or locked out. */
static void fold(Memory *memory) {
        uint64_t n_wss = memory->n_wss;

        for (uint64_t page = 0; page < n_wss; page++)
                memory->base[page] = (uint32_t) fill_version(memory, page);
        memory->n_wss = memory->count = 0;
}

static void write_batch(Memory *memory, uint64_t n) {
        for (; n > 0; n--) {
                uint64_t round = memory->count / memory->n_wss, step = memory->count % memory->n_wss;
                uint64_t page = (step * memory->multiplier + round_shift(memory, round)) % memory->n_wss;

                fill_write_page(memory, page, memory->base[page] + round + 1);
                memory->count++;
                memory->total++;
        }
}

static uint64_t now_nsec(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000000ULL + (uint64_t) now.tv_nsec;
}

static void *writer_main(void *userdata) {
        const struct timespec tick = { .tv_nsec = TICK_NSEC };
        Memory *memory = userdata;
        uint64_t credit_nsec = 0, last_nsec = now_nsec();

        pthread_mutex_lock(&memory->lock);
        for (;;) {
                uint64_t n = BATCH_PAGES, now;

                while (!memory->writing) {
                        pthread_cond_wait(&memory->wake, &memory->lock);
                        credit_nsec = 0;
                        last_nsec = now_nsec();
                }
                if (memory->rate > 0) {
                        /* At most 20 ms of arrears are made up for, so a busy host does not cause a burst. */
                        now = now_nsec();
                        credit_nsec += now - last_nsec > 20000000ULL ? 20000000ULL : now - last_nsec;
                        last_nsec = now;
                        n = credit_nsec * memory->rate / 1000000000ULL;
                        if (n > BATCH_PAGES)
                                n = BATCH_PAGES;
                        credit_nsec -= n * 1000000000ULL / memory->rate;
                }
                write_batch(memory, n);
                pthread_mutex_unlock(&memory->lock);
                if (n < BATCH_PAGES || __atomic_load_n(&memory->n_waiting, __ATOMIC_RELAXED) > 0)
                        nanosleep(&tick, NULL);
                pthread_mutex_lock(&memory->lock);
        }
        return NULL;
}

int memory_write(Memory *memory, uint64_t pages_per_sec, uint64_t wss_mib) {
        int r = 0;

        memory_lock(memory);
        memory->writing = false;
        fold(memory);
        if (wss_mib == 0 || wss_mib * PAGES_PER_MIB > memory->n_fill)
                r = -ERANGE;
        else {
                memory->n_wss = wss_mib * PAGES_PER_MIB;
                memory->multiplier = STEP_PRIME;
                while (gcd(memory->multiplier, memory->n_wss) != 1)
                        memory->multiplier += 2;
                memory->inverse = inverse_modulo(memory->multiplier, memory->n_wss);
                memory->rate = pages_per_sec;
                memory->writing = true;
                pthread_cond_signal(&memory->wake);
        }
        memory_unlock(memory);
        return r;
}

void memory_stop(Memory *memory) {
        memory_lock(memory);
        memory->writing = false;
        memory_unlock(memory);
}

const void *memory_filled(Memory *memory, uint64_t *ret_pages) {
        const void *filled;

        memory_lock(memory);
        *ret_pages = memory->n_fill;
        filled = memory->fill;
        memory_unlock(memory);
        return filled;
}

uint64_t memory_writes(const Memory *memory) {
        return memory->total;
}

/* ---- whole ---- */

static void *map_area(uint64_t n_pages, int advice) {
        void *area = mmap(NULL, n_pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (area == MAP_FAILED)
                return NULL;
        madvise(area, n_pages * PAGE_BYTES, advice);
        return area;
}

static void unmap_area(void *area, uint64_t n_pages) {
        if (area)
                munmap(area, n_pages * PAGE_BYTES);
}

int memory_fill(Memory *memory, uint64_t fill_mib, uint64_t sparse_mib, uint64_t seed) {
        int r = 0;

        if (fill_mib == 0 || fill_mib > 1U << 20 || sparse_mib > 1U << 20)
                return -ERANGE;
        memory_lock(memory);
        memory->writing = false;
        unmap_area(memory->fill, memory->n_fill);
        unmap_area(memory->sparse, memory->n_sparse);
        unmap_area(memory->base, memory->n_fill / 1024 + 1);
        memory->n_fill = fill_mib * PAGES_PER_MIB;
        memory->n_sparse = sparse_mib * PAGES_PER_MIB;
        memory->seed = mix(seed);
        memory->n_wss = memory->count = memory->total = 0;
        memory->fill = map_area(memory->n_fill, MADV_HUGEPAGE);
        memory->sparse = memory->n_sparse > 0 ? map_area(memory->n_sparse, MADV_NOHUGEPAGE) : NULL;
        memory->base = map_area(memory->n_fill / 1024 + 1, MADV_NOHUGEPAGE);
        if (!memory->fill || !memory->base || (memory->n_sparse > 0 && !memory->sparse)) {
                memory->n_fill = memory->n_sparse = 0;
                r = -ENOMEM;
        } else {
                for (uint64_t page = 0; page < memory->n_fill; page++)
                        fill_write_page(memory, page, 0);
                sparse_set(memory, 0);
        }
        memory_unlock(memory);
        return r;
}

static void verdict_note_bad(MemoryVerdict *verdict, uint64_t page, uint64_t got, uint64_t want) {
        if (verdict->bad++ > 0)
                return;
        verdict->first_bad = page;
        verdict->got = got;
        verdict->want = want;
}

static void verify_sparse(Memory *memory, MemoryVerdict *verdict) {
        for (uint64_t page = 0; page < memory->n_sparse; page++) {
                const uint64_t *words = memory->sparse + page * PAGE_WORDS;
                bool data = sparse_state(page, memory->stage) == SPARSE_DATA;

                /* Reading a page that was never touched maps the guest's zero page and costs no memory. */
                verdict->pages++;
                verdict->data += data;
                verdict->zero += !data;
                if (data ? !memory_pattern_matches(words, PAGE_WORDS, memory->seed, sparse_number(page), memory->stage)
                         : !is_zero(words))
                        verdict_note_bad(verdict, memory->n_fill + page, words[0], 0);
        }
}

void memory_verify(Memory *memory, MemoryVerdict *ret_verdict) {
        MemoryVerdict verdict = {};

        memory_lock(memory);
        for (uint64_t page = 0; page < memory->n_fill; page++) {
                uint64_t want = 0;
                size_t word = 0;
                bool zero;
                bool ok = fill_page_ok(memory, page, &zero, &word, &want);

                verdict.pages++;
                verdict.data += !zero;
                verdict.zero += zero;
                if (!ok)
                        verdict_note_bad(&verdict, page, memory->fill[page * PAGE_WORDS + word], want);
        }
        verify_sparse(memory, &verdict);
        verdict.writes = memory->total;
        memory_unlock(memory);
        *ret_verdict = verdict;
}

Memory *memory_new(void) {
        Memory *memory = calloc(1, sizeof(Memory));
        pthread_t thread;

        if (!memory)
                return NULL;
        pthread_mutex_init(&memory->lock, NULL);
        pthread_cond_init(&memory->wake, NULL);
        if (pthread_create(&thread, NULL, writer_main, memory) != 0) {
                free(memory);
                return NULL;
        }
        pthread_detach(thread);
        return memory;
}
