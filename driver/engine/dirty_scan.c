/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: asynchronous write protection. The kernel resolves the write fault itself and marks the page as
 * written; PAGEMAP_SCAN reports the marks. A page without an entry in QEMU's page table and without a protection marker
 * counts as written, so the holes of the file must not be taken from here: reports are cut down to the pages that exist
 * (`known`).
 *
 * Under KVM a scan that protects (PM_SCAN_WP_MATCHING) invalidates the guest's mappings over the whole range it is
 * given. So a sync has two steps: scan without protecting, then protect only what was written: page runs by
 * UFFDIO_WRITEPROTECT, a 2 MiB piece that is mostly dirty by one protecting scan (which reports what it protects, so
 * that nothing written in between is lost).
 */

#include "driver/engine/dirty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/base/uapi.h"
#include "driver/engine/worker.h"

#define SCAN_REGIONS 1024
#define SCAN_SMALL_BYTES 4096u
#define SCAN_MERGE_BYTES UINT64_C(2097152)   /* holes up to this size are scanned along */
#define SCAN_PIECE_BYTES UINT64_C(134217728) /* a thread's piece of work in the final scan */
#define SCAN_DENSE_BYTES UINT64_C(2097152)
#define SCAN_THREADS_MAX 8

typedef struct ScanState {
        int pagemap_fd;
        PageSet *mapped; /* per block of huge pages: what was in QEMU's page table at the last sync */
} ScanState;

/* A range of pages. */
typedef struct ScanRange {
        uint64_t first, count;
} ScanRange;

/* Scans [first, first + count) pages and appends those of the category (PAGE_IS_*). flags: PM_SCAN_*. */
static int scan_category(int pagemap_fd, const DirtyBlock *block, ScanRange range, uint64_t category, uint64_t flags,
                         GArray *found) {
        uint64_t page = block->ram->page_bytes;
        UapiPageRegion regions[SCAN_REGIONS];
        UapiPmScanArg arg = {
                .size = sizeof(arg),
                .flags = flags,
                .start = block->address + range.first * page,
                .end = block->address + (range.first + range.count) * page,
                .vec = (uintptr_t) regions,
                .vec_len = SCAN_REGIONS,
                .category_mask = category,
                .return_mask = category,
        };
        while (arg.start < arg.end) {
                int n = ioctl(pagemap_fd, PAGEMAP_SCAN, &arg);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                for (int i = 0; i < n; i++) {
                        ScanRange hit = { (regions[i].start - block->address) / page,
                                          (regions[i].end - regions[i].start) / page };
                        g_array_append_val(found, hit);
                }
                if (arg.walk_end <= arg.start) /* the address space is gone */
                        return -ESRCH;
                arg.start = arg.walk_end;
        }
        return 0;
}

static int scan_range(int pagemap_fd, const DirtyBlock *block, ScanRange range, uint64_t flags, GArray *found) {
        return scan_category(pagemap_fd, block, range, PAGE_IS_WRITTEN, flags, found);
}

/* What exists, as ranges that are worth one scan each. */
static GArray *scan_plan(const DirtyBlock *block, uint64_t piece_pages) {
        GArray *plan = g_array_new(FALSE, FALSE, sizeof(ScanRange));
        uint64_t merge = MAX(SCAN_MERGE_BYTES / block->ram->page_bytes, 1);
        const PageSet *known = &block->known;

        for (uint64_t first = page_set_next(known, 0); first < known->n_pages;) {
                uint64_t end = page_set_next_gap(known, first), next = page_set_next(known, end);
                while (next < known->n_pages && next - end <= merge) {
                        end = page_set_next_gap(known, next);
                        next = page_set_next(known, end);
                }
                for (; first < end; first += piece_pages) {
                        ScanRange range = { first, MIN(end - first, piece_pages) };
                        g_array_append_val(plan, range);
                }
                first = next;
        }
        return plan;
}

/* What is moved is the throttle's to tell: its pages are not marked here. */
static void add_unmoved(DirtyBlock *block, uint64_t first, uint64_t end) {
        if (block->moved.n_set == 0) {
                page_set_add(block->dirty, first, end - first);
                return;
        }
        while (first < end) {
                uint64_t stop =
                        page_set_has(&block->moved, first) ? first : MIN(page_set_next(&block->moved, first), end);
                page_set_add(block->dirty, first, stop - first);
                first = stop < end ? page_set_next_gap(&block->moved, stop) : end;
        }
}

/* Adds found to the block's dirty pages, without the holes. */
static void add_found(DirtyBlock *block, const GArray *found) {
        for (guint i = 0; i < found->len; i++) {
                ScanRange range = g_array_index(found, ScanRange, i);
                uint64_t end = range.first + range.count;
                for (uint64_t page = page_set_next(&block->known, range.first); page < end;) {
                        uint64_t stop = MIN(page_set_next_gap(&block->known, page), end);
                        add_unmoved(block, page, stop);
                        page = page_set_next(&block->known, stop);
                }
        }
}

/* The threads of one final scan share the plan; each has its own result. */
typedef struct ScanJob {
        int pagemap_fd;
        const DirtyBlock *block;
        const GArray *plan;
        atomic_uint *next;
        GArray *found; /* this thread's */
        int result;    /* this thread's */
} ScanJob;

static void scan_worker(void *userdata) {
        ScanJob *job = userdata;
        for (;;) {
                unsigned i = atomic_fetch_add(job->next, 1);
                if (i >= job->plan->len)
                        return;
                job->result =
                        scan_range(job->pagemap_fd, job->block, g_array_index(job->plan, ScanRange, i), 0, job->found);
                if (job->result < 0)
                        return;
        }
}

static int scan_parallel(int pagemap_fd, DirtyBlock *block, const GArray *plan, unsigned n_threads) {
        ScanJob jobs[SCAN_THREADS_MAX];
        Worker workers[SCAN_THREADS_MAX] = { 0 };
        atomic_uint next = 0;
        int r = 0;

        for (unsigned i = 0; i < n_threads; i++) {
                jobs[i] = (ScanJob) { pagemap_fd, block, plan, &next, g_array_new(FALSE, FALSE, sizeof(ScanRange)), 0 };
                /* The last one runs here; a thread that cannot start leaves its share to the others. */
                if (i + 1 < n_threads)
                        (void) worker_start(&workers[i], "final-scan", scan_worker, &jobs[i]);
                else
                        scan_worker(&jobs[i]);
        }
        for (unsigned i = 0; i < n_threads; i++) {
                worker_join(&workers[i]);
                if (jobs[i].result < 0)
                        r = jobs[i].result;
                add_found(block, jobs[i].found);
                g_array_unref(jobs[i].found);
        }
        return r;
}

static int protect_run(Dirty *dirty, const DirtyBlock *block, uint64_t first, uint64_t count) {
        uint64_t page = block->ram->page_bytes;
        return dirty_protect(dirty->uffd, block->address + first * page, count * page, true);
}

/* Step two of a sync. */
static int protect_dirty(Dirty *dirty, DirtyBlock *block) {
        ScanState *state = dirty->state;
        uint64_t dense = SCAN_DENSE_BYTES / block->ram->page_bytes;
        g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(ScanRange));

        for (uint64_t page = page_set_next(block->dirty, 0); page < block->ram->n_pages;) {
                uint64_t end;
                /* Pieces move as a whole. */
                if (block->moved.n_set > 0 && page_set_has(&block->moved, page)) {
                        page = page_set_next(block->dirty, page_set_next_gap(&block->moved, page));
                        continue;
                }
                if (dense > 1) {
                        uint64_t piece = page - page % dense, length = MIN(dense, block->ram->n_pages - piece);
                        end = piece + length;
                        if (page_set_count(block->dirty, piece, length) * 2 >= length) {
                                int r = scan_range(state->pagemap_fd, block, (ScanRange) { piece, length },
                                                   PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC, found);
                                if (r < 0)
                                        return r;
                                page = page_set_next(block->dirty, end);
                                continue;
                        }
                } else
                        end = page + 1;
                while (page < end) {
                        uint64_t stop = MIN(page_set_next_gap(block->dirty, page), end);
                        int r = protect_run(dirty, block, page, stop - page);
                        if (r < 0)
                                return r;
                        page = page_set_next(block->dirty, stop);
                }
        }
        /* Written between the two steps, inside a dense piece: protected now, so they must be sent. */
        add_found(block, found);
        return 0;
}

static int scan_error(const DirtyBlock *block, pid_t pid, int error, GError **reterr) {
        if (error == -ESRCH || error == -ENOENT || error == -ENOMEM) {
                error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the QEMU process %d is gone"), (int) pid);
                return -ESRCH;
        }
        return error_set_errno(reterr, error, _("cannot track the writes to RAM block '%s'"), block->ram->id);
}

/*
 * hugetlbfs does not tell its holes, so `known` is all of it, and a huge page that the guest gave back is not
 * "written". But it is gone from QEMU's page table, where such a page stays otherwise: then it has become zero.
 */
static int find_given_back(Dirty *dirty, DirtyBlock *block) {
        ScanState *state = dirty->state;
        PageSet *mapped = &state->mapped[block - dirty->blocks];
        g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(ScanRange));
        g_auto(PageSet) now = { 0 };

        int r = page_set_init(&now, block->ram->n_pages);
        if (r >= 0)
                r = scan_category(state->pagemap_fd, block, (ScanRange) { 0, block->ram->n_pages }, PAGE_IS_PRESENT, 0,
                                  found);
        if (r < 0)
                return r;
        for (guint i = 0; i < found->len; i++) {
                ScanRange range = g_array_index(found, ScanRange, i);
                page_set_add(&now, range.first, range.count);
        }
        for (uint64_t page = page_set_next(mapped, 0); page < mapped->n_pages; page = page_set_next(mapped, page + 1))
                if (block->dirty && !page_set_has(&now, page))
                        page_set_add(block->dirty, page, 1);
        PageSet old = *mapped;
        *mapped = now;
        now = old;
        return 0;
}

static bool is_huge(const DirtyBlock *block) {
        return block->ram->page_bytes > SCAN_SMALL_BYTES;
}

static int scan_sync(Dirty *dirty, DirtyBlock *block, bool final, GError **reterr) {
        ScanState *state = dirty->state;
        g_autoptr(GArray) plan = scan_plan(block, MAX(SCAN_PIECE_BYTES / block->ram->page_bytes, 1));
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        unsigned n_threads = final ? (unsigned) CLAMP(cpus, 1, MIN(SCAN_THREADS_MAX, (long) MAX(plan->len, 1))) : 1;

        int r = scan_parallel(state->pagemap_fd, block, plan, n_threads);
        if (r >= 0 && !final)
                r = protect_dirty(dirty, block);
        if (r >= 0 && is_huge(block))
                r = find_given_back(dirty, block);
        return r < 0 ? scan_error(block, dirty->pid, r, reterr) : 0;
}

static int scan_start_block(Dirty *dirty, DirtyBlock *block) {
        struct uffdio_register reg = {
                .range = { block->address, block->ram->size_bytes },
                .mode = UFFDIO_REGISTER_MODE_WP,
        };
        if (ioctl(dirty->uffd, UFFDIO_REGISTER, &reg) < 0)
                return -errno;

        /* The first pass sends all that exists, so one protecting scan without looking at its answer is right. */
        ScanState *state = dirty->state;
        g_autoptr(GArray) plan = scan_plan(block, block->ram->n_pages);
        g_autoptr(GArray) found = g_array_new(FALSE, FALSE, sizeof(ScanRange));
        for (guint i = 0; i < plan->len; i++) {
                int r = scan_range(state->pagemap_fd, block, g_array_index(plan, ScanRange, i),
                                   PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC, found);
                if (r < 0)
                        return r;
                g_array_set_size(found, 0);
        }
        return is_huge(block) ? find_given_back(dirty, block) : 0;
}

static int scan_start(Dirty *dirty, GError **reterr) {
        ScanState *state = g_new0(ScanState, 1);
        dirty->state = state;
        state->mapped = g_new0(PageSet, dirty->n_blocks);
        g_autofree char *path = g_strdup_printf("/proc/%d/pagemap", (int) dirty->pid);
        state->pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (state->pagemap_fd < 0)
                return error_set_errno(reterr, errno, _("cannot open '%s'"), path);
        int r = dirty_uffd_enable(dirty->uffd, UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
                                                       UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot use the guest's userfaultfd"));
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                r = scan_start_block(dirty, &dirty->blocks[i]);
                if (r < 0) {
                        dirty->ops->stop(dirty);
                        return scan_error(&dirty->blocks[i], dirty->pid, r, reterr);
                }
        }
        return 0;
}

static void scan_stop(Dirty *dirty) {
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                struct uffdio_range range = { dirty->blocks[i].address, dirty->blocks[i].ram->size_bytes };
                if (ioctl(dirty->uffd, UFFDIO_UNREGISTER, &range) < 0)
                        log_debug("cannot unregister RAM block '%s': %m", dirty->blocks[i].ram->id);
        }
}

static void scan_free(Dirty *dirty) {
        ScanState *state = dirty->state;
        if (!state)
                return;
        fd_close(state->pagemap_fd);
        for (unsigned i = 0; i < dirty->n_blocks; i++)
                page_set_deinit(&state->mapped[i]);
        g_free(state->mapped);
        g_free(state);
        dirty->state = NULL;
}

const DirtyOps dirty_scan_ops = {
        .name = "scan",
        .start = scan_start,
        .sync = scan_sync,
        .stop = scan_stop,
        .free = scan_free,
};
