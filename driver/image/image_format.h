/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The form of a save image: constants, and pure encoding and decoding of its tables. docs/image.md draws the layout and
 * says what each field is for. All numbers are little-endian. Decoders take whatever bytes and bound everything by the
 * file's size.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAGIC "FERRYIMG"
#define IMAGE_VERSION 1u
#define IMAGE_ALIGN_BYTES 4096u       /* of every section, so that direct I/O works */
#define IMAGE_DATA_ALIGN_BYTES (UINT64_C(2) << 20) /* of a block's pages in a raw image */
#define IMAGE_HEADER_BYTES 4096u      /* of which the fields take the first 512: one sector, written at once */
#define IMAGE_BLOCK_BYTES 128u
#define IMAGE_CHUNK_BYTES 24u         /* of an entry in a page table */
#define IMAGE_PAGE_BYTES 4096u
#define IMAGE_CHUNK_PAGES 16u
#define IMAGE_CHUNK_DATA_BYTES (IMAGE_CHUNK_PAGES * IMAGE_PAGE_BYTES)
#define IMAGE_ID_BYTES 16u
#define IMAGE_BLOCKS_MAX 64u
#define IMAGE_BLOCK_ID_MAX 63u
#define IMAGE_XML_MAX (4u << 20)
#define IMAGE_DEVICE_MAX (UINT64_C(1) << 30)
#define IMAGE_ORDER_MAX 16384u        /* chunks whose first use is remembered: 1 GiB of them */

typedef enum ImageCompression {
        IMAGE_RAW = 0,  /* each page at its own place */
        IMAGE_ZSTD = 1, /* each chunk is one zstd frame, or as it is where that is not smaller */
        IMAGE_COMPRESSION_MAX_,
} ImageCompression;

/* "raw", "zstd"; NULL for another number. And back: -1 for another name. */
const char *image_compression_to_string(unsigned compression);
int image_compression_from_string(const char *name);

/* A piece of the file with the XXH3-64 of its bytes. */
typedef struct ImageExtent {
        uint64_t offset, length, hash;
} ImageExtent;

typedef struct ImageHeader {
        bool complete;           /* written last of all */
        bool running;            /* the guest ran when it was saved, and does again when it is restored */
        ImageCompression compression;
        unsigned n_blocks;
        unsigned char id[IMAGE_ID_BYTES]; /* random */
        uint64_t created_sec;    /* realtime */
        uint64_t file_bytes;     /* of the whole file */
        uint64_t data_bytes;     /* pages that the image holds, as the guest sees them */
        ImageExtent xml;         /* text of the domain definition, without a NUL */
        uint64_t xml_area_offset, xml_area_bytes; /* room for two texts: one of them is in force */
        uint64_t order_offset;   /* IMAGE_ORDER_AREA_BYTES; rewritten by restores, checked by itself */
        ImageExtent blocks;      /* n_blocks entries */
        ImageExtent device;      /* QEMU's device state */
} ImageHeader;

typedef struct ImageBlock {
        char id[IMAGE_BLOCK_ID_MAX + 1];
        uint64_t size_bytes, page_bytes;
        ImageExtent table;       /* the page table: an entry per chunk */
        uint64_t data_offset;    /* raw: where page 0 would be */
} ImageBlock;

typedef enum ImageChunkKind {
        IMAGE_CHUNK_HOLE = 0,  /* all pages are zero: nothing is stored */
        /* each page that is not zero at its own place: offset is that of the chunk's first page */
        IMAGE_CHUNK_PLACE = 1,
        IMAGE_CHUNK_PACKED = 2, /* the pages that are not zero, one after the other */
        IMAGE_CHUNK_ZSTD = 3,  /* as PACKED, as one zstd frame */
        IMAGE_CHUNK_KIND_MAX_,
} ImageChunkKind;

typedef struct ImageChunk {
        uint64_t offset;
        uint32_t stored_bytes; /* 0 for PLACE */
        uint16_t pages;        /* a bit per page: it is not zero */
        uint8_t kind;          /* ImageChunkKind */
        uint64_t hash;         /* XXH3-64 of the pages that are not zero, in order */
} ImageChunk;

/* The first uses of the image's chunks, oldest first: (block << 26 | chunk). */
typedef struct ImageOrder {
        unsigned n;
        uint32_t entries[IMAGE_ORDER_MAX];
} ImageOrder;
#define IMAGE_ORDER_CHUNK_BITS 26u
#define IMAGE_ORDER_AREA_BYTES (IMAGE_ALIGN_BYTES + IMAGE_ORDER_MAX * 4u)

/* XXH3-64. */
uint64_t image_hash(const void *data, size_t length);
/* The same over pieces: reset, update..., value. */
typedef struct XXH3_state_s ImageHash;
ImageHash *image_hash_new(void);
void image_hash_free(ImageHash *hash);
void image_hash_reset(ImageHash *hash);
void image_hash_update(ImageHash *hash, const void *data, size_t length);
uint64_t image_hash_value(const ImageHash *hash);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageHash, image_hash_free)
/* The hash of a chunk whose pages stand at their places in memory; only those with a bit are looked at. hash is for the
 * function's own use. */
uint64_t image_hash_pages(ImageHash *hash, const void *memory, uint16_t pages);

/* Number of page-table entries of a block; bytes of a chunk's pages in the guest (less than a whole one at a block's
 * end). */
uint64_t image_chunk_count(uint64_t size_bytes);
uint32_t image_chunk_length(uint64_t size_bytes, uint64_t chunk);
/* Number of bits. */
unsigned image_chunk_pages(const ImageChunk *chunk);

/* Writes IMAGE_HEADER_BYTES. */
void image_header_encode(const ImageHeader *header, unsigned char *ret_bytes);
/* length: how much of the file's beginning there is; file_bytes: its real size. Errors say what is wrong, without the
 * file's name: OPERATION_FAILED, and CONFIG_UNSUPPORTED for a version that is newer than this one. */
int image_header_decode(const unsigned char *bytes, size_t length, uint64_t file_bytes, ImageHeader *ret_header,
                        GError **reterr);

/* Writes IMAGE_BLOCK_BYTES. */
void image_block_encode(const ImageBlock *block, unsigned char *ret_bytes);
/* The entry is checked against the header. */
int image_block_decode(const unsigned char *bytes, const ImageHeader *header, ImageBlock *ret_block, GError **reterr);

/* Writes IMAGE_CHUNK_BYTES. */
void image_chunk_encode(const ImageChunk *chunk, unsigned char *ret_bytes);
/* Entry number index of the block's table, checked against block and header. 0 or -EBADMSG. */
int image_chunk_decode(const unsigned char *bytes, const ImageHeader *header, const ImageBlock *block, uint64_t index,
                       ImageChunk *ret_chunk);

/* Writes IMAGE_ORDER_AREA_BYTES. */
void image_order_encode(const ImageOrder *order, unsigned char *ret_bytes);
/* Whatever is not a whole list reads as an empty one. */
void image_order_decode(const unsigned char *bytes, ImageOrder *ret_order);
