/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/extents.h"

#include <errno.h>
#include <unistd.h>

/* The data between the offsets from and end, rounded outward to pages. */
static int scan_between(int fd, uint64_t page_bytes, uint64_t from, uint64_t end, PageSet *set) {
        while (from < end) {
                off_t data = lseek(fd, (off_t) from, SEEK_DATA);
                if (data < 0)
                        return errno == ENXIO ? 0 : -errno;
                if ((uint64_t) data >= end)
                        return 0;
                off_t hole = lseek(fd, data, SEEK_HOLE);
                if (hole < 0) {
                        if (errno == ENXIO) /* punched since, and the file's last data */
                                return 0;
                        return -errno;
                }
                if (hole <= data) {
                        /* punched since: what follows may be data again */
                        from = (uint64_t) data + page_bytes;
                        continue;
                }
                uint64_t stop = MIN((uint64_t) hole, end);
                uint64_t first = (uint64_t) data / page_bytes, last = (stop + page_bytes - 1) / page_bytes;
                page_set_add(set, first, MIN(last, set->n_pages) - first);
                from = stop;
        }
        return 0;
}

int extents_scan(int fd, uint64_t page_bytes, PageSet *ret_allocated) {
        page_set_clear(ret_allocated);
        return scan_between(fd, page_bytes, 0, ret_allocated->n_pages * page_bytes, ret_allocated);
}

int extents_scan_holes(int fd, uint64_t page_bytes, const PageSet *known, PageSet *fresh) {
        for (uint64_t gap = page_set_next_gap(known, 0); gap < known->n_pages;) {
                uint64_t end = page_set_next(known, gap);
                int r = scan_between(fd, page_bytes, gap * page_bytes, end * page_bytes, fresh);
                if (r < 0)
                        return r;
                gap = page_set_next_gap(known, end);
        }
        return 0;
}
