/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reading and writing pieces of an image file, with O_DIRECT or without: whatever is not aligned passes through a
 * buffer that is. Blocks; any thread. A descriptor counts as direct if it has O_DIRECT.
 */

#include <stddef.h>
#include <stdint.h>

/* Memory for direct I/O: length is rounded up to whole pages, content is zero. Aborts when there is none.
 * image_io_free() accepts NULL. */
void *image_io_alloc(size_t length);
void image_io_free(void *memory);
static inline void image_io_freep(void *p) { image_io_free(*(void **) p); }
#define _cleanup_image_io_ __attribute__((cleanup(image_io_freep)))

/* All of it or an error: 0 or negative errno; -ENODATA when the file ends before. */
int image_io_read(int fd, uint64_t offset, void *data, size_t length);
/* With O_DIRECT, offset must be aligned to 4096, and a last piece that is shorter is padded with zeros in the file. */
int image_io_write(int fd, uint64_t offset, const void *data, size_t length);
