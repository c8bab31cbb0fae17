/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The D-Bus front end: the connection to a bus, who calls, and the driver's events on their way out. On the loop's
 * thread only. */

#include <glib.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "driver/driver.h"

#define BUS_NAME "org.virtferry"

typedef struct BusService BusService;

typedef enum BusKind {
        BUS_KIND_NONE,
        BUS_KIND_SYSTEM,  /* callers need polkit's consent; signals go to those who have it */
        BUS_KIND_SESSION, /* the bus lets only its owner in, who may do everything */
        _BUS_KIND_MAX,
} BusKind;

typedef struct BusLimits {
        unsigned max_callers; /* connections that are remembered */
        unsigned max_calls;   /* outstanding calls of one caller */
} BusLimits;

typedef void (*BusChangeFunc)(BusService *service, void *userdata);

/* Connects, and connects again whenever the bus was away; that there is none is no error. driver must outlive the
 * service. on_change (may be NULL) is called when a caller has come or gone. */
BusService *bus_service_new(sd_event *event, Driver *driver, BusKind kind, const BusLimits *limits,
                            BusChangeFunc on_change, void *userdata);
/* Leaves the bus and waits until the calls have ended. Fiber. 0 or -ETIMEDOUT. */
int bus_service_shutdown(BusService *service, uint64_t timeout_usec);
/* No call may be outstanding. Accepts NULL, returns NULL. */
BusService *bus_service_free(BusService *service);
/* Connections that have called and are still there. */
unsigned bus_service_n_callers(const BusService *service);
void bus_service_set_limits(BusService *service, const BusLimits *limits);

/* For the other files of this folder: what it was made of; borrowed. The bus is NULL while there is none. */
sd_event *bus_service_event(BusService *service);
Driver *bus_service_driver(BusService *service);
sd_bus *bus_service_bus(BusService *service);
BusKind bus_service_kind(const BusService *service);
/* A client of the driver that may look, for what is told to everybody. */
DriverClient *bus_service_viewer(BusService *service);
/* Callers of now (BusCaller); borrowed. */
GHashTable *bus_service_callers(BusService *service);
/* A call has ended. */
void bus_service_call_ended(BusService *service);
