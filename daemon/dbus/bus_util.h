/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files with methods share. */

#include <glib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "daemon/dbus/bus_call.h"
#include "daemon/dbus/bus_dict.h"
#include "daemon/dbus/bus_error.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"

#define BUS_METHOD(name) \
        static int name(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr)
#define BUS_GET(name) static int name(BusCall *call, sd_bus_message *reply, GError **reterr)

/* What sd-bus says, as an error: 0 or negative with reterr. */
static inline int bus_done(int r, GError **reterr) {
        return r < 0 ? bus_fault_message(reterr, r) : 0;
}

/* Reads a lone u, or the next one. */
static inline int bus_read_flags(sd_bus_message *message, uint32_t *ret_flags, GError **reterr) {
        return bus_done(sd_bus_message_read(message, "u", ret_flags), reterr);
}

/* VIR_ERR_INVALID_ARG if there are any: for calls whose driver function takes none. */
static inline int bus_no_flags(uint32_t flags, const char *what, GError **reterr) {
        return flags == 0 ? 0
                          : error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags (0x%x) in '%s'"), flags, what);
}

/* libvirt-dbus takes "" for NULL. */
static inline const char *bus_optional(const char *text) {
        return *text ? text : NULL;
}

/* Appends a string, made valid where it is none: it may come from anywhere. */
static inline int bus_append_text(sd_bus_message *reply, const char *text, GError **reterr) {
        g_autofree char *valid = g_utf8_make_valid(text ? text : "", -1);

        return bus_done(sd_bus_message_append(reply, "s", valid), reterr);
}
