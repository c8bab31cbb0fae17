/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Save images: a file that a user names may hold anything. To get behind the checksums, those of the header and of what
 * it points to are made right first. Whatever is accepted must be readable to its end without more memory than the
 * file's size allows.
 */

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/image/image_io.h"
#include "driver/image/image_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set_number(unsigned char *at, uint64_t value) {
        for (unsigned i = 0; i < 8; i++)
                at[i] = (unsigned char) (value >> (8 * i));
}

static uint64_t number(const unsigned char *at) {
        uint64_t value = 0;

        for (unsigned i = 0; i < 8; i++)
                value |= (uint64_t) at[i] << (8 * i);
        return value;
}

/* Makes the checksum of the extent right whose three numbers stand at `at`, if it lies within the file. */
static void mend(unsigned char *file, size_t size, size_t at) {
        if (at + 24 > size)
                return;
        uint64_t offset = number(file + at), length = number(file + at + 8);

        if (offset <= size && length <= size - offset)
                set_number(file + at + 16, image_hash(file + offset, length));
}

/* Offsets of extents: docs/image.md. */
static void mend_all(unsigned char *file, size_t size) {
        if (size < IMAGE_HEADER_BYTES)
                return;
        uint64_t blocks = number(file + 112), n = number(file + 120) / IMAGE_BLOCK_BYTES;
        for (uint64_t i = 0; i < n && i < 4 && blocks < size; i++)
                mend(file, size, blocks + i * IMAGE_BLOCK_BYTES + 80);
        mend(file, size, 64);
        mend(file, size, 112);
        mend(file, size, 136);
        set_number(file + 504, image_hash(file, 504));
}

static void read_all(int fd) {
        ImageReader *made = NULL;

        if (image_reader_new(fd, &made, NULL) < 0)
                return;
        g_autoptr(ImageReader) reader = made;
        g_autoptr(ImageScratch) scratch = image_scratch_new();
        _cleanup_image_io_ void *pages = image_io_alloc(IMAGE_CHUNK_DATA_BYTES);
        g_autofree ImageOrder *order = g_new0(ImageOrder, 1);
        if (image_reader_load_tables(reader, NULL) < 0)
                return;
        for (unsigned i = 0; i < image_reader_header(reader)->n_blocks; i++) {
                uint64_t n = image_chunk_count(image_reader_block(reader, i)->size_bytes);
                for (uint64_t index = 0; index < n; index++) {
                        ImageChunk chunk;
                        if (image_reader_chunk(reader, i, index, &chunk) >= 0)
                                (void) image_reader_read(reader, &chunk, pages, scratch);
                }
        }
        (void) image_reader_check_device(reader, NULL);
        image_reader_order(reader, order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        int fd = memfd_create("fuzz-image", MFD_CLOEXEC);

        if (fd < 0 || size > 1 << 22 || ftruncate(fd, (off_t) size) < 0)
                abort();
        g_autofree unsigned char *file = g_malloc(size + 1);
        if (size > 0)
                memcpy(file, data, size);
        mend_all(file, size);
        if (pwrite(fd, file, size, 0) != (ssize_t) size)
                abort();
        read_all(fd);
        return 0;
}
