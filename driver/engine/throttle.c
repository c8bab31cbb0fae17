/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: throttle.h says what happens to whom. The mark of a page and its protection change together,
 * under the lock: the fault thread sets the mark and lifts the protection, a sync takes the mark and protects again. If
 * the two could interleave, a sync might take a mark whose page is let go only afterwards, and nobody would see its
 * next write.
 *
 * While pieces are moved, writers depend on the thread: throttle_free() lets them go. If the helper is killed, the
 * daemon does it (engine_source_unprotect()).
 */

#include "driver/engine/throttle.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/base/uapi.h"
#include "driver/engine/fault.h"
#include "driver/engine/worker.h"

#define BURST_USEC UINT64_C(5000)
#define HOT_SHARE 8 /* a piece of which an eighth was written is worth moving */
#define PAGE_BYTES 4096u

struct Throttle {
        /* fixed after throttle_new() */
        Dirty *dirty;
        int uffd, stop_fd;
        Worker worker;
        /* under lock; the blocks' `moved` sets are the sender's, and never shrink */
        pthread_mutex_t lock;
        PageSet *written; /* per block: faulted and let go since the last sync */
        /* any thread */
        _Atomic(uint64_t) pages_per_sec;
        atomic_int error; /* negative errno once the thread has given up */
};

/* ---- the thread ---- */

static void answer(Throttle *throttle, uint64_t address) {
        Dirty *dirty = throttle->dirty;

        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                const DirtyBlock *block = &dirty->blocks[i];
                if (address < block->address || address - block->address >= block->ram->size_bytes)
                        continue;
                uint64_t page = (address - block->address) / PAGE_BYTES;
                pthread_mutex_lock(&throttle->lock);
                page_set_add(&throttle->written[i], page, 1);
                int r = dirty_protect(throttle->uffd, block->address + page * PAGE_BYTES, PAGE_BYTES, false);
                pthread_mutex_unlock(&throttle->lock);
                if (r < 0 && r != -ESRCH)
                        atomic_store(&throttle->error, r);
                return;
        }
}

/* Waits for the next answer's turn. False: it is over. */
static bool wait_turn(Throttle *throttle, uint64_t *next_usec) {
        uint64_t rate = atomic_load(&throttle->pages_per_sec), now = clock_monotonic_usec();
        struct pollfd stop = { .fd = throttle->stop_fd, .events = POLLIN };

        if (rate == 0)
                return true;
        *next_usec = MAX(*next_usec, now > BURST_USEC ? now - BURST_USEC : 0) + USEC_PER_SEC / rate;
        if (*next_usec <= now)
                return true;
        struct timespec wait = { .tv_nsec = (long) MIN((*next_usec - now) * NSEC_PER_USEC, 999999999) };
        return ppoll(&stop, 1, &wait, NULL) <= 0;
}

static void throttle_worker(void *userdata) {
        Throttle *throttle = userdata;
        struct pollfd fds[] = { { .fd = throttle->uffd, .events = POLLIN },
                                { .fd = throttle->stop_fd, .events = POLLIN } };
        uint64_t next_usec = 0;

        worker_urgent();
        for (;;) {
                struct uffd_msg message;

                if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
                        break;
                if (fds[1].revents)
                        return;
                if (fds[0].revents & (POLLERR | POLLHUP))
                        break;
                /* One at a time: who is still in the kernel's queue can be let go by others when this thread ends. */
                ssize_t n = read(throttle->uffd, &message, sizeof(message));
                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        break;
                if (n != sizeof(message) || message.event != UFFD_EVENT_PAGEFAULT)
                        continue;
                bool on = wait_turn(throttle, &next_usec);
                answer(throttle, message.arg.pagefault.address);
                if (!on)
                        return;
        }
        atomic_store(&throttle->error, -ESRCH);
}

/* ---- the sender ---- */

static int protect_runs(Throttle *throttle, const DirtyBlock *block, const PageSet *set, uint64_t first, uint64_t end) {
        for (uint64_t page = page_set_next(set, first); page < end;) {
                uint64_t stop = MIN(page_set_next_gap(set, page), end);
                int r = dirty_protect(throttle->uffd, block->address + page * PAGE_BYTES, (stop - page) * PAGE_BYTES,
                                      true);
                if (r < 0)
                        return r;
                page = page_set_next(set, stop);
        }
        return 0;
}

/* Takes what was written in moved pieces, and protects it (and what is new in them) again. */
static int take_written(Throttle *throttle, DirtyBlock *block, unsigned index, bool final) {
        int r = 0;

        pthread_mutex_lock(&throttle->lock);
        page_set_merge(block->dirty, &throttle->written[index]);
        page_set_clear(&throttle->written[index]);
        for (uint64_t first = page_set_next(&block->moved, 0); r >= 0 && !final && first < block->ram->n_pages;) {
                uint64_t end = page_set_next_gap(&block->moved, first);
                r = protect_runs(throttle, block, block->dirty, first, end);
                first = page_set_next(&block->moved, end);
        }
        pthread_mutex_unlock(&throttle->lock);
        return r;
}

static int move_piece(Throttle *throttle, DirtyBlock *block, uint64_t first, uint64_t count) {
        struct uffdio_range range = { block->address + first * PAGE_BYTES, count * PAGE_BYTES };
        struct uffdio_register reg = { .range = range, .mode = UFFDIO_REGISTER_MODE_WP };

        if (ioctl(throttle->dirty->uffd, UFFDIO_UNREGISTER, &range) < 0)
                return -errno;
        /* From here on nobody watches it until it is protected; so all of it is dirty. */
        page_set_add(&block->moved, first, count);
        if (ioctl(throttle->uffd, UFFDIO_REGISTER, &reg) < 0)
                return -errno;
        int r = protect_runs(throttle, block, &block->known, first, first + count);
        for (uint64_t page = page_set_next(&block->known, first); page < first + count;) {
                uint64_t stop = MIN(page_set_next_gap(&block->known, page), first + count);
                page_set_add(block->dirty, page, stop - page);
                page = page_set_next(&block->known, stop);
        }
        return r;
}

static int move_hot(Throttle *throttle, DirtyBlock *block) {
        uint64_t piece = THROTTLE_PIECE_BYTES / PAGE_BYTES;

        for (uint64_t page = page_set_next(block->dirty, 0); page < block->ram->n_pages;) {
                uint64_t first = page - page % piece, count = MIN(piece, block->ram->n_pages - first);
                if (!page_set_has(&block->moved, first) &&
                    page_set_count(block->dirty, first, count) * HOT_SHARE >= count) {
                        int r = move_piece(throttle, block, first, count);
                        if (r < 0)
                                return r;
                }
                page = page_set_next(block->dirty, first + count);
        }
        return 0;
}

int throttle_sync(Throttle *throttle, DirtyBlock *block, bool final) {
        unsigned index = (unsigned) (block - throttle->dirty->blocks);

        if (block->ram->page_bytes != PAGE_BYTES)
                return 0;
        int r = atomic_load(&throttle->error);
        if (r >= 0)
                r = take_written(throttle, block, index, final);
        if (r >= 0 && !final && atomic_load(&throttle->pages_per_sec) > 0)
                r = move_hot(throttle, block);
        return r;
}

void throttle_set_rate(Throttle *throttle, uint64_t pages_per_sec) {
        atomic_store(&throttle->pages_per_sec, pages_per_sec == 0 ? 0 : MAX(pages_per_sec, THROTTLE_PAGES_MIN));
}

int throttle_new(Dirty *dirty, int uffd_sync, Throttle **ret_throttle, GError **reterr) {
        g_autoptr(Throttle) throttle = g_new0(Throttle, 1);
        bool any = false;
        int r;

        throttle->dirty = dirty;
        throttle->uffd = throttle->stop_fd = -EBADF;
        throttle->written = g_new0(PageSet, dirty->n_blocks);
        pthread_mutex_init(&throttle->lock, NULL);
        for (unsigned i = 0; i < dirty->n_blocks; i++)
                any = any || dirty->blocks[i].ram->page_bytes == PAGE_BYTES;
        if (dirty->ops != &dirty_scan_ops || uffd_sync < 0 || !any) {
                error_set(reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                          _("writers cannot be slowed down on this host, or not with this guest's memory"));
                return -EOPNOTSUPP;
        }
        for (unsigned i = 0; i < dirty->n_blocks; i++)
                if (page_set_init(&throttle->written[i], dirty->blocks[i].ram->n_pages) < 0 ||
                    page_set_init(&dirty->blocks[i].moved, dirty->blocks[i].ram->n_pages) < 0)
                        return error_set_errno(reterr, -ENOMEM, _("cannot slow writers down"));
        throttle->uffd = fcntl(uffd_sync, F_DUPFD_CLOEXEC, 3);
        throttle->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (throttle->uffd < 0 || throttle->stop_fd < 0)
                return error_set_errno(reterr, errno, _("cannot slow writers down"));
        r = dirty_uffd_enable(throttle->uffd, fault_uffd_features());
        if (r >= 0)
                r = worker_start(&throttle->worker, "throttle", throttle_worker, throttle);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot slow writers down"));
        *ret_throttle = g_steal_pointer(&throttle);
        return 0;
}

Throttle *throttle_free(Throttle *throttle) {
        if (!throttle)
                return NULL;
        for (unsigned i = 0; throttle->uffd >= 0 && i < throttle->dirty->n_blocks; i++) {
                const DirtyBlock *block = &throttle->dirty->blocks[i];
                struct uffdio_range range = { block->address, block->ram->size_bytes };

                /* Only what is this context's is touched. */
                for (uint64_t first = block->moved.words ? page_set_next(&block->moved, 0) : block->ram->n_pages;
                     first < block->ram->n_pages;) {
                        uint64_t end = page_set_next_gap(&block->moved, first);
                        struct uffdio_range run = { block->address + first * PAGE_BYTES, (end - first) * PAGE_BYTES };
                        if (ioctl(throttle->uffd, UFFDIO_UNREGISTER, &run) < 0)
                                log_debug("cannot unregister a piece of RAM block '%s': %m", block->ram->id);
                        first = page_set_next(&block->moved, end);
                }
                (void) ioctl(throttle->uffd, UFFDIO_WAKE, &range);
        }
        if (throttle->worker.started) {
                (void) eventfd_write(throttle->stop_fd, 1);
                worker_join(&throttle->worker);
                /* It may have held a fault that it had read before. */
                for (unsigned i = 0; i < throttle->dirty->n_blocks; i++) {
                        struct uffdio_range range = { throttle->dirty->blocks[i].address,
                                                      throttle->dirty->blocks[i].ram->size_bytes };
                        (void) ioctl(throttle->uffd, UFFDIO_WAKE, &range);
                }
        }
        for (unsigned i = 0; i < throttle->dirty->n_blocks; i++)
                page_set_deinit(&throttle->written[i]);
        g_free(throttle->written);
        fd_close(throttle->uffd);
        fd_close(throttle->stop_fd);
        pthread_mutex_destroy(&throttle->lock);
        g_free(throttle);
        return NULL;
}
