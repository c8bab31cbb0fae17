/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Errors on the bus: as in libvirt-dbus, all that the driver says is org.libvirt.Error with the text that libvirt would
 * show. What concerns the bus and not the driver has D-Bus' own names. */

#include <glib.h>
#include <systemd/sd-bus.h>

#define BUS_ERROR_LIBVIRT "org.libvirt.Error"

typedef enum BusFault {
        BUS_FAULT_ACCESS_DENIED,
        BUS_FAULT_INVALID_ARGS,
        BUS_FAULT_LIMITS_EXCEEDED,
        BUS_FAULT_READ_ONLY,
        BUS_FAULT_UNKNOWN_INTERFACE,
        BUS_FAULT_UNKNOWN_METHOD,
        BUS_FAULT_UNKNOWN_OBJECT,
        BUS_FAULT_UNKNOWN_PROPERTY,
        _BUS_FAULT_MAX,
} BusFault;

/* Sets *reterr (unless it is NULL); returns a negative errno. */
int bus_fault_set(GError **reterr, BusFault fault, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* The same for a message that cannot be read or written: errnum is what sd-bus said. */
int bus_fault_message(GError **reterr, int errnum);

/* Answers message with error. */
void bus_error_reply(sd_bus_message *message, const GError *error);
