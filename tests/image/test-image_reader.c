/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/image/image_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/image/image_io.h"
#include "tests/image/sample.h"

static const ImageCompression compressions[] = { IMAGE_RAW, IMAGE_ZSTD };

static void check_all(const Sample *sample, const ImageReader *reader) {
        g_autoptr(ImageScratch) scratch = image_scratch_new();
        _cleanup_image_io_ unsigned char *pages = image_io_alloc(IMAGE_CHUNK_DATA_BYTES);

        for (unsigned i = 0; i < SAMPLE_BLOCKS; i++) {
                const ImageBlock *block = image_reader_block(reader, i);
                assert_string_equal(block->id, sample->blocks[i].id);
                assert_int_equal(block->size_bytes, sample->blocks[i].size_bytes);
                for (uint64_t index = image_chunk_count(block->size_bytes); index-- > 0;) {
                        ImageChunk chunk;
                        memset(pages, 0, IMAGE_CHUNK_DATA_BYTES);
                        assert_int_equal(image_reader_chunk(reader, i, index, &chunk), 0);
                        assert_int_equal(chunk.pages, sample_pages(sample, i, index));
                        assert_int_equal(image_reader_read(reader, &chunk, pages, scratch), 0);
                        assert_memory_equal(pages, sample->memory[i] + index * IMAGE_CHUNK_DATA_BYTES,
                                            image_chunk_length(block->size_bytes, index));
                }
        }
}

static void test_round_trip(void **state) {
        static const int flags[] = { 0, O_DIRECT };

        for (unsigned k = 0; k < 4; k++) {
                Sample sample;
                g_autoptr(ImageReader) reader = NULL;
                sample_make(&sample, compressions[k % 2], flags[k / 2]);
                assert_int_equal(image_reader_new(sample_reopen(&sample, O_RDONLY | flags[k / 2]), &reader, NULL), 0);
                assert_string_equal(image_reader_xml(reader), SAMPLE_XML);
                assert_true(image_reader_header(reader)->running);
                assert_int_equal(image_reader_load_tables(reader, NULL), 0);
                check_all(&sample, reader);
                assert_int_equal(image_reader_check_device(reader, NULL), 0);
                g_autofree unsigned char *device = g_malloc(SAMPLE_DEVICE_BYTES);
                assert_int_equal(image_reader_device(reader, 0, device, SAMPLE_DEVICE_BYTES), SAMPLE_DEVICE_BYTES);
                assert_memory_equal(device, sample.device, SAMPLE_DEVICE_BYTES);
                assert_int_equal(image_reader_device(reader, SAMPLE_DEVICE_BYTES, device, 1), 0);
                sample_clear(&sample);
        }
}

/* Holes in the guest's memory take no room in a raw image. */
static void test_holes(void **state) {
        Sample sample;
        struct stat st;

        sample_make(&sample, IMAGE_RAW, 0);
        assert_int_equal(fstat(sample.fd, &st), 0);
        assert_true((uint64_t) st.st_blocks * 512 < (uint64_t) st.st_size - (512 << 10));
        sample_clear(&sample);
}

/* Reads everything that an image has; negative when something was found to be wrong. */
static int read_all(const Sample *sample) {
        g_autoptr(ImageReader) reader = NULL;
        g_autoptr(ImageScratch) scratch = image_scratch_new();
        _cleanup_image_io_ unsigned char *pages = image_io_alloc(IMAGE_CHUNK_DATA_BYTES);
        int r = image_reader_new(sample_reopen(sample, O_RDONLY), &reader, NULL);

        if (r >= 0)
                r = image_reader_load_tables(reader, NULL);
        for (unsigned i = 0; r >= 0 && i < image_reader_header(reader)->n_blocks; i++) {
                uint64_t n = image_chunk_count(image_reader_block(reader, i)->size_bytes);
                for (uint64_t index = 0; r >= 0 && index < n; index++) {
                        ImageChunk chunk;
                        r = image_reader_chunk(reader, i, index, &chunk);
                        if (r >= 0)
                                r = image_reader_read(reader, &chunk, pages, scratch);
                }
        }
        return r < 0 ? r : image_reader_check_device(reader, NULL);
}

/* A byte that is wrong is noticed, wherever it is; one that nobody reads changes nothing. */
static void test_damage(void **state) {
        for (unsigned k = 0; k < 2; k++) {
                Sample sample;
                g_autoptr(ImageReader) reader = NULL;
                struct stat st;
                unsigned found = 0;

                sample_make(&sample, compressions[k], 0);
                assert_int_equal(read_all(&sample), 0);
                assert_int_equal(image_reader_new(sample_reopen(&sample, O_RDONLY), &reader, NULL), 0);
                const ImageHeader *header = image_reader_header(reader);
                const uint64_t sure[] = { 0,
                                          30,
                                          500,
                                          header->xml.offset + 10,
                                          header->blocks.offset + 70,
                                          header->device.offset + 100000,
                                          image_reader_block(reader, 0)->table.offset + 24 };
                for (unsigned i = 0; i < G_N_ELEMENTS(sure); i++) {
                        unsigned char byte;
                        assert_int_equal(pread(sample.fd, &byte, 1, (off_t) sure[i]), 1);
                        byte ^= 0x20;
                        assert_int_equal(pwrite(sample.fd, &byte, 1, (off_t) sure[i]), 1);
                        assert_true(read_all(&sample) < 0);
                        byte ^= 0x20;
                        assert_int_equal(pwrite(sample.fd, &byte, 1, (off_t) sure[i]), 1);
                }
                assert_int_equal(fstat(sample.fd, &st), 0);
                for (off_t at = 0; at < st.st_size; at += 99991) {
                        unsigned char byte;
                        assert_int_equal(pread(sample.fd, &byte, 1, at), 1);
                        byte ^= 1;
                        assert_int_equal(pwrite(sample.fd, &byte, 1, at), 1);
                        found += read_all(&sample) < 0;
                        byte ^= 1;
                        assert_int_equal(pwrite(sample.fd, &byte, 1, at), 1);
                }
                assert_true(found > 0);
                for (off_t length = st.st_size - 1; length > 0; length /= 3) {
                        assert_int_equal(ftruncate(sample.fd, length), 0);
                        assert_true(read_all(&sample) < 0);
                }
                sample_clear(&sample);
        }
}

static void test_sentence(void **state) {
        Sample sample;
        g_autoptr(ImageReader) reader = NULL;
        g_autoptr(GError) error = NULL;

        sample_make(&sample, IMAGE_RAW, 0);
        assert_int_equal(image_reader_new(sample_reopen(&sample, O_RDONLY), &reader, NULL), 0);
        assert_true(image_reader_error(reader, 1, 2, -EBADMSG, &error) < 0);
        assert_non_null(strstr(error->message, "'ram1' from offset 131072"));
        sample_clear(&sample);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip), cmocka_unit_test(test_holes),
                                            cmocka_unit_test(test_damage), cmocka_unit_test(test_sentence) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
