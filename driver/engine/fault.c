/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: see fault.h. Two threads: the handler answers faults; the mapper maps, once after the start,
 * all that is valid, in pieces of 2 MiB, so that the guest does not fault on it at all. Whoever places pages maps them
 * himself.
 *
 * No wake-up gets lost. The handler notes who waits before it looks at the state a second time; who places a page
 * makes it VALID before he looks for waiters. So at least one of them sees the other.
 *
 * No page is seen half written, whatever is killed. A page is mapped only when it is VALID, and becomes VALID only
 * when it is complete. What an engine that died had claimed is INFLIGHT in the table and becomes STALE again; threads
 * whose fault it had read and not answered are woken, and fault again.
 *
 * A fault that cannot be answered for want of memory is not given up, since nobody else could answer it: a moment later
 * all who wait are woken, and fault again.
 *
 * No old content is seen. Before the start (precopy) the guest's process may have mapped pages that have become STALE
 * since; such a mapping would not fault, so the page is taken out of the file, which unmaps it everywhere.
 */

#include "driver/engine/fault_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/base/uapi.h"

#define FAULTS_MAX 64 /* read at once */
#define PIECE_BYTES UINT64_C(2097152)
#define AROUND_BYTES UINT64_C(65536) /* mapped together with a page that was touched */
#define RETRY_MSEC 100

/* Memory that is short now may be there a moment later. */
static bool is_passing(int error) {
        return error == -ENOMEM || error == -ENOSPC || error == -EFAULT;
}

static void tell_failure(Fault *fault, int error) {
        if (error == 0 || atomic_load(&fault->stopping))
                return;
        if (is_passing(error)) {
                atomic_store(&fault->retry, true);
                (void) eventfd_write(fault->stop_fd, 1);
        }
        if (atomic_exchange(is_passing(error) ? &fault->passing_told : &fault->failed_told, true))
                return;
        if (is_passing(error))
                log_debug("a page fault of the guest cannot be answered, trying again: %s", g_strerror(-error));
        else
                log_debug("page faults cannot be answered any more: %s", g_strerror(-error));
        if (fault->source->failed)
                fault->source->failed(fault->userdata, error);
}

static void tell_complete(Fault *fault) {
        if (!atomic_exchange(&fault->complete_told, true) && fault->source->complete)
                fault->source->complete(fault->userdata);
}

static bool is_there(const FaultGuestBlock *block, uint64_t page) {
        PageState state = page_states_get(block->states, page);
        return state == PAGE_NEVER || state == PAGE_VALID;
}

/* Maps what is there between first and end and exists in the file. */
static int map_valid(Fault *fault, unsigned index, uint64_t first, uint64_t end) {
        const FaultGuestBlock *block = &fault->blocks[index];
        for (uint64_t page = first; page < end;) {
                uint64_t stop = page;
                while (stop < end && is_there(block, stop))
                        stop++;
                int r = stop > page ? fault_map_pages(fault, index, page, stop - page) : 0;
                if (r < 0)
                        return r;
                page = stop + 1;
        }
        return 0;
}

/* ---- the handler ---- */

static int answer_present(Fault *fault, unsigned index, uint64_t page) {
        const FaultGuestBlock *block = &fault->blocks[index];
        bool hole = false;
        int r = fault_map_one(fault, index, page, &hole);
        if (r < 0)
                return r;
        atomic_fetch_add(hole ? &fault->zero : &fault->present, 1);
        /* Its neighbours too, as long as the file holds them; the mapper does the rest. */
        if (hole || block->ram->page_bytes >= AROUND_BYTES)
                return 0;
        uint64_t around = AROUND_BYTES / block->ram->page_bytes;
        uint64_t end = MIN((page / around + 1) * around, block->ram->n_pages);
        uint64_t stop = page + 1;
        while (stop < end && page_states_get(block->states, stop) == PAGE_VALID)
                stop++;
        return stop > page + 1 ? fault_map_pages(fault, index, page + 1, stop - page - 1) : 0;
}

/* Whether it was before the start. Then memory is mapped as it is; but what is STALE already (an engine that takes
 * over, or the moment of the switch) is never right as it is, and nobody may be asked for it before claims count:
 * fault_start() wakes the thread, and it comes again. */
static bool answer_early(Fault *fault, unsigned index, uint64_t page, int *ret_error) {
        bool hole = false;
        pthread_mutex_lock(&fault->start_lock);
        bool early = !atomic_load(&fault->started);
        if (early && page_states_get(fault->blocks[index].states, page) != PAGE_STALE)
                *ret_error = fault_map_one(fault, index, page, &hole);
        pthread_mutex_unlock(&fault->start_lock);
        return early;
}

static bool in_block(const FaultGuestBlock *block, uint64_t address) {
        return address >= block->address && address - block->address < block->ram->size_bytes;
}

static int answer(Fault *fault, const struct uffd_msg *message) {
        uint64_t address = message->arg.pagefault.address;
        unsigned index = 0;
        while (index < fault->n_blocks && !in_block(&fault->blocks[index], address))
                index++;
        if (index == fault->n_blocks)
                return 0;
        const FaultGuestBlock *block = &fault->blocks[index];
        uint64_t page = (address - block->address) / block->ram->page_bytes;
        int r = 0;

        atomic_fetch_add(&fault->faults, 1);
        if (!atomic_load(&fault->started) && answer_early(fault, index, page, &r))
                return r;
        if (is_there(block, page))
                return answer_present(fault, index, page);
        bool first = fault_wait_add(fault, index, page, message->arg.pagefault.feat.ptid);
        atomic_fetch_add(&fault->requested, 1);
        atomic_thread_fence(memory_order_seq_cst); /* the other half: fault_place_zero() */
        PageState state = page_states_get(block->states, page);
        if (state == PAGE_NEVER || state == PAGE_VALID) {
                fault_wait_done(fault, index, page, 1);
                return answer_present(fault, index, page);
        }
        if (first && state == PAGE_STALE)
                fault->source->request(fault->userdata, index, page);
        return 0;
}

static void handler_worker(void *userdata) {
        Fault *fault = userdata;
        struct pollfd fds[] = {
                { .fd = fault->uffd, .events = POLLIN },
                { .fd = fault->stop_fd, .events = POLLIN },
        };
        uint64_t retry_usec = 0;
        eventfd_t n_told;
        worker_urgent();
        for (;;) {
                if (retry_usec == 0 && atomic_exchange(&fault->retry, false))
                        retry_usec = clock_monotonic_usec() + RETRY_MSEC * USEC_PER_MSEC;
                if (poll(fds, G_N_ELEMENTS(fds), retry_usec > 0 ? RETRY_MSEC : -1) < 0 &&
                    errno != EINTR)
                        return tell_failure(fault, -errno);
                if (fds[1].revents)
                        (void) eventfd_read(fault->stop_fd, &n_told);
                if (atomic_load(&fault->stopping))
                        return;
                if (retry_usec > 0 && clock_monotonic_usec() >= retry_usec) {
                        retry_usec = 0;
                        fault_map_wake(fault);
                }
                if (fds[0].revents & (POLLERR | POLLHUP))
                        return tell_failure(fault, -ESRCH);
                struct uffd_msg messages[FAULTS_MAX];
                ssize_t n = read(fault->uffd, messages, sizeof(messages));
                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        return tell_failure(fault, -errno);
                if (n <= 0)
                        continue;
                for (ssize_t i = 0; i < n / (ssize_t) sizeof(messages[0]); i++) {
                        int r = messages[i].event == UFFD_EVENT_PAGEFAULT ? answer(fault, &messages[i]) : 0;
                        tell_failure(fault, r);
                        if (r < 0 && !is_passing(r))
                                return;
                }
                if (fault->source->flush)
                        fault->source->flush(fault->userdata);
        }
}

/* ---- the mapper ---- */

static int map_block(Fault *fault, unsigned index) {
        const FaultGuestBlock *block = &fault->blocks[index];
        uint64_t page_bytes = block->ram->page_bytes, piece = MAX(PIECE_BYTES, page_bytes);
        off_t data = 0;
        while ((data = lseek(block->ram->fd, data, SEEK_DATA)) >= 0 && (uint64_t) data < block->ram->size_bytes) {
                off_t hole = lseek(block->ram->fd, data, SEEK_HOLE);
                if (hole <= data) { /* punched meanwhile */
                        data += (off_t) page_bytes;
                        continue;
                }
                uint64_t end = MIN((uint64_t) hole, block->ram->size_bytes);
                for (uint64_t at = (uint64_t) data; at < end;) {
                        uint64_t next = MIN((at / piece + 1) * piece, end);
                        int r = map_valid(fault, index, at / page_bytes, (next + page_bytes - 1) / page_bytes);
                        if (r < 0)
                                return r;
                        if (atomic_load(&fault->stopping))
                                return -ECANCELED;
                        at = next;
                }
                data = (off_t) end;
        }
        return 0;
}

static void mapper_worker(void *userdata) {
        Fault *fault = userdata;
        worker_yield();
        for (unsigned i = 0; i < fault->n_blocks; i++) {
                int r = map_block(fault, i);
                if (r == -ECANCELED)
                        return;
                if (r < 0)
                        return tell_failure(fault, r);
        }
}

/* ---- life ---- */

int fault_new(const FaultBlock *blocks, unsigned n_blocks, pid_t pid, int uffd, const FaultSource *source,
              void *userdata, Fault **ret_fault, GError **reterr) {
        Fault *fault = g_new0(Fault, 1);
        pthread_mutex_init(&fault->lock, NULL);
        pthread_mutex_init(&fault->start_lock, NULL);
        fault->pid = pid;
        fault->source = source;
        fault->userdata = userdata;
        fault->waits = g_array_new(FALSE, FALSE, sizeof(FaultWait));
        fault->blocks = g_new0(FaultGuestBlock, n_blocks);
        fault->n_blocks = n_blocks;
        for (unsigned i = 0; i < n_blocks; i++) {
                fault->blocks[i] = (FaultGuestBlock) { .ram = blocks[i].ram, .states = blocks[i].states };
                fault->n_pages += blocks[i].ram->n_pages;
        }
        fault->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        fault->uffd = fcntl(uffd, F_DUPFD_CLOEXEC, 3);
        int r = 0;
        if (fault->uffd < 0 || fault->stop_fd < 0)
                r = error_set_errno(reterr, errno, _("cannot use the guest's userfaultfd"));
        else
                r = fault_map_register(fault, reterr);
        if (r >= 0) {
                r = worker_start(&fault->handler, "faults", handler_worker, fault);
                if (r < 0)
                        error_set_errno(reterr, r, _("cannot start a thread"));
        }
        if (r < 0) {
                fault_detach(fault);
                return r;
        }
        *ret_fault = fault;
        return 0;
}

static void stop_threads(Fault *fault) {
        atomic_store(&fault->stopping, true);
        if (fault->stop_fd >= 0)
                (void) eventfd_write(fault->stop_fd, 1);
        worker_join(&fault->handler);
        worker_join(&fault->mapper);
}

Fault *fault_detach(Fault *fault) {
        if (!fault)
                return NULL;
        stop_threads(fault);
        fd_close(fault->uffd);
        fd_close(fault->stop_fd);
        g_array_unref(fault->waits);
        g_free(fault->blocks);
        pthread_mutex_destroy(&fault->lock);
        pthread_mutex_destroy(&fault->start_lock);
        g_free(fault);
        return NULL;
}

void fault_finish(Fault *fault) {
        stop_threads(fault);
        fault_map_unregister(fault);
}

Fault *fault_free(Fault *fault) {
        if (!fault)
                return NULL;
        fault_finish(fault);
        return fault_detach(fault);
}

static uint64_t count_lacking(Fault *fault, const FaultGuestBlock *block) {
        uint64_t lacking = 0;
        for (uint64_t page = 0; page < block->ram->n_pages; page++) {
                if (page_states_get(block->states, page) == PAGE_INFLIGHT)
                        page_states_set(block->states, page, 1, PAGE_STALE);
                PageState state = page_states_get(block->states, page);
                lacking += state == PAGE_STALE;
                fault->n_never += state == PAGE_NEVER;
        }
        return lacking;
}

int fault_start(Fault *fault) {
        int r = 0;
        uint64_t lacking = 0;
        pthread_mutex_lock(&fault->start_lock);
        for (unsigned i = 0; r >= 0 && i < fault->n_blocks; i++) {
                lacking += count_lacking(fault, &fault->blocks[i]);
                r = fault_map_forget_stale(fault, i);
        }
        atomic_store(&fault->lacking, lacking);
        if (r >= 0)
                atomic_store(&fault->started, true);
        pthread_mutex_unlock(&fault->start_lock);
        if (r < 0)
                return r;
        fault_map_wake(fault);
        r = worker_start(&fault->mapper, "fault-mapper", mapper_worker, fault);
        if (r >= 0 && lacking == 0)
                tell_complete(fault);
        return r;
}

/* ---- placing ---- */

bool fault_claim(Fault *fault, unsigned block, uint64_t page) {
        /* Before the start the page table is not final, and nobody was asked for anything. */
        if (!atomic_load(&fault->started) ||
            !page_states_move(fault->blocks[block].states, page, PAGE_STALE, PAGE_INFLIGHT))
                return false;
        atomic_fetch_add(&fault->inflight, 1);
        return true;
}

void fault_unclaim(Fault *fault, unsigned block, uint64_t first, uint64_t count) {
        for (uint64_t page = first; page < first + count; page++)
                if (page_states_move(fault->blocks[block].states, page, PAGE_INFLIGHT, PAGE_STALE))
                        atomic_fetch_sub(&fault->inflight, 1);
}

static void placed(Fault *fault, unsigned block, uint64_t first, uint64_t count) {
        fault_wait_done(fault, block, first, count);
        atomic_fetch_sub(&fault->inflight, count);
        if (atomic_fetch_sub(&fault->lacking, count) == count)
                tell_complete(fault);
}

void fault_placed(Fault *fault, unsigned block, uint64_t first, uint64_t count) {
        for (uint64_t page = first; page < first + count; page++)
                (void) page_states_move(fault->blocks[block].states, page, PAGE_INFLIGHT, PAGE_VALID);
        tell_failure(fault, fault_map_pages(fault, block, first, count));
        placed(fault, block, first, count);
}

int fault_place_zero(Fault *fault, unsigned block, uint64_t first, uint64_t count, ZeroCounts *counts) {
        const FaultGuestBlock *guest = &fault->blocks[block];
        uint64_t page_bytes = guest->ram->page_bytes;
        int r = page_states_zero(guest->states, guest->ram, first * page_bytes, count * page_bytes, counts);
        if (r < 0)
                return r;
        /* The pages were made VALID by plain stores, and who waits is looked up after that: were the two exchanged,
         * this could miss a thread that has just been noted and still sees STALE, and nobody would wake it. */
        atomic_thread_fence(memory_order_seq_cst);
        /* A hole gets a page only where somebody wants one. */
        g_autoptr(GArray) wanted = fault_wait_pages(fault, block, first, count);
        for (guint i = 0; i < wanted->len; i++) {
                bool hole = false;
                tell_failure(fault, fault_map_one(fault, block, g_array_index(wanted, uint64_t, i), &hole));
        }
        placed(fault, block, first, count);
        return 0;
}

void fault_ask_again(Fault *fault) {
        for (unsigned i = 0; i < fault->n_blocks; i++) {
                g_autoptr(GArray) wanted = fault_wait_pages(fault, i, 0, fault->blocks[i].ram->n_pages);
                for (guint j = 0; j < wanted->len; j++)
                        fault->source->request(fault->userdata, i, g_array_index(wanted, uint64_t, j));
        }
        if (fault->source->flush)
                fault->source->flush(fault->userdata);
}

uint64_t fault_lacking(const Fault *fault) {
        return atomic_load(&fault->lacking);
}
