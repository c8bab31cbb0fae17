/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Slows down those who write, and nobody else (design 4.5). The 2 MiB pieces that are written most move from the
 * asynchronous write-protect context to the synchronous one: the first write to each of their pages after a sync
 * faults, and a thread here answers at most so many faults a second. Reading costs nothing. A piece stays moved until
 * the job ends.
 *
 * Moving drops a piece's protection for a moment, so it counts as dirty as a whole.
 */

#include "driver/engine/dirty.h"

typedef struct Throttle Throttle;

#define THROTTLE_PIECE_BYTES UINT64_C(2097152)
#define THROTTLE_PAGES_MIN                                                                                             \
        100 /* a second: nobody waits longer for an answer than a hundredth of one for each writer before him */

/* For a tracker that works asynchronously. uffd_sync is dup'ed. -EOPNOTSUPP where none of the blocks can be throttled
 * (huge pages). */
int throttle_new(Dirty *dirty, int uffd_sync, Throttle **ret_throttle, GError **reterr);
/* Lets all writers go, and takes all protection of moved pieces off. */
Throttle *throttle_free(Throttle *throttle);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Throttle, throttle_free)

/* Answers at most so many faults a second from now on; 0: all at once. Pieces move only while there is a limit. Any
 * thread. */
void throttle_set_rate(Throttle *throttle, uint64_t pages_per_sec);
/* Part of a sync of one block, after the tracker's own: adds what was written in moved pieces, protects it again, and
 * moves pieces that are written much. final: the guest is stopped; only adds. Sender. Negative errno. */
int throttle_sync(Throttle *throttle, DirtyBlock *block, bool final);
