/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An image made of known memory, for tests. */

#include "driver/image/image_format.h"

#define SAMPLE_BLOCKS 2
#define SAMPLE_XML "<domain type='qemu'><name>sample</name></domain>\n"
#define SAMPLE_DEVICE_BYTES 200001u

typedef struct Sample {
        int fd; /* a temporary file; read-write */
        ImageBlock blocks[SAMPLE_BLOCKS];
        unsigned char *memory[SAMPLE_BLOCKS];
        unsigned char *device;
} Sample;

/* Fills memory with data, zeros and noise, and writes it as an image. flags: of open(), e.g. O_DIRECT. */
void sample_make(Sample *sample, ImageCompression compression, int flags);
void sample_clear(Sample *sample);
/* Opens the file again. */
int sample_reopen(const Sample *sample, int flags);
/* Which pages of a chunk are not zero. */
uint16_t sample_pages(const Sample *sample, unsigned block, uint64_t chunk);
