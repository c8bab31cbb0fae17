/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: receiving. The runs of a PAGES frame are checked against the RAM table before anything is
 * touched; then pages of data runs are claimed, and their content is received straight into the mapped RAM, all runs of
 * the frame with one call. Zero runs go through the page-state table (page_state.c).
 *
 * A LARGE run announces 2 MiB some way ahead of their data: one large folio is taken for them through the mapping that
 * asks for large folios, by threads beside this one (populate.c), if nothing of the region has arrived yet; the data is
 * then received through that mapping. Everything else goes through the mapping that takes small pages, so that a sparse
 * region stays sparse. Once a hole was punched into a region it counts as small again.
 *
 * The device state is kept aside in a memfd until RAM is final, since QEMU reads guest memory while it loads it; from
 * then on QEMU gets it as it comes.
 */

#include "driver/engine/dest_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/uapi.h"
#include "driver/engine/frame.h"
#include "driver/engine/stats.h"

#define STATS_USEC (200 * USEC_PER_MSEC)
#define DEVICE_CHUNK_BYTES 262144u
#define DEVICE_WRITE_TIMEOUT_MSEC 30000
#define DEVICE_POLL_MSEC 200

typedef struct DestFrame {
        unsigned char entries[WIRE_RUNS_MAX * WIRE_RUN_BYTES];
        WireRun runs[WIRE_RUNS_MAX];
        /* A run that crosses from a large region into a small one takes two. */
        struct iovec iov[WIRE_RUNS_MAX + WIRE_PAYLOAD_MAX / WIRE_LARGE_BYTES + 1];
        unsigned n_iov;
        unsigned char device[DEVICE_CHUNK_BYTES];
} DestFrame;

void dest_frame_free(DestFrame *frame) {
        g_free(frame);
}

static int memory_error(const DestBlock *block, int error, GError **reterr) {
        if (error == -ENOSPC || error == -EFAULT || error == -ENOMEM) {
                error_set(reterr, VIR_ERR_NO_MEMORY,
                          _("no memory is left for the guest's RAM block '%s': give the host more, or free some"),
                          block->ram.id);
                return -ENOMEM;
        }
        return error_set_errno(reterr, error, _("cannot write to RAM block '%s'"), block->ram.id);
}

static int take_zero(Dest *dest, DestBlock *block, const WireRun *run, GError **reterr) {
        uint64_t length = wire_run_bytes(run), punched = dest->zero.punched_bytes;
        int r = page_states_zero(&block->states, &block->ram, run->offset_bytes, length, &dest->zero);
        if (r < 0)
                return memory_error(block, r, reterr);
        if (dest->zero.punched_bytes > punched) {
                uint64_t first = run->offset_bytes / WIRE_LARGE_BYTES,
                         last = (run->offset_bytes + length - 1) / WIRE_LARGE_BYTES;
                page_set_remove(&block->large, first, last - first + 1);
        }
        dest->zero_pages += run->pages;
        return 0;
}

static void start_populate(Dest *dest) {
        g_autofree const RamBlock **blocks = g_new0(const RamBlock *, dest->n_blocks);
        for (unsigned i = 0; i < dest->n_blocks; i++)
                blocks[i] = &dest->blocks[i].ram;
        dest->populate = populate_new(blocks, dest->n_blocks);
}

static void take_large(Dest *dest, DestBlock *block, const WireRun *run) {
        if (!block->ram.map_large || block->ram.policy != ENGINE_RAM_SPARSE)
                return;
        uint64_t first = run->offset_bytes / block->ram.page_bytes;
        for (uint64_t page = first; page < first + WIRE_LARGE_BYTES / block->ram.page_bytes; page++)
                if (page_states_get(&block->states, page) != PAGE_NEVER)
                        return;
        if (!dest->populate)
                start_populate(dest);
        page_set_add(&block->announced, run->offset_bytes / WIRE_LARGE_BYTES, 1);
        populate_announce(dest->populate, run->block, run->offset_bytes / WIRE_LARGE_BYTES);
}

/* The first data of a region that was announced. */
static int settle_large(Dest *dest, unsigned index, uint64_t region, GError **reterr) {
        DestBlock *block = &dest->blocks[index];
        page_set_remove(&block->announced, region, 1);
        int r = populate_wait(dest->populate, index, region);
        if (r < 0)
                return memory_error(block, r, reterr);
        if (r > 0)
                page_set_add(&block->large, region, 1);
        return 0;
}

/* Where the data of a run goes. */
static int add_data(Dest *dest, DestBlock *block, const WireRun *run, GError **reterr) {
        DestFrame *frame = dest->frame;
        page_states_claim(&block->states, &block->ram, run->offset_bytes, wire_run_bytes(run));
        uint64_t end = run->offset_bytes + wire_run_bytes(run);
        bool fresh = true;
        for (uint64_t at = run->offset_bytes; at < end;) {
                uint64_t next = MIN((at / WIRE_LARGE_BYTES + 1) * WIRE_LARGE_BYTES, end);
                int r = 0;
                if (page_set_has(&block->announced, at / WIRE_LARGE_BYTES))
                        r = settle_large(dest, run->block, at / WIRE_LARGE_BYTES, reterr);
                if (r < 0)
                        return r;
                unsigned char *to =
                        (page_set_has(&block->large, at / WIRE_LARGE_BYTES) ? block->ram.map_large : block->ram.map) +
                        at;
                struct iovec *last = fresh ? NULL : &frame->iov[frame->n_iov - 1];
                if (last && (unsigned char *) last->iov_base + last->iov_len == to)
                        last->iov_len += next - at;
                else
                        frame->iov[frame->n_iov++] = (struct iovec) { to, next - at };
                fresh = false;
                at = next;
        }
        return 0;
}

/* Decodes and checks all runs before any of them is acted on. */
static int decode_runs(Dest *dest, const WireHeader *header) {
        WireBlock blocks[WIRE_BLOCKS_MAX];
        for (unsigned i = 0; i < dest->n_blocks; i++)
                blocks[i] = dest->blocks[i].wire;
        uint64_t data_bytes = 0;
        for (unsigned i = 0; i < header->count; i++) {
                int r = wire_run_decode(dest->frame->entries + i * WIRE_RUN_BYTES, blocks, dest->n_blocks,
                                        &dest->frame->runs[i]);
                if (r < 0)
                        return r;
                if (dest->frame->runs[i].kind == WIRE_KIND_DATA)
                        data_bytes += wire_run_bytes(&dest->frame->runs[i]);
        }
        return data_bytes == header->length_bytes - (uint64_t) header->count * WIRE_RUN_BYTES ? 0 : -EPROTO;
}

static int take_pages(Dest *dest, const WireHeader *header, GError **reterr) {
        DestFrame *frame = dest->frame;
        int r = channel_recv_bytes(dest->channel, frame->entries, (size_t) header->count * WIRE_RUN_BYTES);
        if (r >= 0)
                r = decode_runs(dest, header);
        if (r < 0)
                return r;

        frame->n_iov = 0;
        for (unsigned i = 0; i < header->count; i++) {
                const WireRun *run = &frame->runs[i];
                DestBlock *block = &dest->blocks[run->block];
                if (run->kind == WIRE_KIND_ZERO)
                        r = take_zero(dest, block, run, reterr);
                else if (run->kind == WIRE_KIND_LARGE)
                        take_large(dest, block, run);
                else
                        r = add_data(dest, block, run, reterr);
                if (r < 0)
                        return r;
        }
        if (frame->n_iov == 0)
                return 0;
        r = channel_recv(dest->channel, frame->iov, frame->n_iov);
        if (r == -EFAULT)
                return memory_error(&dest->blocks[frame->runs[0].block], r, reterr);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < header->count; i++)
                if (frame->runs[i].kind == WIRE_KIND_DATA) {
                        DestBlock *block = &dest->blocks[frame->runs[i].block];
                        page_states_done(&block->states, &block->ram, frame->runs[i].offset_bytes,
                                         wire_run_bytes(&frame->runs[i]));
                        dest->data_pages += frame->runs[i].pages;
                }
        return 0;
}

/* Hands QEMU what it has not got yet of the device state; it reads at its own pace. */
static int feed_device_state(Dest *dest, GError **reterr) {
        int silent_msec = 0;
        while ((uint64_t) dest->device_written < dest->device_bytes) {
                ssize_t n = sendfile(dest->device_fd, dest->spool_fd, &dest->device_written,
                                     dest->device_bytes - (uint64_t) dest->device_written);
                if (n > 0) {
                        silent_msec = 0;
                        continue;
                }
                if (n == 0 || (errno != EAGAIN && errno != EINTR))
                        return error_set_errno(reterr, n == 0 ? EIO : errno, _("cannot hand the device state to QEMU"));
                struct pollfd pollfd = { .fd = dest->device_fd, .events = POLLOUT };
                if (poll(&pollfd, 1, DEVICE_POLL_MSEC) == 0 &&
                    (silent_msec += DEVICE_POLL_MSEC) >= DEVICE_WRITE_TIMEOUT_MSEC) {
                        error_set(reterr, VIR_ERR_OPERATION_TIMEOUT,
                                  _("QEMU has not read its device state for %d seconds"),
                                  DEVICE_WRITE_TIMEOUT_MSEC / 1000);
                        return -ETIMEDOUT;
                }
                DestState state = dest_get_state(dest);
                if (state != DEST_RECEIVING && state != DEST_LOADING)
                        return -ECANCELED;
        }
        return 0;
}

static int take_device(Dest *dest, const WireHeader *header, GError **reterr) {
        if (header->length_bytes > dest->device_max_bytes - dest->device_bytes) {
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("the device state is larger than the %" G_GUINT64_FORMAT " bytes that are allowed"),
                          dest->device_max_bytes);
                return -E2BIG;
        }
        for (uint64_t left = header->length_bytes; left > 0;) {
                size_t n = (size_t) MIN(left, DEVICE_CHUNK_BYTES);
                int r = channel_recv_bytes(dest->channel, dest->frame->device, n);
                if (r < 0)
                        return r;
                r = fd_write_all(dest->spool_fd, dest->frame->device, n);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot keep the device state"));
                left -= n;
                dest->device_bytes += n;
        }
        return dest->ram_final ? feed_device_state(dest, reterr) : 0;
}

/* RAM is as the guest left it: QEMU may load what there is of its state while it still saves the rest on the other
 * side. */
static int take_ram_final(Dest *dest, GError **reterr) {
        if (dest->ram_final)
                return -EPROTO;
        dest->ram_final = true;
        (void) fd_set_nonblock(dest->device_fd, true);
        return feed_device_state(dest, reterr);
}

static void publish(Dest *dest, bool event) {
        if (dest->switched) {
                if (event) {
                        EngineStats now = { 0 };
                        dest_stats(dest, &now);
                        ctl_event(dest->ctl, "stats", stats_to_json(&now), true);
                }
                return;
        }
        pthread_mutex_lock(&dest->lock);
        dest->stats.received_bytes = dest->stats.transferred_bytes = channel_received_bytes(dest->channel);
        dest->stats.normal_pages = dest->data_pages;
        dest->stats.zero_pages = dest->zero_pages;
        dest->stats.punched_bytes = dest->zero.punched_bytes;
        dest->stats.written_zero_bytes = dest->zero.written_bytes;
        dest->stats.device_state_bytes = dest->device_bytes;
        EngineStats stats = dest->stats;
        pthread_mutex_unlock(&dest->lock);
        if (event)
                ctl_event(dest->ctl, "stats", stats_to_json(&stats), true);
}

static int take_postcopy(Dest *dest, GError **reterr) {
        publish(dest, false); /* from now on the numbers are kept elsewhere */
        int r = dest_take_postcopy(dest, reterr);
        if (r < 0)
                return r;
        dest->place = dest_place_frame_new();
        return take_ram_final(dest, reterr);
}

static int take_end(Dest *dest, GError **reterr) {
        unsigned char bytes[WIRE_END_BYTES];
        int r = channel_recv_bytes(dest->channel, bytes, sizeof(bytes));
        if (r < 0)
                return r;
        WireEnd end;
        wire_end_decode(bytes, &end);
        if (end.data_pages != dest->data_pages || end.zero_pages != dest->zero_pages ||
            end.device_bytes != dest->device_bytes) {
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("what has arrived is not what the source has sent: memory or device state is incomplete"));
                return -EBADMSG;
        }
        if (!dest_set_state(dest, DEST_LOADING))
                return -ECANCELED;
        publish(dest, true);
        r = feed_device_state(dest, reterr);
        if (r < 0)
                return r;
        dest->device_fd = fd_close(dest->device_fd);
        dest->spool_fd = fd_close(dest->spool_fd);
        if (!dest_set_state(dest, DEST_LOADED))
                return -ECANCELED;
        ctl_event(dest->ctl, "ready", json_add_bool(json_object_new_object(), "postcopy", dest->switched), false);
        return 0;
}

static int take_commit(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        bool gone = dest->daemon_gone;
        pthread_mutex_unlock(&dest->lock);
        /* Without a daemon nobody would start the guest; not answering leaves the source paused, and the guest safe
         * there. */
        if (gone || ctl_peer_gone(dest->ctl) || !dest_set_state(dest, DEST_COMMITTED))
                return -ECANCELED;
        /* It belongs here now, also when the answer does not get through, or when nobody is there to hear of it. */
        if (dest->commit_fd >= 0 && fd_write_all(dest->commit_fd, "C", 1) < 0)
                log_debug("the commit cannot be recorded, ignoring: a restart of the daemon just now would lose it");
        (void) frame_send(dest->channel, WIRE_COMMIT_ACK, 0, NULL, 0);
        ctl_event(dest->ctl, "committed", NULL, false);
        return 0;
}

/* Whether the source may say that it is done: in postcopy not before everything is here. */
static bool may_leave(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        bool may = dest->state == DEST_DONE || (dest->state == DEST_RUNNING && (!dest->switched || dest->finished));
        pthread_mutex_unlock(&dest->lock);
        return may;
}

/* 1: the source is done, 0: go on; else an error (with *reterr, or the channel's). */
static int take_frame(Dest *dest, GError **reterr) {
        WireHeader header;
        int r = frame_recv_header(dest->channel, &header);
        if (r < 0)
                return r;
        DestState state = dest_get_state(dest);
        switch (header.type) {
        case WIRE_PAGES:
                if (dest->switched) /* set by this thread */
                        return dest_place_pages(dest, dest->channel, dest->place, &header, reterr);
                return state == DEST_RECEIVING && !dest->ram_final ? take_pages(dest, &header, reterr) : -EPROTO;
        case WIRE_STALE:
                return state == DEST_RECEIVING && !dest->ram_final && dest->fault ? dest_take_stale(dest, &header)
                                                                                  : -EPROTO;
        case WIRE_POSTCOPY:
                return state == DEST_RECEIVING && !dest->ram_final && dest->fault ? take_postcopy(dest, reterr)
                                                                                  : -EPROTO;
        case WIRE_RAM_FINAL:
                return state == DEST_RECEIVING ? take_ram_final(dest, reterr) : -EPROTO;
        case WIRE_MARK:
                return state == DEST_RECEIVING ? frame_send(dest->channel, WIRE_MARK_ACK, header.count, NULL, 0)
                                               : -EPROTO;
        case WIRE_DEVICE:
                return state == DEST_RECEIVING ? take_device(dest, &header, reterr) : -EPROTO;
        case WIRE_END:
                return state == DEST_RECEIVING && dest->ram_final ? take_end(dest, reterr) : -EPROTO;
        case WIRE_COMMIT:
                if (state == DEST_REFUSED)
                        return -ECANCELED;
                return state == DEST_READY ? take_commit(dest) : -EPROTO;
        case WIRE_BYE:
                return may_leave(dest) ? 1 : -EPROTO;
        case WIRE_ERROR:
        case WIRE_ABORT:
                return frame_take_error(dest->channel, &header, dest_doing(state), reterr);
        default:
                return -EPROTO;
        }
}

/* ---- the RAM table ---- */

static int compare_block(const DestBlock *mine, const WireBlock *theirs, GError **reterr) {
        if (mine->wire.size_bytes != theirs->size_bytes) {
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("the memory layout differs: block '%s' has %" G_GUINT64_FORMAT
                            " bytes on the source and %" G_GUINT64_FORMAT " here"),
                          theirs->id, theirs->size_bytes, mine->wire.size_bytes);
                return -EBADMSG;
        }
        if (mine->wire.page_bytes != theirs->page_bytes) {
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("the memory layout differs: block '%s' has pages of %" G_GUINT64_FORMAT
                            " bytes on the source and of %" G_GUINT64_FORMAT " here"),
                          theirs->id, theirs->page_bytes, mine->wire.page_bytes);
                return -EBADMSG;
        }
        return 0;
}

static int take_table(Dest *dest, GError **reterr) {
        WireHeader header;
        int r = frame_recv_header(dest->channel, &header);
        if (r < 0)
                return r;
        if (header.type != WIRE_RAM_TABLE)
                return -EPROTO;
        g_autofree unsigned char *bytes = g_malloc(header.length_bytes); /* bounded by WIRE_BLOCKS_MAX */
        r = channel_recv_bytes(dest->channel, bytes, header.length_bytes);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < header.count; i++) {
                WireBlock theirs;
                r = wire_block_decode(bytes + i * WIRE_BLOCK_BYTES, &theirs);
                if (r < 0)
                        return r;
                /* Runs name blocks by index, so the order is part of the layout. */
                if (i >= dest->n_blocks || strcmp(dest->blocks[i].ram.id, theirs.id) != 0) {
                        error_set(
                                reterr, VIR_ERR_OPERATION_FAILED,
                                _("the memory layout differs: block '%s' of the source does not exist here as number "
                                  "%u"),
                                theirs.id, i);
                        return -EBADMSG;
                }
                r = compare_block(&dest->blocks[i], &theirs, reterr);
                if (r < 0)
                        return r;
        }
        if (header.count < dest->n_blocks) {
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("the memory layout differs: block '%s' does not exist on the source"),
                          dest->blocks[header.count].ram.id);
                return -EBADMSG;
        }
        return frame_send(dest->channel, WIRE_ACCEPT, 0, NULL, 0);
}

/* How the job's channel ended: r is what take_frame() said last. */
static void receive_ended(Dest *dest, int r, GError *error) {
        g_autoptr(GError) reason = error;
        DestState state = dest_get_state(dest);
        if (r < 0 && !reason && r != -ECANCELED)
                channel_error(dest->channel, r, dest_doing(state), &reason);
        if (r > 0) {
                (void) dest_set_state(dest, DEST_DONE);
        } else if (state == DEST_COMMITTED || state == DEST_RUNNING) {
                /* The guest belongs here; that the source cannot hear it is no failure. */
                pthread_mutex_lock(&dest->lock);
                dest->link_lost = true;
                state = dest->state;
                bool done = state == DEST_RUNNING && !dest->switched;
                pthread_mutex_unlock(&dest->lock);
                if (done)
                        (void) dest_set_state(dest, DEST_DONE);
        } else if (state != DEST_REFUSED && state != DEST_FAILED && state != DEST_DONE) {
                if (!reason)
                        error_set(&reason, VIR_ERR_OPERATION_ABORTED, _("the destination has given up"));
                dest_fail(dest, reason);
        }
        dest_link_ended(dest, reason);
        ctl_wake(dest->ctl);
}

void dest_receive(Dest *dest, bool again) {
        GError *error = NULL;
        if (!dest->frame)
                dest->frame = g_new(DestFrame, 1);
        if (again && !dest->place)
                dest->place = dest_place_frame_new();
        uint64_t last_stats = clock_monotonic_usec();

        int r = take_table(dest, &error);
        if (r >= 0 && again)
                r = dest_take_resume(dest, dest->channel);
        while (r == 0) {
                r = take_frame(dest, &error);
                uint64_t now = clock_monotonic_usec();
                if (now - last_stats >= STATS_USEC) {
                        last_stats = now;
                        publish(dest, true);
                }
        }
        publish(dest, true);
        receive_ended(dest, r, error);
}
