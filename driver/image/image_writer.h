/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Writing a save image into a new, empty file. Blocks on the file. Nobody takes the file for an image before
 * image_writer_finish(); giving it its name is the caller's.
 */

#include <glib.h>

#include "driver/image/image_format.h"

typedef struct ImageWriter ImageWriter;
/* What one thread needs to write chunks. */
typedef struct ImagePress ImagePress;

#define IMAGE_WRITER_CHUNKS_MAX 16u /* at once: 1 MiB */

typedef struct ImageWriterArgs {
        int fd;               /* read-write, empty; not consumed, must stay open; O_DIRECT if it has that flag */
        ImageCompression compression;
        bool running;
        const char *xml;
        const ImageBlock *blocks; /* id, size_bytes and page_bytes */
        unsigned n_blocks;
} ImageWriterArgs;

/* Lays the file out and writes a header that says "not finished". */
int image_writer_new(const ImageWriterArgs *args, ImageWriter **ret_writer, GError **reterr);
ImageWriter *image_writer_free(ImageWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageWriter, image_writer_free)

/* Aborts when there is no memory. */
ImagePress *image_press_new(void);
ImagePress *image_press_free(ImagePress *press);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImagePress, image_press_free)

/* Writes n chunks (at most IMAGE_WRITER_CHUNKS_MAX) from the first on. memory: the content of the first chunk's first
 * page; only pages with a bit in pages[] are looked at. Any thread, each chunk once at most; those that are never given
 * are holes. 0 or negative errno. */
int image_writer_chunks(ImageWriter *writer, unsigned block, uint64_t first, unsigned n, const void *memory,
                        const uint16_t *pages, ImagePress *press);
/* Appends to the device state. After all chunks; one thread. 0 or negative errno. */
int image_writer_device(ImageWriter *writer, const void *data, size_t length);
/* Bytes given to the file so far. Any thread. */
uint64_t image_writer_written(ImageWriter *writer);
/* Writes the tables, waits until everything is on disk, then marks the image as finished. One thread. */
int image_writer_finish(ImageWriter *writer, GError **reterr);

/* Replaces the definition in a finished image, and with running >= 0 whether the guest runs after a restore. fd:
 * read-write. Either the old or the new text is in force, whenever the host goes down. */
int image_writer_set_xml(int fd, const char *xml, int running, GError **reterr);
/* Notes the order of first uses in a finished image, whose other content is not touched. 0 or negative errno. */
int image_writer_set_order(int fd, const ImageHeader *header, const ImageOrder *order);
