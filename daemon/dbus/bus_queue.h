/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whose turn it is. Each caller has a lane of turns (calls to be started, calls that have given way); the queue goes
 * round the lanes and takes one turn from each, one at a time, and lets the loop do what else is due in between. On the
 * loop's thread only.
 */

#include <glib.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct BusQueue BusQueue;

/* Starts a fiber or wakes one; whatever it does must have begun by the time that the loop has run it once. */
typedef void (*BusTurnFunc)(void *userdata);

/* Zero-initialised but for func and userdata. Must stay until func was called. */
typedef struct BusTurn {
        BusTurnFunc func;
        void *userdata;
        GList link;
} BusTurn;

/* Zero-initialised is ready for use. Must stay while it has turns. */
typedef struct BusLane {
        GQueue turns;
        GList link;   /* among the lanes that wait for the queue */
        bool waiting; /* it is there */
        bool held;    /* no turns until it is released */
} BusLane;

/* Whether there may be a turn now; else it is asked again a little later. */
typedef bool (*BusReadyFunc)(void *userdata);

/* ready may be NULL: always. */
BusQueue *bus_queue_new(sd_event *event, BusReadyFunc ready, void *userdata);
/* Accepts NULL, returns NULL. No lane may have turns. */
BusQueue *bus_queue_free(BusQueue *queue);

/* Behind the other turns of this lane. */
void bus_queue_append(BusQueue *queue, BusLane *lane, BusTurn *turn);
/* Before them: what a lane has begun it ends before it begins something else. */
void bus_queue_prepend(BusQueue *queue, BusLane *lane, BusTurn *turn);
/* Gives this lane no turns, or again. */
void bus_queue_hold(BusQueue *queue, BusLane *lane, bool held);
