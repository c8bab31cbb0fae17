/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/private_ram.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "driver/base/io.h"

#define ENTRY_THERE (UINT64_C(3) << 62) /* of /proc/PID/pagemap: present, swapped */
#define ENTRIES 512

/* Present bytes of one mapping; its length where that cannot be read. */
static uint64_t present_bytes(int pagemap, uint64_t start, uint64_t length, uint64_t page_bytes) {
        uint64_t entries[ENTRIES], bytes = 0, page = start / page_bytes, end = (start + length) / page_bytes;

        while (page < end) {
                size_t want = MIN(end - page, ENTRIES) * sizeof(entries[0]);
                ssize_t got = pread(pagemap, entries, want, (off_t) (page * sizeof(entries[0])));
                if (got < (ssize_t) sizeof(entries[0]))
                        return length;
                for (size_t i = 0; i < (size_t) got / sizeof(entries[0]); i++)
                        bytes += entries[i] & ENTRY_THERE ? page_bytes : 0;
                page += (size_t) got / sizeof(entries[0]);
        }
        return bytes;
}

/* Index of a block of this size that has no mapping yet; negative: there is none. */
static int take_block(const uint64_t *sizes, unsigned n_sizes, bool *taken, uint64_t length) {
        for (unsigned i = 0; i < n_sizes; i++)
                if (sizes[i] == length && !taken[i]) {
                        taken[i] = true;
                        return (int) i;
                }
        return -1;
}

int private_ram_resident(pid_t pid, const uint64_t *sizes, unsigned n_sizes, uint64_t *ret_bytes) {
        g_autofree char *maps_path = g_strdup_printf("/proc/%d/maps", (int) pid);
        g_autofree char *pagemap_path = g_strdup_printf("/proc/%d/pagemap", (int) pid);
        _cleanup_fd_ int pagemap = open(pagemap_path, O_RDONLY | O_CLOEXEC);
        bool taken[PRIVATE_RAM_BLOCKS_MAX] = { false };
        char *line = NULL;
        size_t capacity = 0;
        uint64_t bytes = 0, start, end, inode;
        char flags[5];

        if (pagemap < 0 || n_sizes > PRIVATE_RAM_BLOCKS_MAX)
                return pagemap < 0 ? -errno : -EINVAL;
        FILE *maps = fopen(maps_path, "re");
        if (!maps)
                return -errno;
        while (getline(&line, &capacity, maps) >= 0)
                if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %" SCNu64, &start, &end, flags, &inode) ==
                            4 &&
                    inode == 0 && flags[3] == 'p' && flags[1] == 'w' &&
                    take_block(sizes, n_sizes, taken, end - start) >= 0)
                        bytes += present_bytes(pagemap, start, end - start, (uint64_t) sysconf(_SC_PAGESIZE));
        free(line);
        fclose(maps);
        for (unsigned i = 0; i < n_sizes; i++)
                bytes += taken[i] ? 0 : sizes[i];
        *ret_bytes = bytes;
        return 0;
}
