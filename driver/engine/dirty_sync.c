/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: synchronous write protection, for kernels without the asynchronous one. The first write to a
 * protected page stops the writer; a thread here reads the fault, marks the page and lifts its protection, which wakes
 * the writer. A sync takes the marks, protects those pages again, and hands them out.
 *
 * While this tracker lives, a writer depends on the thread: stop() takes everything off and wakes all writers. If the
 * helper is killed, the daemon must do that (engine_source_unprotect()).
 */

#include "driver/engine/dirty.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/base/uapi.h"
#include "driver/engine/fault.h"
#include "driver/engine/worker.h"

#define FAULTS_MAX 64 /* read at once */

typedef struct SyncState {
        /* fixed after start */
        int stop_fd;
        Worker worker;
        size_t *n_words;                 /* per block */
        const Dirty *dirty;
        /* under lock: a page's mark and its protection change together. Else a sync could take a mark and protect the
         * page before the fault thread lets it go, and nobody would see the next write. */
        pthread_mutex_t lock;
        uint64_t **faulted; /* per block, a bit per page: set by the fault thread, taken by the sender */
        /* any thread */
        atomic_int error; /* negative errno once the fault thread has given up */
} SyncState;

static void answer_fault(SyncState *state, uint64_t address) {
        const Dirty *dirty = state->dirty;
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                const DirtyBlock *block = &dirty->blocks[i];
                if (address < block->address || address - block->address >= block->ram->size_bytes)
                        continue;
                uint64_t page = (address - block->address) / block->ram->page_bytes;
                pthread_mutex_lock(&state->lock);
                state->faulted[i][page / 64] |= UINT64_C(1) << (page % 64);
                int r = dirty_protect(dirty->uffd, block->address + page * block->ram->page_bytes,
                                      block->ram->page_bytes, false);
                pthread_mutex_unlock(&state->lock);
                if (r < 0 && r != -ESRCH)
                        atomic_store(&state->error, r);
                return;
        }
}

static void fault_worker(void *userdata) {
        SyncState *state = userdata;
        struct pollfd fds[] = {
                { .fd = state->dirty->uffd, .events = POLLIN },
                { .fd = state->stop_fd, .events = POLLIN },
        };
        for (;;) {
                if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR) {
                        atomic_store(&state->error, -errno);
                        return;
                }
                if (fds[1].revents)
                        return;
                if (fds[0].revents & (POLLERR | POLLHUP)) {
                        atomic_store(&state->error, -ESRCH);
                        return;
                }
                struct uffd_msg messages[FAULTS_MAX];
                ssize_t n = read(state->dirty->uffd, messages, sizeof(messages));
                if (n < 0 && errno != EAGAIN && errno != EINTR) {
                        atomic_store(&state->error, -errno);
                        return;
                }
                for (ssize_t i = 0; i < n / (ssize_t) sizeof(messages[0]); i++)
                        if (messages[i].event == UFFD_EVENT_PAGEFAULT)
                                answer_fault(state, messages[i].arg.pagefault.address);
        }
}

static int protect_set(Dirty *dirty, const DirtyBlock *block, const PageSet *set) {
        for (uint64_t page = page_set_next(set, 0); page < set->n_pages;) {
                uint64_t stop = page_set_next_gap(set, page);
                int r = dirty_protect(dirty->uffd, block->address + page * block->ram->page_bytes,
                                      (stop - page) * block->ram->page_bytes, true);
                if (r < 0)
                        return r;
                page = page_set_next(set, stop);
        }
        return 0;
}

static int sync_error(const DirtyBlock *block, pid_t pid, int error, GError **reterr) {
        if (error == -ESRCH) {
                error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the QEMU process %d is gone"), (int) pid);
                return -ESRCH;
        }
        return error_set_errno(reterr, error, _("cannot track the writes to RAM block '%s'"), block->ram->id);
}

static int sync_sync(Dirty *dirty, DirtyBlock *block, bool final, GError **reterr) {
        SyncState *state = dirty->state;
        unsigned index = (unsigned) (block - dirty->blocks);

        int r = atomic_load(&state->error);
        pthread_mutex_lock(&state->lock);
        for (size_t w = 0; r >= 0 && w < state->n_words[index]; w++) {
                uint64_t bits = state->faulted[index][w];
                state->faulted[index][w] = 0;
                for (; bits; bits &= bits - 1)
                        page_set_add(block->dirty, w * 64 + (uint64_t) __builtin_ctzll(bits), 1);
        }
        if (r >= 0 && !final)
                r = protect_set(dirty, block, block->dirty);
        pthread_mutex_unlock(&state->lock);
        return r < 0 ? sync_error(block, dirty->pid, r, reterr) : 0;
}

static int sync_start_block(Dirty *dirty, DirtyBlock *block) {
        struct uffdio_register reg = {
                .range = { block->address, block->ram->size_bytes },
                .mode = UFFDIO_REGISTER_MODE_WP,
        };
        if (ioctl(dirty->uffd, UFFDIO_REGISTER, &reg) < 0)
                return -errno;
        return protect_set(dirty, block, &block->known);
}

static int sync_start(Dirty *dirty, GError **reterr) {
        SyncState *state = g_new0(SyncState, 1);
        state->dirty = dirty;
        pthread_mutex_init(&state->lock, NULL);
        state->stop_fd = -EBADF;
        state->n_words = g_new0(size_t, dirty->n_blocks);
        state->faulted = g_new0(uint64_t *, dirty->n_blocks);
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                state->n_words[i] = (size_t) ((dirty->blocks[i].ram->n_pages + 63) / 64);
                state->faulted[i] = g_malloc0_n(state->n_words[i], sizeof(uint64_t));
        }
        dirty->state = state;

        state->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (state->stop_fd < 0)
                return error_set_errno(reterr, errno, _("cannot create an event descriptor"));
        /* A context gets its features once, and the fault core may want the same one. */
        int r = dirty_uffd_enable(dirty->uffd, fault_uffd_features());
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot use the guest's userfaultfd"));
        /* Before the first page is protected, somebody must answer. */
        r = worker_start(&state->worker, "write-faults", fault_worker, state);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot start a thread"));
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                r = sync_start_block(dirty, &dirty->blocks[i]);
                if (r < 0) {
                        dirty->ops->stop(dirty);
                        return sync_error(&dirty->blocks[i], dirty->pid, r, reterr);
                }
        }
        return 0;
}

static void sync_stop(Dirty *dirty) {
        SyncState *state = dirty->state;
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                struct uffdio_range range = { dirty->blocks[i].address, dirty->blocks[i].ram->size_bytes };
                if (ioctl(dirty->uffd, UFFDIO_UNREGISTER, &range) < 0)
                        log_debug("cannot unregister RAM block '%s': %m", dirty->blocks[i].ram->id);
        }
        if (state->worker.started) {
                (void) eventfd_write(state->stop_fd, 1);
                worker_join(&state->worker);
        }
        /* Unregistering wakes nobody who waits for a write fault (tests/kernel/test-wp-sync.c). */
        for (unsigned i = 0; i < dirty->n_blocks; i++) {
                struct uffdio_range range = { dirty->blocks[i].address, dirty->blocks[i].ram->size_bytes };
                (void) ioctl(dirty->uffd, UFFDIO_WAKE, &range);
        }
}

static void sync_free(Dirty *dirty) {
        SyncState *state = dirty->state;
        if (!state)
                return;
        for (unsigned i = 0; i < dirty->n_blocks; i++)
                g_free(state->faulted[i]);
        g_free(state->faulted);
        g_free(state->n_words);
        fd_close(state->stop_fd);
        pthread_mutex_destroy(&state->lock);
        g_free(state);
        dirty->state = NULL;
}

const DirtyOps dirty_sync_ops = {
        .name = "sync",
        .start = sync_start,
        .sync = sync_sync,
        .stop = sync_stop,
        .free = sync_free,
};
