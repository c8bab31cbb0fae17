/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: see dirty.h. This file keeps `known` true.
 *
 * A walk over the whole file costs about 35 ns per page (10 ms per GiB of small pages), too much for the downtime, so
 * it is avoided: new pages are found by looking at the holes only, and vanished ones are looked for only when the
 * file's size in memory (st_blocks) does not fit what is known. While the guest runs that comparison may miss a page
 * that vanished while another appeared. In the last sync, with the guest stopped, it is exact: `known` holds every page
 * that exists, so it holds no other one if there are as many. (A file whose st_blocks counts more than its data, say on
 * a disk, is walked each time.)
 */

#include "driver/engine/dirty.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/kernel.h"
#include "driver/base/log.h"
#include "driver/base/uapi.h"
#include "driver/engine/extents.h"
#include "driver/engine/guest_map.h"
#include "driver/engine/throttle.h"

int dirty_uffd_enable(int uffd, uint64_t features) {
        struct uffdio_api api = { .api = UFFD_API, .features = features };
        if (ioctl(uffd, UFFDIO_API, &api) < 0 && errno != EINVAL)
                return -errno;
        /* EINVAL: either it was done before (an earlier job), or a feature is missing; the registration's use will
         * tell. */
        return 0;
}

int dirty_protect(int uffd, uint64_t address, uint64_t length, bool on) {
        struct uffdio_writeprotect arg = {
                .range = { address, length },
                .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
        };
        while (ioctl(uffd, UFFDIO_WRITEPROTECT, &arg) < 0)
                if (errno != EAGAIN && errno != EINTR)
                        return -errno;
        return 0;
}

static uint64_t known_bytes(const DirtyBlock *block) {
        return block->known.n_set * block->ram->page_bytes;
}

/* Walks the whole file. Pages that have come or gone are dirty. */
static int walk(DirtyBlock *block) {
        g_auto(PageSet) now = { 0 };
        int r = page_set_init(&now, block->ram->n_pages);
        if (r < 0)
                return r;
        r = extents_scan(block->ram->fd, block->ram->page_bytes, &now);
        if (r < 0)
                return r;
        if (block->dirty)
                for (uint64_t w = 0; w * 64 < block->ram->n_pages; w++) {
                        uint64_t changed = now.words[w] ^ block->known.words[w];
                        for (; changed; changed &= changed - 1)
                                page_set_add(block->dirty, w * 64 + (uint64_t) __builtin_ctzll(changed), 1);
                }
        PageSet old = block->known;
        block->known = now;
        now = old;
        return 0;
}

static int update_known(DirtyBlock *block, bool final) {
        g_auto(PageSet) fresh = { 0 };
        int r = page_set_init(&fresh, block->ram->n_pages);
        if (r < 0)
                return r;
        r = extents_scan_holes(block->ram->fd, block->ram->page_bytes, &block->known, &fresh);
        if (r < 0)
                return r;
        page_set_merge(block->dirty, &fresh);
        page_set_merge(&block->known, &fresh);

        uint64_t allocated = ram_block_allocated(block->ram);
        if (final ? allocated != known_bytes(block) : allocated < known_bytes(block))
                return walk(block);
        return 0;
}

static int find_blocks(Dirty *dirty, const RamBlock *blocks, GError **reterr) {
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                DirtyBlock *block = &dirty->blocks[i];
                block->ram = &blocks[i];
                int r = guest_map_find(dirty->pid, block->ram->fd, block->ram->size_bytes, block->ram->id,
                                       &block->address, reterr);
                if (r < 0)
                        return r;
                r = page_set_init(&block->known, block->ram->n_pages);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot allocate the page table of RAM block '%s'"),
                                               block->ram->id);
                r = walk(block);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot find the extents of RAM block '%s'"),
                                               block->ram->id);
        }
        return 0;
}

/* An earlier job may have ended without cleaning up. */
static void unregister_all(Dirty *dirty, int uffd_async, int uffd_sync) {
        for (unsigned i = 0; i < dirty->n_blocks; i++)
                (void) guest_map_unregister(dirty->blocks[i].address, dirty->blocks[i].ram->size_bytes, uffd_async,
                                            uffd_sync);
}

static int try_start(Dirty *dirty, const DirtyOps *ops, int uffd, GError **reterr) {
        dirty->uffd = fcntl(uffd, F_DUPFD_CLOEXEC, 3);
        if (dirty->uffd < 0)
                return error_set_errno(reterr, errno, _("cannot use the guest's userfaultfd"));
        dirty->ops = ops;
        int r = ops->start(dirty, reterr);
        if (r < 0) {
                ops->free(dirty);
                dirty->ops = NULL;
                dirty->uffd = fd_close(dirty->uffd);
        }
        return r;
}

int dirty_new(const RamBlock *blocks, unsigned n_blocks, pid_t pid, int uffd_async, int uffd_sync, DirtyMode mode,
              Dirty **ret_dirty, GError **reterr) {
        g_autoptr(Dirty) dirty = g_new0(Dirty, 1);
        dirty->uffd = -EBADF;
        dirty->pid = pid;
        dirty->blocks = g_new0(DirtyBlock, n_blocks);
        dirty->n_blocks = n_blocks;

        bool can_async = mode != DIRTY_SYNC && uffd_async >= 0 && kernel_has(KERNEL_PAGEMAP_SCAN) &&
                         kernel_has(KERNEL_UFFD_WP_ASYNC);
        bool can_sync = mode != DIRTY_ASYNC && uffd_sync >= 0 && kernel_has(KERNEL_UFFD_WP_SHMEM);
        if (!can_async && !can_sync) {
                error_set(
                        reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                        uffd_async < 0 && uffd_sync < 0
                                ? _("the guest was started without a userfaultfd, so its writes cannot be tracked: "
                                    "start it again with Ferry")
                                : _("this kernel can write-protect shared memory neither asynchronously (Linux 6.7) "
                                    "nor synchronously (Linux 5.19)"));
                return -ENOTSUP;
        }
        int r = find_blocks(dirty, blocks, reterr);
        if (r < 0)
                return r;
        unregister_all(dirty, uffd_async, uffd_sync);

        g_autoptr(GError) first = NULL;
        r = can_async ? try_start(dirty, &dirty_scan_ops, uffd_async, &first) : -ENOTSUP;
        if (r < 0 && r != -ESRCH && can_sync) {
                if (first)
                        log_debug("asynchronous write protection does not work (%s), trying the synchronous one",
                                  first->message);
                g_clear_error(&first);
                r = try_start(dirty, &dirty_sync_ops, uffd_sync, &first);
        }
        if (r < 0) {
                g_propagate_error(reterr, g_steal_pointer(&first));
                return r;
        }
        *ret_dirty = g_steal_pointer(&dirty);
        return 0;
}

int dirty_sync(Dirty *dirty, bool final, PageSet *sets, GError **reterr) {
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                DirtyBlock *block = &dirty->blocks[i];
                block->dirty = &sets[i];
                int r = update_known(block, final);
                if (r < 0)
                        error_set_errno(reterr, r, _("cannot find the extents of RAM block '%s'"), block->ram->id);
                else
                        r = dirty->ops->sync(dirty, block, final, reterr);
                if (r >= 0 && dirty->throttle) {
                        r = throttle_sync(dirty->throttle, block, final);
                        if (r < 0)
                                error_set_errno(reterr, r, _("cannot slow down the writers of RAM block '%s'"),
                                                block->ram->id);
                }
                block->dirty = NULL;
                if (r < 0)
                        return r;
        }
        return 0;
}

int dirty_throttle(Dirty *dirty, int uffd_sync, uint64_t pages_per_sec, GError **reterr) {
        if (!dirty->throttle) {
                int r = pages_per_sec > 0 ? throttle_new(dirty, uffd_sync, &dirty->throttle, reterr) : 0;
                if (r < 0 || !dirty->throttle)
                        return r;
        }
        throttle_set_rate(dirty->throttle, pages_per_sec);
        return 0;
}

Dirty *dirty_free(Dirty *dirty) {
        if (!dirty)
                return NULL;
        dirty->throttle = throttle_free(dirty->throttle);
        if (dirty->ops) {
                dirty->ops->stop(dirty);
                dirty->ops->free(dirty);
        }
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                page_set_deinit(&dirty->blocks[i].known);
                page_set_deinit(&dirty->blocks[i].moved);
        }
        g_free(dirty->blocks);
        fd_close(dirty->uffd);
        g_free(dirty);
        return NULL;
}
