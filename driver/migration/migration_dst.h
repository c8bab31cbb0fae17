/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The destination's half of a migration: Prepare, Finish. */

#include "driver/migration/migration.h"

/*
 * Starts a QEMU that waits, and an engine that listens. *ret_uri is NULL if params' URI says where the data goes.
 * params is taken over. Fiber. On failure nothing is left behind.
 */
int migration_dst_prepare(MigrationContext *context, const void *client, MigrationParams *params, const char *cookie,
                          unsigned cookie_length, char **ret_cookie, unsigned *ret_cookie_length, char **ret_uri,
                          GError **reterr);

/*
 * Returns 0 when the guest is here for good; its domain persists if that was asked. Otherwise it never ran and never
 * will run here, and nothing of it is left. cancelled: always that, with code MIGRATE_FINISH_OK, unless it is too late.
 * Fiber.
 */
int migration_dst_finish(Migration *migration, bool cancelled, GError **reterr);

/* The client that began it is gone. Fiber. */
void migration_dst_client_gone(Migration *migration);

/* After a restart of the daemon: the guest is ours in postcopy; follows the job to its end. */
int migration_dst_continue(Migration *migration, GError **reterr);

/* Where to listen, as the client's parameters and the configuration say. What args points to is *ret_address's, which
 * must be zeroed. */
int migration_dst_address_args(const MigrationContext *context, const MigrationParams *params,
                               MigrationAddress *ret_address, EngineDestArgs *ret_args, GError **reterr);
/* What Prepare answers: the token, and an address if the client gave none that is complete. */
int migration_dst_answer(const Migration *migration, const MigrationParams *params, unsigned port, char **ret_cookie,
                         unsigned *ret_length, char **ret_uri, GError **reterr);

/* Makes the domain persistent if that was asked for. A failure is only logged at debug: the guest runs. Fiber. */
void migration_dst_persist(Migration *migration);
