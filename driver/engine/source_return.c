/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The return path: what the destination says. A thread of its own, so that the destination's error is read even while
 * the sender is stuck. */

#include "driver/engine/source_internal.h"

#include <errno.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/engine/frame.h"
#include "driver/engine/stats.h"

/* In postcopy: everything is there. */
static int take_complete(Source *source) {
        if (!source_set_state(source, SOURCE_DONE))
                return -EPROTO;
        (void) frame_send(source->channel, WIRE_BYE, 0, NULL, 0);
        EngineStats stats = { 0 };
        source_postcopy_stats(source, &stats);
        ctl_event(source->ctl, "postcopy-complete", stats_to_json(&stats), false);
        return 1;
}

static int take_running_postcopy(Source *source, uint64_t resume_usec) {
        pthread_mutex_lock(&source->lock);
        bool ok = source_set_state_locked(source, SOURCE_POSTCOPY), told = source->running_told;
        source->running_told = true;
        pthread_mutex_unlock(&source->lock);
        if (!ok)
                return -EPROTO;
        if (!told)
                ctl_event(source->ctl, "running",
                          json_add_uint64(json_object_new_object(), "resume-usec", resume_usec), false);
        return 0;
}

static int take_running(Source *source) {
        unsigned char bytes[8];
        int r = channel_recv_bytes(source->channel, bytes, sizeof(bytes));
        if (r < 0)
                return r;
        if (source->switched) /* long before this */
                return take_running_postcopy(source, wire_u64_decode(bytes));
        if (!source_set_state(source, SOURCE_DONE))
                return -EPROTO;
        (void) frame_send(source->channel, WIRE_BYE, 0, NULL, 0);
        ctl_event(source->ctl, "running",
                  json_add_uint64(json_object_new_object(), "resume-usec", wire_u64_decode(bytes)), false);
        return 1;
}

/* After COMMIT the destination has said that the guest will never run there. */
static int abandoned(Source *source, const char *reason) {
        pthread_mutex_lock(&source->lock);
        bool ok = source_set_state_locked(source, SOURCE_DONE);
        source->abandoned = ok;
        pthread_mutex_unlock(&source->lock);
        if (!ok)
                return -EPROTO;
        (void) frame_send(source->channel, WIRE_BYE, 0, NULL, 0);
        ctl_event(source->ctl, "abandoned", json_add_string(json_object_new_object(), "reason", reason), false);
        return 1;
}

static int take_abandon(Source *source, const WireHeader *header) {
        g_autofree char *reason = NULL;
        int r = frame_recv_text(source->channel, header, &reason);
        return r < 0 ? r : abandoned(source, reason);
}

/* The destination gives up. It says so only while COMMIT has not reached it, and takes no COMMIT afterwards: an ERROR
 * that meets a COMMIT on its way settles whose the guest is. */
static int take_error(Source *source, const WireHeader *header, GError **reterr) {
        SourceState state = source_get_state(source);
        g_autoptr(GError) error = NULL;
        int r = frame_take_error(source->channel, header, source_doing(state), &error);
        CtlCall *call = NULL;
        pthread_mutex_lock(&source->lock);
        /* The sender may be about to send COMMIT: either it has begun to, or it sees this and does not. */
        source->refused = source->refused || r == -EREMOTEIO;
        bool committing = r == -EREMOTEIO && source->state == SOURCE_COMMITTING;
        if (committing)
                call = g_steal_pointer(&source->commit_call);
        pthread_mutex_unlock(&source->lock);
        if (committing) {
                if (call)
                        ctl_reply_error(call, error);
                return abandoned(source, error->message);
        }
        g_propagate_error(reterr, g_steal_pointer(&error));
        return r;
}

static int take_commit_ack(Source *source) {
        if (!source_set_state(source, SOURCE_COMMITTED))
                return -EPROTO;
        pthread_mutex_lock(&source->lock);
        CtlCall *call = g_steal_pointer(&source->commit_call);
        source->commit_known = true;
        pthread_mutex_unlock(&source->lock);
        if (call)
                ctl_reply(call, json_add_string(json_object_new_object(), "outcome", "acknowledged"));
        return 0;
}

/* 1: the destination runs, all is done; 0: go on; negative: channel's error, or -EREMOTEIO with *reterr set. */
static int take_frame(Source *source, GError **reterr) {
        WireHeader header;
        int r = frame_recv_header(source->channel, &header);
        if (r < 0)
                return r;
        switch (header.type) {
        case WIRE_ERROR:
                return take_error(source, &header, reterr);
        case WIRE_MARK_ACK:
                pthread_mutex_lock(&source->lock);
                source->mark_acked = header.count;
                pthread_cond_broadcast(&source->changed);
                pthread_mutex_unlock(&source->lock);
                return 0;
        case WIRE_READY:
                if (!source_set_state(source, SOURCE_READY))
                        return -EPROTO;
                ctl_event(source->ctl, "ready", NULL, false);
                return 0;
        case WIRE_COMMIT_ACK:
                return take_commit_ack(source);
        case WIRE_RUNNING:
                return take_running(source);
        case WIRE_COMPLETE:
                return take_complete(source);
        case WIRE_ABANDON:
                return take_abandon(source, &header);
        default:
                return -EPROTO;
        }
}

void source_return_worker(void *userdata) {
        Source *source = userdata;
        g_autoptr(GError) error = NULL;
        int r;
        do
                r = take_frame(source, &error);
        while (r == 0);

        if (r < 0) {
                if (!error)
                        channel_error(source->channel, r, source_doing(source_get_state(source)), &error);
                source_fail(source, error);
        }
        pthread_mutex_lock(&source->lock);
        source->return_ended = true;
        pthread_cond_broadcast(&source->changed);
        pthread_mutex_unlock(&source->lock);
}
