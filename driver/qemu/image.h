/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The chain of image files below a disk, read from the images' own headers, so that QEMU opens what was checked and
 * nothing else. */

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#include "xml/def.h"

/* A chain longer than this is refused. */
#define IMAGE_CHAIN_MAX 64

typedef struct ImageBacking {
        char *path;        /* as the header says; NULL: no backing file */
        DiskFormat format; /* UNSET: the header does not say */
} ImageBacking;
void image_backing_clear(ImageBacking *backing);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ImageBacking, image_backing_clear)

/* Enough of a qcow2 file to hold its header, header extensions and the backing file's name. */
#define IMAGE_HEADER_BYTES 65536

/* Reads a qcow2 header (versions 2 and 3; QEMU's docs/interop/qcow2.txt). Hostile bytes are expected: -EINVAL with an
 * error for what is no qcow2 or is damaged; path is for messages. */
int image_parse_qcow2(const unsigned char *bytes, size_t length, const char *path, ImageBacking *ret_backing,
                      GError **reterr);

/* Fills disk->backing with the images below disk->source, closed by one of type UNSET. Backing files must be local
 * files or block devices; the error names the image that is missing or not allowed. */
int image_load_chain(DiskDef *disk, GError **reterr);
/* The image depth steps below the top (from 1); NULL below the last. */
const DiskBackingDef *image_below(const DiskDef *disk, unsigned depth);
