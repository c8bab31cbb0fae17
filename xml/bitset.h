/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A set of small numbers (host CPUs, vcpus, NUMA nodes) as libvirt writes it: "0-3,^2,8". */

#include <glib.h>
#include <stdbool.h>

#define BITSET_MAX 16384u /* numbers are below this */

typedef struct Bitset Bitset;

/* An empty set. */
Bitset *bitset_new(void);
/* Accepts NULL, returns NULL. */
Bitset *bitset_free(Bitset *set);
/* NULL for NULL. */
Bitset *bitset_copy(const Bitset *set);

/* Parses text. -EINVAL for bad syntax or an empty set, -ERANGE for numbers from BITSET_MAX on. */
int bitset_parse(const char *text, Bitset **ret);
/* Canonical text ("0-3,8"), owned by the caller; "" for an empty or NULL set. */
char *bitset_format(const Bitset *set);

/* number < BITSET_MAX */
void bitset_add(Bitset *set, unsigned number);
bool bitset_has(const Bitset *set, unsigned number);
/* The smallest member that is >= from; -1 if there is none. For loops: for (int i = bitset_next(s, 0); i >= 0; i =
 * bitset_next(s, i + 1)). */
int bitset_next(const Bitset *set, unsigned from);
unsigned bitset_count(const Bitset *set);
/* NULL and the empty set are equal. */
bool bitset_equal(const Bitset *a, const Bitset *b);
/* Whether a and b have a member in common. */
bool bitset_overlaps(const Bitset *a, const Bitset *b);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bitset, bitset_free)
