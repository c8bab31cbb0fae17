/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* D-Bus interfaces as tables: what is served, what it takes to be allowed, and the introspection XML that follows from
 * both. */

#include <glib.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>

typedef struct BusCall BusCall; /* daemon/dbus/bus_call.h */

/* What a caller must be allowed; each is a polkit action on the system bus. */
typedef enum BusRight {
        BUS_RIGHT_MONITOR, /* look */
        BUS_RIGHT_MIGRATE, /* start and steer migrations */
        BUS_RIGHT_MANAGE,  /* everything else that changes something */
        _BUS_RIGHT_MAX,
} BusRight;

/* The polkit action: "org.virtferry.monitor"... */
const char *bus_right_action(BusRight right);

/* Reads the arguments from message, does the work, appends the results to reply. Runs in a fiber. 0, or negative with
 * reterr. */
typedef int (*BusMethodFunc)(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr);
/* Appends the value (without a variant around it). May wait only if the property says so. */
typedef int (*BusGetFunc)(BusCall *call, sd_bus_message *reply, GError **reterr);
/* Reads the value from message, which stands inside the variant. Runs in a fiber. */
typedef int (*BusSetFunc)(BusCall *call, sd_bus_message *message, GError **reterr);

typedef struct BusMethod {
        const char *name;
        const char *in, *in_names;   /* signature; names of the arguments, separated by commas */
        const char *out, *out_names;
        BusRight right;
        BusMethodFunc func;
} BusMethod;

typedef struct BusProperty {
        const char *name;
        const char *signature;
        const char *emits; /* EmitsChangedSignal: "true", "const", "false"; NULL: as the interface says */
        BusGetFunc get;
        BusSetFunc set; /* NULL: read-only */
        BusRight set_right;
} BusProperty;

typedef struct BusSignal {
        const char *name;
        const char *signature, *names;
} BusSignal;

typedef struct BusInterface {
        const char *name;
        const char *emits; /* of properties that do not say: NULL stands for D-Bus' default, "true" */
        const BusMethod *methods;
        size_t n_methods;
        const BusProperty *properties;
        size_t n_properties;
        const BusSignal *signals;
        size_t n_signals;
} BusInterface;

/* NULL if there is none. */
const BusMethod *bus_interface_method(const BusInterface *interface, const char *name);
const BusProperty *bus_interface_property(const BusInterface *interface, const char *name);
/* Whether PropertiesChanged carries the property. */
bool bus_interface_emits(const BusInterface *interface, const BusProperty *property);
/* Appends <interface>...</interface>, indented by two spaces. */
void bus_interface_introspect(const BusInterface *interface, GString *xml);
/* Length of the first complete type of a signature; 0 if there is none. */
size_t bus_signature_first(const char *signature);

extern const BusInterface bus_connect_interface;   /* org.libvirt.Connect */
extern const BusInterface bus_domain_interface;    /* org.libvirt.Domain */
extern const BusInterface bus_ferry_interface;     /* org.virtferry.Domain1 */
extern const BusInterface bus_migration_interface; /* org.virtferry.Migration1 */
extern const BusInterface bus_manager_interface;   /* org.freedesktop.DBus.ObjectManager */
extern const BusInterface bus_properties_interface, bus_introspectable_interface;
