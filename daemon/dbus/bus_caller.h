/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A caller: one connection to the bus that has called us, by its unique name. It has what an RPC client has: clients of
 * the driver, which cancel what was begun for it when it leaves the bus; and a quota of calls. What it may do is
 * remembered for a while.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "daemon/dbus/bus_interface.h"
#include "daemon/dbus/bus_queue.h"
#include "driver/driver.h"

typedef struct BusCaller {
        unsigned n_refs;
        char *name;               /* unique name on the bus */
        bool uid_known;
        uid_t uid;
        pid_t pid;
        unsigned n_calls;         /* outstanding */
        uint64_t refusals_usec;   /* when the second began in which it got so many refusals */
        unsigned n_refusals;
        BusQueue *queue;          /* that its lane is in; borrowed; NULL: none */
        BusLane lane;             /* its calls that wait for a turn */
        unsigned n_unread;        /* replies since it was last asked whether the caller reads them (bus_deaf.h) */
        bool deaf;                /* it does not: its calls wait */
        sd_bus_slot *deaf_slot;
        sd_event_source *deaf_timer;
        bool gone;                /* it has left the bus */
        bool watches;             /* it may see signals */
        struct {
                bool known, granted;
                uint64_t until_usec; /* monotonic */
        } rights[_BUS_RIGHT_MAX];
        DriverClient *viewer, *owner; /* read-only, and not; made when first needed */
} BusCaller;

/* One that is not known yet: no uid, no rights, no calls. */
BusCaller *bus_caller_new(const char *name);
BusCaller *bus_caller_ref(BusCaller *caller);
BusCaller *bus_caller_unref(BusCaller *caller);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BusCaller, bus_caller_unref)

/* The driver's client for calls that need this right. Borrowed. */
DriverClient *bus_caller_driver(BusCaller *caller, Driver *driver, BusRight right);
/* It has left the bus: what must not go on without it ends. */
void bus_caller_leave(BusCaller *caller);

/* Whether one call too many is answered with a refusal. Not if there were many in this second already, or if nobody reads
 * them: a refusal costs as much as an answer, and with calls that nobody answers the bus itself stops the caller, by its
 * limit of pending replies. */
bool bus_caller_refuse(BusCaller *caller, uint64_t now_usec);

/* What is remembered of a right: 1 granted, 0 denied, -ENODATA: ask. */
int bus_caller_right(const BusCaller *caller, BusRight right, uint64_t now_usec);
void bus_caller_remember(BusCaller *caller, BusRight right, bool granted, uint64_t now_usec);
/* Everything is to be asked again. */
void bus_caller_forget(BusCaller *caller);
