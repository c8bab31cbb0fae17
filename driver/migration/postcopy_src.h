/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Postcopy at the source: its end, its interruptions, and the way back from them. */

#include "driver/migration/cookie.h"
#include "driver/migration/migration.h"

/* Begin with VIR_MIGRATE_POSTCOPY_RESUME: the job of a migration that was interrupted passes to this client.
 * OPERATION_INVALID if there is nothing to resume. Waits for nothing. */
int postcopy_src_begin(Domain *domain, const void *client, const MigrationParams *params, char **ret_cookie,
                       unsigned *ret_cookie_length, char **ret_xml, GError **reterr);
/* Perform with it: connects to the destination again. The job stays paused on failure. Fiber. */
int postcopy_src_perform(Migration *migration, const MigrationParams *params, const MigrationCookie *cookie,
                         GError **reterr);
/* domjobabort --postcopy: cuts the link. Fiber. */
int postcopy_src_pause(Migration *migration, GError **reterr);
/* After a restart of the daemon: takes the helper over again if it lives. Whether it does. Fiber. */
bool postcopy_src_attach(Migration *migration);

/* All memory is at the destination. */
void postcopy_src_complete(Migration *migration);
/* The link or the helper is lost. */
void postcopy_src_paused(Migration *migration);
