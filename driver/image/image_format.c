/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/image/image_format.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/units.h"

#define FIELDS_BYTES 512u /* the header's, with its checksum at the end */
#define FLAG_COMPLETE (1u << 0)
#define FLAG_RUNNING (1u << 1)
#define ORDER_MAGIC UINT32_C(0x4452524f) /* "ORRD" */
#define BLOCK_SIZE_MAX (UINT64_C(1) << 46)

const char *image_compression_to_string(unsigned compression) {
        static const char *const names[IMAGE_COMPRESSION_MAX_] = { [IMAGE_RAW] = "raw", [IMAGE_ZSTD] = "zstd" };

        return compression < IMAGE_COMPRESSION_MAX_ ? names[compression] : NULL;
}

int image_compression_from_string(const char *name) {
        for (unsigned i = 0; name && i < IMAGE_COMPRESSION_MAX_; i++)
                if (strcmp(image_compression_to_string(i), name) == 0)
                        return (int) i;
        return -1;
}

uint64_t image_hash(const void *data, size_t length) {
        return XXH3_64bits(data, length);
}

ImageHash *image_hash_new(void) {
        ImageHash *hash = XXH3_createState();

        XXH3_64bits_reset(hash);
        return hash;
}

void image_hash_free(ImageHash *hash) {
        XXH3_freeState(hash);
}

void image_hash_reset(ImageHash *hash) {
        XXH3_64bits_reset(hash);
}

void image_hash_update(ImageHash *hash, const void *data, size_t length) {
        XXH3_64bits_update(hash, data, length);
}

uint64_t image_hash_value(const ImageHash *hash) {
        return XXH3_64bits_digest(hash);
}

uint64_t image_hash_pages(ImageHash *hash, const void *memory, uint16_t pages) {
        if (pages == UINT16_MAX)
                return image_hash(memory, IMAGE_CHUNK_DATA_BYTES);
        image_hash_reset(hash);
        for (unsigned page = 0; page < IMAGE_CHUNK_PAGES; page++)
                if (pages >> page & 1)
                        image_hash_update(hash, (const unsigned char *) memory + (size_t) page * IMAGE_PAGE_BYTES,
                                          IMAGE_PAGE_BYTES);
        return image_hash_value(hash);
}

uint64_t image_chunk_count(uint64_t size_bytes) {
        return (size_bytes + IMAGE_CHUNK_DATA_BYTES - 1) / IMAGE_CHUNK_DATA_BYTES;
}

uint32_t image_chunk_length(uint64_t size_bytes, uint64_t chunk) {
        return (uint32_t) MIN(size_bytes - chunk * IMAGE_CHUNK_DATA_BYTES, IMAGE_CHUNK_DATA_BYTES);
}

unsigned image_chunk_pages(const ImageChunk *chunk) {
        return (unsigned) __builtin_popcount(chunk->pages);
}

/* ---- numbers ---- */

static unsigned char *put(unsigned char *p, uint64_t value, unsigned bytes) {
        for (unsigned i = 0; i < bytes; i++)
                p[i] = (unsigned char) (value >> (8 * i));
        return p + bytes;
}

static uint64_t get(const unsigned char **p, unsigned bytes) {
        uint64_t value = 0;

        for (unsigned i = 0; i < bytes; i++)
                value |= (uint64_t) (*p)[i] << (8 * i);
        *p += bytes;
        return value;
}

static unsigned char *put_extent(unsigned char *p, const ImageExtent *extent) {
        return put(put(put(p, extent->offset, 8), extent->length, 8), extent->hash, 8);
}

static ImageExtent get_extent(const unsigned char **p) {
        ImageExtent extent;

        extent.offset = get(p, 8);
        extent.length = get(p, 8);
        extent.hash = get(p, 8);
        return extent;
}

/* ---- header ---- */

void image_header_encode(const ImageHeader *header, unsigned char *ret_bytes) {
        unsigned char *p = ret_bytes;

        memset(ret_bytes, 0, IMAGE_HEADER_BYTES);
        memcpy(p, IMAGE_MAGIC, 8);
        p = put(p + 8, IMAGE_VERSION, 4);
        p = put(p, (header->complete ? FLAG_COMPLETE : 0) | (header->running ? FLAG_RUNNING : 0), 4);
        p = put(p, header->compression, 4);
        p = put(p, header->n_blocks, 4);
        memcpy(p, header->id, IMAGE_ID_BYTES);
        p = put(p + IMAGE_ID_BYTES, header->created_sec, 8);
        p = put(p, header->file_bytes, 8);
        p = put(p, header->data_bytes, 8);
        p = put_extent(p, &header->xml);
        p = put(p, header->xml_area_offset, 8);
        p = put(p, header->xml_area_bytes, 8);
        p = put(p, header->order_offset, 8);
        p = put_extent(p, &header->blocks);
        (void) put_extent(p, &header->device);
        put(ret_bytes + FIELDS_BYTES - 8, image_hash(ret_bytes, FIELDS_BYTES - 8), 8);
}

/* Whether the extent lies within the file, after the header. */
static bool extent_fits(const ImageExtent *extent, uint64_t file_bytes, uint64_t max_bytes) {
        return extent->length <= max_bytes && extent->offset % IMAGE_ALIGN_BYTES == 0 &&
               extent->offset >= IMAGE_HEADER_BYTES && extent->offset <= file_bytes &&
               extent->length <= file_bytes - extent->offset;
}

static int header_damaged(GError **reterr) {
        return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the header of the save image is damaged"));
}

static bool areas_fit(const ImageHeader *header) {
        ImageExtent xml_area = { .offset = header->xml_area_offset, .length = header->xml_area_bytes };
        ImageExtent order = { .offset = header->order_offset, .length = IMAGE_ORDER_AREA_BYTES };

        return extent_fits(&xml_area, header->file_bytes, 4 * (uint64_t) IMAGE_XML_MAX) &&
               extent_fits(&order, header->file_bytes, UINT64_MAX) && header->xml.offset >= header->xml_area_offset &&
               header->xml.offset + header->xml.length <= header->xml_area_offset + header->xml_area_bytes;
}

int image_header_decode(const unsigned char *bytes, size_t length, uint64_t file_bytes, ImageHeader *ret_header,
                        GError **reterr) {
        const unsigned char *p = bytes + 8;
        ImageHeader header = { 0 };

        if (length < 8 || memcmp(bytes, IMAGE_MAGIC, 8) != 0)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("this is no save image of Ferry"));
        if (length < IMAGE_HEADER_BYTES)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the save image ends within its header"));
        uint64_t version = get(&p, 4), flags = get(&p, 4), compression = get(&p, 4);
        if (version != IMAGE_VERSION)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("the save image has version %u, this Ferry reads version %u"), (unsigned) version,
                                 IMAGE_VERSION);
        const unsigned char *sum = bytes + FIELDS_BYTES - 8;
        if (get(&sum, 8) != image_hash(bytes, FIELDS_BYTES - 8))
                return header_damaged(reterr);
        header.complete = flags & FLAG_COMPLETE;
        header.running = flags & FLAG_RUNNING;
        header.compression = (ImageCompression) compression;
        header.n_blocks = (unsigned) get(&p, 4);
        memcpy(header.id, p, IMAGE_ID_BYTES);
        p += IMAGE_ID_BYTES;
        header.created_sec = get(&p, 8);
        header.file_bytes = get(&p, 8);
        header.data_bytes = get(&p, 8);
        header.xml = get_extent(&p);
        header.xml_area_offset = get(&p, 8);
        header.xml_area_bytes = get(&p, 8);
        header.order_offset = get(&p, 8);
        header.blocks = get_extent(&p);
        header.device = get_extent(&p);
        if (!header.complete)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the save image was never finished: saving was interrupted"));
        if (file_bytes < header.file_bytes)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the save image is truncated: it has %" G_GUINT64_FORMAT
                                   " bytes of %" G_GUINT64_FORMAT),
                                 file_bytes, header.file_bytes);
        if (compression >= IMAGE_COMPRESSION_MAX_ || flags & ~(FLAG_COMPLETE | FLAG_RUNNING) || header.n_blocks == 0 ||
            header.n_blocks > IMAGE_BLOCKS_MAX || header.blocks.length != header.n_blocks * IMAGE_BLOCK_BYTES ||
            header.file_bytes > INT64_MAX || !extent_fits(&header.xml, header.file_bytes, IMAGE_XML_MAX) ||
            header.xml.length == 0 || !areas_fit(&header) ||
            !extent_fits(&header.blocks, header.file_bytes, UINT64_MAX) ||
            !extent_fits(&header.device, header.file_bytes, IMAGE_DEVICE_MAX))
                return header_damaged(reterr);
        *ret_header = header;
        return 0;
}

/* ---- blocks ---- */

void image_block_encode(const ImageBlock *block, unsigned char *ret_bytes) {
        unsigned char *p = ret_bytes + IMAGE_BLOCK_ID_MAX + 1;

        memset(ret_bytes, 0, IMAGE_BLOCK_BYTES);
        g_strlcpy((char *) ret_bytes, block->id, IMAGE_BLOCK_ID_MAX + 1);
        p = put(p, block->size_bytes, 8);
        p = put(p, block->page_bytes, 8);
        p = put_extent(p, &block->table);
        (void) put(p, block->data_offset, 8);
}

int image_block_decode(const unsigned char *bytes, const ImageHeader *header, ImageBlock *ret_block, GError **reterr) {
        const unsigned char *p = bytes + IMAGE_BLOCK_ID_MAX + 1;
        ImageBlock block = { 0 };

        memcpy(block.id, bytes, IMAGE_BLOCK_ID_MAX);
        block.size_bytes = get(&p, 8);
        block.page_bytes = get(&p, 8);
        block.table = get_extent(&p);
        block.data_offset = get(&p, 8);
        /* Every entry of the table is in the file, so its length is bounded by the file's. */
        if (bytes[IMAGE_BLOCK_ID_MAX] != 0 || block.id[0] == 0 || !g_utf8_validate(block.id, -1, NULL) ||
            block.size_bytes == 0 || block.size_bytes > BLOCK_SIZE_MAX || block.page_bytes < IMAGE_PAGE_BYTES ||
            (block.page_bytes & (block.page_bytes - 1)) != 0 || block.size_bytes % block.page_bytes != 0 ||
            block.table.length != image_chunk_count(block.size_bytes) * IMAGE_CHUNK_BYTES ||
            !extent_fits(&block.table, header->file_bytes, UINT64_MAX) || block.data_offset > header->file_bytes)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the list of RAM blocks in the save image is damaged"));
        *ret_block = block;
        return 0;
}

/* ---- chunks ---- */

void image_chunk_encode(const ImageChunk *chunk, unsigned char *ret_bytes) {
        unsigned char *p = put(ret_bytes, chunk->offset, 8);

        /* At most 64 KiB are stored, so 24 bits do; the kind shares their word. */
        p = put(p, chunk->stored_bytes | (uint32_t) chunk->kind << 24, 4);
        p = put(p, chunk->pages, 2);
        p = put(p, 0, 2);
        (void) put(p, chunk->hash, 8);
}

int image_chunk_decode(const unsigned char *bytes, const ImageHeader *header, const ImageBlock *block, uint64_t index,
                       ImageChunk *ret_chunk) {
        const unsigned char *p = bytes;
        ImageChunk chunk = { .offset = get(&p, 8) };
        uint32_t word = (uint32_t) get(&p, 4);
        uint32_t length = image_chunk_length(block->size_bytes, index);
        uint32_t needed;

        chunk.stored_bytes = word & 0xffffff;
        chunk.kind = (uint8_t) (word >> 24);
        chunk.pages = (uint16_t) get(&p, 2);
        uint64_t reserved = get(&p, 2);
        chunk.hash = get(&p, 8);
        if (reserved != 0 || chunk.kind >= IMAGE_CHUNK_KIND_MAX_ ||
            (chunk.pages == 0) != (chunk.kind == IMAGE_CHUNK_HOLE) ||
            (length < IMAGE_CHUNK_DATA_BYTES && chunk.pages >> (length / IMAGE_PAGE_BYTES) != 0))
                return -EBADMSG;
        uint32_t data = image_chunk_pages(&chunk) * IMAGE_PAGE_BYTES;
        switch (chunk.kind) {
        case IMAGE_CHUNK_HOLE:
                if (chunk.stored_bytes != 0 || chunk.offset != 0)
                        return -EBADMSG;
                needed = 0;
                break;
        case IMAGE_CHUNK_PLACE:
                if (chunk.stored_bytes != 0 || chunk.offset != block->data_offset + index * IMAGE_CHUNK_DATA_BYTES)
                        return -EBADMSG;
                needed = (32 - (uint32_t) __builtin_clz(chunk.pages)) * IMAGE_PAGE_BYTES;
                break;
        case IMAGE_CHUNK_PACKED:
                if (chunk.stored_bytes != data)
                        return -EBADMSG;
                needed = data;
                break;
        default: /* never larger than what it stands for */
                if (chunk.stored_bytes == 0 || chunk.stored_bytes > data)
                        return -EBADMSG;
                needed = chunk.stored_bytes;
        }
        if (chunk.offset > header->file_bytes || needed > header->file_bytes - chunk.offset)
                return -EBADMSG;
        *ret_chunk = chunk;
        return 0;
}

/* ---- order of first use ---- */

void image_order_encode(const ImageOrder *order, unsigned char *ret_bytes) {
        unsigned char *p = ret_bytes + IMAGE_ALIGN_BYTES;

        memset(ret_bytes, 0, IMAGE_ORDER_AREA_BYTES);
        for (unsigned i = 0; i < order->n; i++)
                p = put(p, order->entries[i], 4);
        put(put(ret_bytes, ORDER_MAGIC, 4), order->n, 4);
        put(ret_bytes + 8, image_hash(ret_bytes + IMAGE_ALIGN_BYTES, order->n * 4u), 8);
}

void image_order_decode(const unsigned char *bytes, ImageOrder *ret_order) {
        const unsigned char *p = bytes, *entries = bytes + IMAGE_ALIGN_BYTES;
        uint64_t magic = get(&p, 4), n = get(&p, 4), hash = get(&p, 8);

        ret_order->n = 0;
        if (magic != ORDER_MAGIC || n > IMAGE_ORDER_MAX || hash != image_hash(entries, n * 4))
                return;
        for (; ret_order->n < n; ret_order->n++)
                ret_order->entries[ret_order->n] = (uint32_t) get(&entries, 4);
}
