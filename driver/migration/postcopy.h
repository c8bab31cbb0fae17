/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What postcopy adds to a migration job, for both of its ends. postcopy_src.h and postcopy_dst.h have what belongs to
 * one end.
 *
 *                      source                      destination
 *   phase POSTCOPY     paused, reason post-copy    running, reason post-copy
 *   POSTCOPY_PAUSED    paused, post-copy failed    running, post-copy failed
 *   end                shut off, migrated          running, migrated
 *
 * A guest that a user has paused at the destination stays so, with the user's reason.
 */

#include "driver/migration/cookie.h"
#include "driver/migration/migration.h"

/* Whether guests with the cookie's RAM can arrive here by postcopy: kernel features and the right to use userfaultfd.
 * OPERATION_UNSUPPORTED says what to set or to leave out. */
int postcopy_check_host(const MigrationCookie *cookie, GError **reterr);

/* Opens the page tables of the guest's RAM (making them if they are not there) and puts them into blocks. Returns the
 * descriptors, for the caller to close with g_array_unref() once the engine has its copies; NULL with an error. */
GArray *postcopy_open_tables(Qemu *qemu, EngineRamBlock *blocks, unsigned n_blocks, GError **reterr);
/* Removes them and the helper's socket. Harmless if there are none. */
void postcopy_remove_files(const Domain *domain);

/* Where the job's helper listens for a daemon that was restarted; in a folder that goes with the domain's QEMU. NULL
 * without a QEMU. Owned by the caller. */
char *postcopy_control_path(const Domain *domain);
/* From here on the helper does not end with us: it listens there. Fiber. */
int postcopy_keep_engine(Migration *migration, GError **reterr);
/* A new helper, which is kept, in place of the one that there was. On failure there may be none. Fiber. */
int postcopy_new_engine(Migration *migration, GError **reterr);

/* Whether the guest has been handed over (or may have been) with memory left behind: failures of the link or of a
 * helper end nothing from here on. */
bool postcopy_is_entered(const Migration *migration);

/* Move on: state, event, phase. Nothing happens if that is so already. */
void postcopy_note_active(Migration *migration);
void postcopy_note_paused(Migration *migration);
/* Destination: all memory is here; the phase stays. */
void postcopy_note_complete(Migration *migration);

/* What the engine says; see EngineCallbacks. */
void postcopy_on_complete(Engine *engine, const EngineStats *stats, void *userdata);
void postcopy_on_paused(Engine *engine, const GError *error, void *userdata);
void postcopy_on_resumed(Engine *engine, void *userdata);
/* The helper has ended or cannot go on. */
void postcopy_on_failed(Migration *migration, const GError *error, bool gone);
