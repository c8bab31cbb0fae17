/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A policy as its users write it: a name, then settings that differ from it.
 *
 *   text   "balanced" or "balanced downtime.max=1050 downtime.steps=7 stall.window=40"
 *   XML    <policy name='balanced'><downtime max='1050' steps='7'/><stall window='40'/></policy>
 *
 * One table serves both: the key is "element.attribute". Pure: no I/O, no allocation.
 */

#include "driver/policy/policy.h"

/* The defaults of a built-in policy. */
void policy_config_init(PolicyConfig *config, PolicyKind kind);

typedef enum PolicyConfigResult {
        POLICY_CONFIG_OK,
        POLICY_CONFIG_NO_POLICY,
        POLICY_CONFIG_NO_KEY,
        POLICY_CONFIG_BAD_VALUE,
        POLICY_CONFIG_OUT_OF_RANGE,
} PolicyConfigResult;

/* What is wrong, to come after the name of the thing; English. */
const char *policy_config_problem(PolicyConfigResult result);

/* Sets one key, e.g. "downtime.max" to "1050". On failure config is unchanged. */
PolicyConfigResult policy_config_set(PolicyConfig *config, const char *key, const char *value);

/* What is wrong with what the settings say together, as an English sentence; NULL: nothing. */
const char *policy_config_check(const PolicyConfig *config);

#define POLICY_WORD_SIZE 256

/* Reads the text form; what is not its business (postcopy, overhead) stays. On failure config is unchanged, and word
 * holds what is wrong. */
PolicyConfigResult policy_config_parse(PolicyConfig *config, const char *text, char word[static POLICY_WORD_SIZE]);

/* The keys, for documents and tests: NULL past the last. */
const char *policy_config_key(unsigned i);
