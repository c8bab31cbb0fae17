/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A finished save image, opened for reading. Blocks on the file; fixed after image_reader_new() and
 * image_reader_load_tables(), then any thread. */

#include <glib.h>

#include "driver/image/image_format.h"

typedef struct ImageReader ImageReader;
/* What one thread needs to take chunks apart. */
typedef struct ImageScratch ImageScratch;

/* Reads and checks header, definition and list of RAM blocks, about 100 KiB. Takes fd over (also on failure). Errors
 * say what is wrong with the file. */
int image_reader_new(int fd, ImageReader **ret_reader, GError **reterr);
ImageReader *image_reader_free(ImageReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageReader, image_reader_free)
/* Reads and checks the page tables: 24 bytes for each 64 KiB of guest memory. */
int image_reader_load_tables(ImageReader *reader, GError **reterr);

/* Borrowed. */
const ImageHeader *image_reader_header(const ImageReader *reader);
const char *image_reader_xml(const ImageReader *reader);
const ImageBlock *image_reader_block(const ImageReader *reader, unsigned block);
int image_reader_fd(const ImageReader *reader);

/* Aborts when there is no memory. */
ImageScratch *image_scratch_new(void);
ImageScratch *image_scratch_free(ImageScratch *scratch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageScratch, image_scratch_free)

/* Entry index of the block's page table; index < image_chunk_count(). 0 or -EBADMSG. After
 * image_reader_load_tables(). */
int image_reader_chunk(const ImageReader *reader, unsigned block, uint64_t index, ImageChunk *ret_chunk);
/* Reads the pages of a chunk that are not zero to their places in pages (64 KiB, aligned to 4096; the others are not
 * touched) and checks them. 0; -EBADMSG: what is in the file is not what was written; other negative errno: the file
 * cannot be read. */
int image_reader_read(const ImageReader *reader, const ImageChunk *chunk, void *pages, ImageScratch *scratch);
/* The sentence for an error of the two above. Returns its own number. */
int image_reader_error(const ImageReader *reader, unsigned block, uint64_t index, int error, GError **reterr);

/* The device state in pieces, from offset on; at most length bytes. Returns the number, 0 at the end. Not checked: see
 * image_reader_check_device(). */
ssize_t image_reader_device(const ImageReader *reader, uint64_t offset, void *data, size_t length);
/* Reads all of it and compares its checksum. */
int image_reader_check_device(const ImageReader *reader, GError **reterr);
/* The order of first uses at the last restore; empty if there is none. */
void image_reader_order(const ImageReader *reader, ImageOrder *ret_order);
