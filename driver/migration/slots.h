/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How many migrations leave this host at a time, and how they share its bandwidth: migration_max_outgoing and
 * migration_bandwidth of the configuration. A migration beyond the limit waits in Begin, before anything was touched on
 * either host; its statistics say so (ferry.queued).
 */

#include "driver/migration/migration.h"

/* Waits for a slot; migration_end() gives it back. An abort, or the client's end, ends the wait with an error.
 * Fiber. */
int slots_take(Migration *migration, GError **reterr);
/* Gives it back, if the migration has one; who waits gets it, and the others' shares grow. */
void slots_release(Migration *migration);
/* What one of the running migrations may take of the budget, bytes per second; 0: there is none. */
uint64_t slots_share(const MigrationContext *context);
