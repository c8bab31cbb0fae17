/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Peer-to-peer migration: this daemon plays the client. A helper process (virt-ferry-peer) opens our own socket and the
 * destination with libvirt's public client library, with all its transports, and calls virDomainMigrate3() between
 * them; so both ends see an ordinary direct migration, and nothing of it blocks the daemon.
 *
 * Helper's stdin: {"own": URI, "destination": URI, "uuid": TEXT, "flags": N, "params": [{"name", "type", "value"}...]}
 * Helper's stdout: {} or {"code": virErrorNumber, "message": TEXT}
 */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>

#include "driver/migration/migration.h"

typedef struct PeerArgs {
        const unsigned char *uuid;
        const char *dconnuri;
        virTypedParameterPtr params;
        int n_params;
        unsigned flags;        /* without PEER2PEER */
        /* becomes true when the caller is gone: the helper is ended, which aborts what it began */
        const bool *cancelled;
} PeerArgs;

/* Runs the whole migration. Fiber. The error is the one that a client of a direct migration would have got. */
int peer_migrate(MigrationContext *context, const PeerArgs *args, GError **reterr);
