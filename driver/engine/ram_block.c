/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/ram_block.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/units.h"

/* Maps the whole file at an address that is congruent with large folios. NULL with errno set. */
static unsigned char *map_file(const RamBlock *block, int protection) {
        uint64_t align = MAX(RAM_BLOCK_LARGE_BYTES, block->page_bytes);
        unsigned char *area =
                mmap(NULL, block->size_bytes + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (area == MAP_FAILED)
                return NULL;
        unsigned char *start = (unsigned char *) units_align_up((uintptr_t) area, align);
        unsigned char *map = mmap(start, block->size_bytes, protection, MAP_SHARED | MAP_FIXED, block->fd, 0);
        if (map == MAP_FAILED) {
                int error = errno;
                munmap(area, block->size_bytes + align);
                errno = error;
                return NULL;
        }
        if (start > area)
                munmap(area, (size_t) (start - area));
        if (start < area + align)
                munmap(start + block->size_bytes, (size_t) (area + align - start));
        return map;
}

int ram_block_init(RamBlock *block, const EngineRamBlock *config, int fd, RamBlockUse use, GError **reterr) {
        *block = (RamBlock) {
                .id = g_strdup(config->id),
                .fd = fd,
                .size_bytes = config->size_bytes,
                .page_bytes = config->page_bytes,
                .policy = config->policy,
        };
        if (config->page_bytes < 4096 || (config->page_bytes & (config->page_bytes - 1)) != 0 ||
            config->size_bytes == 0 || config->size_bytes % config->page_bytes != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("RAM block '%s': its size is not a multiple of its page size"), config->id);
        block->n_pages = config->size_bytes / config->page_bytes;

        struct stat st;
        if (fstat(fd, &st) < 0)
                return error_set_errno(reterr, errno, _("cannot look at the memory file of RAM block '%s'"), block->id);
        if ((uint64_t) st.st_size < block->size_bytes)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the memory file of RAM block '%s' is too short"),
                                 block->id);

        block->map = map_file(block, use == RAM_BLOCK_WRITE ? PROT_READ | PROT_WRITE : PROT_READ);
        if (!block->map)
                return error_set_errno(reterr, errno, _("cannot map the memory file of RAM block '%s'"), block->id);
        if (use == RAM_BLOCK_WRITE && block->page_bytes < RAM_BLOCK_LARGE_BYTES) {
                /* Two mappings of one file: which one takes the fault decides the folio's size. */
                (void) madvise(block->map, block->size_bytes, MADV_NOHUGEPAGE);
                block->map_large = map_file(block, PROT_READ | PROT_WRITE);
                if (block->map_large && madvise(block->map_large, block->size_bytes, MADV_HUGEPAGE) < 0) {
                        munmap(block->map_large, block->size_bytes);
                        block->map_large = NULL;
                }
        }
        return 0;
}

void ram_block_deinit(RamBlock *block) {
        if (block->map)
                munmap(block->map, block->size_bytes);
        if (block->map_large)
                munmap(block->map_large, block->size_bytes);
        if (block->id) /* initialised at all */
                block->fd = fd_close(block->fd);
        g_free(block->id);
        *block = (RamBlock) { .fd = -EBADF };
}

uint64_t ram_block_allocated(const RamBlock *block) {
        struct stat st;
        return fstat(block->fd, &st) < 0 ? 0 : (uint64_t) st.st_blocks * 512;
}
