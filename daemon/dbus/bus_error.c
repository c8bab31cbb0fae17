/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_error.h"

#include <errno.h>
#include <libvirt/virterror.h>

#include "daemon/wording.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"

#define BUS_FAULT (g_quark_from_static_string("ferry-bus-fault"))

static const char *const fault_names[_BUS_FAULT_MAX] = {
        [BUS_FAULT_ACCESS_DENIED] = SD_BUS_ERROR_ACCESS_DENIED,
        [BUS_FAULT_INVALID_ARGS] = SD_BUS_ERROR_INVALID_ARGS,
        [BUS_FAULT_LIMITS_EXCEEDED] = SD_BUS_ERROR_LIMITS_EXCEEDED,
        [BUS_FAULT_READ_ONLY] = SD_BUS_ERROR_PROPERTY_READ_ONLY,
        [BUS_FAULT_UNKNOWN_INTERFACE] = SD_BUS_ERROR_UNKNOWN_INTERFACE,
        [BUS_FAULT_UNKNOWN_METHOD] = SD_BUS_ERROR_UNKNOWN_METHOD,
        [BUS_FAULT_UNKNOWN_OBJECT] = SD_BUS_ERROR_UNKNOWN_OBJECT,
        [BUS_FAULT_UNKNOWN_PROPERTY] = SD_BUS_ERROR_UNKNOWN_PROPERTY,
};

int bus_fault_set(GError **reterr, BusFault fault, const char *format, ...) {
        va_list ap;

        if (reterr && !*reterr) {
                va_start(ap, format);
                *reterr = g_error_new_valist(BUS_FAULT, (int) fault, format, ap);
                va_end(ap);
        }
        return fault == BUS_FAULT_ACCESS_DENIED ? -EACCES : -EINVAL;
}

int bus_fault_message(GError **reterr, int errnum) {
        bus_fault_set(reterr, BUS_FAULT_INVALID_ARGS, _("the message cannot be read or answered: %s"),
                      g_strerror(ABS(errnum)));
        return -EINVAL;
}

void bus_error_reply(sd_bus_message *message, const GError *error) {
        g_autofree char *text = NULL;
        const char *name = BUS_ERROR_LIBVIRT;

        if (error && error->domain == BUS_FAULT) {
                name = fault_names[error->code];
                text = g_strdup(error->message);
        } else {
                text = wording_sentence(error);
        }
        log_debug("D-Bus call %s of %s fails: %s", sd_bus_message_get_member(message),
                  sd_bus_message_get_sender(message) ?: "?", text);
        (void) sd_bus_reply_method_errorf(message, name, "%s", text);
}
