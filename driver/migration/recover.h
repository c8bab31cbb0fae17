/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* After a restart of the daemon: what became of the migrations that it was in the middle of. */

#include "driver/migration/migration.h"

/*
 * Settles the job that domain->migration_saved describes. Fiber. The helper of that job is ended first, so that nothing
 * changes any more; then source, before COMMIT:        the guest goes on here source, COMMIT sent:          it stays
 * paused, with a job in phase UNKNOWN for an operator to settle source, destination runs it:  it ends here destination,
 * COMMIT recorded: it starts here destination, otherwise:       it is dropped: the source has it In postcopy the helper
 * is not ended but taken over, and the job goes on; where it is gone, the destination gets a new one at once, and the
 * source one when the migration is resumed.
 */
void migration_recover(MigrationContext *context, Domain *domain);
/* Ends the engine's helper that an earlier daemon has started, if that pid is still one of the program named helper.
 * Fiber. */
void recover_end_helper(const char *helper, pid_t pid);
