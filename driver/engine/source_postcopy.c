/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: the source after a switch to postcopy (docs/postcopy-engine.md). The guest's memory here does
 * not change any more; `current` holds the pages that the destination lacks and that are not on their way, and from the
 * switch on left_lock guards it.
 *
 * The urgent thread answers requests on their own channel: first the page, then, if nobody else waits, its neighbours.
 * A page that was pushed already is sent again, since it may sit in the other channel's buffers for long; the
 * destination takes what comes first. The sender pushes everything else, in small frames, from the place of the last
 * request on.
 *
 * When the link breaks, both threads and the return path end, and the sender waits for source_recover(). What was sent
 * and has not arrived nobody here knows; the destination's page table does, and its list of what it lacks becomes
 * `current`.
 */

#include "driver/engine/source_internal.h"

#include <errno.h>
#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/engine/extents.h"
#include "driver/engine/frame.h"
#include "driver/engine/stats.h"
#include "driver/engine/wire_set.h"
#include "driver/engine/zero.h"

#define PUSH_BYTES (128 * KIB)
#define NEIGHBOUR_BYTES (64 * KIB)
#define STATS_USEC (200 * USEC_PER_MSEC)
#define IDLE_USEC (100 * USEC_PER_MSEC)
#define LARGE_PAGES_MIN 502 /* of 512, see source_send.c */

/* Pages of one block that go into one frame. */
typedef struct Piece {
        unsigned block;
        uint64_t first, count;
        bool large; /* begins 2 MiB of which nearly all is sent */
} Piece;

/* ---- what is left ---- */

static uint64_t left_bytes(Source *source) {
        pthread_mutex_lock(&source->left_lock);
        uint64_t bytes = source_set_bytes(source, source->current);
        pthread_mutex_unlock(&source->left_lock);
        return bytes;
}

/* Under left_lock. */
static bool begins_large(const Source *source, unsigned block, uint64_t page) {
        const uint64_t region = WIRE_LARGE_BYTES / WIRE_PAGE_BYTES;
        const RamBlock *ram = &source->blocks[block];
        return ram->page_bytes == WIRE_PAGE_BYTES && page % region == 0 && page + region <= ram->n_pages &&
               page_set_count(&source->current[block], page, region) >= LARGE_PAGES_MIN;
}

/* Takes the next pages from the cursor on, over all blocks and around the end. False: nothing is left. */
static bool take_piece(Source *source, Piece *ret_piece) {
        bool found = false;
        pthread_mutex_lock(&source->left_lock);
        for (unsigned i = 0; i <= source->n_blocks && !found; i++) {
                PageSet *left = &source->current[source->cursor_block];
                const RamBlock *ram = &source->blocks[source->cursor_block];
                uint64_t page = page_set_next(left, source->cursor_unit);
                if (page >= left->n_pages) {
                        source->cursor_block = (source->cursor_block + 1) % source->n_blocks;
                        source->cursor_unit = 0;
                        continue;
                }
                uint64_t most = MAX(PUSH_BYTES / ram->page_bytes, 1), stop = page_set_next_gap(left, page);
                *ret_piece = (Piece) { source->cursor_block, page, MIN(stop - page, most), false };
                ret_piece->large = begins_large(source, ret_piece->block, page);
                page_set_remove(left, page, ret_piece->count);
                source->cursor_unit = page + ret_piece->count;
                found = true;
        }
        pthread_mutex_unlock(&source->left_lock);
        return found;
}

/* ---- frames ---- */

static int send_piece(Source *source, Channel *channel, const Piece *piece) {
        const RamBlock *ram = &source->blocks[piece->block];
        const PageSet *exists = &source->exists[piece->block];
        unsigned char head[WIRE_HEADER_BYTES + (PUSH_BYTES / WIRE_PAGE_BYTES + 1) * WIRE_RUN_BYTES];
        WireRun runs[PUSH_BYTES / WIRE_PAGE_BYTES + 1];
        struct iovec iov[PUSH_BYTES / WIRE_PAGE_BYTES + 1];
        unsigned n_runs = 0, n_iov = 1;
        uint64_t data_bytes = 0;

        if (piece->large)
                runs[n_runs++] = (WireRun) { .offset_bytes = piece->first * ram->page_bytes,
                                             .pages = WIRE_LARGE_BYTES / WIRE_PAGE_BYTES,
                                             .block = (uint16_t) piece->block,
                                             .kind = WIRE_KIND_LARGE };
        for (uint64_t page = piece->first; page < piece->first + piece->count; page++) {
                uint64_t at = page * ram->page_bytes;
                /* A hole is never read: that would allocate it. */
                bool zero = !page_set_has(exists, page) || zero_is(ram->map + at, ram->page_bytes);
                WireKind kind = zero ? WIRE_KIND_ZERO : WIRE_KIND_DATA;
                WireRun *last = n_runs > 0 ? &runs[n_runs - 1] : NULL;
                if (last && last->kind == kind && last->offset_bytes + wire_run_bytes(last) == at)
                        last->pages += (uint32_t) (ram->page_bytes / WIRE_PAGE_BYTES);
                else
                        runs[n_runs++] = (WireRun) { .offset_bytes = at,
                                                     .pages = (uint32_t) (ram->page_bytes / WIRE_PAGE_BYTES),
                                                     .block = (uint16_t) piece->block,
                                                     .kind = (uint8_t) kind };
                if (zero)
                        continue;
                if (last && last->kind == kind && &runs[n_runs - 1] == last)
                        iov[n_iov - 1].iov_len += ram->page_bytes;
                else
                        iov[n_iov++] = (struct iovec) { ram->map + at, ram->page_bytes };
                data_bytes += ram->page_bytes;
        }
        uint64_t head_bytes = WIRE_HEADER_BYTES + (uint64_t) n_runs * WIRE_RUN_BYTES;
        wire_header_encode(&(WireHeader) { .type = WIRE_PAGES,
                                           .count = n_runs,
                                           .length_bytes = head_bytes - WIRE_HEADER_BYTES + data_bytes },
                           head);
        for (unsigned i = 0; i < n_runs; i++)
                wire_run_encode(&runs[i], head + WIRE_HEADER_BYTES + i * WIRE_RUN_BYTES);
        iov[0] = (struct iovec) { head, head_bytes };
        uint64_t units = piece->count * ram->page_bytes / WIRE_PAGE_BYTES;
        atomic_fetch_add(&source->postcopy_data_pages, data_bytes / WIRE_PAGE_BYTES);
        atomic_fetch_add(&source->postcopy_zero_pages, units - data_bytes / WIRE_PAGE_BYTES);
        return channel_send(channel, iov, n_iov);
}

static int send_stale(Source *source, unsigned block, uint64_t *n_stale) {
        g_autofree unsigned char *bytes = g_malloc(WIRE_SET_MAX);
        const PageSet *left = &source->current[block];
        int r = 0;
        for (uint64_t first = 0; r >= 0 && first < left->n_pages; first += WIRE_SET_PAGES_MAX) {
                size_t length = wire_set_encode(left, first, bytes);
                if (length > 0)
                        r = frame_send(source->channel, WIRE_STALE, block, bytes, length);
        }
        *n_stale += left->n_set;
        return r;
}

int source_send_switch(Source *source, GError **reterr) {
        uint64_t n_stale = 0;
        int r = 0;
        for (unsigned i = 0; i < source->n_blocks; i++)
                page_set_merge(&source->exists[i], &source->dirty->blocks[i].known);
        pthread_mutex_lock(&source->lock);
        source->switched = true;
        pthread_mutex_unlock(&source->lock);
        r = worker_start(&source->urgent_worker, "urgent", source_urgent_worker, source);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot start a thread"));
        for (unsigned i = 0; r >= 0 && i < source->n_blocks; i++)
                r = send_stale(source, i, &n_stale);
        unsigned char bytes[8];
        wire_u64_encode(n_stale, bytes);
        if (r >= 0)
                r = frame_send(source->channel, WIRE_POSTCOPY, 0, bytes, sizeof(bytes));
        return r < 0 ? channel_error(source->channel, r, source_doing(SOURCE_STOPPING), reterr) : 0;
}

/* ---- requests ---- */

static int serve_page(Source *source, unsigned block, uint64_t page) {
        pthread_mutex_lock(&source->left_lock);
        page_set_remove(&source->current[block], page, 1);
        source->cursor_block = block;
        source->cursor_unit = page;
        pthread_mutex_unlock(&source->left_lock);
        atomic_fetch_add(&source->postcopy_requests, 1);
        return send_piece(source, source->urgent, &(Piece) { block, page, 1, false });
}

static int serve_neighbours(Source *source, unsigned block, uint64_t page) {
        uint64_t most = NEIGHBOUR_BYTES / source->blocks[block].page_bytes;
        Piece piece = { block, page + 1, 0, false };
        pthread_mutex_lock(&source->left_lock);
        PageSet *left = &source->current[block];
        uint64_t end = MIN(piece.first + most, left->n_pages);
        while (piece.first + piece.count < end && page_set_has(left, piece.first + piece.count))
                piece.count++;
        if (piece.count > 0)
                page_set_remove(left, piece.first, piece.count);
        pthread_mutex_unlock(&source->left_lock);
        return piece.count > 0 ? send_piece(source, source->urgent, &piece) : 0;
}

static int serve_frame(Source *source) {
        WireHeader header;
        unsigned char bytes[WIRE_REQUESTS_MAX * WIRE_RUN_BYTES];
        WireBlock blocks[WIRE_BLOCKS_MAX];
        int r = frame_recv_header(source->urgent, &header);
        if (r >= 0 && header.type != WIRE_REQUEST)
                r = -EPROTO;
        if (r >= 0)
                r = channel_recv_bytes(source->urgent, bytes, header.length_bytes);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < source->n_blocks; i++)
                blocks[i] = (WireBlock) { .size_bytes = source->blocks[i].size_bytes,
                                          .page_bytes = source->blocks[i].page_bytes };
        WireRun run = { 0 };
        uint64_t page = 0;
        for (unsigned i = 0; r >= 0 && i < header.count; i++) {
                r = wire_run_decode(bytes + i * WIRE_RUN_BYTES, blocks, source->n_blocks, &run);
                if (r < 0)
                        return r;
                page = run.offset_bytes / blocks[run.block].page_bytes;
                if (run.kind != WIRE_KIND_DATA || wire_run_bytes(&run) != blocks[run.block].page_bytes ||
                    run.offset_bytes % blocks[run.block].page_bytes != 0)
                        return -EPROTO;
                r = serve_page(source, run.block, page);
        }
        if (r >= 0 && !channel_has_input(source->urgent))
                r = serve_neighbours(source, run.block, page);
        return r;
}

void source_urgent_worker(void *userdata) {
        Source *source = userdata;
        g_autoptr(GError) error = NULL;
        worker_urgent();
        int r;
        do
                r = serve_frame(source);
        while (r >= 0);
        SourceState state = source_get_state(source);
        if (state == SOURCE_DONE || state == SOURCE_CANCELLED)
                return;
        channel_error(source->urgent, r, source_doing(state), &error);
        source_fail(source, error);
}

/* ---- a broken link ---- */

bool source_break(Source *source, const GError *error) {
        pthread_mutex_lock(&source->lock);
        CtlCall *unknown = NULL;
        SourceState before = source->state;
        bool ours = source->switched && (before == SOURCE_COMMITTING || before == SOURCE_COMMITTED ||
                                         before == SOURCE_POSTCOPY || before == SOURCE_PAUSED);
        bool now = ours && before != SOURCE_PAUSED && source_set_state_locked(source, SOURCE_PAUSED);
        if (now) {
                unknown = g_steal_pointer(&source->commit_call);
                source->link_up = false;
                channel_shutdown(source->channel);
                channel_shutdown(source->urgent);
        }
        pthread_mutex_unlock(&source->lock);
        if (unknown)
                ctl_reply(unknown, json_add_string(json_object_new_object(), "outcome", "unknown"));
        if (now) {
                json_object *data = json_object_new_object();
                json_add_string(data, "desc", error->message);
                json_add_int64(data, "virt-code", error_code(error));
                ctl_event(source->ctl, "postcopy-paused", data, false);
        }
        return ours;
}

static int take_lacking(Source *source, const WireHeader *header) {
        g_autofree unsigned char *bytes = g_malloc(header->length_bytes); /* bounded by WIRE_SET_MAX */
        int r = channel_recv_bytes(source->channel, bytes, header->length_bytes);
        if (r < 0)
                return r;
        if (header->count >= source->n_blocks)
                return -EPROTO;
        return wire_set_decode(bytes, header->length_bytes, &source->current[header->count]);
}

/* Asks the destination what it lacks. */
static int ask_lacking(Source *source, bool *ret_running, GError **reterr) {
        const char *doing = _("asking the destination what it lacks");
        for (unsigned i = 0; i < source->n_blocks; i++)
                page_set_clear(&source->current[i]);
        int r = frame_send(source->channel, WIRE_RESUME, 0, NULL, 0);
        WireHeader header = { 0 };
        while (r >= 0 && header.type != WIRE_RESUME_ACK) {
                r = frame_recv_header(source->channel, &header);
                if (r < 0)
                        break;
                if (header.type == WIRE_LACKING)
                        r = take_lacking(source, &header);
                else if (header.type == WIRE_ERROR)
                        return frame_take_error(source->channel, &header, doing, reterr);
                else if (header.type != WIRE_RESUME_ACK)
                        r = -EPROTO;
        }
        unsigned char bytes[8];
        if (r >= 0)
                r = channel_recv_bytes(source->channel, bytes, sizeof(bytes));
        uint64_t n_lacking = 0;
        for (unsigned i = 0; i < source->n_blocks; i++)
                n_lacking += source->current[i].n_set;
        if (r >= 0 && n_lacking != wire_u64_decode(bytes))
                r = -EPROTO;
        *ret_running = header.count == 1;
        return r < 0 ? channel_error(source->channel, r, doing, reterr) : 0;
}

static void drop_links(Source *source) {
        worker_join(&source->returner);
        worker_join(&source->urgent_worker);
        pthread_mutex_lock(&source->lock);
        Channel *channel = g_steal_pointer(&source->channel), *urgent = g_steal_pointer(&source->urgent);
        source->link_up = false;
        pthread_mutex_unlock(&source->lock);
        if (channel)
                source->old_sent_bytes += channel_sent_bytes(channel);
        if (urgent)
                source->old_sent_bytes += channel_sent_bytes(urgent);
        channel_free(channel);
        channel_free(urgent);
}

static int resume(Source *source, GError **reterr) {
        bool running = false;
        int r = source_connect(source, reterr);
        if (r >= 0)
                r = ask_lacking(source, &running, reterr);
        if (r < 0)
                return r;
        pthread_mutex_lock(&source->lock);
        source->commit_known = true;
        source->return_ended = false;
        bool told = source->running_told;
        source->running_told = source->running_told || running;
        bool ok = source_set_state_locked(source, running ? SOURCE_POSTCOPY : SOURCE_COMMITTED);
        source->recoveries++;
        pthread_mutex_unlock(&source->lock);
        if (!ok)
                return -ECANCELED;
        if (running && !told)
                ctl_event(source->ctl, "running", json_add_uint64(json_object_new_object(), "resume-usec", 0), false);
        /* Before anybody can say that all is done. */
        ctl_event(source->ctl, "postcopy-resumed", json_add_bool(json_object_new_object(), "running", running), false);
        r = worker_start(&source->returner, "return-path", source_return_worker, source);
        if (r >= 0)
                r = worker_start(&source->urgent_worker, "urgent", source_urgent_worker, source);
        if (r < 0) {
                error_set_errno(reterr, r, _("cannot start a thread"));
                (void) source_break(source, reterr ? *reterr : NULL);
        }
        return r;
}

/* Paused: until somebody asks for recovery, and it works. */
static void wait_for_recovery(Source *source) {
        pthread_mutex_lock(&source->lock);
        while (!source->recover_call && !source->cancelled && source->state == SOURCE_PAUSED)
                source_wait_locked(source, SOURCE_KEEPALIVE_USEC);
        CtlCall *call = g_steal_pointer(&source->recover_call);
        source->recovering = call != NULL;
        pthread_mutex_unlock(&source->lock);
        drop_links(source);
        if (!call)
                return;
        g_autoptr(GError) error = NULL;
        int r = resume(source, &error);
        pthread_mutex_lock(&source->lock);
        source->recovering = false;
        pthread_mutex_unlock(&source->lock);
        if (r < 0) {
                if (!error)
                        error_set(&error, VIR_ERR_OPERATION_ABORTED, _("the recovery was interrupted"));
                if (source->channel)
                        channel_shutdown(source->channel);
                if (source->urgent)
                        channel_shutdown(source->urgent);
                drop_links(source);
                ctl_reply_error(call, error);
                return;
        }
        EngineStats stats = { 0 };
        source_postcopy_stats(source, &stats);
        ctl_reply(call, stats_to_json(&stats));
}

/* ---- the sender ---- */

void source_postcopy_stats(Source *source, EngineStats *stats) {
        uint64_t left = left_bytes(source);
        pthread_mutex_lock(&source->lock);
        uint64_t sent = source->old_sent_bytes;
        sent += source->channel ? channel_sent_bytes(source->channel) : 0;
        sent += source->urgent ? channel_sent_bytes(source->urgent) : 0;
        *stats = source->stats;
        stats->transferred_bytes = sent;
        stats->normal_pages = source->data_pages + atomic_load(&source->postcopy_data_pages);
        stats->zero_pages = source->zero_pages + atomic_load(&source->postcopy_zero_pages);
        stats->precopy_bytes = stats->stopcopy_bytes = 0;
        stats->postcopy_bytes = stats->pending_bytes = left;
        stats->postcopy_requests = atomic_load(&source->postcopy_requests);
        stats->postcopy_pushed_bytes = atomic_load(&source->postcopy_pushed_bytes);
        stats->postcopy_recoveries = source->recoveries;
        source->stats = *stats;
        pthread_mutex_unlock(&source->lock);
}

static void tell_progress(Source *source, uint64_t *last_usec) {
        uint64_t now = clock_monotonic_usec();
        if (now - *last_usec < STATS_USEC)
                return;
        *last_usec = now;
        EngineStats stats = { 0 };
        source_postcopy_stats(source, &stats);
        ctl_event(source->ctl, "stats", stats_to_json(&stats), true);
}

/* Waits for a change, or for usec. */
static void pause_push(Source *source, uint64_t usec, SourceState state) {
        pthread_mutex_lock(&source->lock);
        if (source->state == state && !source->cancelled)
                source_wait_locked(source, usec);
        pthread_mutex_unlock(&source->lock);
}

/* One frame, or a wait. */
static void push_some(Source *source) {
        uint64_t now = clock_monotonic_usec();
        pthread_mutex_lock(&source->lock);
        if (source->new_postcopy_bandwidth) {
                pace_set(&source->postcopy_pace, source->postcopy_bandwidth, now);
                source->new_postcopy_bandwidth = false;
        }
        pthread_mutex_unlock(&source->lock);
        uint64_t wait = pace_wait_usec(&source->postcopy_pace, now);
        Piece piece;
        if (wait > 0)
                return pause_push(source, MIN(wait, IDLE_USEC), SOURCE_POSTCOPY);
        if (!take_piece(source, &piece)) /* COMPLETE is on its way */
                return pause_push(source, IDLE_USEC, SOURCE_POSTCOPY);
        uint64_t before = channel_sent_bytes(source->channel);
        int r = send_piece(source, source->channel, &piece);
        uint64_t sent = channel_sent_bytes(source->channel) - before;
        pace_sent(&source->postcopy_pace, sent, clock_monotonic_usec());
        atomic_fetch_add(&source->postcopy_pushed_bytes, sent);
        if (r < 0) {
                g_autoptr(GError) error = NULL;
                channel_error(source->channel, r, source_doing(SOURCE_POSTCOPY), &error);
                source_fail(source, error);
        }
}

void source_postcopy(Source *source) {
        uint64_t last_stats = clock_monotonic_usec();
        for (;;) {
                pthread_mutex_lock(&source->lock);
                SourceState state = source->state;
                bool over = source->cancelled;
                pthread_mutex_unlock(&source->lock);
                if (over || (state != SOURCE_COMMITTED && state != SOURCE_POSTCOPY && state != SOURCE_PAUSED))
                        return;
                if (state == SOURCE_PAUSED)
                        wait_for_recovery(source);
                else if (state == SOURCE_COMMITTED) /* the guest does not run yet, and may want all of the processor */
                        pause_push(source, IDLE_USEC, state);
                else {
                        push_some(source);
                        tell_progress(source, &last_stats);
                }
        }
}

int source_adopt_memory(Source *source, GError **reterr) {
        for (unsigned i = 0; i < source->n_blocks; i++) {
                int r = extents_scan(source->blocks[i].fd, source->blocks[i].page_bytes, &source->exists[i]);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot find the extents of RAM block '%s'"),
                                               source->blocks[i].id);
        }
        return 0;
}
