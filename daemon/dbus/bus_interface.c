/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_interface.h"

#include <string.h>

const char *bus_right_action(BusRight right) {
        static const char *const actions[_BUS_RIGHT_MAX] = {
                [BUS_RIGHT_MONITOR] = "org.virtferry.monitor",
                [BUS_RIGHT_MIGRATE] = "org.virtferry.migrate",
                [BUS_RIGHT_MANAGE] = "org.virtferry.manage",
        };

        return actions[right];
}

const BusMethod *bus_interface_method(const BusInterface *interface, const char *name) {
        for (size_t i = 0; i < interface->n_methods; i++)
                if (strcmp(interface->methods[i].name, name) == 0)
                        return &interface->methods[i];
        return NULL;
}

const BusProperty *bus_interface_property(const BusInterface *interface, const char *name) {
        for (size_t i = 0; i < interface->n_properties; i++)
                if (strcmp(interface->properties[i].name, name) == 0)
                        return &interface->properties[i];
        return NULL;
}

bool bus_interface_emits(const BusInterface *interface, const BusProperty *property) {
        const char *emits = property->emits ? property->emits : interface->emits;

        return !emits || strcmp(emits, "true") == 0;
}

size_t bus_signature_first(const char *signature) {
        size_t length = 0, inside = 0;

        while (signature[length] == 'a')
                length++;
        do {
                char c = signature[length];

                if (!c)
                        return 0;
                if (c == '(' || c == '{')
                        inside++;
                else if ((c == ')' || c == '}') && inside > 0)
                        inside--;
                length++;
        } while (inside > 0);
        return length;
}

/* direction NULL: of a signal. */
static void add_args(GString *xml, const char *signature, const char *names, const char *direction) {
        g_auto(GStrv) list = g_strsplit(names ? names : "", ",", -1);

        for (unsigned i = 0; *signature; i++) {
                size_t length = bus_signature_first(signature);

                g_assert(length > 0 && list[i]);
                g_string_append_printf(xml, "      <arg name=\"%s\" type=\"%.*s\"", list[i], (int) length, signature);
                if (direction)
                        g_string_append_printf(xml, " direction=\"%s\"", direction);
                g_string_append(xml, "/>\n");
                signature += length;
        }
}

static void add_emits(GString *xml, const char *indent, const char *value) {
        g_string_append_printf(
                xml, "%s<annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"%s\"/>\n", indent,
                value);
}

static void add_method(GString *xml, const BusMethod *method) {
        if (!*method->in && !*method->out) {
                g_string_append_printf(xml, "    <method name=\"%s\"/>\n", method->name);
                return;
        }
        g_string_append_printf(xml, "    <method name=\"%s\">\n", method->name);
        add_args(xml, method->in, method->in_names, "in");
        add_args(xml, method->out, method->out_names, "out");
        g_string_append(xml, "    </method>\n");
}

static void add_property(GString *xml, const BusProperty *property) {
        g_string_append_printf(xml, "    <property name=\"%s\" type=\"%s\" access=\"%s\"", property->name,
                               property->signature, property->set ? "readwrite" : "read");
        if (!property->emits) {
                g_string_append(xml, "/>\n");
                return;
        }
        g_string_append(xml, ">\n");
        add_emits(xml, "      ", property->emits);
        g_string_append(xml, "    </property>\n");
}

void bus_interface_introspect(const BusInterface *interface, GString *xml) {
        g_string_append_printf(xml, "  <interface name=\"%s\">\n", interface->name);
        if (interface->emits)
                add_emits(xml, "    ", interface->emits);
        for (size_t i = 0; i < interface->n_methods; i++)
                add_method(xml, &interface->methods[i]);
        for (size_t i = 0; i < interface->n_properties; i++)
                add_property(xml, &interface->properties[i]);
        for (size_t i = 0; i < interface->n_signals; i++) {
                const BusSignal *signal = &interface->signals[i];

                g_string_append_printf(xml, "    <signal name=\"%s\"%s>\n", signal->name,
                                       *signal->signature ? "" : "/");
                if (!*signal->signature)
                        continue;
                add_args(xml, signal->signature, signal->names, NULL);
                g_string_append(xml, "    </signal>\n");
        }
        g_string_append(xml, "  </interface>\n");
}
