/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: the guest runs while its memory is still in the file. Every page that the image holds is STALE
 * in the page table, everything else NEVER, that is zero; the fault core (fault.h) answers the guest's faults from that
 * table, with the image as its page source.
 *
 * A fault brings the whole chunk of 64 KiB, since that is what can be checked. It is read on the fault thread: from the
 * page cache that takes some tens of microseconds. Meanwhile workers read everything else: first the chunks that were
 * touched first after the last restore of this image, then from the beginning to the end, 2 MiB at a time. Whoever
 * comes to a page first claims it; what the other one has read of it is thrown away.
 *
 * Pages become visible to the guest only after the checksum of their chunk was right. One that is wrong ends the job:
 * the guest cannot go on with it.
 *
 * Page table and RAM file outlive this process. A new engine (adopts) finds what is VALID in the table and goes on; the
 * guest only waits.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/uapi.h"
#include "driver/engine/load_internal.h"
#include "driver/engine/stats.h"
#include "driver/image/image_io.h"
#include "driver/image/image_writer.h"

static void thread_init(LoadThread *thread) {
        thread->scratch = image_scratch_new();
        thread->bounce = image_io_alloc(IMAGE_CHUNK_DATA_BYTES);
}

static void thread_clear(LoadThread *thread) {
        thread->scratch = image_scratch_free(thread->scratch);
        g_clear_pointer(&thread->bounce, image_io_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LoadThread, thread_clear)

/* ---- placing ---- */

typedef void (*RunFunc)(Fault *fault, unsigned block, uint64_t first, uint64_t count);

/* Calls func for each run of pages of the chunk. */
static void for_runs(Load *load, unsigned block, uint64_t index, uint16_t pages, RunFunc func) {
        for (unsigned page = 0; page < IMAGE_CHUNK_PAGES;) {
                unsigned n = 0;
                while (page + n < IMAGE_CHUNK_PAGES && pages >> (page + n) & 1)
                        n++;
                if (n > 0)
                        func(load->fault, block, index * IMAGE_CHUNK_PAGES + page, n);
                page += n + 1;
        }
}

static uint16_t claim(Load *load, unsigned block, uint64_t index, const ImageChunk *chunk) {
        uint16_t mine = 0;

        for (unsigned page = 0; page < IMAGE_CHUNK_PAGES; page++)
                if (chunk->pages >> page & 1 && fault_claim(load->fault, block, index * IMAGE_CHUNK_PAGES + page))
                        mine |= (uint16_t) (1u << page);
        return mine;
}

/* Reads a chunk to `at`; of its pages only those in mine may be written. */
static int read_claimed(Load *load, const ImageChunk *chunk, uint16_t mine, unsigned char *at, LoadThread *thread) {
        int r;

        if (mine == chunk->pages)
                return image_reader_read(load->reader, chunk, at, thread->scratch);
        r = image_reader_read(load->reader, chunk, thread->bounce, thread->scratch);
        for (unsigned page = 0; r >= 0 && page < IMAGE_CHUNK_PAGES; page++)
                if (mine >> page & 1)
                        memcpy(at + (size_t) page * IMAGE_PAGE_BYTES, thread->bounce + (size_t) page * IMAGE_PAGE_BYTES,
                               IMAGE_PAGE_BYTES);
        return r;
}

/* Small pages: brings what is STALE of a chunk. */
static int place_chunk(Load *load, unsigned block, uint64_t index, LoadThread *thread) {
        unsigned char *at = load->blocks[block].ram.map + index * IMAGE_CHUNK_DATA_BYTES;
        ImageChunk chunk;
        int r = image_reader_chunk(load->reader, block, index, &chunk);

        if (r < 0 || chunk.pages == 0)
                return r;
        uint16_t mine = claim(load, block, index, &chunk);
        if (mine == 0)
                return 0;
        ImageChunk part = { .pages = mine };
        r = load_populate(&part, at);
        if (r >= 0)
                r = read_claimed(load, &chunk, mine, at, thread);
        if (r < 0) {
                for_runs(load, block, index, mine, fault_unclaim);
                return r;
        }
        for_runs(load, block, index, mine, fault_placed);
        atomic_fetch_add(&load->read_bytes, image_chunk_pages(&part) * (uint64_t) IMAGE_PAGE_BYTES);
        return 0;
}

/* Huge pages: brings the whole page, which is fresh and thereby zero where the image has nothing. */
static int place_page(Load *load, unsigned block, uint64_t page, LoadThread *thread) {
        const RamBlock *ram = &load->blocks[block].ram;
        uint64_t chunks = ram->page_bytes / IMAGE_CHUNK_DATA_BYTES, first = page * chunks, data = 0;
        int r = 0;

        if (!fault_claim(load->fault, block, page))
                return 0;
        if (madvise(ram->map + page * ram->page_bytes, ram->page_bytes, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
                r = -errno;
        for (uint64_t i = 0; r >= 0 && i < chunks; i++) {
                ImageChunk chunk;
                r = image_reader_chunk(load->reader, block, first + i, &chunk);
                if (r >= 0)
                        r = image_reader_read(load->reader, &chunk, ram->map + (first + i) * IMAGE_CHUNK_DATA_BYTES,
                                              thread->scratch);
                data += image_chunk_pages(&chunk) * (uint64_t) IMAGE_PAGE_BYTES;
        }
        if (r < 0) {
                fault_unclaim(load->fault, block, page, 1);
                return r;
        }
        fault_placed(load->fault, block, page, 1);
        atomic_fetch_add(&load->read_bytes, data);
        return 0;
}

static bool is_huge(const Load *load, unsigned block) {
        return load->blocks[block].ram.page_bytes > IMAGE_PAGE_BYTES;
}

/* Brings the chunk, or the huge page that it is in. */
static void place(Load *load, unsigned block, uint64_t index, LoadThread *thread) {
        uint64_t page_bytes = load->blocks[block].ram.page_bytes;
        int r = is_huge(load, block) ? place_page(load, block, index * IMAGE_CHUNK_DATA_BYTES / page_bytes, thread)
                                     : place_chunk(load, block, index, thread);

        if (r < 0)
                load_fail(load, block, index, r);
}

/* ---- the page source ---- */

/* The fault thread. */
static void on_request(void *userdata, unsigned block, uint64_t page) {
        Load *load = userdata;
        LoadBlock *of = &load->blocks[block];
        uint64_t index = page * of->ram.page_bytes / IMAGE_CHUNK_DATA_BYTES;

        if (!(of->asked[index / 64] >> (index % 64) & 1) && load->order->n < IMAGE_ORDER_MAX &&
            index < 1u << IMAGE_ORDER_CHUNK_BITS) {
                of->asked[index / 64] |= UINT64_C(1) << (index % 64);
                load->order->entries[load->order->n++] = block << IMAGE_ORDER_CHUNK_BITS | (uint32_t) index;
        }
        place(load, block, index, &load->fault_thread);
}

static void on_complete(void *userdata) {
        Load *load = userdata;

        atomic_store(&load->complete, true);
        ctl_wake(load->ctl);
}

static void on_failed(void *userdata, int error) {
        Load *load = userdata;

        if (error == -ESRCH) {
                /* The guest is gone, and nobody needs its memory. */
                atomic_store(&load->cancelled, true);
                atomic_store(&load->finished, true);
        } else {
                load_fail(load, 0, 0, error);
        }
        ctl_wake(load->ctl);
}

static const FaultSource image_source = { .request = on_request, .complete = on_complete, .failed = on_failed };

/* ---- the beginning ---- */

static int mark_block(Load *load, unsigned index) {
        LoadBlock *block = &load->blocks[index];
        uint64_t n = image_chunk_count(block->ram.size_bytes);
        unsigned char *states = block->states.states;

        for (uint64_t i = 0; i < n; i++) {
                ImageChunk chunk;
                int r = image_reader_chunk(load->reader, index, i, &chunk);
                if (r < 0) {
                        load_fail(load, index, i, r);
                        return r;
                }
                if (chunk.pages == 0)
                        continue;
                if (is_huge(load, index))
                        states[i * IMAGE_CHUNK_DATA_BYTES / block->ram.page_bytes] = PAGE_STALE;
                else if (chunk.pages == UINT16_MAX)
                        memset(states + i * IMAGE_CHUNK_PAGES, PAGE_STALE, IMAGE_CHUNK_PAGES);
                else
                        for (unsigned page = 0; page < IMAGE_CHUNK_PAGES; page++)
                                if (chunk.pages >> page & 1)
                                        states[i * IMAGE_CHUNK_PAGES + page] = PAGE_STALE;
        }
        return 0;
}

static void read_order(Load *load) {
        load->order = g_new0(ImageOrder, 1);
        image_reader_order(load->reader, load->order);
        load->n_known = load->order->n;
        for (unsigned i = 0; i < load->n_blocks; i++)
                load->blocks[i].asked = g_new0(uint64_t, image_chunk_count(load->blocks[i].ram.size_bytes) / 64 + 1);
        for (unsigned i = 0; i < load->n_known; i++) {
                unsigned block = load->order->entries[i] >> IMAGE_ORDER_CHUNK_BITS;
                uint64_t index = load->order->entries[i] & ((1u << IMAGE_ORDER_CHUNK_BITS) - 1);
                if (block < load->n_blocks && index < image_chunk_count(load->blocks[block].ram.size_bytes))
                        load->blocks[block].asked[index / 64] |= UINT64_C(1) << (index % 64);
        }
}

/* What is there already, after another engine's end. What that one had claimed is missing again, before any fault is
 * answered. */
static uint64_t count_valid(Load *load) {
        uint64_t bytes = 0;

        for (unsigned i = 0; i < load->n_blocks; i++)
                for (uint64_t page = 0; page < load->blocks[i].ram.n_pages; page++) {
                        (void) page_states_move(&load->blocks[i].states, page, PAGE_INFLIGHT, PAGE_STALE);
                        bytes += page_states_get(&load->blocks[i].states, page) == PAGE_VALID
                                         ? load->blocks[i].ram.page_bytes
                                         : 0;
                }
        return bytes;
}

int load_lazy_begin(Load *load, GError **reterr) {
        g_autofree FaultBlock *blocks = g_new0(FaultBlock, load->n_blocks);
        g_autoptr(GError) error = NULL;
        int r = 0;

        for (unsigned i = 0; i < load->n_blocks; i++) {
                const RamBlock *ram = &load->blocks[i].ram;
                /* Memory that is populated anyway gains nothing, and must not be taken out of its file. */
                if (!load->adopts && (ram->policy != ENGINE_RAM_SPARSE ||
                                      (ram->page_bytes > IMAGE_PAGE_BYTES && ram->page_bytes < IMAGE_CHUNK_DATA_BYTES)))
                        return 0;
                blocks[i] = (FaultBlock){ &load->blocks[i].ram, &load->blocks[i].states };
        }
        for (unsigned i = 0; r >= 0 && i < load->n_blocks && !load->adopts; i++)
                r = mark_block(load, i);
        if (r < 0)
                return r;
        read_order(load);
        thread_init(&load->fault_thread);
        atomic_store(&load->read_bytes, load->adopts ? count_valid(load) : 0);
        r = fault_new(blocks, load->n_blocks, load->qemu_pid, load->uffd, &image_source, load, &load->fault, &error);
        if (r == -ENOTSUP && !load->adopts) {
                log_debug("the image is loaded as a whole: %s", error->message);
                return 0;
        }
        if (r >= 0) {
                r = fault_start(load->fault);
                if (r < 0)
                        error_set_errno(&error, r, _("the guest's page faults cannot be answered"));
        }
        if (r < 0) {
                g_propagate_error(reterr, g_steal_pointer(&error));
                return r;
        }
        return 1;
}

/* ---- the rest ---- */

static void place_known(Load *load, LoadThread *thread) {
        for (uint64_t i; !load_stopped(load) && (i = atomic_fetch_add(&load->next_order, 1)) < load->n_known;) {
                unsigned block = load->order->entries[i] >> IMAGE_ORDER_CHUNK_BITS;
                uint64_t index = load->order->entries[i] & ((1u << IMAGE_ORDER_CHUNK_BITS) - 1);
                if (block < load->n_blocks && index < image_chunk_count(load->blocks[block].ram.size_bytes))
                        place(load, block, index, thread);
        }
}

/* Whether all of a piece can be taken at once, as one large folio: all of it holds data, and nobody has brought any of
 * it. */
static bool claim_large(Load *load, unsigned block, uint64_t first, ImageChunk *ret_chunks) {
        const LoadBlock *of = &load->blocks[block];
        uint64_t page = first * IMAGE_CHUNK_PAGES, n = LOAD_PIECE_CHUNKS * IMAGE_CHUNK_PAGES, claimed = 0;

        if (!of->ram.map_large || is_huge(load, block) ||
            (first + LOAD_PIECE_CHUNKS) * IMAGE_CHUNK_DATA_BYTES > of->ram.size_bytes)
                return false;
        for (unsigned i = 0; i < LOAD_PIECE_CHUNKS; i++)
                if (image_reader_chunk(load->reader, block, first + i, &ret_chunks[i]) < 0 ||
                    ret_chunks[i].pages != UINT16_MAX)
                        return false;
        for (uint64_t i = 0; i < n; i++)
                if (page_states_get(&of->states, page + i) != PAGE_STALE)
                        return false;
        while (claimed < n && fault_claim(load->fault, block, page + claimed))
                claimed++;
        if (claimed == n && madvise(of->ram.map_large + first * IMAGE_CHUNK_DATA_BYTES, RAM_BLOCK_LARGE_BYTES,
                                    MADV_POPULATE_WRITE) >= 0)
                return true;
        /* The caller brings them one by one, and so does not leave anybody waiting who has come in between. */
        fault_unclaim(load->fault, block, page, claimed);
        return false;
}

static void place_piece(Load *load, unsigned block, uint64_t piece, LoadThread *thread) {
        const RamBlock *ram = &load->blocks[block].ram;
        uint64_t first = piece * LOAD_PIECE_CHUNKS,
                 end = MIN(first + LOAD_PIECE_CHUNKS, image_chunk_count(ram->size_bytes));
        ImageChunk chunks[LOAD_PIECE_CHUNKS];

        if (!claim_large(load, block, first, chunks)) {
                for (uint64_t i = first; i < end && !load_stopped(load); i++)
                        place(load, block, i, thread);
                return;
        }
        for (uint64_t i = first; i < end; i++) {
                int r = image_reader_read(load->reader, &chunks[i - first], ram->map_large + i * IMAGE_CHUNK_DATA_BYTES,
                                          thread->scratch);
                if (r < 0) {
                        fault_unclaim(load->fault, block, i * IMAGE_CHUNK_PAGES, (end - i) * IMAGE_CHUNK_PAGES);
                        return load_fail(load, block, i, r);
                }
                fault_placed(load->fault, block, i * IMAGE_CHUNK_PAGES, IMAGE_CHUNK_PAGES);
                atomic_fetch_add(&load->read_bytes, IMAGE_CHUNK_DATA_BYTES);
        }
}

static void lazy_worker(void *userdata) {
        Load *load = userdata;
        g_auto(LoadThread) thread = { 0 };
        unsigned block;
        uint64_t piece;

        thread_init(&thread);
        place_known(load, &thread);
        while (!load_stopped(load) && load_take_piece(load, &block, &piece)) {
                place_piece(load, block, piece, &thread);
                load_tell(load);
        }
}

int load_lazy_go(Load *load, GError **reterr) {
        int r = load_start_workers(load, lazy_worker, reterr);

        load->going = r >= 0;
        return r;
}

static void keep_order(Load *load) {
        int flags = fcntl(image_reader_fd(load->reader), F_GETFL);

        if (!load->keeps_order || load->order->n == load->n_known || flags < 0 || (flags & O_ACCMODE) != O_RDWR)
                return;
        int r = image_writer_set_order(image_reader_fd(load->reader), image_reader_header(load->reader), load->order);
        if (r < 0)
                log_debug("the order of first use cannot be kept in the image, ignoring: %s", g_strerror(-r));
}

static void tell_failure(Load *load) {
        json_object *data = json_object_new_object();

        pthread_mutex_lock(&load->lock);
        json_add_string(data, "desc", load->error->message);
        json_add_int64(data, "virt-code", error_code(load->error));
        pthread_mutex_unlock(&load->lock);
        ctl_event(load->ctl, "failed", data, false);
}

void load_lazy_tick(Load *load) {
        EngineStats stats;

        if (load->ended || !load->going)
                return;
        if (atomic_load(&load->failed)) {
                load->ended = true;
                tell_failure(load);
                return;
        }
        if (!atomic_load(&load->complete))
                return;
        load->ended = true;
        for (unsigned i = 0; i < LOAD_WORKERS_MAX; i++)
                worker_join(&load->workers[i]);
        load_stats(load, &stats);
        fault_stats(load->fault, &stats);
        load->fault = fault_free(load->fault);
        keep_order(load);
        ctl_event(load->ctl, "postcopy-complete", stats_to_json(&stats), false);
        atomic_store(&load->finished, true);
        ctl_wake(load->ctl);
}

void load_lazy_free(Load *load) {
        for (unsigned i = 0; i < LOAD_WORKERS_MAX; i++)
                worker_join(&load->workers[i]);
        /* A guest must not read zeros where its memory is missing, and whether it runs already only the daemon knows:
         * it waits for the next engine. A QEMU that is never to run is killed, which ends its waits. */
        load->fault = atomic_load(&load->complete) ? fault_free(load->fault) : fault_detach(load->fault);
        thread_clear(&load->fault_thread);
        for (unsigned i = 0; i < load->n_blocks; i++)
                g_free(load->blocks[i].asked);
        g_free(load->order);
}
