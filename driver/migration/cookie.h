/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The cookie that a client carries between the two daemons: JSON text, versioned, bounded. The client could change it,
 * and whoever can talk to the peer can invent one, so everything in it is checked like any foreign input.
 *
 *   Begin   -> Prepare   who the guest is, its RAM blocks, how much of them is resident
 *   Prepare -> Perform   the token that proves a data connection, where to connect if the client does not say
 *   Perform -> Finish    persistent definition
 *   Finish  -> Confirm   nothing yet
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/engine/engine.h"
#include "driver/migration/storage.h"

#define COOKIE_VERSION 1
#define COOKIE_MAX (4u * 1024 * 1024) /* libvirt's own limit */
#define COOKIE_BLOCKS_MAX 256

typedef struct CookieBlock {
        char *id;
        uint64_t size_bytes, page_bytes;
} CookieBlock;

typedef struct MigrationCookie {
        char *name;             /* of the domain on the source */
        unsigned char uuid[16];
        char *hostname;         /* of the sender */
        char *instance;         /* names the sending daemon: a domain cannot migrate to where it is */
        CookieBlock *blocks;    /* NULL: the cookie has none */
        unsigned n_blocks;
        uint64_t resident_bytes;
        bool has_token;
        unsigned char token[ENGINE_TOKEN_BYTES];
        char *uri;              /* data address */
        StorageDisk *disks;     /* Begin: disks that come along; NULL: none */
        unsigned n_disks;
        char *disks_uri;        /* Prepare: where they are taken */
        char *persistent_xml;
        char *id;               /* names the migration, so that what was interrupted finds its other half again */
        bool complete;          /* Prepare -> Perform, when resuming: all memory had arrived already */
} MigrationCookie;

void migration_cookie_clear(MigrationCookie *cookie);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MigrationCookie, migration_cookie_clear)

/* Text without a final NUL counted in *ret_length; owned by the caller. */
char *migration_cookie_format(const MigrationCookie *cookie, unsigned *ret_length);
/* *ret_cookie must be zeroed. INVALID_ARG says what is wrong; an empty cookie is an error: the other side is not
 * Ferry. */
int migration_cookie_parse(const char *data, size_t length, MigrationCookie *ret_cookie, GError **reterr);
