/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* libvirt's typed parameters as D-Bus dictionaries (a{sv}). */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>

#define BUS_DICT_MAX 64 /* entries of a dictionary from a caller; libvirt's own limit for migrations */
#define BUS_STRING_MAX (4u * 1024 * 1024)     /* libvirt's limit for any string */

/* Appends a{sv}. As libvirt-dbus does, each value stands in two variants, one in the other: applications expect
 * that. */
int bus_dict_append(sd_bus_message *reply, const virTypedParameter *params, int n);

typedef struct BusDictFlag {
        const char *name;
        unsigned flag;
} BusDictFlag;

/*
 * Reads a{sv}: i u x t d b s to the typed parameter of that type and name, "as" to one parameter for each string.
 * *ret_params is freed with virTypedParamsFree(). What a name means is the driver's business. With flags (ended by a
 * NULL name) a boolean of such a name sets or clears its bit in *inout_flags instead, and "flags" (u) replaces all.
 * INVALID_ARG: too many, too long, another type.
 */
int bus_dict_read(sd_bus_message *message, const BusDictFlag *flags, unsigned *inout_flags,
                  virTypedParameterPtr *ret_params, int *ret_n, GError **reterr);
/* Reads a string of at most BUS_STRING_MAX bytes; borrowed from the message. */
int bus_read_string(sd_bus_message *message, const char **ret_text, GError **reterr);
