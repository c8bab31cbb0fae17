/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_caller.h"

#include <errno.h>

#include "driver/base/clock.h"

/* How long an answer of polkit holds; it also says when its rules have changed. A denial is remembered so that a caller
 * who tries again and again does not keep polkit busy. */
#define GRANTED_USEC (60 * USEC_PER_SEC)
#define REFUSALS_PER_SECOND 100
#define DENIED_USEC (2 * USEC_PER_SEC)

BusCaller *bus_caller_new(const char *name) {
        BusCaller *caller = g_new0(BusCaller, 1);

        caller->n_refs = 1;
        caller->name = g_strdup(name);
        caller->uid = (uid_t) -1;
        return caller;
}

BusCaller *bus_caller_ref(BusCaller *caller) {
        caller->n_refs++;
        return caller;
}

BusCaller *bus_caller_unref(BusCaller *caller) {
        if (!caller || --caller->n_refs > 0)
                return NULL;
        driver_client_free(caller->viewer);
        driver_client_free(caller->owner);
        g_free(caller->name);
        g_free(caller);
        return NULL;
}

DriverClient *bus_caller_driver(BusCaller *caller, Driver *driver, BusRight right) {
        DriverClient **client = right == BUS_RIGHT_MONITOR ? &caller->viewer : &caller->owner;

        if (!*client) {
                *client = driver_client_new(driver, right == BUS_RIGHT_MONITOR, caller->uid, caller->pid);
                if (caller->gone)
                        driver_client_disconnect(*client);
        }
        return *client;
}

void bus_caller_leave(BusCaller *caller) {
        caller->gone = true;
        caller->watches = false;
        caller->deaf_slot = sd_bus_slot_unref(caller->deaf_slot);
        caller->deaf_timer = sd_event_source_disable_unref(caller->deaf_timer);
        /* Calls that were begun have to end. */
        if (caller->queue)
                bus_queue_hold(caller->queue, &caller->lane, false);
        if (caller->viewer)
                driver_client_disconnect(caller->viewer);
        if (caller->owner)
                driver_client_disconnect(caller->owner);
}

bool bus_caller_refuse(BusCaller *caller, uint64_t now_usec) {
        if (caller->deaf)
                return false;
        if (now_usec - caller->refusals_usec >= USEC_PER_SEC) {
                caller->refusals_usec = now_usec;
                caller->n_refusals = 0;
        }
        return caller->n_refusals++ < REFUSALS_PER_SECOND;
}

int bus_caller_right(const BusCaller *caller, BusRight right, uint64_t now_usec) {
        if (!caller->rights[right].known || now_usec >= caller->rights[right].until_usec)
                return -ENODATA;
        return caller->rights[right].granted;
}

void bus_caller_remember(BusCaller *caller, BusRight right, bool granted, uint64_t now_usec) {
        caller->rights[right].known = true;
        caller->rights[right].granted = granted;
        caller->rights[right].until_usec = now_usec + (granted ? GRANTED_USEC : DENIED_USEC);
}

void bus_caller_forget(BusCaller *caller) {
        for (BusRight right = 0; right < _BUS_RIGHT_MAX; right++)
                caller->rights[right].known = false;
}
