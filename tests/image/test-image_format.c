/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/image/image_format.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/error.h"

#define FILE_BYTES (UINT64_C(1) << 30)

static ImageHeader make_header(void) {
        return (ImageHeader){ .complete = true,
                              .running = true,
                              .compression = IMAGE_ZSTD,
                              .n_blocks = 2,
                              .id = "0123456789abcde",
                              .created_sec = 1234567890,
                              .file_bytes = FILE_BYTES,
                              .data_bytes = 4096 * 5,
                              .xml = { 4096, 100, 1 },
                              .xml_area_offset = 4096,
                              .xml_area_bytes = 40960,
                              .order_offset = 65536,
                              .blocks = { 262144, 256, 2 },
                              .device = { 524288, 777, 3 } };
}

static void test_header(void **state) {
        unsigned char bytes[IMAGE_HEADER_BYTES];
        ImageHeader header = make_header(), back = { 0 };

        image_header_encode(&header, bytes);
        assert_memory_equal(bytes, "FERRYIMG\1\0\0\0\3\0\0\0\1\0\0\0\2\0\0\0", 24);
        assert_int_equal(image_header_decode(bytes, sizeof(bytes), FILE_BYTES, &back, NULL), 0);
        assert_true(back.complete && back.running);
        assert_int_equal(back.compression, IMAGE_ZSTD);
        assert_int_equal(back.n_blocks, 2);
        assert_memory_equal(back.id, header.id, IMAGE_ID_BYTES);
        assert_int_equal(back.created_sec, header.created_sec);
        assert_int_equal(back.data_bytes, header.data_bytes);
        assert_int_equal(back.xml.length, 100);
        assert_int_equal(back.blocks.hash, 2);
        assert_int_equal(back.device.offset, 524288);
        assert_int_equal(back.device.length, 777);
}

static void refused(const unsigned char *bytes, size_t length, uint64_t file_bytes, const char *what) {
        g_autoptr(GError) error = NULL;
        ImageHeader header;

        assert_true(image_header_decode(bytes, length, file_bytes, &header, &error) < 0);
        assert_non_null(strstr(error->message, what));
}

static void test_refused(void **state) {
        unsigned char bytes[IMAGE_HEADER_BYTES];
        ImageHeader header = make_header();

        image_header_encode(&header, bytes);
        refused(bytes, sizeof(bytes), FILE_BYTES - 1, "truncated");
        refused(bytes, 100, 100, "ends within its header");
        refused(bytes, 4, 4, "no save image");
        bytes[8] = 2;
        refused(bytes, sizeof(bytes), FILE_BYTES, "version 2");
        bytes[8] = 1;
        bytes[60] ^= 1;
        refused(bytes, sizeof(bytes), FILE_BYTES, "header of the save image is damaged");
        bytes[0] = 'x';
        refused(bytes, sizeof(bytes), FILE_BYTES, "no save image");
        header.complete = false;
        image_header_encode(&header, bytes);
        refused(bytes, sizeof(bytes), FILE_BYTES, "never finished");

        /* Right checksums over wrong values. */
        for (unsigned i = 0; i < 10; i++) {
                ImageHeader bad = make_header();
                switch (i) {
                case 0: bad.n_blocks = 0; break;
                case 1:
                        bad.n_blocks = IMAGE_BLOCKS_MAX + 1;
                        bad.blocks.length = bad.n_blocks * IMAGE_BLOCK_BYTES;
                        break;
                case 2: bad.blocks.length = 255; break;
                case 3: bad.xml.length = IMAGE_XML_MAX + 1; break;
                case 4: bad.xml.offset = 4095; break;
                case 5: bad.device.offset = FILE_BYTES; break;
                case 6: bad.device.length = IMAGE_DEVICE_MAX + 1; break;
                case 7: bad.blocks.offset = UINT64_MAX - 4095; break;
                case 8: bad.order_offset = FILE_BYTES - 4096; break;
                case 9: bad.xml_area_bytes = 50; break;
                }
                image_header_encode(&bad, bytes);
                refused(bytes, sizeof(bytes), FILE_BYTES, "damaged");
        }
}

static void test_block(void **state) {
        unsigned char bytes[IMAGE_BLOCK_BYTES];
        ImageHeader header = make_header();
        ImageBlock block = { .id = "ram-node0",
                             .size_bytes = 1 << 20,
                             .page_bytes = 4096,
                             .table = { 8192, 16 * 24, 9 },
                             .data_offset = 2 << 20 },
                   back;

        image_block_encode(&block, bytes);
        assert_int_equal(image_block_decode(bytes, &header, &back, NULL), 0);
        assert_string_equal(back.id, "ram-node0");
        assert_int_equal(back.size_bytes, block.size_bytes);
        assert_int_equal(back.table.hash, 9);
        assert_int_equal(back.data_offset, block.data_offset);
        for (unsigned i = 0; i < 7; i++) {
                ImageBlock bad = block;
                switch (i) {
                case 0: bad.size_bytes = 0; break;
                case 1: bad.size_bytes = UINT64_MAX - 4095; break;
                case 2: bad.page_bytes = 12288; break;
                case 3: bad.table.length += 24; break;
                case 4: bad.table.offset = FILE_BYTES; break;
                case 5: bad.data_offset = FILE_BYTES + 1; break;
                case 6: bad.id[0] = '\0'; break;
                }
                image_block_encode(&bad, bytes);
                assert_true(image_block_decode(bytes, &header, &back, NULL) < 0);
        }
}

static int try_chunk(const ImageChunk *chunk, uint64_t index) {
        unsigned char bytes[IMAGE_CHUNK_BYTES];
        ImageHeader header = make_header();
        ImageBlock block = { .size_bytes = 5 * 65536 + 8192, .page_bytes = 4096, .data_offset = 2 << 20 };
        ImageChunk back;

        image_chunk_encode(chunk, bytes);
        int r = image_chunk_decode(bytes, &header, &block, index, &back);
        if (r >= 0) {
                assert_int_equal(back.offset, chunk->offset);
                assert_int_equal(back.stored_bytes, chunk->stored_bytes);
                assert_int_equal(back.pages, chunk->pages);
                assert_int_equal(back.kind, chunk->kind);
                assert_int_equal(back.hash, chunk->hash);
        }
        return r;
}

static void test_chunk(void **state) {
        ImageChunk place = { .offset = (2 << 20) + 2 * 65536, .pages = 0x8001, .kind = IMAGE_CHUNK_PLACE, .hash = 5 };
        ImageChunk zstd = { .offset = 777, .stored_bytes = 100, .pages = 0x3, .kind = IMAGE_CHUNK_ZSTD, .hash = 5 };
        ImageChunk packed = {
                .offset = 777, .stored_bytes = 8192, .pages = 0x3, .kind = IMAGE_CHUNK_PACKED, .hash = 5
        };
        ImageChunk hole = { 0 }, bad;

        assert_int_equal(try_chunk(&hole, 0), 0);
        assert_int_equal(try_chunk(&place, 2), 0);
        assert_int_equal(try_chunk(&zstd, 5), 0);
        assert_int_equal(try_chunk(&packed, 5), 0);
        assert_int_equal(try_chunk(&place, 3), -EBADMSG); /* another chunk's place */
        bad = zstd;
        bad.pages = 0x7;                         /* beyond the block's end */
        assert_int_equal(try_chunk(&bad, 5), -EBADMSG);
        assert_int_equal(try_chunk(&bad, 4), 0);
        bad = zstd;
        bad.stored_bytes = 8193;
        assert_int_equal(try_chunk(&bad, 0), -EBADMSG);
        bad = zstd;
        bad.stored_bytes = 0;
        assert_int_equal(try_chunk(&bad, 0), -EBADMSG);
        bad = packed;
        bad.stored_bytes = 4096;
        assert_int_equal(try_chunk(&bad, 0), -EBADMSG);
        bad = zstd;
        bad.offset = FILE_BYTES - 99;
        assert_int_equal(try_chunk(&bad, 0), -EBADMSG);
        bad = hole;
        bad.offset = 1;
        assert_int_equal(try_chunk(&bad, 0), -EBADMSG);
        bad = hole;
        bad.pages = 1;
        assert_int_equal(try_chunk(&bad, 0), -EBADMSG);
        bad = zstd;
        bad.kind = IMAGE_CHUNK_KIND_MAX_;
        assert_int_equal(try_chunk(&bad, 0), -EBADMSG);
}

static void test_order(void **state) {
        g_autofree unsigned char *bytes = g_malloc(IMAGE_ORDER_AREA_BYTES);
        g_autofree ImageOrder *order = g_new0(ImageOrder, 1), *back = g_new0(ImageOrder, 1);

        memset(bytes, 0, IMAGE_ORDER_AREA_BYTES);
        back->n = 3;
        image_order_decode(bytes, back);
        assert_int_equal(back->n, 0);
        for (order->n = 0; order->n < IMAGE_ORDER_MAX; order->n++)
                order->entries[order->n] = order->n * 7;
        image_order_encode(order, bytes);
        image_order_decode(bytes, back);
        assert_int_equal(back->n, IMAGE_ORDER_MAX);
        assert_int_equal(back->entries[1000], 7000);
        bytes[IMAGE_ALIGN_BYTES + 5] ^= 1;
        image_order_decode(bytes, back);
        assert_int_equal(back->n, 0);
}

static void test_names(void **state) {
        assert_string_equal(image_compression_to_string(IMAGE_RAW), "raw");
        assert_null(image_compression_to_string(2));
        assert_int_equal(image_compression_from_string("zstd"), IMAGE_ZSTD);
        assert_int_equal(image_compression_from_string("gzip"), -1);
        assert_int_equal(image_compression_from_string(NULL), -1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_header), cmocka_unit_test(test_refused), cmocka_unit_test(test_block),
                cmocka_unit_test(test_chunk),  cmocka_unit_test(test_order),   cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
