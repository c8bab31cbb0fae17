/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The source's half of a migration: Begin, Perform, Confirm. */

#include "driver/migration/cookie.h"
#include "driver/migration/migration.h"

/* Takes the job; *ret_xml is what the destination shall define, *ret_cookie for Prepare. params is taken over.
 * Fiber. */
int migration_src_begin(MigrationContext *context, Domain *domain, const void *client, MigrationParams *params,
                        char **ret_cookie, unsigned *ret_cookie_length, char **ret_xml, GError **reterr);

/*
 * Moves the guest. Returns 0 when the destination runs it, or when only Finish can tell (phase UNKNOWN). On any error
 * the guest is where it was, as it was, and the job has ended. params is taken over. Fiber.
 */
int migration_src_perform(Migration *migration, MigrationParams *params, const char *cookie, unsigned cookie_length,
                          char **ret_cookie, unsigned *ret_cookie_length, GError **reterr);

/* What the source says about itself to Prepare. Owned by the caller. */
char *migration_src_begin_cookie(const Migration *migration, const MigrationParams *params, unsigned *ret_length);
/* How to reach the destination that answered with this cookie. What args points to is *ret_address's and *ret_blocks'.
 * All of them must be zeroed. */
int migration_src_engine_args(const Migration *migration, const MigrationCookie *cookie, MigrationAddress *ret_address,
                              EngineRamBlock **ret_blocks, EngineSourceArgs *ret_args, GError **reterr);

/* Settles: ends the source guest, or, when cancelled and the destination is known not to run it, resumes it. The job
 * has ended afterwards unless the outcome stays unknown (an error says so). Fiber. */
int migration_src_confirm(Migration *migration, bool cancelled, GError **reterr);

/* The client that began it is gone: settles what can be settled. Fiber. */
void migration_src_client_gone(Migration *migration);

/* migrate-postcopy: the switch comes as soon as the engine can. OPERATION_INVALID if it was not begun with
 * --postcopy. */
int migration_src_start_postcopy(Migration *migration, GError **reterr);

/* domjobabort. OPERATION_INVALID when it is too late. In phase UNKNOWN it is the operator's word that the destination
 * does not run the guest. */
int migration_src_abort(Migration *migration, GError **reterr);
