/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation. The guest is stopped, so what is allocated is looked up once (extents.h) and holes are never
 * read. Workers take pieces of 1 MiB in order, look for zero pages among what is allocated, and give the rest to the
 * image. When all of them are done the lead thread appends the device state, which QEMU has been writing into its
 * socket meanwhile, and ends the image. Any error, or cancelling, ends all threads at their next piece.
 */

#include "driver/engine/save.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/engine/extents.h"
#include "driver/engine/page_set.h"
#include "driver/engine/ram_block.h"
#include "driver/engine/stats.h"
#include "driver/engine/worker.h"
#include "driver/engine/zero.h"
#include "driver/image/image_writer.h"

#define WORKERS_MAX 4
#define PIECE_BYTES (IMAGE_WRITER_CHUNKS_MAX * (uint64_t) IMAGE_CHUNK_DATA_BYTES)
#define STATS_USEC (200 * USEC_PER_MSEC)
#define DEVICE_CHUNK_BYTES 262144u
#define DEVICE_SILENT_USEC (60 * USEC_PER_SEC)
#define DEVICE_POLL_MSEC 200

typedef struct SaveBlock {
        RamBlock ram;
        PageSet allocated;
        uint64_t n_pieces;
} SaveBlock;

struct Save {
        /* fixed after save_start() */
        Ctl *ctl;
        CtlCall *call; /* the lead thread answers it */
        SaveBlock *blocks;
        unsigned n_blocks;
        int image_fd, device_fd;
        ImageCompression compression;
        bool running;
        char *xml;
        Worker lead;
        /* lead thread, before the workers start and after they have ended */
        ImageWriter *writer;
        unsigned n_workers;
        Worker workers[WORKERS_MAX];
        uint64_t device_bytes;
        /* any thread */
        atomic_uint_fast64_t next_piece; /* over all blocks */
        atomic_int error;                /* negative errno of the first worker that failed */
        atomic_bool cancelled, finished;
        atomic_uint_fast64_t data_pages, zero_pages, looked_bytes, told_usec;
        uint64_t resident_bytes;         /* fixed before the workers start */
        uint64_t total_bytes;
};

void save_stats(Save *save, EngineStats *ret_stats) {
        uint64_t looked = atomic_load(&save->looked_bytes);

        *ret_stats = (EngineStats){
                .round = 1,
                .total_bytes = save->total_bytes,
                .resident_bytes = save->resident_bytes,
                .transferred_bytes = save->writer ? image_writer_written(save->writer) : 0,
                .normal_pages = atomic_load(&save->data_pages),
                .zero_pages = atomic_load(&save->zero_pages),
                .device_state_bytes = save->device_bytes,
        };
        ret_stats->pending_bytes = ret_stats->precopy_bytes =
                save->resident_bytes > looked ? save->resident_bytes - looked : 0;
}

static void tell(Save *save) {
        uint64_t now = clock_monotonic_usec(), last = atomic_load(&save->told_usec);
        EngineStats stats;

        if (now - last < STATS_USEC || !atomic_compare_exchange_strong(&save->told_usec, &last, now))
                return;
        save_stats(save, &stats);
        ctl_event(save->ctl, "stats", stats_to_json(&stats), true);
}

static bool stopped(Save *save) {
        return atomic_load(&save->cancelled) || atomic_load(&save->error) != 0;
}

static bool is_allocated(const SaveBlock *block, uint64_t offset) {
        return page_set_has(&block->allocated, offset / block->ram.page_bytes);
}

/* Which pages of a piece hold data; holes are not touched. */
static unsigned look_at(Save *save, const SaveBlock *block, uint64_t offset, uint16_t *ret_pages) {
        uint64_t end = MIN(offset + PIECE_BYTES, block->ram.size_bytes), data = 0, zero = 0;
        unsigned n = (unsigned) ((end - offset + IMAGE_CHUNK_DATA_BYTES - 1) / IMAGE_CHUNK_DATA_BYTES);

        memset(ret_pages, 0, n * sizeof(*ret_pages));
        for (uint64_t at = offset; at < end; at += IMAGE_PAGE_BYTES) {
                if (!is_allocated(block, at))
                        continue;
                if (zero_is(block->ram.map + at, IMAGE_PAGE_BYTES)) {
                        zero++;
                        continue;
                }
                uint64_t page = (at - offset) / IMAGE_PAGE_BYTES;
                ret_pages[page / IMAGE_CHUNK_PAGES] |= (uint16_t) (1u << (page % IMAGE_CHUNK_PAGES));
                data++;
        }
        atomic_fetch_add(&save->data_pages, data);
        atomic_fetch_add(&save->zero_pages, zero);
        return n;
}

static int save_piece(Save *save, unsigned index, uint64_t piece, ImagePress *press) {
        SaveBlock *block = &save->blocks[index];
        uint64_t offset = piece * PIECE_BYTES, first = offset / block->ram.page_bytes;
        uint64_t n_pages = MAX(PIECE_BYTES / block->ram.page_bytes, 1);
        uint64_t allocated = page_set_count(&block->allocated, first, MIN(n_pages, block->ram.n_pages - first));
        uint16_t pages[IMAGE_WRITER_CHUNKS_MAX];

        if (allocated == 0)
                return 0;
        unsigned n = look_at(save, block, offset, pages);
        int r = image_writer_chunks(save->writer, index, offset / IMAGE_CHUNK_DATA_BYTES, n, block->ram.map + offset,
                                    pages, press);
        atomic_fetch_add(&save->looked_bytes, MIN(allocated * block->ram.page_bytes, PIECE_BYTES));
        return r;
}

/* The block of a piece, and its number there; false after the last. */
static bool take_piece(Save *save, unsigned *ret_block, uint64_t *ret_piece) {
        uint64_t piece = atomic_fetch_add(&save->next_piece, 1);

        for (unsigned i = 0; i < save->n_blocks; i++) {
                if (piece < save->blocks[i].n_pieces) {
                        *ret_block = i;
                        *ret_piece = piece;
                        return true;
                }
                piece -= save->blocks[i].n_pieces;
        }
        return false;
}

static void save_worker(void *userdata) {
        Save *save = userdata;
        g_autoptr(ImagePress) press = image_press_new();
        unsigned block;
        uint64_t piece;

        while (!stopped(save) && take_piece(save, &block, &piece)) {
                int r = save_piece(save, block, piece, press), none = 0;
                if (r < 0)
                        (void) atomic_compare_exchange_strong(&save->error, &none, r);
                tell(save);
        }
}

/* ---- the lead thread ---- */

static int look_up_extents(Save *save, GError **reterr) {
        for (unsigned i = 0; i < save->n_blocks; i++) {
                SaveBlock *block = &save->blocks[i];
                int r = page_set_init(&block->allocated, block->ram.n_pages);
                if (r >= 0)
                        r = extents_scan(block->ram.fd, block->ram.page_bytes, &block->allocated);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot look up what RAM block '%s' holds"), block->ram.id);
                block->n_pieces = (block->ram.size_bytes + PIECE_BYTES - 1) / PIECE_BYTES;
                save->resident_bytes += block->allocated.n_set * block->ram.page_bytes;
                save->total_bytes += block->ram.size_bytes;
        }
        return 0;
}

static int begin_image(Save *save, GError **reterr) {
        g_autofree ImageBlock *blocks = g_new0(ImageBlock, save->n_blocks);

        for (unsigned i = 0; i < save->n_blocks; i++) {
                const RamBlock *ram = &save->blocks[i].ram;
                blocks[i] = (ImageBlock){ .size_bytes = ram->size_bytes, .page_bytes = ram->page_bytes };
                g_strlcpy(blocks[i].id, ram->id, sizeof(blocks[i].id));
        }
        ImageWriterArgs args = { .fd = save->image_fd,
                                 .compression = save->compression,
                                 .running = save->running,
                                 .xml = save->xml,
                                 .blocks = blocks,
                                 .n_blocks = save->n_blocks };
        return image_writer_new(&args, &save->writer, reterr);
}

static int write_error(int error, GError **reterr) {
        return error_set_errno(reterr, error, _("cannot write the save image"));
}

static int save_memory(Save *save, GError **reterr) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        int r = 0;

        save->n_workers = (unsigned) CLAMP(processors, 1, WORKERS_MAX);
        for (unsigned i = 0; r >= 0 && i < save->n_workers; i++)
                r = worker_start(&save->workers[i], "saver", save_worker, save);
        /* With one thread less it is slower, no more. */
        if (r < 0 && !save->workers[0].started)
                return error_set_errno(reterr, r, _("cannot start a thread"));
        for (unsigned i = 0; i < save->n_workers; i++)
                worker_join(&save->workers[i]);
        r = atomic_load(&save->error);
        return r < 0 ? write_error(r, reterr) : 0;
}

static int save_device(Save *save, GError **reterr) {
        g_autofree unsigned char *bytes = g_malloc(DEVICE_CHUNK_BYTES);
        uint64_t heard_usec = clock_monotonic_usec();

        (void) fd_set_nonblock(save->device_fd, true);
        while (!stopped(save)) {
                ssize_t n = read(save->device_fd, bytes, DEVICE_CHUNK_BYTES);
                if (n == 0)
                        return 0;
                if (n > 0) {
                        int r = image_writer_device(save->writer, bytes, (size_t) n);
                        if (r < 0)
                                return write_error(r, reterr);
                        save->device_bytes += (size_t) n;
                        heard_usec = clock_monotonic_usec();
                        continue;
                }
                if (errno != EAGAIN && errno != EINTR)
                        return error_set_errno(reterr, errno, _("cannot read the device state from QEMU"));
                if (clock_monotonic_usec() - heard_usec > DEVICE_SILENT_USEC)
                        return error_set(reterr, VIR_ERR_OPERATION_TIMEOUT, _("QEMU does not write its device state"));
                struct pollfd pollfd = { .fd = save->device_fd, .events = POLLIN };
                (void) poll(&pollfd, 1, DEVICE_POLL_MSEC);
        }
        return 0;
}

static void lead_worker(void *userdata) {
        Save *save = userdata;
        g_autoptr(GError) error = NULL;
        EngineStats stats;

        int r = look_up_extents(save, &error);
        if (r >= 0)
                r = begin_image(save, &error);
        if (r >= 0)
                r = save_memory(save, &error);
        if (r >= 0)
                r = save_device(save, &error);
        if (r >= 0 && stopped(save))
                r = error_set(&error, VIR_ERR_OPERATION_ABORTED, _("saving was cancelled"));
        if (r >= 0)
                r = image_writer_finish(save->writer, &error);
        save_stats(save, &stats);
        if (r < 0)
                ctl_reply_error(save->call, error);
        else
                ctl_reply(save->call, stats_to_json(&stats));
        atomic_store(&save->finished, true);
        ctl_wake(save->ctl);
}

/* ---- requests ---- */

Save *save_start(const EngineSaveArgs *args, Ctl *ctl, CtlCall *call) {
        Save *save = g_new0(Save, 1);
        g_autoptr(GError) error = NULL;
        int result = 0;

        save->ctl = ctl;
        save->call = call;
        save->image_fd = args->image_fd;
        save->device_fd = args->device_state_fd;
        save->compression = args->compression;
        save->running = args->running;
        save->xml = g_strdup(args->xml);
        save->n_blocks = args->n_blocks;
        save->blocks = g_new0(SaveBlock, args->n_blocks);
        for (unsigned i = 0; i < args->n_blocks; i++) {
                int r = ram_block_init(&save->blocks[i].ram, &args->blocks[i], args->blocks[i].fd, RAM_BLOCK_READ,
                                       &error);
                result = result < 0 ? result : r;
        }
        if (result >= 0) {
                result = worker_start(&save->lead, "save", lead_worker, save);
                if (result < 0)
                        error_set_errno(&error, result, _("cannot start a thread"));
        }
        if (result < 0) {
                ctl_reply_error(call, error);
                atomic_store(&save->finished, true);
        }
        return save;
}

Save *save_free(Save *save) {
        if (!save)
                return NULL;
        atomic_store(&save->cancelled, true);
        worker_join(&save->lead);
        image_writer_free(save->writer);
        for (unsigned i = 0; i < save->n_blocks; i++) {
                page_set_deinit(&save->blocks[i].allocated);
                ram_block_deinit(&save->blocks[i].ram);
        }
        g_free(save->blocks);
        fd_close(save->image_fd);
        fd_close(save->device_fd);
        g_free(save->xml);
        g_free(save);
        return NULL;
}

bool save_finished(Save *save) {
        return atomic_load(&save->finished);
}
