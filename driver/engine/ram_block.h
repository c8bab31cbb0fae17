/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One RAM block inside the helper: the RAM file, mapped shared. Fixed after ram_block_init(); any thread may read
 * it. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/engine/engine.h"

#define RAM_BLOCK_LARGE_BYTES UINT64_C(2097152)

typedef struct RamBlock {
        char *id;
        int fd; /* owned */
        uint64_t size_bytes;
        uint64_t page_bytes;
        uint64_t n_pages;
        EngineRamPolicy policy;
        unsigned char *map;       /* faults take small pages; aligned to 2 MiB */
        /* destination: faults take large folios where the file allows them; NULL if there is none */
        unsigned char *map_large;
} RamBlock;

typedef enum RamBlockUse {
        RAM_BLOCK_READ,  /* source */
        RAM_BLOCK_WRITE, /* destination */
} RamBlockUse;

/* Takes fd over (also on failure) and maps the file. Checks that the file is at least size_bytes long. */
int ram_block_init(RamBlock *block, const EngineRamBlock *config, int fd, RamBlockUse use, GError **reterr);
void ram_block_deinit(RamBlock *block);

/* Bytes that the file takes in memory or on disk. */
uint64_t ram_block_allocated(const RamBlock *block);
