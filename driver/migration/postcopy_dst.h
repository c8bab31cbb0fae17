/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Postcopy at the destination: following it to its end with as many helpers as that takes, and its resumption. */

#include "driver/migration/cookie.h"
#include "driver/migration/migration.h"

/* The guest has been started, or is about to be, with memory missing: returns when all of it is here, or the guest has
 * ended (-EIO). A helper that ends is replaced at once, so that what is here keeps being served. Fiber. */
int postcopy_dst_follow(Migration *migration, GError **reterr);

/* Takes the place of a helper that is gone. Fiber. running: the guest was started before. */
int postcopy_dst_adopt(Migration *migration, bool running, GError **reterr);
/* After a restart of the daemon: takes the helper over again if it lives, replaces it otherwise. Fiber. */
int postcopy_dst_attach(Migration *migration, bool running, GError **reterr);

/* Prepare with VIR_MIGRATE_POSTCOPY_RESUME: listens for the source. If all memory has arrived already, the answer says
 * so. cookie is the source's. Fiber. */
int postcopy_dst_prepare(MigrationContext *context, const void *client, const MigrationParams *params,
                         const MigrationCookie *cookie, char **ret_cookie, unsigned *ret_cookie_length, char **ret_uri,
                         GError **reterr);
/* Whether a Finish that names no running job means a migration that has ended well before: then the domain,
 * borrowed. */
Domain *postcopy_dst_arrived(MigrationContext *context, const char *cookie, unsigned cookie_length);
