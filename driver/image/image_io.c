/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/image/image_io.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/units.h"
#include "driver/image/image_format.h"

#define BOUNCE_BYTES (256u * 1024)

void *image_io_alloc(size_t length) {
        size_t bytes = units_align_up(MAX(length, 1), IMAGE_ALIGN_BYTES);
        void *memory = aligned_alloc(IMAGE_ALIGN_BYTES, bytes);

        if (!memory)
                abort();
        memset(memory, 0, bytes);
        return memory;
}

void image_io_free(void *memory) {
        free(memory);
}

static bool is_direct(int fd) {
        int flags = fcntl(fd, F_GETFL);

        return flags >= 0 && flags & O_DIRECT;
}

static bool is_aligned(uint64_t offset, const void *data, size_t length) {
        return (offset | (uintptr_t) data | length) % IMAGE_ALIGN_BYTES == 0;
}

static int read_plain(int fd, uint64_t offset, void *data, size_t length) {
        char *p = data;

        while (length > 0) {
                ssize_t n = pread(fd, p, length, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -ENODATA;
                p += n;
                offset += (size_t) n;
                length -= (size_t) n;
        }
        return 0;
}

static int write_plain(int fd, uint64_t offset, const void *data, size_t length) {
        const char *p = data;

        while (length > 0) {
                ssize_t n = pwrite(fd, p, length, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                p += n;
                offset += (size_t) n;
                length -= (size_t) n;
        }
        return 0;
}

int image_io_read(int fd, uint64_t offset, void *data, size_t length) {
        if (is_aligned(offset, data, length) || !is_direct(fd))
                return read_plain(fd, offset, data, length);

        _cleanup_image_io_ void *bounce = image_io_alloc(BOUNCE_BYTES);
        char *to = data;
        while (length > 0) {
                uint64_t start = units_align_down(offset, IMAGE_ALIGN_BYTES);
                size_t skip = (size_t) (offset - start), n = MIN(length, BOUNCE_BYTES - skip);
                int r = read_plain(fd, start, bounce, units_align_up(skip + n, IMAGE_ALIGN_BYTES));
                if (r < 0)
                        return r;
                memcpy(to, (char *) bounce + skip, n);
                to += n;
                offset += n;
                length -= n;
        }
        return 0;
}

int image_io_write(int fd, uint64_t offset, const void *data, size_t length) {
        if (is_aligned(offset, data, length) || !is_direct(fd))
                return write_plain(fd, offset, data, length);

        _cleanup_image_io_ void *bounce = image_io_alloc(BOUNCE_BYTES);
        const char *from = data;
        while (length > 0) {
                size_t n = MIN(length, BOUNCE_BYTES), whole = units_align_up(n, IMAGE_ALIGN_BYTES);
                memset((char *) bounce + n, 0, whole - n);
                memcpy(bounce, from, n);
                int r = write_plain(fd, offset, bounce, whole);
                if (r < 0)
                        return r;
                from += n;
                offset += n;
                length -= n;
        }
        return 0;
}
