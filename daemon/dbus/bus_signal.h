/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The driver's events as signals. On a session bus they are broadcast; on the system bus, where a broadcast would tell
 * everybody the names of guests, each goes to those callers that may look and have shown it by a call, and to nobody
 * else.
 */

#include <systemd/sd-bus.h>

#include "daemon/dbus/bus_service.h"

typedef struct BusSignals BusSignals;

/* Subscribes to the driver's events. service is borrowed. free accepts NULL and returns NULL. */
BusSignals *bus_signals_new(BusService *service);
BusSignals *bus_signals_free(BusSignals *signals);
/* There is a new connection: what exists now is what everybody will find, and nothing new. */
void bus_signals_reset(BusSignals *signals);

/* How often PropertiesChanged comes for a job. */
#define BUS_CHANGES_USEC 250000
