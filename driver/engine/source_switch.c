/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From the stopped guest to the end: the last of the memory, the device state, COMMIT. */

#include "driver/engine/source_internal.h"

#include <errno.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/engine/frame.h"
#include "driver/engine/stats.h"

static int send_end(Source *source) {
        unsigned char bytes[WIRE_END_BYTES];
        wire_end_encode(&(WireEnd){ .data_pages = source->data_pages,
                                    .zero_pages = source->zero_pages,
                                    .device_bytes = source->device_bytes },
                        bytes);
        return frame_send(source->channel, WIRE_END, 0, bytes, sizeof(bytes));
}

/* What is left of the memory. */
static int send_rest(Source *source, GError **reterr) {
        int r;
        do {
                if (source_interrupted(source))
                        return -ECANCELED;
                r = source_send_some(source, SOURCE_FRAME_BYTES);
        } while (r > 0);
        if (r >= 0)
                r = frame_send(source->channel, WIRE_RAM_FINAL, 0, NULL, 0);
        return r < 0 ? channel_error(source->channel, r, source_doing(SOURCE_STOPPING), reterr) : 0;
}

int source_switch_over(Source *source, GError **reterr) {
        if (!source_set_state(source, SOURCE_STOPPING))
                return -ECANCELED;
        int r = worker_start(&source->device, "device-state", source_device_worker, source);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot start a thread"));

        EngineStats stats = source_copy_stats(source);
        uint64_t start = clock_monotonic_usec();
        r = source_pending(source, true, true, &stats, reterr);
        if (r < 0)
                return r;
        stats.final_scan_usec = clock_monotonic_usec() - start;
        source_publish(source, &stats);
        source_answer_exact(source, &stats, NULL);
        /* What the last round had not sent yet, and what is new: one set. */
        for (unsigned i = 0; i < source->n_blocks; i++)
                page_set_merge(&source->next[i], &source->current[i]);
        source_next_becomes_current(source);
        r = source->postcopy_requested ? source_send_switch(source, reterr) : send_rest(source, reterr);
        if (r < 0)
                return r;
        worker_join(&source->device);
        if (source->device_error < 0) {
                /* None if it was interrupted. */
                if (source->device_failure)
                        g_propagate_error(reterr, g_steal_pointer(&source->device_failure));
                return source->device_error;
        }
        if (!source_set_state(source, SOURCE_SENT))
                return -ECANCELED;
        r = send_end(source);
        if (r < 0)
                return channel_error(source->channel, r, source_doing(SOURCE_STOPPING), reterr);
        if (source->postcopy_requested)
                source_postcopy_stats(source, &stats);
        else
                (void) source_pending(source, false, true, &stats, NULL);
        stats.device_state_bytes = source->device_bytes;
        source_publish(source, &stats);

        pthread_mutex_lock(&source->lock);
        CtlCall *call = g_steal_pointer(&source->stop_call);
        pthread_mutex_unlock(&source->lock);
        if (call)
                ctl_reply(call, stats_to_json(&stats));
        return 0;
}

/* Waits for the end, keeping the link alive and sending COMMIT when it is asked for. */
int source_finish(Source *source, GError **reterr) {
        for (;;) {
                pthread_mutex_lock(&source->lock);
                bool commit = source->state == SOURCE_READY && source->commit_call && !source->cancelled && !source->refused;
                if (commit)
                        source_set_state_locked(source, SOURCE_COMMITTING);
                bool over = source->state == SOURCE_DONE || source->state == SOURCE_FAILED || source->cancelled ||
                            source->state == SOURCE_POSTCOPY || source->state == SOURCE_PAUSED || source->return_ended;
                if (!commit && !over)
                        source_wait_locked(source, SOURCE_KEEPALIVE_USEC);
                pthread_mutex_unlock(&source->lock);
                if (over)
                        return 0;
                int r = commit ? frame_send(source->channel, WIRE_COMMIT, 0, NULL, 0)
                               : frame_send_keepalive(source->channel);
                if (r < 0)
                        return channel_error(source->channel, r, source_doing(source_get_state(source)), reterr);
        }
}
