/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: the whole image before the guest runs; load_lazy.c has the other way. Workers take 2 MiB of a
 * RAM block at a time. Where all of it holds data, one large folio is taken for it first; pages that the image does not
 * have are never touched, so the guest takes as much memory as it did when it was saved. Each chunk is read straight to
 * its place and checked there. When memory is complete the lead thread hands QEMU the device state.
 */

#include "driver/engine/load.h"

#include "driver/engine/load_internal.h"

#include <errno.h>
#include <poll.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/uapi.h"
#include "driver/engine/stats.h"
#include "driver/engine/zero.h"

#define STATS_USEC (200 * USEC_PER_MSEC)
#define DEVICE_CHUNK_BYTES 262144u
#define DEVICE_SILENT_USEC (30 * USEC_PER_SEC)
#define DEVICE_POLL_MSEC 200

void load_stats(Load *load, EngineStats *ret_stats) {
        uint64_t all = load->data_bytes, done = MIN(atomic_load(&load->read_bytes), all);

        *ret_stats = (EngineStats){ .round = 1,
                                    .total_bytes = load->total_bytes,
                                    .resident_bytes = all,
                                    .received_bytes = done,
                                    .transferred_bytes = done,
                                    .normal_pages = done / IMAGE_PAGE_BYTES,
                                    .pending_bytes = all - done };
}

void load_tell(Load *load) {
        uint64_t now = clock_monotonic_usec(), last = atomic_load(&load->told_usec);
        EngineStats stats;

        if (now - last < STATS_USEC || !atomic_compare_exchange_strong(&load->told_usec, &last, now))
                return;
        load_stats(load, &stats);
        ctl_event(load->ctl, "stats", stats_to_json(&stats), true);
}

void load_fail(Load *load, unsigned block, uint64_t index, int error) {
        pthread_mutex_lock(&load->lock);
        if (!load->error && (error == -EFAULT || error == -ENOMEM || error == -ENOSPC))
                error_set(&load->error, VIR_ERR_NO_MEMORY,
                          _("no memory is left for the guest's RAM block '%s': give the host more, or free some"),
                          load->blocks[block].ram.id);
        else if (!load->error)
                image_reader_error(load->reader, block, index, error, &load->error);
        pthread_mutex_unlock(&load->lock);
        atomic_store(&load->failed, true);
}

bool load_stopped(Load *load) {
        return atomic_load(&load->cancelled) || atomic_load(&load->failed);
}

int load_populate(const ImageChunk *chunk, unsigned char *at) {
        for (unsigned page = 0; page < IMAGE_CHUNK_PAGES;) {
                unsigned n = 0;
                while (page + n < IMAGE_CHUNK_PAGES && chunk->pages >> (page + n) & 1)
                        n++;
                if (n > 0 &&
                    madvise(at + (size_t) page * IMAGE_PAGE_BYTES, (size_t) n * IMAGE_PAGE_BYTES, MADV_POPULATE_WRITE) <
                            0 &&
                    errno != EINVAL)
                        return -errno;
                page += n + 1;
        }
        return 0;
}

/* Whether what QEMU has written before is still there when the image is loaded: empty_memory(). */
static bool keeps_content(const RamBlock *ram) {
        return page_state_zero_action(PAGE_VALID, ram->policy, false) == ZERO_WRITE;
}

/* Where the pages of a piece are received: through the mapping that takes large folios, if all of it holds data. */
static unsigned char *choose_map(const LoadBlock *block, uint64_t offset, const ImageChunk *chunks) {
        if (!block->ram.map_large || block->ram.policy != ENGINE_RAM_SPARSE)
                return block->ram.map;
        for (unsigned i = 0; i < LOAD_PIECE_CHUNKS; i++)
                if (chunks[i].pages != UINT16_MAX)
                        return block->ram.map;
        if (madvise(block->ram.map_large + offset, RAM_BLOCK_LARGE_BYTES, MADV_POPULATE_WRITE) < 0)
                return block->ram.map;
        return block->ram.map_large;
}

/* Memory that is not taken out of its file: QEMU may have written where the image says that all is zero. */
static int zero_absent(const LoadBlock *block, const ImageChunk *chunk, uint64_t offset) {
        unsigned char *at = block->ram.map + offset;
        uint64_t n = image_chunk_length(block->ram.size_bytes, offset / IMAGE_CHUNK_DATA_BYTES) / IMAGE_PAGE_BYTES;

        if (chunk->pages == UINT16_MAX || !keeps_content(&block->ram))
                return 0;
        if (block->ram.page_bytes == IMAGE_PAGE_BYTES) {
                ImageChunk absent = { .pages = (uint16_t) (~chunk->pages & ((1u << n) - 1)) };
                int r = load_populate(&absent, at);
                if (r < 0)
                        return r;
        }
        for (uint64_t page = 0; page < n; page++) {
                unsigned char *bytes = at + page * IMAGE_PAGE_BYTES;
                if (!(chunk->pages >> page & 1) && !zero_is(bytes, IMAGE_PAGE_BYTES))
                        memset(bytes, 0, IMAGE_PAGE_BYTES);
        }
        return 0;
}

static void load_piece(Load *load, unsigned index, uint64_t piece, ImageScratch *scratch) {
        const LoadBlock *block = &load->blocks[index];
        uint64_t first = piece * LOAD_PIECE_CHUNKS,
                 n = MIN(image_chunk_count(block->ram.size_bytes) - first, LOAD_PIECE_CHUNKS);
        ImageChunk chunks[LOAD_PIECE_CHUNKS] = { 0 };

        for (uint64_t i = 0; i < n; i++) {
                int r = image_reader_chunk(load->reader, index, first + i, &chunks[i]);
                if (r < 0)
                        return load_fail(load, index, first + i, r);
        }
        unsigned char *map = choose_map(block, first * IMAGE_CHUNK_DATA_BYTES, chunks);
        for (uint64_t i = 0; i < n && !load_stopped(load); i++) {
                unsigned char *at = map + (first + i) * IMAGE_CHUNK_DATA_BYTES;
                int r = map == block->ram.map && block->ram.page_bytes == IMAGE_PAGE_BYTES
                                ? load_populate(&chunks[i], at)
                                : 0;
                if (r >= 0)
                        r = image_reader_read(load->reader, &chunks[i], at, scratch);
                if (r >= 0)
                        r = zero_absent(block, &chunks[i], (first + i) * IMAGE_CHUNK_DATA_BYTES);
                if (r < 0)
                        return load_fail(load, index, first + i, r);
                atomic_fetch_add(&load->read_bytes, image_chunk_pages(&chunks[i]) * (uint64_t) IMAGE_PAGE_BYTES);
        }
}

/* The block of a piece, and its number there; false after the last. */
bool load_take_piece(Load *load, unsigned *ret_block, uint64_t *ret_piece) {
        uint64_t piece = atomic_fetch_add(&load->next_piece, 1);

        for (unsigned i = 0; i < load->n_blocks; i++) {
                if (piece < load->blocks[i].n_pieces) {
                        *ret_block = i;
                        *ret_piece = piece;
                        return true;
                }
                piece -= load->blocks[i].n_pieces;
        }
        return false;
}

static void load_worker(void *userdata) {
        Load *load = userdata;
        g_autoptr(ImageScratch) scratch = image_scratch_new();
        unsigned block;
        uint64_t piece;

        while (!load_stopped(load) && load_take_piece(load, &block, &piece)) {
                load_piece(load, block, piece, scratch);
                load_tell(load);
        }
}

/* ---- the lead thread ---- */

static int compare_blocks(const Load *load, GError **reterr) {
        unsigned n = image_reader_header(load->reader)->n_blocks;

        if (n != load->n_blocks)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("memory layout differs: the save image has %u RAM blocks, the domain has %u"), n,
                                 load->n_blocks);
        for (unsigned i = 0; i < n; i++) {
                const ImageBlock *theirs = image_reader_block(load->reader, i);
                const RamBlock *ours = &load->blocks[i].ram;
                if (strcmp(theirs->id, ours->id) != 0 || theirs->size_bytes != ours->size_bytes)
                        return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                         _("memory layout differs: RAM block '%s' of %" G_GUINT64_FORMAT
                                           " bytes in the save image is '%s' of %" G_GUINT64_FORMAT
                                           " bytes in the domain"),
                                         theirs->id, theirs->size_bytes, ours->id, ours->size_bytes);
        }
        return 0;
}

static int open_image(Load *load, GError **reterr) {
        int r = image_reader_new(FD_STEAL(load->image_fd), &load->reader, reterr);

        if (r >= 0)
                r = compare_blocks(load, reterr);
        if (r >= 0)
                r = image_reader_load_tables(load->reader, reterr);
        if (r >= 0)
                r = image_reader_check_device(load->reader, reterr);
        if (r >= 0)
                load->data_bytes = image_reader_header(load->reader)->data_bytes;
        return r;
}

int load_start_workers(Load *load, void (*func)(void *userdata), GError **reterr) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < (unsigned) CLAMP(processors, 1, LOAD_WORKERS_MAX); i++)
                r = worker_start(&load->workers[i], "loader", func, load);
        /* With one thread less it is slower, no more. */
        return r < 0 && !load->workers[0].started ? error_set_errno(reterr, r, _("cannot start a thread")) : 0;
}

static int load_memory(Load *load, GError **reterr) {
        int r = load_start_workers(load, load_worker, reterr);

        if (r < 0)
                return r;
        for (unsigned i = 0; i < LOAD_WORKERS_MAX; i++)
                worker_join(&load->workers[i]);
        if (!load->error)
                return 0;
        g_propagate_error(reterr, g_error_copy(load->error));
        return -EIO;
}

/* QEMU may have touched some of its memory when it started; the image says what is in it. Memory that must stay
 * allocated is zeroed by the workers: zero_absent(). */
static int empty_memory(Load *load, GError **reterr) {
        for (unsigned i = 0; i < load->n_blocks; i++) {
                const RamBlock *ram = &load->blocks[i].ram;
                if (!keeps_content(ram) && ram_block_allocated(ram) > 0 &&
                    fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t) ram->size_bytes) < 0)
                        return error_set_errno(reterr, errno, _("cannot empty RAM block '%s'"), ram->id);
        }
        return 0;
}

/* QEMU reads at its own pace. */
static int hand_over_device(Load *load, GError **reterr) {
        g_autofree unsigned char *bytes = g_malloc(DEVICE_CHUNK_BYTES);
        uint64_t heard_usec = clock_monotonic_usec();
        ssize_t n;

        (void) fd_set_nonblock(load->device_fd, true);
        for (uint64_t at = 0;
             (n = image_reader_device(load->reader, at, bytes, DEVICE_CHUNK_BYTES)) != 0 && !load_stopped(load);) {
                if (n < 0)
                        return error_set_errno(reterr, (int) n, _("cannot read the save image"));
                ssize_t written = send(load->device_fd, bytes, (size_t) n, MSG_NOSIGNAL);
                if (written > 0) {
                        at += (uint64_t) written;
                        heard_usec = clock_monotonic_usec();
                        continue;
                }
                if (written < 0 && errno != EAGAIN && errno != EINTR)
                        return error_set_errno(reterr, errno, _("cannot hand the device state to QEMU"));
                if (clock_monotonic_usec() - heard_usec > DEVICE_SILENT_USEC)
                        return error_set(reterr, VIR_ERR_OPERATION_TIMEOUT, _("QEMU does not read its device state"));
                struct pollfd pollfd = { .fd = load->device_fd, .events = POLLOUT };
                (void) poll(&pollfd, 1, DEVICE_POLL_MSEC);
        }
        (void) shutdown(load->device_fd, SHUT_WR);
        return 0;
}

static void answer(Load *load, const GError *error) {
        json_object *result = NULL;
        EngineStats stats;

        if (error)
                return ctl_reply_error(load->call, error);
        load_stats(load, &stats);
        result = stats_to_json(&stats);
        json_add_bool(result, "lazy", atomic_load(&load->lazy));
        ctl_reply(load->call, result);
}

static void lead_worker(void *userdata) {
        Load *load = userdata;
        g_autoptr(GError) error = NULL;

        int r = open_image(load, &error);
        if (r >= 0 && !load->adopts)
                r = empty_memory(load, &error);
        if (r >= 0 && load->wants_lazy) {
                r = load_lazy_begin(load, &error);
                atomic_store(&load->lazy, r > 0);
        }
        if (r >= 0 && !atomic_load(&load->lazy))
                r = load_memory(load, &error);
        if (r >= 0 && !load->adopts)
                r = hand_over_device(load, &error);
        if (r >= 0 && load_stopped(load))
                r = load->error ? -EIO : error_set(&error, VIR_ERR_OPERATION_ABORTED, _("restoring was cancelled"));
        if (r < 0 && !error)
                error = g_error_copy(load->error);
        answer(load, r < 0 ? error : NULL);
        if (r < 0 || !atomic_load(&load->lazy))
                atomic_store(&load->finished, true);
        ctl_wake(load->ctl);
}

/* ---- requests ---- */

Load *load_start(const EngineLoadArgs *args, Ctl *ctl, CtlCall *call) {
        Load *load = g_new0(Load, 1);
        g_autoptr(GError) error = NULL;
        int result = 0;

        pthread_mutex_init(&load->lock, NULL);
        load->ctl = ctl;
        load->call = call;
        load->image_fd = args->image_fd;
        load->device_fd = args->device_state_fd;
        load->uffd = args->uffd;
        load->qemu_pid = args->qemu_pid;
        load->wants_lazy = args->lazy;
        load->adopts = args->adopt;
        load->keeps_order = args->keep_order;
        load->n_blocks = args->n_blocks;
        load->blocks = g_new0(LoadBlock, args->n_blocks);
        for (unsigned i = 0; i < args->n_blocks; i++) {
                LoadBlock *block = &load->blocks[i];
                int r = ram_block_init(&block->ram, &args->blocks[i], args->blocks[i].fd, RAM_BLOCK_WRITE, &error);
                result = result < 0 ? result : r;
                block->n_pieces = (args->blocks[i].size_bytes + RAM_BLOCK_LARGE_BYTES - 1) / RAM_BLOCK_LARGE_BYTES;
                load->total_bytes += args->blocks[i].size_bytes;
                block->states.fd = -EBADF;
                if (result >= 0 && args->lazy &&
                    (r = page_states_open(&block->states, block->ram.n_pages, args->blocks[i].states_fd)) < 0)
                        result = error_set_errno(&error, r, _("cannot open the page table of RAM block '%s'"),
                                                 block->ram.id);
        }
        if (result >= 0) {
                result = worker_start(&load->lead, "load", lead_worker, load);
                if (result < 0)
                        error_set_errno(&error, result, _("cannot start a thread"));
        }
        if (result < 0) {
                ctl_reply_error(call, error);
                atomic_store(&load->finished, true);
        }
        return load;
}

Load *load_free(Load *load) {
        if (!load)
                return NULL;
        atomic_store(&load->cancelled, true);
        worker_join(&load->lead);
        load_lazy_free(load);
        image_reader_free(load->reader);
        for (unsigned i = 0; i < load->n_blocks; i++) {
                page_states_deinit(&load->blocks[i].states);
                ram_block_deinit(&load->blocks[i].ram);
        }
        g_free(load->blocks);
        fd_close(load->image_fd);
        fd_close(load->device_fd);
        fd_close(load->uffd);
        g_clear_error(&load->error);
        pthread_mutex_destroy(&load->lock);
        g_free(load);
        return NULL;
}

void load_tick(Load *load) {
        if (atomic_load(&load->lazy))
                load_lazy_tick(load);
}

void load_go(Load *load, CtlCall *call) {
        g_autoptr(GError) error = NULL;

        if (!atomic_load(&load->lazy) || load->going)
                (void) error_set(&error, VIR_ERR_OPERATION_INVALID, _("nothing is left to be loaded"));
        if (error || load_lazy_go(load, &error) < 0)
                return ctl_reply_error(call, error);
        ctl_reply(call, NULL);
}

bool load_outlives_daemon(Load *load) {
        return load->going;
}

bool load_finished(Load *load) {
        return atomic_load(&load->finished);
}
