/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_call.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/auth/bus_ask.h"
#include "daemon/auth/polkit.h"
#include "daemon/dbus/bus_deaf.h"
#include "daemon/dbus/bus_error.h"
#include "driver/base/clock.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"

#define CREDENTIALS_USEC (10 * USEC_PER_SEC)
#define TURN_USEC 500 /* how long others wait for a long reply, at most, and one more object */

/* ---- rights ---- */

static int read_credentials(sd_bus_message *reply, BusCaller *caller) {
        const char *key = NULL;
        bool found = false;
        int r = sd_bus_message_enter_container(reply, 'a', "{sv}");

        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                uint32_t value = 0;

                r = sd_bus_message_read(reply, "s", &key);
                if (r >= 0 && strcmp(key, "UnixUserID") == 0) {
                        r = sd_bus_message_read(reply, "v", "u", &value);
                        caller->uid = value;
                        found = true;
                } else if (r >= 0 && strcmp(key, "ProcessID") == 0) {
                        r = sd_bus_message_read(reply, "v", "u", &value);
                        caller->pid = (pid_t) value;
                } else if (r >= 0) {
                        r = sd_bus_message_skip(reply, "v");
                }
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return r < 0 ? r : found ? 0 : -ENODATA;
}

/* Who the caller is, from the bus itself. */
static int learn_uid(sd_bus *bus, BusCaller *caller) {
        sd_bus_message *request = NULL, *reply = NULL;
        int r;

        if (caller->uid_known)
                return 0;
        r = sd_bus_message_new_method_call(bus, &request, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus", "GetConnectionCredentials");
        if (r >= 0)
                r = sd_bus_message_append(request, "s", caller->name);
        if (r >= 0)
                r = bus_ask(bus, request, CREDENTIALS_USEC, &reply);
        if (r >= 0 && sd_bus_message_get_error(reply))
                r = -EACCES;
        if (r >= 0)
                r = read_credentials(reply, caller);
        caller->uid_known = r >= 0;
        sd_bus_message_unref(request);
        sd_bus_message_unref(reply);
        return r;
}

/* 1 or 0; negative: cannot be found out. */
static int has_right(BusCall *call, BusRight right) {
        sd_bus *bus = sd_bus_message_get_bus(call->message);
        BusCaller *caller = call->caller;
        int r;

        if (!caller || bus_service_kind(call->service) == BUS_KIND_SESSION)
                return 1;
        r = learn_uid(bus, caller);
        if (r < 0)
                return r;
        if (caller->uid == 0 || caller->uid == geteuid())
                return 1;
        r = bus_caller_right(caller, right, clock_monotonic_usec());
        if (r >= 0)
                return r;
        r = polkit_check(bus, caller->name, bus_right_action(right),
                         sd_bus_message_get_allow_interactive_authorization(call->message) > 0);
        if (r >= 0)
                bus_caller_remember(caller, right, r > 0, clock_monotonic_usec());
        return r;
}

int bus_call_require(BusCall *call, BusRight right, GError **reterr) {
        int r = has_right(call, right);

        if (r <= 0)
                return bus_fault_set(reterr, BUS_FAULT_ACCESS_DENIED, _("polkit's action '%s' is needed"),
                                     bus_right_action(right));
        if (call->caller) {
                call->driver = bus_caller_driver(call->caller, bus_service_driver(call->service), right);
                if (right == BUS_RIGHT_MONITOR && !call->caller->gone)
                        call->caller->watches = true;
        }
        return 0;
}

/* ---- properties ---- */

int bus_call_job(BusCall *call, const DriverJobInfo **ret_info, GError **reterr) {
        if (!call->has_job) {
                int r = driver_migration_job(call->driver, call->object.number, &call->job, reterr);

                if (r < 0)
                        return r;
                call->has_job = true;
        }
        *ret_info = &call->job;
        return 0;
}

void bus_call_deinit(BusCall *call) {
        driver_job_info_clear(&call->job);
}

int bus_append_property(BusCall *call, const BusProperty *property, sd_bus_message *reply, GError **reterr) {
        int r = sd_bus_message_open_container(reply, 'v', property->signature);

        if (r < 0)
                return bus_fault_message(reterr, r);
        r = property->get(call, reply, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_close_container(reply);
        return r < 0 ? bus_fault_message(reterr, r) : 0;
}

int bus_append_properties(BusCall *call, const BusInterface *interface, bool only_emitted, sd_bus_message *reply,
                          GError **reterr) {
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");

        if (r < 0)
                return bus_fault_message(reterr, r);
        for (size_t i = 0; i < interface->n_properties; i++) {
                const BusProperty *property = &interface->properties[i];

                if (only_emitted && !bus_interface_emits(interface, property))
                        continue;
                r = sd_bus_message_open_container(reply, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append_basic(reply, 's', property->name);
                if (r < 0)
                        return bus_fault_message(reterr, r);
                r = bus_append_property(call, property, reply, reterr);
                if (r < 0)
                        return r;
                r = sd_bus_message_close_container(reply);
                if (r < 0)
                        return bus_fault_message(reterr, r);
        }
        r = sd_bus_message_close_container(reply);
        return r < 0 ? bus_fault_message(reterr, r) : 0;
}

int bus_append_interfaces(BusCall *call, sd_bus_message *reply, GError **reterr) {
        int r = sd_bus_message_open_container(reply, 'a', "{sa{sv}}");

        if (r < 0)
                return bus_fault_message(reterr, r);
        for (const BusInterface *const *interface = bus_object_interfaces(call->object.kind); *interface; interface++) {
                r = sd_bus_message_open_container(reply, 'e', "sa{sv}");
                if (r >= 0)
                        r = sd_bus_message_append_basic(reply, 's', (*interface)->name);
                if (r < 0)
                        return bus_fault_message(reterr, r);
                r = bus_append_properties(call, *interface, false, reply, reterr);
                if (r < 0)
                        return r;
                r = sd_bus_message_close_container(reply);
                if (r < 0)
                        return bus_fault_message(reterr, r);
        }
        r = sd_bus_message_close_container(reply);
        return r < 0 ? bus_fault_message(reterr, r) : 0;
}

/* ---- turns ---- */

int bus_call_give_way(BusCall *call) {
        BusCaller *caller = call->caller;

        call->n_objects++;
        if (!caller->gone && clock_monotonic_usec() - call->turn_usec >= TURN_USEC) {
                call->resumed = false;
                bus_queue_prepend(caller->queue, &caller->lane, &call->turn);
                while (!call->resumed)
                        (void) fiber_cond_wait(&call->resume, FIBER_FOREVER);
                call->turn_usec = clock_monotonic_usec();
        }
        return caller->gone ? -ECANCELED : 0;
}

/* ---- serving ---- */

/* The method that the message names. Without an interface (D-Bus allows that) the first one with such a method is
 * meant. */
static const BusMethod *find_method(BusObjectKind kind, const char *interface_name, const char *member,
                                    const BusInterface **ret_interface) {
        const BusInterface *interface = NULL;
        const BusMethod *method = NULL;

        if (interface_name) {
                interface = bus_object_interface(kind, interface_name);
                method = interface ? bus_interface_method(interface, member) : NULL;
        } else {
                for (const BusInterface *const *p = bus_object_interfaces(kind); *p && !method; p++)
                        method = bus_interface_method(*p, member);
        }
        *ret_interface = interface;
        return method;
}

static int serve(BusCall *call, sd_bus_message *reply, GError **reterr) {
        const char *path = sd_bus_message_get_path(call->message), *member = sd_bus_message_get_member(call->message);
        const char *interface_name = sd_bus_message_get_interface(call->message);
        const BusInterface *interface = NULL;
        const BusMethod *method = NULL;
        bool known = bus_object_parse(path, &call->object) >= 0;
        int r;

        if (known)
                method = find_method(call->object.kind, interface_name, member, &interface);
        /* Whoever may not look is not told either what does not exist. */
        r = bus_call_require(call, method ? method->right : BUS_RIGHT_MONITOR, reterr);
        if (r < 0)
                return r;
        if (!known)
                return bus_fault_set(reterr, BUS_FAULT_UNKNOWN_OBJECT, _("there is no object '%s'"), path);
        if (interface_name && !interface)
                return bus_fault_set(reterr, BUS_FAULT_UNKNOWN_INTERFACE, _("object '%s' has no interface '%s'"), path,
                                     interface_name);
        if (!method)
                return bus_fault_set(reterr, BUS_FAULT_UNKNOWN_METHOD, _("object '%s' has no method '%s'"), path,
                                     member);
        if (!sd_bus_message_has_signature(call->message, method->in))
                return bus_fault_set(reterr, BUS_FAULT_INVALID_ARGS,
                                     _("method '%s' takes arguments of type '%s', not '%s'"), member, method->in,
                                     sd_bus_message_get_signature(call->message, true));
        return method->func(call, call->message, reply, reterr);
}

static void call_free(BusCall *call) {
        BusService *service = call->service;

        bus_call_deinit(call);
        call->caller->n_calls--;
        sd_bus_message_unref(call->message);
        bus_caller_unref(call->caller);
        g_free(call);
        bus_service_call_ended(service);
}

static void bus_call_run(void *userdata) {
        BusCall *call = userdata;
        sd_bus_message *reply = NULL;
        g_autoptr(GError) error = NULL;
        int r;

        call->turn_usec = clock_monotonic_usec();
        r = sd_bus_message_new_method_return(call->message, &reply);

        if (r >= 0 && !call->caller->gone) {
                r = serve(call, reply, &error);
                if (r < 0)
                        bus_error_reply(call->message, error);
                else if (!sd_bus_message_get_expect_reply(call->message))
                        r = 0;
                else if ((r = sd_bus_send(NULL, reply, NULL)) < 0)
                        log_debug("D-Bus call %s cannot be answered: %s", sd_bus_message_get_member(call->message),
                                  g_strerror(-r));
                bus_deaf_count(call->caller, sd_bus_message_get_bus(call->message), call->n_objects + 1);
        }
        sd_bus_message_unref(reply);
        call_free(call);
}

static void on_turn(void *userdata) {
        BusCall *call = userdata;

        if (call->started) {
                call->resumed = true;
                fiber_cond_broadcast(&call->resume);
                return;
        }
        call->started = true;
        if (fiber_start(bus_service_event(call->service), "dbus", bus_call_run, call) < 0) {
                (void) sd_bus_reply_method_errorf(call->message, SD_BUS_ERROR_NO_MEMORY, "%s", g_strerror(ENOMEM));
                call_free(call);
        }
}

void bus_call_start(BusService *service, BusCaller *caller, sd_bus_message *message) {
        BusCall *call = g_new0(BusCall, 1);

        *call = (BusCall) {
                .service = service,
                .caller = bus_caller_ref(caller),
                .message = sd_bus_message_ref(message),
                .turn = { on_turn, call },
        };
        caller->n_calls++;
        bus_queue_append(caller->queue, &caller->lane, &call->turn);
}
