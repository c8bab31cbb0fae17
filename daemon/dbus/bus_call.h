/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One method call on its way: who asks, for which object, with what right. It runs in a fiber of its own. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "daemon/dbus/bus_caller.h"
#include "daemon/dbus/bus_interface.h"
#include "daemon/dbus/bus_object.h"
#include "daemon/dbus/bus_service.h"
#include "driver/base/fiber.h"
#include "driver/driver.h"

struct BusCall {
        BusService *service;
        BusCaller *caller;   /* NULL: the daemon itself asks, to tell everybody */
        sd_bus_message *message;
        BusObject object;
        DriverClient *driver; /* with the rights that the call was granted */
        BusTurn turn;
        bool started;         /* its fiber is there */
        bool resumed;
        FiberCond resume;
        uint64_t turn_usec;   /* when its turn began */
        unsigned n_objects;   /* in its reply */
        bool has_job;
        DriverJobInfo job;    /* of a job's object, loaded when first needed */
};

/* Serves the call in a fiber when it is its turn; the answer is sent from there. service and caller count it until then. */
void bus_call_start(BusService *service, BusCaller *caller, sd_bus_message *message);

/* For methods whose right depends on their arguments: asks for more than the table says. Fiber. ACCESS_DENIED. */
int bus_call_require(BusCall *call, BusRight right, GError **reterr);
/* The job of the call's object. INVALID_ARG if it is not there any more. */
int bus_call_job(BusCall *call, const DriverJobInfo **ret_info, GError **reterr);
/* Between the parts of a long reply: counts one, and lets others have their turn if this one was long enough already.
 * Waits. Not for calls that were made on the stack. 0, or -ECANCELED: the caller has left. */
int bus_call_give_way(BusCall *call);
/* Frees what a call holds that was made on the stack. */
void bus_call_deinit(BusCall *call);

/* Appends a property's value in a variant. */
int bus_append_property(BusCall *call, const BusProperty *property, sd_bus_message *reply, GError **reterr);
/* Appends a{sv} of all properties of an interface; only_emitted: of those that PropertiesChanged carries. */
int bus_append_properties(BusCall *call, const BusInterface *interface, bool only_emitted, sd_bus_message *reply,
                          GError **reterr);
/* Appends a{sa{sv}}: the object's interfaces with their properties. */
int bus_append_interfaces(BusCall *call, sd_bus_message *reply, GError **reterr);
