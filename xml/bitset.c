/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/bitset.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define BITSET_WORDS (BITSET_MAX / 64)

struct Bitset {
        unsigned n_words; /* allocated; words beyond are empty */
        uint64_t *words;
};

Bitset *bitset_new(void) {
        return g_new0(Bitset, 1);
}

Bitset *bitset_free(Bitset *set) {
        if (set)
                g_free(set->words);
        g_free(set);
        return NULL;
}

Bitset *bitset_copy(const Bitset *set) {
        Bitset *copy;

        if (!set)
                return NULL;
        copy = bitset_new();
        copy->n_words = set->n_words;
        copy->words = g_memdup2(set->words, set->n_words * sizeof(uint64_t));
        return copy;
}

void bitset_add(Bitset *set, unsigned number) {
        unsigned word = number / 64;

        g_assert(number < BITSET_MAX);
        if (word >= set->n_words) {
                set->words = g_renew(uint64_t, set->words, word + 1);
                memset(set->words + set->n_words, 0, (word + 1 - set->n_words) * sizeof(uint64_t));
                set->n_words = word + 1;
        }
        set->words[word] |= UINT64_C(1) << (number % 64);
}

static void bitset_remove(Bitset *set, unsigned number) {
        if (number / 64 < set->n_words)
                set->words[number / 64] &= ~(UINT64_C(1) << (number % 64));
}

bool bitset_has(const Bitset *set, unsigned number) {
        return set && number / 64 < set->n_words && (set->words[number / 64] >> (number % 64)) & 1;
}

int bitset_next(const Bitset *set, unsigned from) {
        if (!set)
                return -1;
        for (unsigned word = from / 64; word < set->n_words; word++) {
                uint64_t bits = set->words[word];

                if (word == from / 64)
                        bits &= ~UINT64_C(0) << (from % 64);
                if (bits)
                        return (int) (word * 64) + __builtin_ctzll(bits);
        }
        return -1;
}

unsigned bitset_count(const Bitset *set) {
        unsigned count = 0;

        for (unsigned i = 0; set && i < set->n_words; i++)
                count += (unsigned) __builtin_popcountll(set->words[i]);
        return count;
}

bool bitset_equal(const Bitset *a, const Bitset *b) {
        unsigned a_words = a ? a->n_words : 0, b_words = b ? b->n_words : 0;

        for (unsigned i = 0; i < MAX(a_words, b_words); i++)
                if ((i < a_words ? a->words[i] : 0) != (i < b_words ? b->words[i] : 0))
                        return false;
        return true;
}

bool bitset_overlaps(const Bitset *a, const Bitset *b) {
        for (unsigned i = 0; a && b && i < MIN(a->n_words, b->n_words); i++)
                if (a->words[i] & b->words[i])
                        return true;
        return false;
}

static const char *skip_spaces(const char *text) {
        while (g_ascii_isspace(*text))
                text++;
        return text;
}

/* One number, with the spaces around it. */
static int parse_number(const char **inout_text, unsigned *ret) {
        const char *text = skip_spaces(*inout_text);
        unsigned value = 0;

        if (!g_ascii_isdigit(*text))
                return -EINVAL;
        for (; g_ascii_isdigit(*text); text++) {
                value = value * 10 + (unsigned) (*text - '0');
                if (value >= BITSET_MAX)
                        return -ERANGE;
        }
        *inout_text = skip_spaces(text);
        *ret = value;
        return 0;
}

/* One member of the list: N, N-M or ^N. */
static int parse_item(const char **inout_text, Bitset *set) {
        const char *text = skip_spaces(*inout_text);
        bool exclude = *text == '^';
        unsigned first, last;
        int r;

        if (exclude)
                text++;
        r = parse_number(&text, &first);
        if (r < 0)
                return r;
        last = first;
        if (*text == '-') {
                text++;
                r = exclude ? -EINVAL : parse_number(&text, &last);
                if (r < 0)
                        return r;
                if (last < first)
                        return -EINVAL;
        }
        for (unsigned i = first; i <= last; i++)
                exclude ? bitset_remove(set, i) : bitset_add(set, i);
        *inout_text = text;
        return 0;
}

int bitset_parse(const char *text, Bitset **ret) {
        g_autoptr(Bitset) set = bitset_new();

        for (;;) {
                int r = parse_item(&text, set);

                if (r < 0)
                        return r;
                if (*text != ',')
                        break;
                text++;
        }
        if (*text != '\0' || bitset_next(set, 0) < 0)
                return -EINVAL;
        *ret = g_steal_pointer(&set);
        return 0;
}

char *bitset_format(const Bitset *set) {
        GString *text = g_string_new(NULL);

        for (int first = bitset_next(set, 0); first >= 0;) {
                unsigned last = (unsigned) first;

                while (last + 1 < BITSET_MAX && bitset_has(set, last + 1))
                        last++;
                g_string_append_printf(text, "%s%d", text->len ? "," : "", first);
                if (last > (unsigned) first)
                        g_string_append_printf(text, "-%u", last);
                first = last + 1 < BITSET_MAX ? bitset_next(set, last + 1) : -1;
        }
        return g_string_free(text, FALSE);
}
