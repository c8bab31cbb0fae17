/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: PAGES frames. The sender walks the set of the current round, looks at each page once (is it a
 * hole, is it zero), joins neighbours of one kind to runs, and sends up to WIRE_RUNS_MAX runs and their data in one
 * frame straight from the mapped RAM:
 *
 *      header | run 0 | run 1 | ... | data of the first data run | data of the next | ...
 *
 * Pages leave the set when they enter a frame; they were write-protected before they entered the set, so a write that
 * comes while they are on the way is found by the next sync. A hole is never read: reading it would allocate it.
 *
 * Where nearly all of a 2 MiB region exists and goes out with mostly data in it, a LARGE run tells the destination to
 * take one large folio for it. At most 10 of 512 pages may be missing: then the destination's memory stays within 2 %
 * of the source's. Such runs go ahead of their data (LOOK_REGIONS), since to clear the memory takes the destination
 * longer than to receive into it.
 */

#include "driver/engine/source_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/engine/frame.h"
#include "driver/engine/zero.h"

#define LARGE_PAGES (WIRE_LARGE_BYTES / WIRE_PAGE_BYTES)
#define LARGE_PAGES_MIN 502 /* of 512: 98 % */
#define LARGE_DATA_MIN 256
#define HUGE_CHUNK_BYTES 65536
#define LOOK_REGIONS 64u  /* 128 MiB: 0.1 s at 10 Gb/s */
#define LOOK_PER_FRAME 4u /* a frame holds half a region */
#define ZERO_BYTES_MAX UINT64_C(67108864) /* per frame: looking for more takes so long that requests would wait */
#define DEVICE_CHUNK_BYTES 262144u
#define DEVICE_READ_TIMEOUT_MSEC 10000
#define DEVICE_POLL_MSEC 200

typedef struct SendBatch {
        unsigned char head[WIRE_HEADER_BYTES + WIRE_RUNS_MAX * WIRE_RUN_BYTES];
        struct iovec iov[1 + WIRE_RUNS_MAX];
        WireRun runs[WIRE_RUNS_MAX];
        unsigned n_runs, n_iov;
        uint64_t data_bytes, zero_bytes;
} SendBatch;

SendBatch *send_batch_new(void) {
        return g_new0(SendBatch, 1);
}

void send_batch_free(SendBatch *batch) {
        g_free(batch);
}

/* Whether one more run of any kind may be added. */
static bool batch_full(const SendBatch *batch, uint64_t max_bytes) {
        return batch->n_runs + 2 >= WIRE_RUNS_MAX || batch->data_bytes + WIRE_PAGE_BYTES > max_bytes ||
               batch->zero_bytes >= ZERO_BYTES_MAX;
}

static void batch_add(SendBatch *batch, const RamBlock *ram, unsigned block, WireKind kind, uint64_t offset,
                      uint64_t length) {
        WireRun *last = batch->n_runs > 0 ? &batch->runs[batch->n_runs - 1] : NULL;
        bool join = last && last->kind == kind && kind != WIRE_KIND_LARGE && last->block == block &&
                    last->offset_bytes + wire_run_bytes(last) == offset &&
                    last->pages + length / WIRE_PAGE_BYTES <= UINT32_MAX;
        if (join)
                last->pages += (uint32_t) (length / WIRE_PAGE_BYTES);
        else
                batch->runs[batch->n_runs++] = (WireRun) {
                        .offset_bytes = offset,
                        .pages = (uint32_t) (length / WIRE_PAGE_BYTES),
                        .block = (uint16_t) block,
                        .kind = (uint8_t) kind,
                };
        if (kind == WIRE_KIND_DATA) {
                if (join)
                        batch->iov[batch->n_iov - 1].iov_len += length;
                else
                        batch->iov[batch->n_iov++] = (struct iovec) { ram->map + offset, length };
                batch->data_bytes += length;
        } else if (kind == WIRE_KIND_ZERO)
                batch->zero_bytes += length;
}

/* ---- ahead of the cursor ---- */

typedef struct LookedRegion {
        uint64_t region; /* UINT64_MAX: none */
        uint64_t zero[LARGE_PAGES / 64];
} LookedRegion;

typedef struct Lookahead {
        LookedRegion looked[LOOK_REGIONS]; /* by region % LOOK_REGIONS: no two are further apart */
        unsigned block;
        uint64_t next; /* the first region that was not looked at */
} Lookahead;

void source_look_anew(Source *source) {
        if (!source->lookahead)
                source->lookahead = g_new0(Lookahead, 1);
        source->lookahead->block = source->cursor_block;
        source->lookahead->next = 0;
        for (unsigned i = 0; i < LOOK_REGIONS; i++)
                source->lookahead->looked[i].region = UINT64_MAX;
}

void lookahead_free(Lookahead *lookahead) {
        g_free(lookahead);
}

/* Whether nearly all of the region is there and will be sent in this round. */
static bool region_dense(const Source *source, unsigned block, uint64_t region) {
        const PageSet *known = &source->dirty->blocks[block].known, *current = &source->current[block];
        uint64_t first = region * LARGE_PAGES;
        return first + LARGE_PAGES <= source->blocks[block].n_pages &&
               page_set_count(current, first, LARGE_PAGES) >= LARGE_PAGES_MIN &&
               page_set_count(known, first, LARGE_PAGES) >= LARGE_PAGES_MIN;
}

/* Looks at the pages of a dense region, once, and says whether the destination should take one folio for it. */
static bool look_at(Source *source, unsigned block, uint64_t region) {
        const unsigned char *map = source->blocks[block].map + region * WIRE_LARGE_BYTES;
        const PageSet *known = &source->dirty->blocks[block].known, *current = &source->current[block];
        LookedRegion *looked = &source->lookahead->looked[region % LOOK_REGIONS];
        unsigned data = 0;

        *looked = (LookedRegion) { .region = region };
        for (uint64_t i = 0; i < LARGE_PAGES; i++) {
                /* Only what will be sent: to read a page that the guest gave back since the last sync would allocate
                 * it anew, and then nothing would tell that it had gone and that the destination has to forget what it
                 * was. */
                uint64_t page = region * LARGE_PAGES + i;
                if (!page_set_has(known, page) || !page_set_has(current, page))
                        continue;
                if (zero_is(map + i * WIRE_PAGE_BYTES, WIRE_PAGE_BYTES))
                        looked->zero[i / 64] |= UINT64_C(1) << (i % 64);
                else
                        data++;
        }
        return data >= LARGE_DATA_MIN;
}

/* Announces regions that come soon, so that the destination has them ready by then. */
static void look_ahead(Source *source, SendBatch *batch, unsigned block) {
        const RamBlock *ram = &source->blocks[block];
        const PageSet *current = &source->current[block];
        if (ram->page_bytes != WIRE_PAGE_BYTES || batch->n_runs + LOOK_PER_FRAME + 2 >= WIRE_RUNS_MAX)
                return;
        if (!source->lookahead || source->lookahead->block != block)
                source_look_anew(source);

        uint64_t first = page_set_next(current, source->cursor_unit) / LARGE_PAGES;
        uint64_t region = MAX(source->lookahead->next, first);
        for (unsigned n = 0; n < LOOK_PER_FRAME;) {
                region = page_set_next(current, region * LARGE_PAGES) / LARGE_PAGES;
                if (region * LARGE_PAGES >= ram->n_pages || region >= first + LOOK_REGIONS)
                        break;
                if (region_dense(source, block, region)) {
                        if (look_at(source, block, region))
                                batch_add(batch, ram, block, WIRE_KIND_LARGE, region * WIRE_LARGE_BYTES,
                                          WIRE_LARGE_BYTES);
                        n++;
                }
                region++;
        }
        source->lookahead->next = region;
}

static bool page_is_zero(const Source *source, const RamBlock *ram, uint64_t offset) {
        uint64_t unit = offset / WIRE_PAGE_BYTES, region = unit / LARGE_PAGES;
        /* A page that was zero when it was looked at and is data now was written since: the next sync finds it. */
        const LookedRegion *looked = source->lookahead ? &source->lookahead->looked[region % LOOK_REGIONS] : NULL;
        if (ram->page_bytes == WIRE_PAGE_BYTES && looked && looked->region == region)
                return (looked->zero[unit % LARGE_PAGES / 64] >> (unit % 64)) & 1;
        return zero_is(ram->map + offset, WIRE_PAGE_BYTES);
}

/*
 * A huge page that may be a hole: hugetlbfs does not tell, and to read one through the mapping would take a page from
 * the pool (or end this process if it is empty). read() gives zeros for it and takes nothing.
 */
static bool huge_page_is_zero(Source *source, const RamBlock *ram, uint64_t page) {
        if (!source->huge_chunk)
                source->huge_chunk = g_aligned_alloc(1, HUGE_CHUNK_BYTES, WIRE_PAGE_BYTES);
        for (uint64_t at = 0; at < ram->page_bytes; at += HUGE_CHUNK_BYTES) {
                ssize_t n = pread(ram->fd, source->huge_chunk, HUGE_CHUNK_BYTES, (off_t) (page * ram->page_bytes + at));
                if (n != HUGE_CHUNK_BYTES || !zero_is(source->huge_chunk, HUGE_CHUNK_BYTES))
                        return false;
        }
        return true;
}

/* ---- frames ---- */

/* Adds from one block, from the cursor on. False: the batch is full. */
static bool batch_fill_block(Source *source, SendBatch *batch, unsigned block, uint64_t max_bytes) {
        const RamBlock *ram = &source->blocks[block];
        const PageSet *known = &source->dirty->blocks[block].known;
        PageSet *current = &source->current[block];
        uint64_t units = ram->page_bytes / WIRE_PAGE_BYTES;

        for (;;) {
                uint64_t page = page_set_next(current, source->cursor_unit / units);
                if (page >= ram->n_pages)
                        return true;
                if (batch_full(batch, max_bytes))
                        return false;
                if (page > source->cursor_unit / units)
                        source->cursor_unit = page * units;

                uint64_t unit = source->cursor_unit, count = 1;
                if (!page_set_has(known, page) ||
                    (units > 1 && unit % units == 0 && huge_page_is_zero(source, ram, page))) {
                        count = (page + 1) * units - unit;
                        batch_add(batch, ram, block, WIRE_KIND_ZERO, unit * WIRE_PAGE_BYTES, count * WIRE_PAGE_BYTES);
                } else {
                        bool zero = page_is_zero(source, ram, unit * WIRE_PAGE_BYTES);
                        batch_add(batch, ram, block, zero ? WIRE_KIND_ZERO : WIRE_KIND_DATA, unit * WIRE_PAGE_BYTES,
                                  WIRE_PAGE_BYTES);
                }
                source->cursor_unit = unit + count;
                if (source->cursor_unit % units == 0)
                        page_set_remove(current, page, 1);
        }
}

static void batch_fill(Source *source, SendBatch *batch, uint64_t max_bytes) {
        batch->n_runs = 0;
        batch->n_iov = 1;
        batch->data_bytes = batch->zero_bytes = 0;
        for (; source->cursor_block < source->n_blocks; source->cursor_block++) {
                look_ahead(source, batch, source->cursor_block);
                if (!batch_fill_block(source, batch, source->cursor_block, max_bytes))
                        return;
                source->cursor_unit = 0;
        }
}

int source_send_some(Source *source, uint64_t max_bytes) {
        SendBatch *batch = source->batch;
        batch_fill(source, batch, max_bytes);
        if (batch->n_runs == 0)
                return 0;

        uint64_t head_bytes = WIRE_HEADER_BYTES + (uint64_t) batch->n_runs * WIRE_RUN_BYTES;
        wire_header_encode(&(WireHeader) { .type = WIRE_PAGES,
                                           .count = batch->n_runs,
                                           .length_bytes = head_bytes - WIRE_HEADER_BYTES + batch->data_bytes },
                           batch->head);
        for (unsigned i = 0; i < batch->n_runs; i++)
                wire_run_encode(&batch->runs[i], batch->head + WIRE_HEADER_BYTES + i * WIRE_RUN_BYTES);
        batch->iov[0] = (struct iovec) { batch->head, head_bytes };

        uint64_t start = clock_monotonic_usec();
        int r = channel_send(source->channel, batch->iov, batch->n_iov);
        if (r < 0)
                return r;
        uint64_t end = clock_monotonic_usec();
        rate_sent(&source->rate, head_bytes + batch->data_bytes, end - start);
        pace_sent(&source->pace, head_bytes + batch->data_bytes, end);
        source->data_pages += batch->data_bytes / WIRE_PAGE_BYTES;
        source->zero_pages += batch->zero_bytes / WIRE_PAGE_BYTES;
        return 1;
}

static int device_send(Source *source, GError **reterr) {
        g_autofree unsigned char *chunk = g_malloc(DEVICE_CHUNK_BYTES);
        int silent_msec = 0;
        for (;;) {
                struct pollfd pollfd = { .fd = source->device_fd, .events = POLLIN };
                int n = poll(&pollfd, 1, DEVICE_POLL_MSEC);
                if (source_interrupted(source))
                        return -ECANCELED;
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_set_errno(reterr, errno, _("cannot read QEMU's device state"));
                if (n == 0 && (silent_msec += DEVICE_POLL_MSEC) < DEVICE_READ_TIMEOUT_MSEC)
                        continue;
                if (n == 0) {
                        error_set(reterr, VIR_ERR_OPERATION_TIMEOUT,
                                  _("QEMU has sent nothing of its device state for %d seconds"),
                                  DEVICE_READ_TIMEOUT_MSEC / 1000);
                        return -ETIMEDOUT;
                }
                ssize_t got = read(source->device_fd, chunk, DEVICE_CHUNK_BYTES);
                if (got < 0 && (errno == EINTR || errno == EAGAIN))
                        continue;
                if (got < 0)
                        return error_set_errno(reterr, errno, _("cannot read QEMU's device state"));
                if (got == 0)
                        return 0;
                silent_msec = 0;
                int r = frame_send(source->channel, WIRE_DEVICE, 0, chunk, (size_t) got);
                if (r < 0)
                        return channel_error(source->channel, r, _("sending the device state"), reterr);
                source->device_bytes += (uint64_t) got;
        }
}

void source_device_worker(void *userdata) {
        Source *source = userdata;
        source->device_error = device_send(source, &source->device_failure);
        source->device_fd = fd_close(source->device_fd);
}
