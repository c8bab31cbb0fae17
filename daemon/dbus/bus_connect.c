/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.libvirt.Connect: names and signatures are libvirt-dbus' own. */

#include "daemon/dbus/bus_util.h"

static int append_domain(sd_bus_message *reply, const DomainRef *ref, GError **reterr) {
        char path[BUS_PATH_SIZE];

        return bus_done(sd_bus_message_append(reply, "o", bus_domain_path(ref->uuid, path)), reterr);
}

/* ---- properties ---- */

/* The bus is neither. */
BUS_GET(get_encrypted) {
        return bus_done(sd_bus_message_append(reply, "b", 0), reterr);
}

BUS_GET(get_secure) {
        return bus_done(sd_bus_message_append(reply, "b", 1), reterr);
}

BUS_GET(get_hostname) {
        g_autofree char *name = driver_hostname(call->driver);

        return bus_append_text(reply, name, reterr);
}

BUS_GET(get_lib_version) {
        unsigned long version = 0;

        if (virGetVersion(&version, NULL, NULL) < 0)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("libvirt's library does not tell its version"));
        return bus_done(sd_bus_message_append(reply, "t", (uint64_t) version), reterr);
}

BUS_GET(get_version) {
        uint64_t version = 0;
        int r = driver_hypervisor_version(call->driver, &version, reterr);

        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "t", version), reterr);
}

static const BusProperty properties[] = {
        { "Encrypted", "b", "const", get_encrypted },
        { "Hostname", "s", NULL, get_hostname },
        { "LibVersion", "t", NULL, get_lib_version },
        { "Secure", "b", "const", get_secure },
        { "Version", "t", NULL, get_version },
};

/* ---- domains ---- */

BUS_METHOD(domain_create_xml) {
        g_auto(DomainRef) ref = { 0 };
        const char *xml = NULL;
        uint32_t flags = 0;
        int r = bus_read_string(message, &xml, reterr);

        if (r >= 0)
                r = bus_done(sd_bus_message_read(message, "u", &flags), reterr);
        if (r >= 0)
                r = driver_domain_create_xml(call->driver, xml, flags, &ref, reterr);
        return r < 0 ? r : append_domain(reply, &ref, reterr);
}

BUS_METHOD(domain_define_xml) {
        g_auto(DomainRef) ref = { 0 };
        const char *xml = NULL;
        int r = bus_read_string(message, &xml, reterr);

        if (r >= 0)
                r = driver_domain_define(call->driver, xml, 0, &ref, reterr);
        return r < 0 ? r : append_domain(reply, &ref, reterr);
}

BUS_METHOD(domain_lookup_by_id) {
        g_auto(DomainRef) ref = { 0 };
        int32_t id = 0;
        int r = bus_done(sd_bus_message_read(message, "i", &id), reterr);

        if (r >= 0)
                r = driver_lookup_id(call->driver, id, &ref, reterr);
        return r < 0 ? r : append_domain(reply, &ref, reterr);
}

BUS_METHOD(domain_lookup_by_name) {
        g_auto(DomainRef) ref = { 0 };
        const char *name = NULL;
        int r = bus_read_string(message, &name, reterr);

        if (r >= 0)
                r = driver_lookup_name(call->driver, name, &ref, reterr);
        return r < 0 ? r : append_domain(reply, &ref, reterr);
}

BUS_METHOD(domain_lookup_by_uuid) {
        g_auto(DomainRef) ref = { 0 };
        unsigned char uuid[VIR_UUID_BUFLEN];
        const char *text = NULL;
        int r = bus_read_string(message, &text, reterr);

        if (r >= 0 && driver_uuid_parse(text, uuid) < 0)
                r = error_set(reterr, VIR_ERR_INVALID_ARG, _("'%.64s' is no uuid"), text);
        if (r >= 0)
                r = driver_lookup_uuid(call->driver, uuid, &ref, reterr);
        return r < 0 ? r : append_domain(reply, &ref, reterr);
}

BUS_METHOD(domain_restore) {
        const char *from = NULL, *xml = NULL;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "ssu", &from, &xml, &flags), reterr);

        if (r < 0)
                return r;
        return driver_domain_restore(call->driver,
                                     &(DriverSaveArgs){ .path = from, .xml = bus_optional(xml), .flags = flags },
                                     reterr);
}

BUS_METHOD(domain_save_image_define_xml) {
        const char *file = NULL, *xml = NULL;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "ssu", &file, &xml, &flags), reterr);

        return r < 0 ? r : driver_save_image_define(call->driver, NULL, file, xml, flags, reterr);
}

/* The image may be any file, so this is not for those who may only look. */
BUS_METHOD(domain_save_image_get_xml_desc) {
        g_autofree char *xml = NULL;
        const char *file = NULL;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "su", &file, &flags), reterr);

        if (r >= 0)
                r = driver_save_image_xml(call->driver, NULL, file, flags, &xml, reterr);
        return r < 0 ? r : bus_append_text(reply, xml, reterr);
}

BUS_METHOD(list_domains) {
        DomainRef *refs = NULL;
        unsigned n = 0;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "u", &flags), reterr);

        if (r >= 0)
                r = driver_list_domains(call->driver, flags, &refs, &n, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "o");
        for (unsigned i = 0; r >= 0 && i < n; i++) {
                char path[BUS_PATH_SIZE];

                r = sd_bus_message_append(reply, "o", bus_domain_path(refs[i].uuid, path));
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        domain_refs_free(refs, n);
        return bus_done(r, reterr);
}

BUS_METHOD(get_all_domain_stats) {
        DriverStatsRecord *records = NULL;
        unsigned n = 0;
        uint32_t stats = 0, flags = 0;
        int r = bus_done(sd_bus_message_read(message, "uu", &stats, &flags), reterr);

        if (r >= 0)
                r = driver_domain_stats(call->driver, NULL, 0, stats, flags, &records, &n, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(sa{sv})");
        for (unsigned i = 0; r >= 0 && i < n; i++) {
                r = sd_bus_message_open_container(reply, 'r', "sa{sv}");
                if (r >= 0)
                        r = sd_bus_message_append(reply, "s", records[i].domain.name);
                if (r >= 0)
                        r = bus_dict_append(reply, records[i].params, records[i].n_params);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
                if (r >= 0)
                        r = bus_call_give_way(call);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        driver_stats_free(records, n);
        return bus_done(r, reterr);
}

/* ---- the host ---- */

BUS_METHOD(get_capabilities) {
        g_autofree char *xml = NULL;
        int r = driver_capabilities(call->driver, &xml, reterr);

        return r < 0 ? r : bus_append_text(reply, xml, reterr);
}

BUS_METHOD(get_domain_capabilities) {
        const char *emulator = NULL, *arch = NULL, *machine = NULL, *type = NULL;
        g_autofree char *xml = NULL;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "ssssu", &emulator, &arch, &machine, &type, &flags), reterr);

        if (r >= 0)
                r = driver_domain_capabilities(call->driver, bus_optional(emulator), bus_optional(arch),
                                               bus_optional(machine), bus_optional(type), flags, &xml, reterr);
        return r < 0 ? r : bus_append_text(reply, xml, reterr);
}

BUS_METHOD(get_cpu_model_names) {
        g_auto(GStrv) models = NULL;
        const char *arch = NULL;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "su", &arch, &flags), reterr);

        if (r >= 0)
                r = bus_no_flags(flags, "cpu-models", reterr);
        if (r >= 0)
                r = driver_cpu_models(call->driver, arch, &models, reterr);
        return r < 0 ? r : bus_done(sd_bus_message_append_strv(reply, models), reterr);
}

BUS_METHOD(node_get_cpu_map) {
        g_autofree unsigned char *map = NULL;
        int map_bytes = 0, present = 0;
        unsigned online = 0;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "u", &flags), reterr);

        if (r >= 0)
                r = bus_no_flags(flags, "cpu-map", reterr);
        if (r >= 0)
                r = driver_node_cpu_map(call->driver, &map, &map_bytes, &online, &present, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "b");
        for (int i = 0; r >= 0 && i < present && i / 8 < map_bytes; i++)
                r = sd_bus_message_append(reply, "b", map[i / 8] >> i % 8 & 1);
        return bus_done(r < 0 ? r : sd_bus_message_close_container(reply), reterr);
}

BUS_METHOD(node_get_free_memory) {
        uint64_t bytes = 0;
        int r = driver_node_free_memory(call->driver, &bytes, reterr);

        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "t", bytes), reterr);
}

BUS_METHOD(node_get_memory_stats) {
        g_autofree virNodeMemoryStats *stats = NULL;
        int32_t cell = 0;
        uint32_t flags = 0;
        int n = 0, r = bus_done(sd_bus_message_read(message, "iu", &cell, &flags), reterr);

        if (r >= 0)
                r = bus_no_flags(flags, "nodememstats", reterr);
        if (r >= 0)
                r = driver_node_memory_stats(call->driver, cell, NULL, &n, reterr);
        if (r >= 0) {
                stats = g_new0(virNodeMemoryStats, n + 1);
                r = driver_node_memory_stats(call->driver, cell, stats, &n, reterr);
        }
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "{st}");
        for (int i = 0; r >= 0 && i < n; i++)
                r = sd_bus_message_append(reply, "{st}", stats[i].field, (uint64_t) stats[i].value);
        return bus_done(r < 0 ? r : sd_bus_message_close_container(reply), reterr);
}

/* Guests run unconfined. */
BUS_METHOD(node_get_security_model) {
        return bus_done(sd_bus_message_append(reply, "(ss)", "none", "0"), reterr);
}

static const BusMethod methods[] = {
        { "DomainCreateXML", "su", "xml,flags", "o", "domain", BUS_RIGHT_MANAGE, domain_create_xml },
        { "DomainDefineXML", "s", "xml", "o", "domain", BUS_RIGHT_MANAGE, domain_define_xml },
        { "DomainLookupByID", "i", "id", "o", "domain", BUS_RIGHT_MONITOR, domain_lookup_by_id },
        { "DomainLookupByName", "s", "name", "o", "domain", BUS_RIGHT_MONITOR, domain_lookup_by_name },
        { "DomainLookupByUUID", "s", "uuid", "o", "domain", BUS_RIGHT_MONITOR, domain_lookup_by_uuid },
        { "DomainRestore", "ssu", "from,xml,flags", "", NULL, BUS_RIGHT_MANAGE, domain_restore },
        { "DomainSaveImageDefineXML", "ssu", "file,xml,flags", "", NULL, BUS_RIGHT_MANAGE,
          domain_save_image_define_xml },
        { "DomainSaveImageGetXMLDesc", "su", "file,flags", "s", "xml", BUS_RIGHT_MANAGE,
          domain_save_image_get_xml_desc },
        { "GetAllDomainStats", "uu", "stats,flags", "a(sa{sv})", "records", BUS_RIGHT_MONITOR, get_all_domain_stats },
        { "GetCapabilities", "", NULL, "s", "capabilities", BUS_RIGHT_MONITOR, get_capabilities },
        { "GetCPUModelNames", "su", "arch,flags", "as", "models", BUS_RIGHT_MONITOR, get_cpu_model_names },
        { "GetDomainCapabilities", "ssssu", "emulatorbin,arch,machine,virttype,flags", "s", "domCapabilities",
          BUS_RIGHT_MONITOR, get_domain_capabilities },
        { "ListDomains", "u", "flags", "ao", "domains", BUS_RIGHT_MONITOR, list_domains },
        { "NodeGetCPUMap", "u", "flags", "ab", "res", BUS_RIGHT_MONITOR, node_get_cpu_map },
        { "NodeGetFreeMemory", "", NULL, "t", "freemem", BUS_RIGHT_MONITOR, node_get_free_memory },
        { "NodeGetMemoryStats", "iu", "cellNum,flags", "a{st}", "stats", BUS_RIGHT_MONITOR, node_get_memory_stats },
        { "NodeGetSecurityModel", "", NULL, "(ss)", "secModel", BUS_RIGHT_MONITOR, node_get_security_model },
};

static const BusSignal signals[] = {
        { "DomainEvent", "oii", "domain,event,detail" },
};

const BusInterface bus_connect_interface = {
        .name = "org.libvirt.Connect",
        .emits = "false",
        .methods = methods,
        .n_methods = G_N_ELEMENTS(methods),
        .properties = properties,
        .n_properties = G_N_ELEMENTS(properties),
        .signals = signals,
        .n_signals = G_N_ELEMENTS(signals),
};
