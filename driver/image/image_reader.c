/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/image/image_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/image/image_io.h"

#define DEVICE_CHUNK_BYTES (256u * 1024)

struct ImageReader {
        int fd;
        ImageHeader header;
        char *xml;
        ImageBlock *blocks;
        unsigned char **tables; /* per block; NULL before image_reader_load_tables() */
};

struct ImageScratch {
        ZSTD_DCtx *zstd;
        ImageHash *hash;
        unsigned char *stored; /* as in the file */
        unsigned char *packed; /* pages, one after the other */
};

ImageReader *image_reader_free(ImageReader *reader) {
        if (!reader)
                return NULL;
        for (unsigned i = 0; reader->tables && i < reader->header.n_blocks; i++)
                image_io_free(reader->tables[i]);
        g_free(reader->tables);
        g_free(reader->blocks);
        g_free(reader->xml);
        fd_close(reader->fd);
        g_free(reader);
        return NULL;
}

const ImageHeader *image_reader_header(const ImageReader *reader) {
        return &reader->header;
}

const char *image_reader_xml(const ImageReader *reader) {
        return reader->xml;
}

const ImageBlock *image_reader_block(const ImageReader *reader, unsigned block) {
        return &reader->blocks[block];
}

int image_reader_fd(const ImageReader *reader) {
        return reader->fd;
}

/* ---- opening ---- */

static int read_error(int error, GError **reterr) {
        if (error == -ENODATA)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the save image is truncated"));
        return error_set_errno(reterr, error, _("cannot read the save image"));
}

/* Reads a piece whose checksum is known. The caller has bounded its length. -EBADMSG if it is not right. */
static int read_extent(int fd, const ImageExtent *extent, void **ret_bytes) {
        _cleanup_image_io_ void *bytes = image_io_alloc(extent->length + 1);
        int r = image_io_read(fd, extent->offset, bytes, extent->length);

        if (r >= 0 && image_hash(bytes, extent->length) != extent->hash)
                r = -EBADMSG;
        if (r >= 0)
                *ret_bytes = g_steal_pointer(&bytes);
        return r;
}

static int read_header(ImageReader *reader, GError **reterr) {
        _cleanup_image_io_ unsigned char *bytes = image_io_alloc(IMAGE_HEADER_BYTES);
        struct stat st;

        if (fstat(reader->fd, &st) < 0)
                return error_set_errno(reterr, errno, _("cannot look at the save image"));
        if (!S_ISREG(st.st_mode))
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("a save image is a regular file, and this is none"));
        size_t length = (size_t) MIN(st.st_size, (off_t) IMAGE_HEADER_BYTES);
        int r = image_io_read(reader->fd, 0, bytes, length);
        if (r < 0)
                return read_error(r, reterr);
        return image_header_decode(bytes, length, (uint64_t) st.st_size, &reader->header, reterr);
}

static int read_blocks(ImageReader *reader, GError **reterr) {
        _cleanup_image_io_ void *bytes = NULL;
        int r = read_extent(reader->fd, &reader->header.blocks, &bytes);

        if (r == -EBADMSG)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the list of RAM blocks in the save image is damaged"));
        if (r < 0)
                return read_error(r, reterr);
        reader->blocks = g_new0(ImageBlock, reader->header.n_blocks);
        for (unsigned i = 0; r >= 0 && i < reader->header.n_blocks; i++)
                r = image_block_decode((unsigned char *) bytes + i * IMAGE_BLOCK_BYTES, &reader->header,
                                       &reader->blocks[i], reterr);
        return r;
}

static int read_xml(ImageReader *reader, GError **reterr) {
        _cleanup_image_io_ void *bytes = NULL;
        int r = read_extent(reader->fd, &reader->header.xml, &bytes);

        if (r == -EBADMSG)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the domain definition in the save image is damaged"));
        if (r < 0)
                return read_error(r, reterr);
        reader->xml = g_strndup(bytes, reader->header.xml.length);
        return 0;
}

int image_reader_new(int fd, ImageReader **ret_reader, GError **reterr) {
        g_autoptr(ImageReader) reader = g_new0(ImageReader, 1);
        int r;

        reader->fd = fd;
        r = read_header(reader, reterr);
        if (r >= 0)
                r = read_blocks(reader, reterr);
        if (r >= 0)
                r = read_xml(reader, reterr);
        if (r < 0)
                return r;
        *ret_reader = g_steal_pointer(&reader);
        return 0;
}

int image_reader_load_tables(ImageReader *reader, GError **reterr) {
        reader->tables = g_new0(unsigned char *, reader->header.n_blocks);
        for (unsigned i = 0; i < reader->header.n_blocks; i++) {
                int r = read_extent(reader->fd, &reader->blocks[i].table, (void **) &reader->tables[i]);

                if (r == -EBADMSG)
                        return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                         _("the page table of RAM block '%s' in the save image is damaged"),
                                         reader->blocks[i].id);
                if (r < 0)
                        return read_error(r, reterr);
        }
        return 0;
}

/* ---- pages ---- */

ImageScratch *image_scratch_new(void) {
        ImageScratch *scratch = g_new0(ImageScratch, 1);

        scratch->zstd = ZSTD_createDCtx();
        scratch->hash = image_hash_new();
        scratch->stored = image_io_alloc(IMAGE_CHUNK_DATA_BYTES);
        scratch->packed = image_io_alloc(IMAGE_CHUNK_DATA_BYTES);
        return scratch;
}

ImageScratch *image_scratch_free(ImageScratch *scratch) {
        if (!scratch)
                return NULL;
        ZSTD_freeDCtx(scratch->zstd);
        image_hash_free(scratch->hash);
        image_io_free(scratch->stored);
        image_io_free(scratch->packed);
        g_free(scratch);
        return NULL;
}

int image_reader_chunk(const ImageReader *reader, unsigned block, uint64_t index, ImageChunk *ret_chunk) {
        return image_chunk_decode(reader->tables[block] + index * IMAGE_CHUNK_BYTES, &reader->header,
                                  &reader->blocks[block], index, ret_chunk);
}

/* The next run of ones at or above *inout_page; 0 if there is none. */
static unsigned next_run(uint16_t pages, unsigned *inout_page) {
        unsigned page = *inout_page, n = 0;

        while (page < IMAGE_CHUNK_PAGES && !(pages >> page & 1))
                page++;
        while (page + n < IMAGE_CHUNK_PAGES && pages >> (page + n) & 1)
                n++;
        *inout_page = page;
        return n;
}

static int read_place(const ImageReader *reader, const ImageChunk *chunk, unsigned char *pages) {
        for (unsigned page = 0, n; (n = next_run(chunk->pages, &page)) > 0; page += n) {
                size_t at = (size_t) page * IMAGE_PAGE_BYTES;
                int r = image_io_read(reader->fd, chunk->offset + at, pages + at, (size_t) n * IMAGE_PAGE_BYTES);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_packed(const ImageReader *reader, const ImageChunk *chunk, unsigned char *pages,
                       ImageScratch *scratch) {
        size_t length = (size_t) image_chunk_pages(chunk) * IMAGE_PAGE_BYTES;
        bool whole = chunk->pages == UINT16_MAX;
        unsigned char *packed = whole ? pages : scratch->packed;
        int r;

        if (chunk->kind == IMAGE_CHUNK_PACKED) {
                r = image_io_read(reader->fd, chunk->offset, packed, length);
        } else {
                r = image_io_read(reader->fd, chunk->offset, scratch->stored, chunk->stored_bytes);
                /* Never writes more than length, whatever the frame says. */
                if (r >= 0 &&
                    ZSTD_decompressDCtx(scratch->zstd, packed, length, scratch->stored, chunk->stored_bytes) != length)
                        r = -EBADMSG;
        }
        if (r < 0 || whole)
                return r;
        for (unsigned page = 0, n; (n = next_run(chunk->pages, &page)) > 0; page += n) {
                memcpy(pages + (size_t) page * IMAGE_PAGE_BYTES, packed, (size_t) n * IMAGE_PAGE_BYTES);
                packed += (size_t) n * IMAGE_PAGE_BYTES;
        }
        return 0;
}

int image_reader_read(const ImageReader *reader, const ImageChunk *chunk, void *pages, ImageScratch *scratch) {
        int r;

        if (chunk->kind == IMAGE_CHUNK_HOLE)
                return 0;
        r = chunk->kind == IMAGE_CHUNK_PLACE ? read_place(reader, chunk, pages)
                                             : read_packed(reader, chunk, pages, scratch);
        if (r < 0)
                return r;
        return image_hash_pages(scratch->hash, pages, chunk->pages) == chunk->hash ? 0 : -EBADMSG;
}

int image_reader_error(const ImageReader *reader, unsigned block, uint64_t index, int error, GError **reterr) {
        if (error == -EBADMSG)
                return error_set(
                        reterr, VIR_ERR_OPERATION_FAILED,
                        _("the save image is damaged: the 64 KiB of RAM block '%s' from offset %" G_GUINT64_FORMAT
                          " on are not what was written"),
                        reader->blocks[block].id, index * IMAGE_CHUNK_DATA_BYTES);
        return read_error(error, reterr);
}

/* ---- the rest ---- */

ssize_t image_reader_device(const ImageReader *reader, uint64_t offset, void *data, size_t length) {
        const ImageExtent *device = &reader->header.device;
        size_t n = (size_t) MIN(length, device->length - MIN(offset, device->length));
        int r = image_io_read(reader->fd, device->offset + offset, data, n);

        return r < 0 ? r : (ssize_t) n;
}

int image_reader_check_device(const ImageReader *reader, GError **reterr) {
        _cleanup_image_io_ void *bytes = image_io_alloc(DEVICE_CHUNK_BYTES);
        g_autoptr(ImageHash) hash = image_hash_new();
        ssize_t n;

        for (uint64_t at = 0; (n = image_reader_device(reader, at, bytes, DEVICE_CHUNK_BYTES)) > 0; at += (size_t) n)
                image_hash_update(hash, bytes, (size_t) n);
        if (n < 0)
                return read_error((int) n, reterr);
        if (image_hash_value(hash) != reader->header.device.hash)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the device state in the save image is damaged"));
        return 0;
}

void image_reader_order(const ImageReader *reader, ImageOrder *ret_order) {
        _cleanup_image_io_ void *bytes = image_io_alloc(IMAGE_ORDER_AREA_BYTES);

        ret_order->n = 0;
        if (image_io_read(reader->fd, reader->header.order_offset, bytes, IMAGE_ORDER_AREA_BYTES) >= 0)
                image_order_decode(bytes, ret_order);
}
