/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/auth/polkit.h"

#include <errno.h>

#include "daemon/auth/bus_ask.h"
#include "driver/base/clock.h"
#include "driver/base/log.h"

#define AUTHORITY_NAME "org.freedesktop.PolicyKit1"
#define AUTHORITY_PATH "/org/freedesktop/PolicyKit1/Authority"
#define AUTHORITY_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define ALLOW_USER_INTERACTION 1 /* CheckAuthorizationFlags of polkit's D-Bus interface */

#define ANSWER_USEC (10 * USEC_PER_SEC)
#define PASSWORD_USEC (120 * USEC_PER_SEC)

static int make_request(sd_bus *bus, const char *sender, const char *action, bool interactive, sd_bus_message **ret) {
        sd_bus_message *request = NULL;
        int r = sd_bus_message_new_method_call(bus, &request, AUTHORITY_NAME, AUTHORITY_PATH, AUTHORITY_INTERFACE,
                                               "CheckAuthorization");

        if (r >= 0)
                r = sd_bus_message_append(request, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s", sender,
                                          action, 0, interactive ? ALLOW_USER_INTERACTION : 0, "");
        if (r < 0) {
                sd_bus_message_unref(request);
                return r;
        }
        *ret = request;
        return 0;
}

int polkit_check(sd_bus *bus, const char *sender, const char *action, bool interactive) {
        sd_bus_message *request = NULL, *reply = NULL;
        int authorized = 0;
        int r = make_request(bus, sender, action, interactive, &request);

        if (r >= 0)
                r = bus_ask(bus, request, interactive ? PASSWORD_USEC : ANSWER_USEC, &reply);
        if (r >= 0) {
                const sd_bus_error *error = sd_bus_message_get_error(reply);

                if (error) {
                        log_debug("polkit: %s: %s", error->name, error->message);
                        r = -EACCES;
                }
        }
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(reply, "b", &authorized);
        sd_bus_message_unref(request);
        sd_bus_message_unref(reply);
        return r < 0 ? r : authorized;
}

static int on_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        PolkitWatch *watch = userdata;

        watch->func(watch->userdata);
        return 0;
}

int polkit_watch(sd_bus *bus, PolkitWatch *watch, sd_bus_slot **ret_slot) {
        return sd_bus_match_signal_async(bus, ret_slot, AUTHORITY_NAME, AUTHORITY_PATH, AUTHORITY_INTERFACE, "Changed",
                                         on_changed, NULL, watch);
}
