/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/image/sample.h"

#include <assert.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/image/image_io.h"
#include "driver/image/image_writer.h"

static void fill(unsigned char *page, uint64_t number) {
        switch (number % 5) {
        case 0: /* zero */
                break;
        case 1: /* noise */
                for (unsigned i = 0; i < IMAGE_PAGE_BYTES; i += 8) {
                        uint64_t word = (number * 4096 + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
                        word ^= word >> 29;
                        memcpy(page + i, &word, 8);
                }
                break;
        default:
                memset(page, (int) (number % 251) + 1, IMAGE_PAGE_BYTES);
        }
}

uint16_t sample_pages(const Sample *sample, unsigned block, uint64_t chunk) {
        static const unsigned char zero[IMAGE_PAGE_BYTES];
        uint32_t n = image_chunk_length(sample->blocks[block].size_bytes, chunk) / IMAGE_PAGE_BYTES;
        uint16_t pages = 0;

        for (unsigned i = 0; i < n; i++)
                if (memcmp(sample->memory[block] + chunk * IMAGE_CHUNK_DATA_BYTES + i * IMAGE_PAGE_BYTES, zero,
                           IMAGE_PAGE_BYTES) != 0)
                        pages |= (uint16_t) (1u << i);
        return pages;
}

static void write_block(Sample *sample, ImageWriter *writer, unsigned block) {
        g_autoptr(ImagePress) press = image_press_new();
        uint64_t n = image_chunk_count(sample->blocks[block].size_bytes);

        for (uint64_t first = 0; first < n; first += IMAGE_WRITER_CHUNKS_MAX) {
                unsigned count = (unsigned) MIN(n - first, IMAGE_WRITER_CHUNKS_MAX);
                uint16_t pages[IMAGE_WRITER_CHUNKS_MAX];
                for (unsigned i = 0; i < count; i++)
                        pages[i] = sample_pages(sample, block, first + i);
                assert_int_equal(image_writer_chunks(writer, block, first, count,
                                                     sample->memory[block] + first * IMAGE_CHUNK_DATA_BYTES, pages,
                                                     press),
                                 0);
        }
}

int sample_reopen(const Sample *sample, int flags) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", sample->fd);
        int fd = open(path, flags | O_CLOEXEC);

        assert_true(fd >= 0);
        return fd;
}

void sample_make(Sample *sample, ImageCompression compression, int flags) {
        static const uint64_t sizes[SAMPLE_BLOCKS] = { 3 << 20, 5 * 4096 };
        g_autofree char *path = g_strdup_printf("%s/ferry-image-XXXXXX", g_get_tmp_dir());
        g_autoptr(ImageWriter) writer = NULL;

        *sample = (Sample){ .fd = mkostemp(path, O_CLOEXEC) };
        assert_true(sample->fd >= 0);
        unlink(path);
        for (unsigned i = 0; i < SAMPLE_BLOCKS; i++) {
                sample->blocks[i] = (ImageBlock){ .size_bytes = sizes[i], .page_bytes = 4096 };
                snprintf(sample->blocks[i].id, sizeof(sample->blocks[i].id), "ram%u", i);
                sample->memory[i] = image_io_alloc(sizes[i]);
                /* The second half MiB is a hole. */
                for (uint64_t page = 0; page < sizes[i] / IMAGE_PAGE_BYTES; page++)
                        if (page < 128 || page >= 256)
                                fill(sample->memory[i] + page * IMAGE_PAGE_BYTES, page < 64 ? page : page + page % 2);
        }
        sample->device = g_malloc(SAMPLE_DEVICE_BYTES);
        for (unsigned i = 0; i < SAMPLE_DEVICE_BYTES; i++)
                sample->device[i] = (unsigned char) (i * 7 + i / 256);

        int fd = sample_reopen(sample, O_RDWR | flags);
        ImageWriterArgs args = { .fd = fd, .compression = compression, .running = true, .xml = SAMPLE_XML,
                                 .blocks = sample->blocks, .n_blocks = SAMPLE_BLOCKS };
        assert_int_equal(image_writer_new(&args, &writer, NULL), 0);
        for (unsigned i = 0; i < SAMPLE_BLOCKS; i++)
                write_block(sample, writer, i);
        assert_int_equal(image_writer_device(writer, sample->device, 12345), 0);
        assert_int_equal(image_writer_device(writer, sample->device + 12345, SAMPLE_DEVICE_BYTES - 12345), 0);
        assert_int_equal(image_writer_finish(writer, NULL), 0);
        close(fd);
}

void sample_clear(Sample *sample) {
        for (unsigned i = 0; i < SAMPLE_BLOCKS; i++)
                image_io_free(sample->memory[i]);
        g_free(sample->device);
        close(sample->fd);
}
