/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation. A fresh RAM file reads as zero, so a zero page that was never received needs nothing at all;
 * touching it would allocate memory, which is how a sparse guest grows to its full size on the way. A page that holds
 * data must lose it: punching a hole in the file is the only call that does so for shared memory and gives the memory
 * back. madvise(MADV_DONTNEED) only drops this process's page-table entries: the next read finds the old content in the
 * page cache (tests/kernel/test-holes.c). Where memory must stay allocated (prealloc, locked) or a run covers a part of
 * a huge page, zeros are written.
 */

#include "driver/engine/page_state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/io.h"
#include "driver/base/uapi.h"
#include "driver/base/units.h"

static const char *const state_names[] = {
        [PAGE_NEVER] = "never",
        [PAGE_VALID] = "valid",
        [PAGE_STALE] = "stale",
        [PAGE_INFLIGHT] = "inflight",
};
_Static_assert(G_N_ELEMENTS(state_names) == PAGE_STATE_MAX_, "each page state has a name");

const char *page_state_name(PageState state) {
        return (unsigned) state < PAGE_STATE_MAX_ ? state_names[state] : NULL;
}

int page_states_init(PageStates *states, uint64_t n_pages) {
        int fd = memfd_create("ferry-page-states", MFD_CLOEXEC);
        *states = (PageStates) { .fd = -EBADF };
        return fd < 0 ? -errno : page_states_open(states, n_pages, fd);
}

int page_states_open(PageStates *states, uint64_t n_pages, int fd) {
        *states = (PageStates) { .fd = fd, .n_pages = n_pages };
        struct stat st;
        if (fstat(fd, &st) < 0 || ((uint64_t) st.st_size < n_pages && ftruncate(fd, (off_t) n_pages) < 0)) {
                int error = errno;
                states->fd = fd_close(fd);
                return -error;
        }
        void *map = mmap(NULL, n_pages, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) {
                int error = errno;
                states->fd = fd_close(fd);
                return -error;
        }
        states->states = map;
        return 0;
}

void page_states_deinit(PageStates *states) {
        if (states->states) {
                munmap(states->states, states->n_pages);
                states->fd = fd_close(states->fd);
        }
        *states = (PageStates) { .fd = -EBADF };
}

void page_states_set(PageStates *states, uint64_t first, uint64_t count, PageState state) {
        memset(states->states + first, state, count);
}

ZeroAction page_state_zero_action(PageState state, EngineRamPolicy policy, bool partial) {
        if (state == PAGE_NEVER)
                return ZERO_NOTHING;
        return policy == ENGINE_RAM_SPARSE && !partial ? ZERO_PUNCH : ZERO_WRITE;
}

static int write_zeros(const RamBlock *block, uint64_t offset, uint64_t length) {
        /* A full memory file must be an error here and not a SIGBUS in memset(). */
        uint64_t start = units_align_down(offset, block->page_bytes),
                 end = units_align_up(offset + length, block->page_bytes);
        if (madvise(block->map + start, end - start, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
                return -errno;
        memset(block->map + offset, 0, length);
        return 0;
}

static int apply(const RamBlock *block, ZeroAction action, uint64_t offset, uint64_t length, ZeroCounts *counts) {
        int r;
        switch (action) {
        case ZERO_NOTHING:
                return 0;
        case ZERO_PUNCH:
                do
                        r = fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) offset,
                                      (off_t) length);
                while (r < 0 && errno == EINTR);
                if (r >= 0) {
                        counts->punched_bytes += length;
                        counts->punches++;
                        return 0;
                }
                if (errno != EOPNOTSUPP)
                        return -errno;
                G_GNUC_FALLTHROUGH; /* a file system that cannot punch */
        case ZERO_WRITE:
                r = write_zeros(block, offset, length);
                if (r < 0)
                        return r;
                counts->written_bytes += length;
                counts->writes++;
                return r;
        }
        return -EINVAL;
}

int page_states_zero(PageStates *states, const RamBlock *block, uint64_t offset_bytes, uint64_t length_bytes,
                     ZeroCounts *counts) {
        uint64_t end = offset_bytes + length_bytes, page_bytes = block->page_bytes;
        uint64_t batch_start = offset_bytes;
        ZeroAction batch = ZERO_NOTHING;

        /* One system call for all neighbours that need the same. */
        for (uint64_t at = offset_bytes; at < end;) {
                uint64_t page = at / page_bytes, next = MIN((page + 1) * page_bytes, end);
                bool partial = at % page_bytes != 0 || next % page_bytes != 0;
                ZeroAction action = page_state_zero_action(page_states_get(states, page), block->policy, partial);
                if (action != batch) {
                        int r = apply(block, batch, batch_start, at - batch_start, counts);
                        if (r < 0)
                                return r;
                        batch = action;
                        batch_start = at;
                }
                at = next;
        }
        int r = apply(block, batch, batch_start, end - batch_start, counts);
        if (r < 0)
                return r;
        page_states_done(states, block, offset_bytes, length_bytes);
        return 0;
}

static void mark(PageStates *states, const RamBlock *block, uint64_t offset, uint64_t length, PageState state) {
        uint64_t first = offset / block->page_bytes, last = (offset + length - 1) / block->page_bytes;
        page_states_set(states, first, last - first + 1, state);
}

void page_states_claim(PageStates *states, const RamBlock *block, uint64_t offset_bytes, uint64_t length_bytes) {
        mark(states, block, offset_bytes, length_bytes, PAGE_INFLIGHT);
}

void page_states_done(PageStates *states, const RamBlock *block, uint64_t offset_bytes, uint64_t length_bytes) {
        mark(states, block, offset_bytes, length_bytes, PAGE_VALID);
}
