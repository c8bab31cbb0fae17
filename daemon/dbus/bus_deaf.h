/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Callers that do not read. Their replies wait in the bus' memory, and on the session bus its own limit is a gigabyte. So
 * every now and then dbus-daemon is asked how many bytes wait there for a caller, and while there are too many the
 * caller's calls get no turn. Where the bus does not tell (dbus-broker), it has its own way with them.
 */

#include <systemd/sd-bus.h>

#include "daemon/dbus/bus_caller.h"

/* So many more objects, or short replies, were sent to the caller. */
void bus_deaf_count(BusCaller *caller, sd_bus *bus, unsigned n);
