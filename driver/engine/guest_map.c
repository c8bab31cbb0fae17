/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/guest_map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/uapi.h"

#define PIECE_BYTES UINT64_C(2097152)

typedef struct MapLine {
        uint64_t start, end, offset, inode;
        unsigned major, minor;
        char flags[5];
} MapLine;

/* The kernel splits and merges entries of one mapping (advice, registrations): they are put together again by address
 * minus offset. */
static int collect(FILE *maps, const struct stat *st, uint64_t size_bytes, uint64_t *ret_base) {
        char *text = NULL;
        size_t capacity = 0;
        uint64_t base = 0, covered = 0;
        bool found = false, twice = false;

        while (getline(&text, &capacity, maps) >= 0) {
                MapLine line = { 0 };
                if (sscanf(text, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &line.start, &line.end,
                           line.flags, &line.offset, &line.major, &line.minor, &line.inode) != 7)
                        continue;
                if (line.inode != st->st_ino || makedev(line.major, line.minor) != st->st_dev || line.flags[3] != 's' ||
                    line.flags[1] != 'w')
                        continue;
                if (line.offset >= size_bytes)
                        continue;
                if (found && line.start - line.offset != base) {
                        twice = true;
                        continue;
                }
                found = true;
                base = line.start - line.offset;
                covered += MIN(line.end - line.start, size_bytes - line.offset);
        }
        free(text);
        if (twice)
                return -ENOTUNIQ;
        if (!found || covered < size_bytes)
                return -ENOENT;
        *ret_base = base;
        return 0;
}

int guest_map_find(pid_t pid, int fd, uint64_t size_bytes, const char *name, uint64_t *ret_address, GError **reterr) {
        struct stat st;
        if (fstat(fd, &st) < 0)
                return error_set_errno(reterr, errno, _("cannot look at the memory file of RAM block '%s'"), name);

        g_autofree char *path = g_strdup_printf("/proc/%d/maps", (int) pid);
        FILE *maps = fopen(path, "re");
        if (!maps)
                return errno == ENOENT ? (error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the QEMU process %d is gone"),
                                                    (int) pid),
                                          -ESRCH)
                                       : error_set_errno(reterr, errno, _("cannot open '%s'"), path);
        int r = collect(maps, &st, size_bytes, ret_address);
        fclose(maps);
        if (r == -ENOTUNIQ)
                error_set(
                        reterr, VIR_ERR_OPERATION_FAILED,
                        _("process %d maps the memory of RAM block '%s' more than once: its writes cannot be tracked"),
                        (int) pid, name);
        else if (r < 0)
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("process %d does not map the memory of RAM block '%s' as shared and writable"), (int) pid,
                          name);
        return r;
}

/* 0, -EINVAL: never used, or the range belongs to another one, at least in part. */
static int unregister(int uffd, uint64_t address, uint64_t length) {
        struct uffdio_range range = { address, length };

        return uffd < 0 ? -EINVAL : ioctl(uffd, UFFDIO_UNREGISTER, &range) < 0 ? -errno : 0;
}

int guest_map_unregister(uint64_t address, uint64_t length, int uffd_a, int uffd_b) {
        const int uffds[] = { uffd_a, uffd_b };
        int a = unregister(uffd_a, address, length), b = unregister(uffd_b, address, length);

        /* Each refuses because of the other's pieces. */
        if (a == -EINVAL && b == -EINVAL && uffd_a >= 0 && uffd_b >= 0)
                for (uint64_t done = 0; done < length; done += PIECE_BYTES) {
                        uint64_t piece = MIN(PIECE_BYTES, length - done);
                        if (unregister(uffd_a, address + done, piece) < 0)
                                (void) unregister(uffd_b, address + done, piece);
                }
        /* Unregistering alone wakes nobody who waits for a write fault. */
        for (size_t i = 0; i < G_N_ELEMENTS(uffds); i++) {
                struct uffdio_range range = { address, length };
                if (uffds[i] >= 0)
                        (void) ioctl(uffds[i], UFFDIO_WAKE, &range);
        }
        return a < 0 && a != -EINVAL ? a : b < 0 && b != -EINVAL ? b : 0;
}
