/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A guest and a link from the rounds of a real migration: the NAME.rounds.log that the daemon keeps beside a domain's
 * log. */

#include <glib.h>

#include "tools/virt-ferry/simulation.h"

/* Reads the text of such a file. What the rounds say of the guest: how much it writes, and into how much memory; the
 * first bound is the most that a round found dirty. Latency and jitter of *ret_link are 0: they are in the rounds' own
 * numbers. *ret_overhead_usec is that of the daemon then. */
int simulation_history_read(const char *text, SimulationGuest *ret_guest, SimulationLink *ret_link,
                            uint64_t *ret_overhead_usec, GError **reterr);
