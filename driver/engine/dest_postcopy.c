/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: the destination after a switch to postcopy (docs/postcopy-engine.md).
 *
 * STALE frames name the pages whose content is still at the source; POSTCOPY ends the list, the page table becomes the
 * fault core's, and from then on pages only arrive: what is asked for on the urgent channel, the rest on the job's.
 * Each has a thread, which claims pages before it reads their content; what it cannot claim it reads into waste.
 *
 * The fault thread asks. It gathers what one look at the userfaultfd brought and sends it as one frame, on the urgent
 * channel.
 *
 * When a receiver ends, whatever the reason, it cuts the other one's channel. The last of them finds that the link is
 * lost: paused. Claims were given back by then, so the page table says exactly what is missing; it is what the source
 * gets when it comes back.
 */

#include "driver/engine/dest_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/uapi.h"
#include "driver/engine/frame.h"
#include "driver/engine/wire_set.h"

typedef struct PlaceClaim {
        unsigned block;
        uint64_t first, count;
} PlaceClaim;

typedef struct PlaceFrame {
        unsigned char entries[WIRE_RUNS_MAX * WIRE_RUN_BYTES];
        WireRun runs[WIRE_RUNS_MAX];
        /* Content is whole pages, so there are at most as many pieces as pages. */
        struct iovec iov[WIRE_PAYLOAD_MAX / WIRE_PAGE_BYTES];
        PlaceClaim claims[WIRE_PAYLOAD_MAX / WIRE_PAGE_BYTES];
        unsigned n_iov, n_claims;
        unsigned char *waste; /* takes what is not wanted; made when it is needed */
} PlaceFrame;

PlaceFrame *dest_place_frame_new(void) {
        return g_new0(PlaceFrame, 1);
}

void dest_place_frame_free(PlaceFrame *frame) {
        if (frame)
                g_free(frame->waste);
        g_free(frame);
}

/* ---- the page source of the fault core ---- */

/* Under request_lock. */
static void flush_locked(Dest *dest) {
        unsigned char bytes[DEST_REQUESTS_MAX * WIRE_RUN_BYTES];
        unsigned n = dest->n_requests;
        for (unsigned i = 0; i < n; i++)
                wire_run_encode(&dest->requests[i], bytes + i * WIRE_RUN_BYTES);
        dest->n_requests = 0;
        if (n > 0) {
                /* Without a link the fault core remembers who waits, and asks again. */
                g_autoptr(Channel) urgent = dest_get_urgent(dest);
                if (urgent)
                        (void) frame_send(urgent, WIRE_REQUEST, n, bytes, (size_t) n * WIRE_RUN_BYTES);
        }
}

static void source_flush(void *userdata) {
        Dest *dest = userdata;
        pthread_mutex_lock(&dest->request_lock);
        flush_locked(dest);
        pthread_mutex_unlock(&dest->request_lock);
}

static void source_request(void *userdata, unsigned block, uint64_t page) {
        Dest *dest = userdata;
        uint64_t page_bytes = dest->blocks[block].ram.page_bytes;
        pthread_mutex_lock(&dest->request_lock);
        dest->requests[dest->n_requests++] = (WireRun) {
                .offset_bytes = page * page_bytes,
                .pages = (uint32_t) (page_bytes / WIRE_PAGE_BYTES),
                .block = (uint16_t) block,
                .kind = WIRE_KIND_DATA,
        };
        /* Under the same lock: two threads ask, after a recovery. */
        if (dest->n_requests == DEST_REQUESTS_MAX)
                flush_locked(dest);
        pthread_mutex_unlock(&dest->request_lock);
}

static void source_complete(void *userdata) {
        Dest *dest = userdata;
        atomic_store(&dest->complete, true);
        ctl_wake(dest->ctl); /* dest_service() does the rest, on the main thread */
}

static void source_failed(void *userdata, int error) {
        Dest *dest = userdata;
        g_autoptr(GError) failure = NULL;
        if (error == -ENOMEM || error == -ENOSPC || error == -EFAULT)
                error_set(&failure, VIR_ERR_NO_MEMORY,
                          _("no memory is left for the guest: give the host more, or free some"));
        else
                error_set_errno(&failure, error, _("page faults of the guest cannot be answered"));
        log_debug("%s", failure->message);
        if (error != -ESRCH) /* whose QEMU is gone, the daemon knows */
                dest_fail(dest, failure);
}

const FaultSource dest_fault_source = {
        .request = source_request,
        .flush = source_flush,
        .complete = source_complete,
        .failed = source_failed,
};

/* ---- the switch ---- */

int dest_take_stale(Dest *dest, const WireHeader *header) {
        g_autofree unsigned char *bytes = g_malloc(header->length_bytes); /* bounded by WIRE_SET_MAX */
        int r = channel_recv_bytes(dest->channel, bytes, header->length_bytes);
        if (r < 0)
                return r;
        if (header->count >= dest->n_blocks)
                return -EPROTO;
        return wire_set_decode(bytes, header->length_bytes, &dest->blocks[header->count].stale);
}

int dest_take_postcopy(Dest *dest, GError **reterr) {
        unsigned char bytes[8];
        int r = channel_recv_bytes(dest->channel, bytes, sizeof(bytes));
        if (r < 0)
                return r;
        uint64_t n_stale = 0;
        for (unsigned i = 0; i < dest->n_blocks; i++)
                n_stale += dest->blocks[i].stale.n_set;
        if (n_stale != wire_u64_decode(bytes))
                return -EPROTO;
        for (unsigned i = 0; i < dest->n_blocks; i++) {
                DestBlock *block = &dest->blocks[i];
                for (uint64_t page = page_set_next(&block->stale, 0); page < block->ram.n_pages;) {
                        uint64_t stop = page_set_next_gap(&block->stale, page);
                        page_states_set(&block->states, page, stop - page, PAGE_STALE);
                        page = page_set_next(&block->stale, stop);
                }
                page_set_deinit(&block->stale);
        }
        pthread_mutex_lock(&dest->lock);
        dest->switched = true;
        pthread_mutex_unlock(&dest->lock);
        r = fault_start(dest->fault);
        return r < 0 ? error_set_errno(reterr, r, _("the guest cannot be prepared for postcopy")) : 0;
}

/* ---- pages ---- */

static int decode_runs(Dest *dest, PlaceFrame *frame, const WireHeader *header) {
        WireBlock blocks[WIRE_BLOCKS_MAX];
        for (unsigned i = 0; i < dest->n_blocks; i++)
                blocks[i] = dest->blocks[i].wire;
        uint64_t data_bytes = 0;
        for (unsigned i = 0; i < header->count; i++) {
                WireRun *run = &frame->runs[i];
                int r = wire_run_decode(frame->entries + i * WIRE_RUN_BYTES, blocks, dest->n_blocks, run);
                if (r < 0)
                        return r;
                uint64_t page_bytes = blocks[run->block].page_bytes;
                bool whole = run->offset_bytes % page_bytes == 0 && wire_run_bytes(run) % page_bytes == 0;
                if (run->kind != WIRE_KIND_LARGE && !whole) /* after the switch pages come whole */
                        return -EPROTO;
                if (run->kind == WIRE_KIND_DATA)
                        data_bytes += wire_run_bytes(run);
        }
        return data_bytes == header->length_bytes - (uint64_t) header->count * WIRE_RUN_BYTES ? 0 : -EPROTO;
}

/* The next pages of [page, end) that can be claimed (now they are), or those that cannot. Returns how many;
 * *ret_claimed: which it is. */
static uint64_t claim_some(Dest *dest, unsigned block, uint64_t page, uint64_t end, bool *ret_claimed) {
        bool claimed = fault_claim(dest->fault, block, page);
        uint64_t count = 1;
        if (claimed)
                while (page + count < end && fault_claim(dest->fault, block, page + count))
                        count++;
        else
                while (page + count < end && page_states_get(&dest->blocks[block].states, page + count) != PAGE_STALE)
                        count++;
        *ret_claimed = claimed;
        return count;
}

static int place_zero(Dest *dest, const WireRun *run) {
        uint64_t page_bytes = dest->blocks[run->block].ram.page_bytes;
        uint64_t page = run->offset_bytes / page_bytes, end = page + wire_run_bytes(run) / page_bytes;
        ZeroCounts counts = { 0 };
        int r = 0;
        while (r >= 0 && page < end) {
                bool claimed = false;
                uint64_t count = claim_some(dest, run->block, page, end, &claimed);
                if (claimed)
                        r = fault_place_zero(dest->fault, run->block, page, count, &counts);
                if (r < 0)
                        fault_unclaim(dest->fault, run->block, page, count);
                page += count;
        }
        pthread_mutex_lock(&dest->lock);
        dest->stats.punched_bytes += counts.punched_bytes;
        dest->stats.written_zero_bytes += counts.written_bytes;
        dest->stats.zero_pages += run->pages;
        pthread_mutex_unlock(&dest->lock);
        return r;
}

static void place_large(Dest *dest, const WireRun *run) {
        DestBlock *block = &dest->blocks[run->block];
        uint64_t first = run->offset_bytes / block->ram.page_bytes;
        if (!block->ram.map_large || block->ram.policy != ENGINE_RAM_SPARSE)
                return;
        for (uint64_t page = first; page < first + WIRE_LARGE_BYTES / block->ram.page_bytes; page++)
                if (page_states_get(&block->states, page) != PAGE_STALE)
                        return;
        /* A wish: without it small pages are taken one by one. Claims do not matter here, nothing is written. */
        (void) madvise(block->ram.map_large + run->offset_bytes, WIRE_LARGE_BYTES, MADV_POPULATE_WRITE);
}

static void add_data(Dest *dest, PlaceFrame *frame, const WireRun *run) {
        DestBlock *block = &dest->blocks[run->block];
        uint64_t page_bytes = block->ram.page_bytes;
        uint64_t page = run->offset_bytes / page_bytes, end = page + wire_run_bytes(run) / page_bytes;
        while (page < end) {
                bool claimed = false;
                uint64_t count = claim_some(dest, run->block, page, end, &claimed);
                if (claimed)
                        frame->claims[frame->n_claims++] = (PlaceClaim) { run->block, page, count };
                else if (!frame->waste)
                        frame->waste = g_malloc(WIRE_PAYLOAD_MAX);
                unsigned char *to = claimed ? block->ram.map + page * page_bytes : frame->waste;
                frame->iov[frame->n_iov++] = (struct iovec) { to, count * page_bytes };
                page += count;
        }
}

int dest_place_pages(Dest *dest, Channel *channel, PlaceFrame *frame, const WireHeader *header, GError **reterr) {
        int r = channel_recv_bytes(channel, frame->entries, (size_t) header->count * WIRE_RUN_BYTES);
        if (r >= 0)
                r = decode_runs(dest, frame, header);
        frame->n_iov = frame->n_claims = 0;
        for (unsigned i = 0; r >= 0 && i < header->count; i++)
                if (frame->runs[i].kind == WIRE_KIND_ZERO)
                        r = place_zero(dest, &frame->runs[i]);
                else if (frame->runs[i].kind == WIRE_KIND_LARGE)
                        place_large(dest, &frame->runs[i]);
                else
                        add_data(dest, frame, &frame->runs[i]);
        if (r >= 0 && frame->n_iov > 0)
                r = channel_recv(channel, frame->iov, frame->n_iov);
        uint64_t pages = 0;
        for (unsigned i = 0; i < frame->n_claims; i++) {
                const PlaceClaim *claim = &frame->claims[i];
                if (r < 0)
                        fault_unclaim(dest->fault, claim->block, claim->first, claim->count);
                else
                        fault_placed(dest->fault, claim->block, claim->first, claim->count);
                pages += claim->count * dest->blocks[claim->block].ram.page_bytes / WIRE_PAGE_BYTES;
        }
        if (r == -EFAULT || r == -ENOSPC || r == -ENOMEM) {
                error_set(reterr, VIR_ERR_NO_MEMORY,
                          _("no memory is left for the guest: give the host more, or free some"));
                return -ENOMEM;
        }
        pthread_mutex_lock(&dest->lock);
        dest->stats.normal_pages += pages;
        pthread_mutex_unlock(&dest->lock);
        return r;
}

/* Once RESUME was answered and the urgent channel is there, whichever comes last. */
static void tell_resumed(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        bool resumed = dest->resuming && dest->urgent;
        if (resumed) {
                dest->resuming = dest->paused = dest->accepting_again = false;
                dest->n_recoveries++;
        }
        pthread_mutex_unlock(&dest->lock);
        if (!resumed)
                return;
        ctl_event(dest->ctl, "postcopy-resumed", NULL, false);
        fault_ask_again(dest->fault);
}

void dest_urgent_receive(Dest *dest, Channel *channel) {
        PlaceFrame *frame = dest_place_frame_new();
        g_autoptr(GError) error = NULL;
        bool switched = false;
        worker_urgent();
        tell_resumed(dest);
        int r;
        do {
                WireHeader header;
                r = frame_recv_header(channel, &header);
                if (r < 0)
                        break;
                pthread_mutex_lock(&dest->lock);
                switched = dest->switched;
                pthread_mutex_unlock(&dest->lock);
                /* Nobody asks before the switch. */
                bool fits = header.type == WIRE_PAGES && switched;
                r = fits ? dest_place_pages(dest, channel, frame, &header, &error) : -EPROTO;
        } while (r >= 0);
        dest_place_frame_free(frame);

        DestState state = dest_get_state(dest);
        if (!error)
                channel_error(channel, r, dest_doing(state), &error);
        if (state < DEST_COMMITTED && !(r == -ENODATA && !switched))
                dest_fail(dest, error);
        dest_link_ended(dest, error);
}

/* ---- a broken link, and after ---- */

void dest_link_ended(Dest *dest, const GError *error) {
        pthread_mutex_lock(&dest->lock);
        if (error && !dest->link_error)
                dest->link_error = g_error_copy(error);
        bool cut = dest->switched && dest->state <= DEST_DONE;
        if (cut && dest->channel)
                channel_shutdown(dest->channel);
        if (cut && dest->urgent)
                channel_shutdown(dest->urgent);
        bool last = --dest->n_links == 0 && dest->switched && dest->state >= DEST_COMMITTED && dest->state <= DEST_DONE;
        bool tell = false;
        g_autoptr(GError) reason = NULL;
        if (last) {
                dest->old_received_bytes += dest->channel ? channel_received_bytes(dest->channel) : 0;
                dest->old_received_bytes += dest->urgent ? channel_received_bytes(dest->urgent) : 0;
                dest->channel = channel_free(dest->channel);
                dest->urgent = channel_free(dest->urgent);
                dest->resuming = false;
                reason = g_steal_pointer(&dest->link_error);
                tell = !dest->finished && dest->state != DEST_DONE && !dest->paused;
                dest->paused = dest->paused || tell;
                if (dest->finished && dest->state == DEST_RUNNING)
                        dest_set_state_locked(dest, DEST_DONE);
        }
        pthread_mutex_unlock(&dest->lock);
        if (tell) {
                json_object *data = json_object_new_object();
                json_add_string(data, "desc", reason ? reason->message : _("the link is lost"));
                json_add_int64(data, "virt-code", reason ? error_code(reason) : VIR_ERR_OPERATION_FAILED);
                ctl_event(dest->ctl, "postcopy-paused", data, false);
        }
        if (last)
                ctl_wake(dest->ctl);
}

/* What the page table lacks of one block. */
static int send_lacking(Channel *channel, unsigned index, const DestBlock *block, uint64_t *n_lacking) {
        g_auto(PageSet) lacking = { 0 };
        g_autofree unsigned char *bytes = g_malloc(WIRE_SET_MAX);
        int r = page_set_init(&lacking, block->ram.n_pages);
        for (uint64_t page = 0; r >= 0 && page < block->ram.n_pages; page++) {
                PageState state = page_states_get(&block->states, page);
                if (state == PAGE_STALE || state == PAGE_INFLIGHT)
                        page_set_add(&lacking, page, 1);
        }
        for (uint64_t first = 0; r >= 0 && first < block->ram.n_pages; first += WIRE_SET_PAGES_MAX) {
                size_t length = wire_set_encode(&lacking, first, bytes);
                if (length > 0)
                        r = frame_send(channel, WIRE_LACKING, index, bytes, length);
        }
        *n_lacking += lacking.n_set;
        return r;
}

int dest_take_resume(Dest *dest, Channel *channel) {
        WireHeader header;
        int r = frame_recv_header(channel, &header);
        if (r < 0)
                return r;
        if (header.type != WIRE_RESUME)
                return -EPROTO;
        uint64_t n_lacking = 0;
        for (unsigned i = 0; r >= 0 && i < dest->n_blocks; i++)
                r = send_lacking(channel, i, &dest->blocks[i], &n_lacking);
        if (r < 0)
                return r;
        unsigned char bytes[8];
        wire_u64_encode(n_lacking, bytes);
        pthread_mutex_lock(&dest->lock);
        uint32_t running = dest->state == DEST_RUNNING || dest->state == DEST_DONE;
        dest->resuming = true;
        dest->link_lost = false;
        bool finished = dest->finished;
        pthread_mutex_unlock(&dest->lock);
        r = frame_send(channel, WIRE_RESUME_ACK, running, bytes, sizeof(bytes));
        if (r >= 0 && finished) /* the source was away when it was */
                r = frame_send(channel, WIRE_COMPLETE, 0, NULL, 0);
        if (r >= 0)
                tell_resumed(dest);
        return r;
}
