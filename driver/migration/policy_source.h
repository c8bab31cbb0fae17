/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where a migration's policy comes from: the migration's own parameter, the domain's metadata, the daemon's
 * configuration; the first that there is. */

#include <glib.h>

#include "driver/policy/policy_config.h"

#define POLICY_NAMESPACE "urn:ferry:migration-policy:1"

typedef struct PolicySource {
        const char *parameter; /* the typed parameter "ferry.policy"; NULL: not given */
        const char *metadata;  /* what is inside the domain's <metadata>; NULL: nothing */
        const char *fallback;  /* migration_policy of the daemon's configuration; NULL: balanced */
} PolicySource;

/* INVALID_ARG, XML_ERROR or CONF_SYNTAX, by source, with the name of what is wrong. postcopy and overhead_usec of
 * *ret_config are the caller's to set. */
int policy_source_read(const PolicySource *source, PolicyConfig *ret_config, GError **reterr);
