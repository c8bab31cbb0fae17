/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An image file or block device, as much as a client's storage API shows of it. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Volume {
        bool block;         /* a block device */
        const char *format; /* "raw" or "qcow2" */
        uint64_t capacity_bytes;   /* what a guest sees */
        uint64_t allocation_bytes; /* what it takes here */
} Volume;

/* Looks at what is at path, which has to be absolute. VIR_ERR_NO_STORAGE_VOL when nothing is there, or nothing that can
 * be a disk. */
int volume_probe(const char *path, Volume *ret_volume, GError **reterr);

/* Their XML. The caller frees it. */
char *volume_xml(const char *path, const Volume *volume);
char *volume_pool_xml(const char *dir, const unsigned char *uuid);

/* The uuid of a folder as a pool, 16 bytes: the same each time. */
void volume_pool_uuid(const char *dir, unsigned char *ret_uuid);
