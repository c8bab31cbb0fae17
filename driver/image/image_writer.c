/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation. All places but those of compressed chunks and of the device state are fixed when the writer is
 * made, so chunks go to the file in any order from any thread. Compressed ones are appended through one buffer that is
 * always written at aligned places.
 *
 * The header is written twice: first without its mark "complete", so that whatever is left of an interrupted save is
 * refused, and at last, after everything else has reached the disk.
 */

#include "driver/image/image_writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/units.h"
#include "driver/image/image_io.h"

#define ZSTD_LEVEL 1 /* memory of a stopped guest: time counts */
#define APPEND_BYTES (1u << 20)
#define XML_SPARE_BYTES 16384u

struct ImageWriter {
        /* fixed after image_writer_new() */
        int fd;
        ImageHeader header;
        ImageBlock *blocks;
        unsigned char **tables; /* encoded; each entry belongs to who writes its chunk */
        /* any thread */
        atomic_uint_fast64_t written_bytes, data_bytes;
        /* under lock: what is appended */
        pthread_mutex_t lock;
        unsigned char *buffer;
        size_t buffered;
        uint64_t append_offset; /* of the buffer's first byte */
        /* the thread that ends the image */
        ImageHash *device_hash;
};

struct ImagePress {
        ZSTD_CCtx *zstd;
        ImageHash *hash;
        unsigned char *packed, *pressed;
};

ImagePress *image_press_new(void) {
        ImagePress *press = g_new0(ImagePress, 1);

        press->zstd = ZSTD_createCCtx();
        press->hash = image_hash_new();
        press->packed = image_io_alloc(IMAGE_CHUNK_DATA_BYTES);
        press->pressed = image_io_alloc(ZSTD_COMPRESSBOUND(IMAGE_CHUNK_DATA_BYTES));
        return press;
}

ImagePress *image_press_free(ImagePress *press) {
        if (!press)
                return NULL;
        ZSTD_freeCCtx(press->zstd);
        image_hash_free(press->hash);
        image_io_free(press->packed);
        image_io_free(press->pressed);
        g_free(press);
        return NULL;
}

/* ---- making ---- */

static uint64_t take_room(uint64_t *inout_end, uint64_t length, uint64_t align) {
        uint64_t offset = units_align_up(*inout_end, align);

        *inout_end = offset + length;
        return offset;
}

static void lay_out(ImageWriter *writer, const char *xml) {
        ImageHeader *header = &writer->header;
        uint64_t end = IMAGE_HEADER_BYTES;

        header->xml.length = strlen(xml);
        header->xml.hash = image_hash(xml, header->xml.length);
        /* Two texts of this size, and some more. */
        header->xml_area_bytes = 2 * units_align_up(header->xml.length + XML_SPARE_BYTES, IMAGE_ALIGN_BYTES);
        header->xml.offset = header->xml_area_offset = take_room(&end, header->xml_area_bytes, IMAGE_ALIGN_BYTES);
        header->order_offset = take_room(&end, IMAGE_ORDER_AREA_BYTES, IMAGE_ALIGN_BYTES);
        header->blocks.length = header->n_blocks * IMAGE_BLOCK_BYTES;
        header->blocks.offset = take_room(&end, header->blocks.length, IMAGE_ALIGN_BYTES);
        for (unsigned i = 0; i < header->n_blocks; i++) {
                ImageBlock *block = &writer->blocks[i];

                block->table.length = image_chunk_count(block->size_bytes) * IMAGE_CHUNK_BYTES;
                block->table.offset = take_room(&end, block->table.length, IMAGE_ALIGN_BYTES);
        }
        for (unsigned i = 0; i < header->n_blocks && header->compression == IMAGE_RAW; i++)
                writer->blocks[i].data_offset = take_room(&end, writer->blocks[i].size_bytes, IMAGE_DATA_ALIGN_BYTES);
        writer->append_offset = units_align_up(end, IMAGE_ALIGN_BYTES);
}

static int write_header(ImageWriter *writer) {
        _cleanup_image_io_ unsigned char *bytes = image_io_alloc(IMAGE_HEADER_BYTES);

        image_header_encode(&writer->header, bytes);
        return image_io_write(writer->fd, 0, bytes, IMAGE_HEADER_BYTES);
}

int image_writer_new(const ImageWriterArgs *args, ImageWriter **ret_writer, GError **reterr) {
        g_autoptr(ImageWriter) writer = g_new0(ImageWriter, 1);
        int r;

        pthread_mutex_init(&writer->lock, NULL);
        if (args->n_blocks == 0 || args->n_blocks > IMAGE_BLOCKS_MAX || strlen(args->xml) > IMAGE_XML_MAX)
                return error_set(
                        reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                        _("a save image cannot hold a domain like this: too many RAM blocks, or its definition is too "
                          "long"));
        writer->fd = args->fd;
        writer->header = (ImageHeader){ .compression = args->compression,
                                        .running = args->running,
                                        .n_blocks = args->n_blocks,
                                        .created_sec = clock_realtime_usec() / USEC_PER_SEC };
        if (getrandom(writer->header.id, IMAGE_ID_BYTES, 0) != IMAGE_ID_BYTES)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("no random numbers for the save image"));
        writer->blocks = g_memdup2(args->blocks, args->n_blocks * sizeof(ImageBlock));
        lay_out(writer, args->xml);
        writer->tables = g_new0(unsigned char *, args->n_blocks);
        for (unsigned i = 0; i < args->n_blocks; i++)
                writer->tables[i] = image_io_alloc(writer->blocks[i].table.length);
        writer->buffer = image_io_alloc(APPEND_BYTES);
        writer->device_hash = image_hash_new();
        r = write_header(writer);
        if (r >= 0)
                r = image_io_write(writer->fd, writer->header.xml.offset, args->xml, writer->header.xml.length);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot write the save image"));
        *ret_writer = g_steal_pointer(&writer);
        return 0;
}

ImageWriter *image_writer_free(ImageWriter *writer) {
        if (!writer)
                return NULL;
        for (unsigned i = 0; writer->tables && i < writer->header.n_blocks; i++)
                image_io_free(writer->tables[i]);
        g_free(writer->tables);
        g_free(writer->blocks);
        image_io_free(writer->buffer);
        image_hash_free(writer->device_hash);
        pthread_mutex_destroy(&writer->lock);
        g_free(writer);
        return NULL;
}

uint64_t image_writer_written(ImageWriter *writer) {
        return atomic_load_explicit(&writer->written_bytes, memory_order_relaxed);
}

/* ---- appending ---- */

/* Under lock. Only whole pages are written; with pad, the last one is filled up. */
static int flush(ImageWriter *writer, bool pad) {
        size_t whole = pad ? units_align_up(writer->buffered, IMAGE_ALIGN_BYTES)
                           : units_align_down(writer->buffered, IMAGE_ALIGN_BYTES);

        if (pad)
                memset(writer->buffer + writer->buffered, 0, whole - writer->buffered);
        int r = image_io_write(writer->fd, writer->append_offset, writer->buffer, whole);
        if (r < 0)
                return r;
        atomic_fetch_add(&writer->written_bytes, whole);
        writer->append_offset += whole;
        writer->buffered = pad ? 0 : writer->buffered - whole;
        memmove(writer->buffer, writer->buffer + whole, writer->buffered);
        return 0;
}

/* Under lock. */
static int append(ImageWriter *writer, const unsigned char *data, size_t length, uint64_t *ret_offset) {
        uint64_t offset = writer->append_offset + writer->buffered;

        while (length > 0) {
                size_t n = MIN(length, APPEND_BYTES - writer->buffered);

                memcpy(writer->buffer + writer->buffered, data, n);
                writer->buffered += n;
                data += n;
                length -= n;
                if (writer->buffered == APPEND_BYTES) {
                        int r = flush(writer, false);
                        if (r < 0)
                                return r;
                }
        }
        *ret_offset = offset;
        return 0;
}

/* ---- chunks ---- */

static void set_entry(ImageWriter *writer, unsigned block, uint64_t index, const ImageChunk *chunk) {
        image_chunk_encode(chunk, writer->tables[block] + index * IMAGE_CHUNK_BYTES);
}

static int write_pressed(ImageWriter *writer, const unsigned char *memory, ImageChunk *chunk, ImagePress *press) {
        size_t length = 0, stored;
        const unsigned char *data;

        for (unsigned page = 0; page < IMAGE_CHUNK_PAGES; page++)
                if (chunk->pages >> page & 1) {
                        memcpy(press->packed + length, memory + (size_t) page * IMAGE_PAGE_BYTES, IMAGE_PAGE_BYTES);
                        length += IMAGE_PAGE_BYTES;
                }
        chunk->hash = image_hash(press->packed, length);
        stored = ZSTD_compressCCtx(press->zstd, press->pressed, ZSTD_COMPRESSBOUND(IMAGE_CHUNK_DATA_BYTES),
                                   press->packed, length, ZSTD_LEVEL);
        chunk->kind = !ZSTD_isError(stored) && stored < length ? IMAGE_CHUNK_ZSTD : IMAGE_CHUNK_PACKED;
        data = chunk->kind == IMAGE_CHUNK_ZSTD ? press->pressed : press->packed;
        chunk->stored_bytes = (uint32_t) (chunk->kind == IMAGE_CHUNK_ZSTD ? stored : length);
        pthread_mutex_lock(&writer->lock);
        int r = append(writer, data, chunk->stored_bytes, &chunk->offset);
        pthread_mutex_unlock(&writer->lock);
        return r;
}

static bool has_page(const uint16_t *pages, size_t page) {
        return pages[page / IMAGE_CHUNK_PAGES] >> (page % IMAGE_CHUNK_PAGES) & 1;
}

/* Straight from the guest's memory, each run of pages with one call. */
static int write_places(ImageWriter *writer, uint64_t offset, unsigned n, const unsigned char *memory,
                        const uint16_t *pages) {
        size_t end = (size_t) n * IMAGE_CHUNK_PAGES;

        for (size_t page = 0; page < end;) {
                size_t run = 0;
                while (page + run < end && has_page(pages, page + run))
                        run++;
                if (run > 0) {
                        size_t at = page * IMAGE_PAGE_BYTES, length = run * IMAGE_PAGE_BYTES;
                        int r = image_io_write(writer->fd, offset + at, memory + at, length);
                        if (r < 0)
                                return r;
                        atomic_fetch_add_explicit(&writer->written_bytes, length, memory_order_relaxed);
                }
                page += MAX(run, 1);
        }
        return 0;
}

int image_writer_chunks(ImageWriter *writer, unsigned block, uint64_t first, unsigned n, const void *memory,
                        const uint16_t *pages, ImagePress *press) {
        const unsigned char *from = memory;
        uint64_t data = 0;
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < n; i++) {
                ImageChunk chunk = { .pages = pages[i] };
                const unsigned char *at = from + (size_t) i * IMAGE_CHUNK_DATA_BYTES;

                if (pages[i] == 0)
                        continue;
                data += image_chunk_pages(&chunk) * (uint64_t) IMAGE_PAGE_BYTES;
                if (writer->header.compression == IMAGE_ZSTD) {
                        r = write_pressed(writer, at, &chunk, press);
                } else {
                        chunk.kind = IMAGE_CHUNK_PLACE;
                        chunk.offset = writer->blocks[block].data_offset + (first + i) * IMAGE_CHUNK_DATA_BYTES;
                        chunk.hash = image_hash_pages(press->hash, at, pages[i]);
                }
                if (r >= 0)
                        set_entry(writer, block, first + i, &chunk);
        }
        atomic_fetch_add_explicit(&writer->data_bytes, data, memory_order_relaxed);
        if (r < 0 || writer->header.compression == IMAGE_ZSTD)
                return r;
        return write_places(writer, writer->blocks[block].data_offset + first * IMAGE_CHUNK_DATA_BYTES, n, from, pages);
}

/* ---- the end ---- */

int image_writer_device(ImageWriter *writer, const void *data, size_t length) {
        uint64_t offset;
        int r = 0;

        if (length > IMAGE_DEVICE_MAX - writer->header.device.length)
                return -EFBIG;
        if (writer->header.device.offset == 0) {
                r = flush(writer, true);
                writer->header.device.offset = writer->append_offset;
        }
        if (r >= 0)
                r = append(writer, data, length, &offset);
        if (r < 0)
                return r;
        image_hash_update(writer->device_hash, data, length);
        writer->header.device.length += length;
        return 0;
}

static int write_tables(ImageWriter *writer) {
        ImageHeader *header = &writer->header;
        _cleanup_image_io_ unsigned char *blocks = image_io_alloc(header->blocks.length);
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < header->n_blocks; i++) {
                ImageBlock *block = &writer->blocks[i];

                block->table.hash = image_hash(writer->tables[i], block->table.length);
                r = image_io_write(writer->fd, block->table.offset, writer->tables[i], block->table.length);
                image_block_encode(block, blocks + i * IMAGE_BLOCK_BYTES);
        }
        header->blocks.hash = image_hash(blocks, header->blocks.length);
        if (r >= 0)
                r = image_io_write(writer->fd, header->blocks.offset, blocks, header->blocks.length);
        return r;
}

int image_writer_finish(ImageWriter *writer, GError **reterr) {
        int r;

        if (writer->header.device.offset == 0)
                writer->header.device.offset =
                        units_align_up(writer->append_offset + writer->buffered, IMAGE_ALIGN_BYTES);
        writer->header.device.hash = image_hash_value(writer->device_hash);
        r = flush(writer, true);
        if (r >= 0)
                r = write_tables(writer);
        writer->header.file_bytes = writer->append_offset;
        writer->header.data_bytes = atomic_load(&writer->data_bytes);
        writer->header.complete = true;
        if (r >= 0 && (ftruncate(writer->fd, (off_t) writer->append_offset) < 0 || fsync(writer->fd) < 0))
                r = -errno;
        if (r >= 0)
                r = write_header(writer);
        if (r >= 0 && fsync(writer->fd) < 0)
                r = -errno;
        return r < 0 ? error_set_errno(reterr, r, _("cannot write the save image")) : 0;
}

/* ---- changing a finished image ---- */

int image_writer_set_xml(int fd, const char *xml, int running, GError **reterr) {
        _cleanup_image_io_ unsigned char *bytes = image_io_alloc(IMAGE_HEADER_BYTES);
        ImageHeader header;
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0)
                return error_set_errno(reterr, errno, _("cannot look at the save image"));
        r = image_io_read(fd, 0, bytes, IMAGE_HEADER_BYTES);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot read the save image"));
        r = image_header_decode(bytes, IMAGE_HEADER_BYTES, (uint64_t) st.st_size, &header, reterr);
        if (r < 0)
                return r;
        /* The half that is not in force. */
        uint64_t half = units_align_down(header.xml_area_bytes / 2, IMAGE_ALIGN_BYTES);
        uint64_t offset = header.xml_area_offset + (header.xml.offset == header.xml_area_offset ? half : 0);
        size_t length = strlen(xml);
        if (length == 0 || length > half || header.xml.length > half)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the save image has room for a definition of %" G_GUINT64_FORMAT
                                   " bytes, the new one has %zu"),
                                 half, length);
        r = image_io_write(fd, offset, xml, length);
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        if (r >= 0) {
                header.xml = (ImageExtent){ .offset = offset, .length = length, .hash = image_hash(xml, length) };
                header.running = running < 0 ? header.running : running > 0;
                image_header_encode(&header, bytes);
                r = image_io_write(fd, 0, bytes, IMAGE_HEADER_BYTES);
        }
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        return r < 0 ? error_set_errno(reterr, r, _("cannot write the save image")) : 0;
}

int image_writer_set_order(int fd, const ImageHeader *header, const ImageOrder *order) {
        _cleanup_image_io_ unsigned char *bytes = image_io_alloc(IMAGE_ORDER_AREA_BYTES);

        image_order_encode(order, bytes);
        return image_io_write(fd, header->order_offset, bytes, IMAGE_ORDER_AREA_BYTES);
}
