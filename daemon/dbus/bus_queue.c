/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * sd-event runs what became pending first, among sources of one priority; but a defer source counts as pending since it
 * was made, however often it is armed. One that lived on would so come before everything else, always. Hence a new one
 * for each turn: whatever was due before, a migration's message for instance, is then served first.
 *
 * A turn only starts or wakes a fiber. Another source in between (settled) has the next turn wait until that fiber has
 * run and, if it gave way, has put itself back into its lane.
 */

#include "daemon/dbus/bus_queue.h"

#include "driver/base/clock.h"

/* How long until it is asked again whether there may be a turn: longer each time, for a bus that stands still. */
#define NOT_READY_USEC 300
#define MAX_NOT_READY_USEC (10 * USEC_PER_MSEC)
#define ACCURACY_USEC 100

struct BusQueue {
        sd_event *event;
        BusReadyFunc ready;
        void *userdata;
        GQueue lanes; /* that have turns and are not held */
        sd_event_source *next;
        uint64_t not_ready_usec;
        bool settled; /* the fiber of the turn before has run */
};

static int on_next(sd_event_source *source, void *userdata);

static int on_later(sd_event_source *source, uint64_t usec, void *userdata) {
        return on_next(source, userdata);
}

/* A source that cannot be had is one that memory is missing for: the same as anywhere else. */
static void queue_arm(BusQueue *queue, bool ready) {
        uint64_t usec = ready ? 0 : queue->not_ready_usec;
        int r;

        if (queue->next || (queue->settled && g_queue_is_empty(&queue->lanes)))
                return;
        queue->not_ready_usec = ready ? NOT_READY_USEC : MIN(usec + usec / 4, MAX_NOT_READY_USEC);
        if (usec > 0)
                r = sd_event_add_time_relative(queue->event, &queue->next, CLOCK_MONOTONIC, usec, ACCURACY_USEC, on_later,
                                               queue);
        else
                r = sd_event_add_defer(queue->event, &queue->next, on_next, queue);
        if (r < 0)
                g_error("no event source: %s", g_strerror(-r));
}

static void take_turn(BusQueue *queue) {
        GList *link = g_queue_pop_head_link(&queue->lanes);
        BusLane *lane = link->data;
        BusTurn *turn = g_queue_peek_head(&lane->turns);

        g_queue_unlink(&lane->turns, &turn->link);
        lane->waiting = !g_queue_is_empty(&lane->turns);
        if (lane->waiting)
                g_queue_push_tail_link(&queue->lanes, link);
        queue->settled = false;
        turn->func(turn->userdata);
}

static int on_next(sd_event_source *source, void *userdata) {
        BusQueue *queue = userdata;
        bool ready = true;

        queue->next = sd_event_source_disable_unref(queue->next);
        if (!queue->settled)
                queue->settled = true;
        else if (!g_queue_is_empty(&queue->lanes)) {
                ready = !queue->ready || queue->ready(queue->userdata);
                if (ready)
                        take_turn(queue);
        }
        queue_arm(queue, ready);
        return 0;
}

/* ---- lanes ---- */

/* In or out of the lanes that wait, as it has to be. */
static void lane_update(BusQueue *queue, BusLane *lane) {
        bool wait = !lane->held && !g_queue_is_empty(&lane->turns);

        if (wait && !lane->waiting) {
                lane->link = (GList) { .data = lane };
                g_queue_push_tail_link(&queue->lanes, &lane->link);
        } else if (!wait && lane->waiting) {
                g_queue_unlink(&queue->lanes, &lane->link);
        }
        lane->waiting = wait;
        queue_arm(queue, true);
}

void bus_queue_append(BusQueue *queue, BusLane *lane, BusTurn *turn) {
        turn->link = (GList) { .data = turn };
        g_queue_push_tail_link(&lane->turns, &turn->link);
        lane_update(queue, lane);
}

void bus_queue_prepend(BusQueue *queue, BusLane *lane, BusTurn *turn) {
        turn->link = (GList) { .data = turn };
        g_queue_push_head_link(&lane->turns, &turn->link);
        lane_update(queue, lane);
}

void bus_queue_hold(BusQueue *queue, BusLane *lane, bool held) {
        lane->held = held;
        lane_update(queue, lane);
}

/* ---- life ---- */

BusQueue *bus_queue_new(sd_event *event, BusReadyFunc ready, void *userdata) {
        BusQueue *queue = g_new0(BusQueue, 1);

        *queue = (BusQueue) {
                .event = sd_event_ref(event),
                .ready = ready,
                .userdata = userdata,
                .not_ready_usec = NOT_READY_USEC,
                .settled = true,
        };
        return queue;
}

BusQueue *bus_queue_free(BusQueue *queue) {
        if (!queue)
                return NULL;
        sd_event_source_disable_unref(queue->next);
        sd_event_unref(queue->event);
        g_free(queue);
        return NULL;
}
