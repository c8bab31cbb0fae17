/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runs a fuzz target, LLVMFuzzerTestOneInput(), without a fuzzer: over its corpus, then over mutations of it.
 *
 *     fuzz_x [--runs N] [--seconds N] [--seed N] [--keep FILE] FILE|FOLDER...
 *
 * The same seed gives the same inputs. The input of the moment is always in a shared mapping of the file named by
 * --keep (default: the program's name with ".input", in the working directory); after a crash it is there, cut to its
 * size by its first eight bytes, so "fuzz_x --replay FILE" runs it again. Built with -fsanitize=fuzzer and without this
 * file, the target is an ordinary libFuzzer program.
 */

#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/clock.h"

#define MAX_INPUT_BYTES ((size_t) 1 << 18)
#define MAX_MUTATIONS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Keep {
        uint64_t size;
        uint8_t data[MAX_INPUT_BYTES];
} Keep;

/* xorshift64*: small, and the same everywhere. */
static uint64_t next(uint64_t *random) {
        *random ^= *random >> 12;
        *random ^= *random << 25;
        *random ^= *random >> 27;
        return *random * UINT64_C(2685821657736338717);
}

static size_t below(uint64_t *random, size_t n) {
        return n > 0 ? next(random) % n : 0;
}

static void add_file(GPtrArray *corpus, const char *path) {
        g_autofree char *text = NULL;
        size_t length = 0;
        g_autoptr(GError) error = NULL;
        if (!g_file_get_contents(path, &text, &length, &error))
                errx(1, "%s", error->message);
        g_ptr_array_add(corpus, g_bytes_new(text, MIN(length, MAX_INPUT_BYTES)));
}

static int by_name(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void add_path(GPtrArray *corpus, const char *path) {
        if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
                add_file(corpus, path);
                return;
        }
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        if (!dir)
                errx(1, "cannot read folder %s", path);
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        for (const char *name; (name = g_dir_read_name(dir));)
                g_ptr_array_add(names, g_build_filename(path, name, NULL));
        g_ptr_array_sort(names, by_name);
        for (unsigned i = 0; i < names->len; i++)
                add_file(corpus, names->pdata[i]);
}

/* The input stands in memory of its exact size, so that the sanitizers see each byte read beyond it. */
static void run_one(Keep *keep) {
        uint8_t *exact = g_memdup2(keep->data, keep->size);
        LLVMFuzzerTestOneInput(exact ? exact : keep->data, keep->size);
        g_free(exact);
}

static void insert(Keep *keep, size_t at, const uint8_t *data, size_t n) {
        n = MIN(n, MAX_INPUT_BYTES - keep->size);
        memmove(keep->data + at + n, keep->data + at, keep->size - at);
        memmove(keep->data + at, data, n);
        keep->size += n;
}

static void delete(Keep *keep, size_t at, size_t n) {
        n = MIN(n, keep->size - at);
        memmove(keep->data + at, keep->data + at + n, keep->size - at - n);
        keep->size -= n;
}

/* Overwrites 1, 2, 4 or 8 bytes with a number at which things tend to break, in either byte order. */
static void put_number(Keep *keep, size_t at, uint64_t *random) {
        static const uint64_t numbers[] = {
                0,
                1,
                2,
                0x7f,
                0x80,
                0xff,
                0x100,
                0x7fff,
                0x8000,
                0xffff,
                0x10000,
                0x1000000,
                0x4000000,
                0x7fffffff,
                0x80000000,
                0xffffffff,
                0x100000000,
                INT64_MAX,
                (uint64_t) INT64_MAX + 1,
                UINT64_MAX - 7,
                UINT64_MAX,
        };
        uint64_t number = numbers[below(random, G_N_ELEMENTS(numbers))];
        size_t n = (size_t) 1 << below(random, 4);
        bool big = next(random) & 1;
        for (size_t i = 0; i < n && at + i < keep->size; i++)
                keep->data[at + i] = (uint8_t) (number >> 8 * (big ? n - 1 - i : i));
}

static void mutate(Keep *keep, const GPtrArray *corpus, uint64_t *random) {
        uint8_t bytes[64];
        size_t at = below(random, keep->size);
        switch (keep->size == 0 ? 4 : below(random, 8)) {
        case 0:
                keep->data[at] ^= (uint8_t) (1u << below(random, 8));
                break;
        case 1:
                keep->data[at] = (uint8_t) next(random);
                break;
        case 2:
                put_number(keep, at, random);
                break;
        case 3:
                delete(keep, at, 1 + below(random, 32));
                break;
        case 4:
                for (size_t i = 0; i < sizeof(bytes); i++)
                        bytes[i] = (uint8_t) next(random);
                insert(keep, at, bytes, 1 + below(random, 16));
                break;
        case 5: { /* repeats a part of itself, which makes lists longer and nesting deeper */
                size_t n = MIN(keep->size - at, 1 + below(random, sizeof(bytes)));
                memcpy(bytes, keep->data + at, n);
                for (size_t i = below(random, 16) + 1; i > 0; i--)
                        insert(keep, at, bytes, n);
                break;
        }
        case 6:
                keep->size = at;
                break;
        case 7: { /* goes on as another entry of the corpus does */
                size_t n;
                const uint8_t *other = g_bytes_get_data(corpus->pdata[below(random, corpus->len)], &n);
                size_t from = below(random, n);
                keep->size = at;
                insert(keep, at, other + from, n - from);
                break;
        }
        }
}

static Keep *keep_map(const char *path) {
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, sizeof(Keep)) < 0)
                err(1, "cannot create %s", path);
        Keep *keep = mmap(NULL, sizeof(Keep), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (keep == MAP_FAILED)
                err(1, "cannot map %s", path);
        close(fd);
        return keep;
}

static void load(Keep *keep, GBytes *entry) {
        size_t n;
        const void *data = g_bytes_get_data(entry, &n);
        keep->size = n;
        if (n > 0)
                memcpy(keep->data, data, n);
}

static void replay(const char *path) {
        g_autofree char *text = NULL;
        size_t length = 0;
        if (!g_file_get_contents(path, &text, &length, NULL) || length != sizeof(Keep))
                errx(1, "%s was not kept by this program", path);
        run_one((Keep *) (void *) text);
}

int main(int argc, char **argv) {
        gint64 runs = 20000, seconds = 20, seed = 1;
        g_autofree char *keep_path = NULL, *replay_path = NULL;
        g_auto(GStrv) paths = NULL;
        const GOptionEntry entries[] = {
                { "runs", 0, 0, G_OPTION_ARG_INT64, &runs, "mutated inputs to try", "N" },
                { "seconds", 0, 0, G_OPTION_ARG_INT64, &seconds, "stop after this time", "N" },
                { "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "of the mutations", "N" },
                { "keep", 0, 0, G_OPTION_ARG_FILENAME, &keep_path, "where the input of the moment stands", "FILE" },
                { "replay", 0, 0, G_OPTION_ARG_FILENAME, &replay_path, "run what --keep left, and nothing else",
                  "FILE" },
                { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &paths, NULL, "FILE|FOLDER..." },
                {},
        };
        g_autoptr(GOptionContext) context = g_option_context_new(NULL);
        g_option_context_add_main_entries(context, entries, NULL);
        g_autoptr(GError) error = NULL;
        if (!g_option_context_parse(context, &argc, &argv, &error))
                errx(2, "%s", error->message);
        if (replay_path) {
                replay(replay_path);
                return 0;
        }

        g_autoptr(GPtrArray) corpus = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        for (char **path = paths; path && *path; path++)
                add_path(corpus, *path);
        if (corpus->len == 0)
                errx(1, "the corpus is empty");
        if (!keep_path)
                keep_path = g_strconcat(g_get_prgname(), ".input", NULL);

        Keep *keep = keep_map(keep_path);
        for (unsigned i = 0; i < corpus->len; i++) {
                load(keep, corpus->pdata[i]);
                run_one(keep);
        }
        uint64_t random = (uint64_t) seed * 2 + 1, end = clock_monotonic_usec() + (uint64_t) seconds * USEC_PER_SEC;
        gint64 done = 0;
        for (; done < runs && clock_monotonic_usec() < end; done++) {
                load(keep, corpus->pdata[below(&random, corpus->len)]);
                for (size_t i = 1 + below(&random, MAX_MUTATIONS); i > 0; i--)
                        mutate(keep, corpus, &random);
                run_one(keep);
        }
        munmap(keep, sizeof(*keep));
        unlink(keep_path);
        g_print("%u inputs of the corpus, %" G_GINT64_FORMAT " mutations\n", corpus->len, done);
        return 0;
}
