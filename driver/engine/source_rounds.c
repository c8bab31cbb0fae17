/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Rounds, while the guest runs: see the theory of operation in source.c. */

#include "driver/engine/source_internal.h"

#include <errno.h>

#include "driver/base/clock.h"
#include "driver/base/units.h"
#include "driver/engine/frame.h"
#include "driver/engine/stats.h"
#include "driver/engine/throttle.h"

#define IDLE_USEC (100 * USEC_PER_MSEC)
#define STATS_USEC (200 * USEC_PER_MSEC)

void source_publish(Source *source, EngineStats *stats) {
        stats->transferred_bytes = channel_sent_bytes(source->channel);
        stats->normal_pages = source->data_pages;
        stats->zero_pages = source->zero_pages;
        stats->bandwidth_bytes_per_sec = source->rate.bytes_per_sec;
        pthread_mutex_lock(&source->lock);
        source->stats = *stats;
        pthread_mutex_unlock(&source->lock);
}

/* Only the sender changes stats, so it may copy them, work on the copy and publish it. */
EngineStats source_copy_stats(Source *source) {
        pthread_mutex_lock(&source->lock);
        EngineStats stats = source->stats;
        pthread_mutex_unlock(&source->lock);
        return stats;
}

void source_next_becomes_current(Source *source) {
        for (unsigned i = 0; i < source->n_blocks; i++) {
                PageSet empty = source->current[i];
                source->current[i] = source->next[i];
                source->next[i] = empty;
        }
        source->cursor_block = 0;
        source->cursor_unit = 0;
        source_look_anew(source);
}

uint64_t source_set_bytes(const Source *source, const PageSet *sets) {
        uint64_t bytes = 0;
        for (unsigned i = 0; i < source->n_blocks; i++)
                bytes += sets[i].n_set * source->blocks[i].page_bytes;
        return bytes;
}

void source_answer_exact(Source *source, const EngineStats *stats, const GError *error) {
        pthread_mutex_lock(&source->lock);
        g_autoptr(GPtrArray) calls = source->exact_calls;
        source->exact_calls = g_ptr_array_new();
        pthread_mutex_unlock(&source->lock);
        for (guint i = 0; i < calls->len; i++)
                if (error)
                        ctl_reply_error(g_ptr_array_index(calls, i), error);
                else
                        ctl_reply(g_ptr_array_index(calls, i), source_numbers(source, stats));
}

/* Percents are of what was written when it began, so that 50 stays a half however slow the guest has become. */
static void serve_throttle(Source *source) {
        pthread_mutex_lock(&source->lock);
        CtlCall *throttle_call = g_steal_pointer(&source->throttle_call);
        unsigned percent = MIN(source->throttle_percent, 99);
        uint64_t dirty_pages = source->stats.dirty_bytes_per_sec / WIRE_PAGE_BYTES;
        pthread_mutex_unlock(&source->lock);
        if (!throttle_call)
                return;
        if (source->throttle_base == 0)
                source->throttle_base = MAX(dirty_pages, THROTTLE_PAGES_MIN);
        uint64_t rate = percent > 0 ? MAX(source->throttle_base * (100 - percent) / 100, THROTTLE_PAGES_MIN) : 0;
        g_autoptr(GError) error = NULL;
        if (dirty_throttle(source->dirty, source->args.uffd_sync, rate, &error) < 0)
                ctl_reply_error(throttle_call, error);
        else
                ctl_reply(throttle_call, NULL);
}

/* Does what was asked for while a frame was on its way. */
static int serve_requests(Source *source, GError **reterr) {
        pthread_mutex_lock(&source->lock);
        if (source->new_bandwidth) {
                pace_set(&source->pace, source->bandwidth_bytes_per_sec, clock_monotonic_usec());
                source->new_bandwidth = false;
        }
        bool exact = source->exact_calls->len > 0;
        pthread_mutex_unlock(&source->lock);
        serve_throttle(source);
        if (!exact)
                return 0;

        EngineStats stats = source_copy_stats(source);
        g_autoptr(GError) error = NULL;
        int r = source_pending(source, true, false, &stats, &error);
        if (r >= 0)
                source_publish(source, &stats);
        source_answer_exact(source, &stats, error);
        if (r < 0)
                g_propagate_error(reterr, g_steal_pointer(&error));
        return r;
}

bool source_stop_requested(Source *source) {
        pthread_mutex_lock(&source->lock);
        bool stop = source->stop_requested;
        pthread_mutex_unlock(&source->lock);
        return stop;
}

/* Waits until something is asked, or for usec; keeps the link alive. */
static int pause_sender(Source *source, uint64_t usec) {
        uint64_t until = clock_monotonic_usec() + usec;
        for (;;) {
                uint64_t now = clock_monotonic_usec();
                pthread_mutex_lock(&source->lock);
                bool wanted = source->stop_requested || source->cancelled || source->state == SOURCE_FAILED ||
                              source->new_bandwidth || source->exact_calls->len > 0 || source->throttle_call;
                if (!wanted && now < until)
                        source_wait_locked(source, MIN(until - now, SOURCE_KEEPALIVE_USEC));
                pthread_mutex_unlock(&source->lock);
                if (wanted || now >= until)
                        return 0;
                int r = frame_send_keepalive(source->channel);
                if (r < 0)
                        return r;
        }
}

/*
 * Waits until the destination has the round in memory. What sits in socket buffers (up to 10 MB here) would otherwise
 * have to be received while the guest is stopped, and would count as sent when the bandwidth is measured.
 */
static int drain(Source *source, uint32_t round) {
        uint64_t start = clock_monotonic_usec(), timeout = source->args.idle_timeout_usec ?: SOURCE_TIMEOUT_USEC;
        uint64_t until = start + timeout, now = start, queued = UINT64_MAX;
        int r = frame_send(source->channel, WIRE_MARK, round, NULL, 0);
        if (r < 0)
                return r;
        for (;;) {
                pthread_mutex_lock(&source->lock);
                bool over = source->mark_acked == round || source->stop_requested || source->cancelled ||
                            source->state == SOURCE_FAILED;
                if (!over)
                        source_wait_locked(source, SOURCE_KEEPALIVE_USEC);
                pthread_mutex_unlock(&source->lock);
                now = clock_monotonic_usec();
                if (over)
                        break;
                /* The socket's queue moves as long as the destination receives at all, however slow the link is. */
                uint64_t left = channel_queued_bytes(source->channel);
                if (left < queued)
                        until = now + timeout;
                queued = left;
                if (now >= until && left > 0)
                        return -ETIMEDOUT;
                r = frame_send_keepalive(source->channel);
                if (r < 0)
                        return r;
        }
        rate_round(&source->rate, now - start);
        return 0;
}

/* An exact sync; only now the counter moves, only then the event goes out. */
static int end_round(Source *source, GError **reterr) {
        EngineStats stats = source_copy_stats(source);
        int drained = drain(source, (uint32_t) stats.round);
        if (drained < 0)
                return channel_error(source->channel, drained, source_doing(SOURCE_PRECOPY), reterr);
        uint64_t before = clock_monotonic_usec(), window = MAX(before - source->last_sync_usec, 1);
        int r = source_pending(source, true, false, &stats, reterr);
        if (r < 0)
                return r;
        source->last_sync_usec = before;
        uint64_t sent = channel_sent_bytes(source->channel), now = clock_monotonic_usec();
        stats.round++;
        stats.round_bytes = sent - source->round_start_bytes;
        stats.round_usec = before - source->round_start_usec;
        stats.dirty_bytes_per_sec =
                (uint64_t) ((double) source_set_bytes(source, source->next) * USEC_PER_SEC / (double) window);
        source->round_start_bytes = sent;
        source->round_start_usec = now;
        source_next_becomes_current(source);
        source_publish(source, &stats);
        ctl_event(source->ctl, "iteration", source_numbers(source, &stats), false);
        return 0;
}

/* Nothing to send: looks again from time to time. Returns once there is something, or something is asked. */
static int idle(Source *source, GError **reterr) {
        int r = pause_sender(source, IDLE_USEC);
        if (r < 0)
                return channel_error(source->channel, r, source_doing(SOURCE_PRECOPY), reterr);
        if (source_stop_requested(source) || source_interrupted(source))
                return 0;
        EngineStats stats = source_copy_stats(source);
        uint64_t before = clock_monotonic_usec(), window = MAX(before - source->last_sync_usec, 1);
        r = source_pending(source, true, false, &stats, reterr);
        if (r < 0)
                return r;
        source->last_sync_usec = before;
        uint64_t found = source_set_bytes(source, source->next);
        stats.dirty_bytes_per_sec = (uint64_t) ((double) found * USEC_PER_SEC / (double) window);
        source_publish(source, &stats);
        r = frame_send_keepalive(source->channel);
        if (r < 0)
                return channel_error(source->channel, r, source_doing(SOURCE_PRECOPY), reterr);
        if (found == 0) {
                ctl_event(source->ctl, "pending", source_numbers(source, &stats), true);
                return 0;
        }
        source->round_start_bytes = channel_sent_bytes(source->channel);
        source->round_start_usec = clock_monotonic_usec();
        source_next_becomes_current(source);
        return 0;
}

static void tell_progress(Source *source, uint64_t *last_usec) {
        uint64_t now = clock_monotonic_usec();
        if (now - *last_usec < STATS_USEC)
                return;
        *last_usec = now;
        EngineStats stats = source_copy_stats(source);
        (void) source_pending(source, false, false, &stats, NULL);
        source_publish(source, &stats);
        ctl_event(source->ctl, "stats", source_numbers(source, &stats), true);
}

/* Until the daemon says that the guest is stopped. */
int source_precopy(Source *source, GError **reterr) {
        uint64_t last_stats = clock_monotonic_usec();
        while (!source_stop_requested(source)) {
                if (source_interrupted(source))
                        return -ECANCELED;
                int r = serve_requests(source, reterr);
                if (r < 0)
                        return r;
                uint64_t wait = pace_wait_usec(&source->pace, clock_monotonic_usec());
                if (wait > 0) {
                        r = pause_sender(source, wait);
                        if (r < 0)
                                return channel_error(source->channel, r, source_doing(SOURCE_PRECOPY), reterr);
                        continue;
                }
                tell_progress(source, &last_stats);
                bool empty = source_set_bytes(source, source->current) == 0;
                if (!empty) {
                        r = source_send_some(source, pace_frame_bytes(&source->pace, SOURCE_FRAME_BYTES));
                        if (r < 0)
                                return channel_error(source->channel, r, source_doing(SOURCE_PRECOPY), reterr);
                        if (source_set_bytes(source, source->current) == 0)
                                r = end_round(source, reterr);
                } else if (source_set_bytes(source, source->next) > 0) /* a query has found it */
                        source_next_becomes_current(source);
                else
                        r = idle(source, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}
