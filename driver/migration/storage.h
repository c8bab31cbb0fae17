/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Disks that are copied with the guest (virsh migrate --copy-storage-all, --copy-storage-inc): QEMU's own mirror jobs
 * on the source write into QEMU's NBD server on the destination. All calls on the loop's thread.
 *
 *   Begin    source: which disks, how large (storage_src_begin); the cookie tells the destination
 *   Prepare  destination: makes image files that do not exist (storage_dst_create), serves the disks
 * (storage_dst_serve) Perform  source: copies until both sides are equal (storage_src_copy), before memory; with the
 * guest stopped, ends the copying (storage_src_finish); the destination, before it says READY, ends serving
 * (storage_dst_close)
 */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "xml/def.h"

#define STORAGE_DISKS_MAX 256

typedef struct Migration Migration;
typedef struct Qemu Qemu;

typedef struct StorageDisk {
        char *target; /* "vda" */
        uint64_t bytes; /* what the guest sees */
} StorageDisk;

typedef struct Storage {
        StorageDisk *disks; /* NULL: none is copied */
        unsigned n_disks;
        char *uri;          /* where the destination serves them: "tcp://host:port", "unix:///path" */
        uint64_t total_bytes, done_bytes; /* source: of all disks together; total grows while the guest writes */
        GPtrArray *created; /* destination: paths of image files that we made; NULL: none */
} Storage;

/* Copies the list of disks. */
StorageDisk *storage_disks_copy(const StorageDisk *disks, unsigned n);
void storage_disks_free(StorageDisk *disks, unsigned n);
/* Frees what it holds. Image files that were created stay, unless discard says that nobody will need them. */
void storage_clear(Storage *storage, bool discard);

/* For the status file: the image files that were created, so that a restarted daemon can remove them; NULL: none. The
 * caller's. */
json_object *storage_saved(const Storage *storage);
/* Reads that back. */
void storage_restore(Storage *storage, json_object *saved);

/* Source: chooses the disks by the migration's parameters: those named, or all that are neither read-only nor shared.
 * Nothing without one of the flags. INVALID_ARG names a disk that cannot be copied. Fiber. */
int storage_src_begin(Migration *migration, GError **reterr);
/* Source: copies all chosen disks, and returns when source and destination are equal, and kept equal. uri is where they
 * are served. Fiber; as long as it takes, or until the migration fails or is aborted. */
int storage_src_copy(Migration *migration, const char *uri, GError **reterr);
/* Source, with the guest stopped: the last of it, and the end of the jobs. Fiber. */
int storage_src_finish(Migration *migration, GError **reterr);
/* Source: ends all copying at once, whoever began it. Fiber; harmless if there is none. */
void storage_src_abort(Qemu *qemu);

/* Destination: makes the image files of def that the source has and this host lacks. With the incremental flag a
 * missing one is an error. Fiber. */
int storage_dst_create(Migration *migration, const DomainDef *def, GError **reterr);
/* Destination, QEMU runs: serves the disks. *ret_uri (the host is host) is the caller's. Fiber. */
int storage_dst_serve(Migration *migration, const char *listen, const char *host, char **ret_uri, GError **reterr);
/* Destination: nobody can write into the disks from outside any more. Fiber. */
int storage_dst_close(Migration *migration, GError **reterr);
