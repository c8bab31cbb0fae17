/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The standard interfaces: Properties, Introspectable, ObjectManager. */

#include "daemon/dbus/bus_call.h"
#include "daemon/dbus/bus_error.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"

/* ---- org.freedesktop.DBus.Properties ---- */

static int find_property(BusCall *call, const char *interface_name, const char *name,
                         const BusProperty **ret_property, GError **reterr) {
        const BusInterface *interface = bus_object_interface(call->object.kind, interface_name);

        if (!interface)
                return bus_fault_set(reterr, BUS_FAULT_UNKNOWN_INTERFACE, _("the object has no interface '%s'"),
                                     interface_name);
        *ret_property = bus_interface_property(interface, name);
        if (!*ret_property)
                return bus_fault_set(reterr, BUS_FAULT_UNKNOWN_PROPERTY, _("interface '%s' has no property '%s'"),
                                     interface_name, name);
        return 0;
}

static int properties_get(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        const char *interface_name = NULL, *name = NULL;
        const BusProperty *property = NULL;
        int r = sd_bus_message_read(message, "ss", &interface_name, &name);

        if (r < 0)
                return bus_fault_message(reterr, r);
        r = find_property(call, interface_name, name, &property, reterr);
        return r < 0 ? r : bus_append_property(call, property, reply, reterr);
}

static int properties_get_all(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        const char *interface_name = NULL;
        const BusInterface *interface;
        int r = sd_bus_message_read(message, "s", &interface_name);

        if (r < 0)
                return bus_fault_message(reterr, r);
        interface = bus_object_interface(call->object.kind, interface_name);
        if (!interface)
                return bus_fault_set(reterr, BUS_FAULT_UNKNOWN_INTERFACE, _("the object has no interface '%s'"),
                                     interface_name);
        return bus_append_properties(call, interface, false, reply, reterr);
}

static int properties_set(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        const char *interface_name = NULL, *name = NULL;
        const BusProperty *property = NULL;
        int r = sd_bus_message_read(message, "ss", &interface_name, &name);

        if (r < 0)
                return bus_fault_message(reterr, r);
        r = find_property(call, interface_name, name, &property, reterr);
        if (r < 0)
                return r;
        if (!property->set)
                return bus_fault_set(reterr, BUS_FAULT_READ_ONLY, _("property '%s' cannot be set"), name);
        r = bus_call_require(call, property->set_right, reterr);
        if (r < 0)
                return r;
        if (sd_bus_message_enter_container(message, 'v', property->signature) <= 0)
                return bus_fault_set(reterr, BUS_FAULT_INVALID_ARGS, _("property '%s' has type '%s'"), name,
                                     property->signature);
        return property->set(call, message, reterr);
}

static const BusMethod properties_methods[] = {
        { "Get", "ss", "interface_name,property_name", "v", "value", BUS_RIGHT_MONITOR, properties_get },
        { "GetAll", "s", "interface_name", "a{sv}", "properties", BUS_RIGHT_MONITOR, properties_get_all },
        { "Set", "ssv", "interface_name,property_name,value", "", NULL, BUS_RIGHT_MONITOR, properties_set },
};
static const BusSignal properties_signals[] = {
        { "PropertiesChanged", "sa{sv}as", "interface_name,changed_properties,invalidated_properties" },
};
const BusInterface bus_properties_interface = {
        .name = "org.freedesktop.DBus.Properties",
        .methods = properties_methods,
        .n_methods = G_N_ELEMENTS(properties_methods),
        .signals = properties_signals,
        .n_signals = G_N_ELEMENTS(properties_signals),
};

/* ---- children ---- */

/* The names below an object, as they stand in its path. */
static int child_names(BusCall *call, GPtrArray *names, GError **reterr) {
        char path[BUS_PATH_SIZE];
        int r = 0;

        if (call->object.kind == BUS_OBJECT_ROOT) {
                g_ptr_array_add(names, g_strdup("domain"));
                g_ptr_array_add(names, g_strdup("job"));
        } else if (call->object.kind == BUS_OBJECT_DOMAINS) {
                DomainRef *refs = NULL;
                unsigned n = 0;

                r = driver_list_domains(call->driver, 0, &refs, &n, reterr);
                for (unsigned i = 0; r >= 0 && i < n; i++)
                        g_ptr_array_add(names, g_path_get_basename(bus_domain_path(refs[i].uuid, path)));
                domain_refs_free(refs, n);
        } else if (call->object.kind == BUS_OBJECT_JOBS) {
                g_autofree uint64_t *numbers = NULL;
                unsigned n = 0;

                r = driver_migration_jobs(call->driver, &numbers, &n, reterr);
                for (unsigned i = 0; r >= 0 && i < n; i++)
                        g_ptr_array_add(names, g_path_get_basename(bus_job_path(numbers[i], path)));
        }
        return r;
}

/* ---- org.freedesktop.DBus.Introspectable ---- */

static int check_exists(BusCall *call, GError **reterr) {
        g_auto(DomainRef) ref = { 0 };
        const DriverJobInfo *info;

        if (call->object.kind == BUS_OBJECT_DOMAIN)
                return driver_lookup_uuid(call->driver, call->object.uuid, &ref, reterr);
        return call->object.kind == BUS_OBJECT_JOB ? bus_call_job(call, &info, reterr) : 0;
}

static int introspect(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GString) xml = g_string_new(NULL);
        int r = check_exists(call, reterr);

        if (r >= 0)
                r = child_names(call, names, reterr);
        if (r < 0)
                return r;
        g_string_append(xml, "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n"
                             "\"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n");
        bus_interface_introspect(&bus_introspectable_interface, xml);
        bus_interface_introspect(&bus_properties_interface, xml);
        for (const BusInterface *const *p = bus_object_interfaces(call->object.kind); *p; p++)
                bus_interface_introspect(*p, xml);
        for (guint i = 0; i < names->len; i++)
                g_string_append_printf(xml, "  <node name=\"%s\"/>\n", (const char *) g_ptr_array_index(names, i));
        g_string_append(xml, "</node>\n");
        r = sd_bus_message_append(reply, "s", xml->str);
        return r < 0 ? bus_fault_message(reterr, r) : 0;
}

static const BusMethod introspectable_methods[] = {
        { "Introspect", "", NULL, "s", "xml_data", BUS_RIGHT_MONITOR, introspect },
};
const BusInterface bus_introspectable_interface = {
        .name = "org.freedesktop.DBus.Introspectable",
        .methods = introspectable_methods,
        .n_methods = G_N_ELEMENTS(introspectable_methods),
};

/* ---- org.freedesktop.DBus.ObjectManager ---- */

/* One entry of GetManagedObjects. What has gone in between is left out. */
static int append_object(BusCall *parent, const BusObject *object, sd_bus_message *reply, GError **reterr) {
        BusCall call = { .service = parent->service, .driver = parent->driver, .object = *object };
        g_autoptr(GError) gone = NULL;
        char path[BUS_PATH_SIZE];
        int r = check_exists(&call, &gone);

        if (r >= 0) {
                r = sd_bus_message_open_container(reply, 'e', "oa{sa{sv}}");
                if (r >= 0)
                        r = sd_bus_message_append_basic(reply, 'o', bus_object_path(object, path));
                if (r >= 0)
                        r = bus_append_interfaces(&call, reply, reterr);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
        } else {
                r = 0;
        }
        bus_call_deinit(&call);
        return r;
}

static int append_domains(BusCall *call, sd_bus_message *reply, GError **reterr) {
        DomainRef *refs = NULL;
        unsigned n = 0;
        int r = driver_list_domains(call->driver, 0, &refs, &n, reterr);

        for (unsigned i = 0; r >= 0 && i < n; i++) {
                BusObject object = { .kind = BUS_OBJECT_DOMAIN };

                memcpy(object.uuid, refs[i].uuid, sizeof(object.uuid));
                r = append_object(call, &object, reply, reterr);
                if (r >= 0)
                        r = bus_call_give_way(call);
        }
        domain_refs_free(refs, n);
        return r;
}

static int append_jobs(BusCall *call, sd_bus_message *reply, GError **reterr) {
        g_autofree uint64_t *numbers = NULL;
        unsigned n = 0;
        int r = driver_migration_jobs(call->driver, &numbers, &n, reterr);

        for (unsigned i = 0; r >= 0 && i < n; i++) {
                r = append_object(call, &(BusObject) { .kind = BUS_OBJECT_JOB, .number = numbers[i] }, reply, reterr);
                if (r >= 0)
                        r = bus_call_give_way(call);
        }
        return r;
}

static int get_managed_objects(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        int r = sd_bus_message_open_container(reply, 'a', "{oa{sa{sv}}}");

        if (r >= 0)
                r = append_domains(call, reply, reterr);
        if (r >= 0)
                r = append_jobs(call, reply, reterr);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 && reterr && !*reterr ? bus_fault_message(reterr, r) : r;
}

static const BusMethod manager_methods[] = {
        { "GetManagedObjects", "", NULL, "a{oa{sa{sv}}}", "objects", BUS_RIGHT_MONITOR, get_managed_objects },
};
static const BusSignal manager_signals[] = {
        { "InterfacesAdded", "oa{sa{sv}}", "object,interfaces" },
        { "InterfacesRemoved", "oas", "object,interfaces" },
};
const BusInterface bus_manager_interface = {
        .name = "org.freedesktop.DBus.ObjectManager",
        .methods = manager_methods,
        .n_methods = G_N_ELEMENTS(manager_methods),
        .signals = manager_signals,
        .n_signals = G_N_ELEMENTS(manager_signals),
};
