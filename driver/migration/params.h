/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The flags and typed parameters of a migration (VIR_MIGRATE_*, VIR_MIGRATE_PARAM_* in <libvirt/libvirt-domain.h>). */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct MigrationParams {
        unsigned flags;
        char *uri;            /* migrate_uri, as given */
        char *name;           /* destination_name */
        char *xml;            /* destination_xml */
        char *persistent_xml;
        char *listen_address;
        char **migrate_disks; /* names of disks to copy, NULL-terminated; NULL: all that are the guest's own */
        char *disks_uri;      /* where the destination takes them */
        unsigned disks_port;  /* likewise; 0: any of the range */
        char *policy;         /* "ferry.policy" */
        unsigned throttle_initial, throttle_increment; /* of --auto-converge, percent; 0: the policy's */
        uint64_t bandwidth_mib; /* MiB/s; 0: the domain's migrate-setspeed */
        uint64_t postcopy_bandwidth_mib; /* likewise, of migrate-setspeed --postcopy */
} MigrationParams;

/* Our own typed parameter: a migration policy in its text form (driver/policy/policy_config.h). */
#define MIGRATION_PARAM_POLICY "ferry.policy"

void migration_params_clear(MigrationParams *params);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MigrationParams, migration_params_clear)

/* Reads them. ARGUMENT_UNSUPPORTED names what Ferry does not do; INVALID_ARG what is wrong or contradicts itself.
 * *ret_params must be zeroed. */
int migration_params_parse(virTypedParameterPtr list, int n, unsigned flags, MigrationParams *ret_params,
                           GError **reterr);

/* Where the data goes. */
typedef struct MigrationAddress {
        char *host;      /* NULL for unix, and for "listen everywhere" */
        unsigned port;   /* 0: not said */
        char *unix_path; /* NULL for TCP */
} MigrationAddress;

void migration_address_clear(MigrationAddress *address);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MigrationAddress, migration_address_clear)

/* "tcp://host[:port]", the older "tcp:host:port", "unix:///path". *ret_address must be zeroed. INVALID_ARG,
 * ARGUMENT_UNSUPPORTED for another scheme. */
int migration_address_parse(const char *uri, MigrationAddress *ret_address, GError **reterr);
/* The URI of host and port, brackets around IPv6. Owned by the caller. */
char *migration_address_format(const char *host, unsigned port);
