/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The loop between the policy, which only decides, and the migration: it gathers what the policy needs to know, and
 * does what it says. */

#include "driver/migration/migration.h"

/* Source, once the parameters are there: the policy of this migration. INVALID_ARG, XML_ERROR, CONF_SYNTAX. */
int decide_configure(Migration *migration, GError **reterr);
/* Source, in mid-job: another policy, in its text form, from the next decision on. On failure nothing has changed;
 * errors as above. */
int decide_set_policy(Migration *migration, const char *text, GError **reterr);
/* Source: the engine has begun to copy. */
void decide_begin(Migration *migration);
/* Source, from the engine's callbacks: a round has ended (or there was nothing to send: idle). */
void decide_note(Migration *migration, const EngineStats *stats, bool idle);
/* Source: waits until the guest shall be stopped. *ret_action: STOP_AND_COPY or SWITCH_TO_POSTCOPY. The first failure
 * ends it, and ABORT is one. Fiber. */
int decide_precopy(Migration *migration, PolicyAction *ret_action, GError **reterr);
/* Source: the migration has succeeded; what its switchover took is what the next one's is expected to take. A long last
 * copy, a paused guest and copied disks teach nothing about that. */
void decide_learn(Migration *migration);

/* The decision in words, with numbers; owned by the caller. */
char *decide_describe(const PolicyDecision *decision);
