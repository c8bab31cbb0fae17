/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.libvirt.Domain: names and signatures are libvirt-dbus' own. Jobs and migration are in bus_domain_job.c. */

#include "daemon/dbus/bus_domain.h"

#include "daemon/dbus/bus_util.h"

/* ---- properties ---- */

static int get_ref(BusCall *call, DomainRef *ret_ref, GError **reterr) {
        return driver_lookup_uuid(call->driver, call->object.uuid, ret_ref, reterr);
}

BUS_GET(get_active) {
        g_auto(DomainRef) ref = { 0 };
        int r = get_ref(call, &ref, reterr);

        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "b", ref.id >= 0), reterr);
}

BUS_GET(get_autostart) {
        bool on = false;
        int r = driver_domain_get_autostart(call->driver, call->object.uuid, &on, reterr);

        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "b", on), reterr);
}

static int set_autostart(BusCall *call, sd_bus_message *message, GError **reterr) {
        int on = 0, r = bus_done(sd_bus_message_read(message, "b", &on), reterr);

        return r < 0 ? r : driver_domain_set_autostart(call->driver, call->object.uuid, on, reterr);
}

BUS_GET(get_id) {
        g_auto(DomainRef) ref = { 0 };
        int r = get_ref(call, &ref, reterr);

        /* An inactive domain's is libvirt's (unsigned) -1. */
        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "u", (uint32_t) ref.id), reterr);
}

BUS_GET(get_name) {
        g_auto(DomainRef) ref = { 0 };
        int r = get_ref(call, &ref, reterr);

        return r < 0 ? r : bus_append_text(reply, ref.name, reterr);
}

BUS_GET(get_os_type) {
        g_autofree char *type = NULL;
        int r = driver_domain_os_type(call->driver, call->object.uuid, &type, reterr);

        return r < 0 ? r : bus_append_text(reply, type, reterr);
}

BUS_GET(get_persistent) {
        bool yes = false;
        int r = driver_domain_is_persistent(call->driver, call->object.uuid, &yes, reterr);

        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "b", yes), reterr);
}

/* No scheduler parameters are offered. */
BUS_GET(get_scheduler_type) {
        return bus_done(sd_bus_message_append(reply, "(si)", "", 0), reterr);
}

BUS_GET(get_updated) {
        bool yes = false;
        int r = driver_domain_is_updated(call->driver, call->object.uuid, &yes, reterr);

        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "b", yes), reterr);
}

BUS_GET(get_uuid) {
        char text[VIR_UUID_STRING_BUFLEN];

        return bus_append_text(reply, driver_uuid_format(call->object.uuid, text), reterr);
}

static const BusProperty properties[] = {
        { "Active", "b", NULL, get_active },
        { "Autostart", "b", NULL, get_autostart, set_autostart, BUS_RIGHT_MANAGE },
        { "Id", "u", NULL, get_id },
        { "Name", "s", NULL, get_name },
        { "OSType", "s", NULL, get_os_type },
        { "Persistent", "b", NULL, get_persistent },
        { "SchedulerType", "(si)", NULL, get_scheduler_type },
        { "Updated", "b", NULL, get_updated },
        { "UUID", "s", "const", get_uuid },
};

/* ---- life cycle ---- */

/* The methods that take flags only, and answer nothing. */
typedef int (*FlagsFunc)(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr);

static int with_flags(BusCall *call, sd_bus_message *message, FlagsFunc func, GError **reterr) {
        uint32_t flags = 0;
        int r = bus_read_flags(message, &flags, reterr);

        return r < 0 ? r : func(call->driver, call->object.uuid, flags, reterr);
}

BUS_METHOD(create) {
        uint32_t flags = 0;
        int r = bus_read_flags(message, &flags, reterr);

        return r < 0 ? r : driver_domain_create(call->driver, call->object.uuid, flags, NULL, reterr);
}

BUS_METHOD(destroy) {
        return with_flags(call, message, driver_domain_destroy, reterr);
}

BUS_METHOD(reboot) {
        return with_flags(call, message, driver_domain_reboot, reterr);
}

BUS_METHOD(reset) {
        return with_flags(call, message, driver_domain_reset, reterr);
}

BUS_METHOD(resume) {
        return driver_domain_resume(call->driver, call->object.uuid, reterr);
}

BUS_METHOD(domain_shutdown) {
        return with_flags(call, message, driver_domain_shutdown, reterr);
}

BUS_METHOD(suspend) {
        return driver_domain_suspend(call->driver, call->object.uuid, reterr);
}

BUS_METHOD(undefine) {
        return with_flags(call, message, driver_domain_undefine, reterr);
}

BUS_METHOD(set_memory) {
        uint64_t kib = 0;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "tu", &kib, &flags), reterr);

        return r < 0 ? r : driver_domain_set_memory(call->driver, call->object.uuid, kib, flags, reterr);
}

BUS_METHOD(set_memory_stats_period) {
        int32_t seconds = 0;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "iu", &seconds, &flags), reterr);

        return r < 0 ? r
                     : driver_domain_set_memory_stats_period(call->driver, call->object.uuid, seconds, flags, reterr);
}

/* ---- save images ---- */

BUS_METHOD(has_managed_save_image) {
        uint32_t flags = 0;
        bool yes = false;
        int r = bus_read_flags(message, &flags, reterr);

        if (r >= 0)
                r = driver_domain_has_managed_save(call->driver, call->object.uuid, flags, &yes, reterr);
        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "b", yes), reterr);
}

BUS_METHOD(managed_save) {
        uint32_t flags = 0;
        int r = bus_read_flags(message, &flags, reterr);

        return r < 0 ? r
                     : driver_domain_save(call->driver, call->object.uuid, &(DriverSaveArgs){ .flags = flags }, reterr);
}

BUS_METHOD(managed_save_remove) {
        return with_flags(call, message, driver_domain_remove_managed_save, reterr);
}

BUS_METHOD(save) {
        const char *to = NULL, *xml = NULL;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "ssu", &to, &xml, &flags), reterr);

        if (r < 0)
                return r;
        return driver_domain_save(call->driver, call->object.uuid,
                                  &(DriverSaveArgs) { .path = to, .xml = bus_optional(xml), .flags = flags }, reterr);
}

/* ---- what a domain is and does ---- */

BUS_METHOD(get_control_info) {
        virDomainControlInfo info = { 0 };
        uint32_t flags = 0;
        int r = bus_read_flags(message, &flags, reterr);

        if (r >= 0)
                r = bus_no_flags(flags, "domcontrol", reterr);
        if (r >= 0)
                r = driver_domain_control_info(call->driver, call->object.uuid, &info, reterr);
        if (r < 0)
                return r;
        return bus_done(sd_bus_message_append(reply, "(uut)", info.state, info.details, (uint64_t) info.stateTime),
                        reterr);
}

BUS_METHOD(get_security_label_list) {
        g_auto(DomainRef) ref = { 0 };
        int r = get_ref(call, &ref, reterr);

        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "a(sb)", 0), reterr);
}

BUS_METHOD(get_state) {
        int state = 0, reason = 0;
        uint32_t flags = 0;
        int r = bus_read_flags(message, &flags, reterr);

        if (r >= 0)
                r = bus_no_flags(flags, "domstate", reterr);
        if (r >= 0)
                r = driver_domain_state(call->driver, call->object.uuid, &state, &reason, reterr);
        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "(ii)", state, reason), reterr);
}

BUS_METHOD(get_stats) {
        unsigned char uuids[1][VIR_UUID_BUFLEN];
        DriverStatsRecord *records = NULL;
        uint32_t stats = 0, flags = 0;
        unsigned n = 0;
        int r = bus_done(sd_bus_message_read(message, "uu", &stats, &flags), reterr);

        memcpy(uuids[0], call->object.uuid, sizeof(uuids[0]));
        if (r >= 0)
                r = driver_domain_stats(call->driver, (const unsigned char(*)[VIR_UUID_BUFLEN]) uuids, 1, stats, flags,
                                        &records, &n, reterr);
        if (r < 0)
                return r;
        r = bus_dict_append(reply, n > 0 ? records[0].params : NULL, n > 0 ? records[0].n_params : 0);
        driver_stats_free(records, n);
        return bus_done(r, reterr);
}

BUS_METHOD(get_vcpus) {
        uint32_t flags = 0;
        int n = 0, r = bus_read_flags(message, &flags, reterr);

        if (r >= 0)
                r = driver_domain_vcpu_count(call->driver, call->object.uuid, flags, &n, reterr);
        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "u", (uint32_t) n), reterr);
}

/* One list of booleans for each vCPU, one boolean for each CPU of the host. */
static int append_pins(sd_bus_message *reply, const unsigned char *maps, unsigned n, unsigned map_bytes, int cpus) {
        int r = sd_bus_message_open_container(reply, 'a', "ab");

        for (unsigned i = 0; r >= 0 && i < n; i++) {
                r = sd_bus_message_open_container(reply, 'a', "b");
                for (int cpu = 0; r >= 0 && cpu < cpus; cpu++)
                        r = sd_bus_message_append(reply, "b", maps[i * map_bytes + (unsigned) cpu / 8] >> cpu % 8 & 1);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

BUS_METHOD(get_vcpu_pin_info) {
        g_autofree unsigned char *host = NULL, *maps = NULL;
        int map_bytes = 0, cpus = 0, vcpus = 0;
        unsigned online = 0, n = 0;
        uint32_t flags = 0;
        int r = bus_read_flags(message, &flags, reterr);

        if (r >= 0)
                r = driver_node_cpu_map(call->driver, &host, &map_bytes, &online, &cpus, reterr);
        if (r >= 0)
                r = driver_domain_vcpu_count(call->driver, call->object.uuid, VIR_DOMAIN_VCPU_MAXIMUM, &vcpus, reterr);
        if (r >= 0)
                r = driver_domain_vcpu_pins(call->driver, call->object.uuid, flags, (unsigned) vcpus,
                                            (unsigned) map_bytes, &maps, &n, reterr);
        return r < 0 ? r
                     : bus_done(append_pins(reply, maps, n, (unsigned) map_bytes, MIN(cpus, map_bytes * 8)), reterr);
}

BUS_METHOD(get_xml_desc) {
        g_autofree char *xml = NULL;
        uint32_t flags = 0;
        int r = bus_read_flags(message, &flags, reterr);

        /* Passwords are not for those who may only look. */
        if (r >= 0 && flags & VIR_DOMAIN_XML_SECURE)
                r = bus_call_require(call, BUS_RIGHT_MANAGE, reterr);
        if (r >= 0)
                r = driver_domain_xml(call->driver, call->object.uuid, flags, &xml, reterr);
        return r < 0 ? r : bus_append_text(reply, xml, reterr);
}

BUS_METHOD(memory_stats) {
        virDomainMemoryStatStruct stats[VIR_DOMAIN_MEMORY_STAT_NR];
        uint32_t flags = 0;
        unsigned n = 0;
        int r = bus_read_flags(message, &flags, reterr);

        if (r >= 0)
                r = bus_no_flags(flags, "dommemstat", reterr);
        if (r >= 0)
                r = driver_domain_memory_stats(call->driver, call->object.uuid, stats, G_N_ELEMENTS(stats), &n, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "{it}");
        for (unsigned i = 0; r >= 0 && i < n; i++)
                r = sd_bus_message_append(reply, "{it}", stats[i].tag, (uint64_t) stats[i].val);
        return bus_done(r < 0 ? r : sd_bus_message_close_container(reply), reterr);
}

static const BusMethod methods[] = {
        { "AbortJob", "", NULL, "", NULL, BUS_RIGHT_MIGRATE, bus_domain_abort_job },
        { "Create", "u", "flags", "", NULL, BUS_RIGHT_MANAGE, create },
        { "Destroy", "u", "flags", "", NULL, BUS_RIGHT_MANAGE, destroy },
        { "GetControlInfo", "u", "flags", "(uut)", "controlInfo", BUS_RIGHT_MONITOR, get_control_info },
        { "GetJobInfo", "", NULL, "(ittttttttttt)", "jobInfo", BUS_RIGHT_MONITOR, bus_domain_get_job_info },
        { "GetJobStats", "u", "flags", "(ia{sv})", "stats", BUS_RIGHT_MONITOR, bus_domain_get_job_stats },
        { "GetSecurityLabelList", "", NULL, "a(sb)", "securityLabels", BUS_RIGHT_MONITOR, get_security_label_list },
        { "GetState", "u", "flags", "(ii)", "state", BUS_RIGHT_MONITOR, get_state },
        { "GetStats", "uu", "stats,flags", "a{sv}", "records", BUS_RIGHT_MONITOR, get_stats },
        { "GetVcpuPinInfo", "u", "flags", "aab", "vcpuPinInfo", BUS_RIGHT_MONITOR, get_vcpu_pin_info },
        { "GetVcpus", "u", "flags", "u", "vcpus", BUS_RIGHT_MONITOR, get_vcpus },
        { "GetXMLDesc", "u", "flags", "s", "xml", BUS_RIGHT_MONITOR, get_xml_desc },
        { "HasManagedSaveImage", "u", "flags", "b", "managedSaveImage", BUS_RIGHT_MONITOR, has_managed_save_image },
        { "ManagedSave", "u", "flags", "", NULL, BUS_RIGHT_MANAGE, managed_save },
        { "ManagedSaveRemove", "u", "flags", "", NULL, BUS_RIGHT_MANAGE, managed_save_remove },
        { "MemoryStats", "u", "flags", "a{it}", "stats", BUS_RIGHT_MONITOR, memory_stats },
        { "MigrateGetMaxSpeed", "u", "flags", "t", "bandwidth", BUS_RIGHT_MONITOR, bus_domain_get_max_speed },
        { "MigrateSetMaxDowntime", "tu", "downtime,flags", "", NULL, BUS_RIGHT_MIGRATE, bus_domain_set_max_downtime },
        { "MigrateSetMaxSpeed", "tu", "bandwidth,flags", "", NULL, BUS_RIGHT_MIGRATE, bus_domain_set_max_speed },
        { "MigrateStartPostCopy", "u", "flags", "", NULL, BUS_RIGHT_MIGRATE, bus_domain_start_postcopy },
        { "MigrateToURI3", "sa{sv}u", "dconuri,params,flags", "", NULL, BUS_RIGHT_MIGRATE, bus_domain_migrate_to_uri3 },
        { "Reboot", "u", "flags", "", NULL, BUS_RIGHT_MANAGE, reboot },
        { "Reset", "u", "flags", "", NULL, BUS_RIGHT_MANAGE, reset },
        { "Resume", "", NULL, "", NULL, BUS_RIGHT_MANAGE, resume },
        { "Save", "ssu", "to,xml,flags", "", NULL, BUS_RIGHT_MANAGE, save },
        { "SetMemory", "tu", "memory,flags", "", NULL, BUS_RIGHT_MANAGE, set_memory },
        { "SetMemoryStatsPeriod", "iu", "period,flags", "", NULL, BUS_RIGHT_MANAGE, set_memory_stats_period },
        { "Shutdown", "u", "flags", "", NULL, BUS_RIGHT_MANAGE, domain_shutdown },
        { "Suspend", "", NULL, "", NULL, BUS_RIGHT_MANAGE, suspend },
        { "Undefine", "u", "flags", "", NULL, BUS_RIGHT_MANAGE, undefine },
};

static const BusSignal signals[] = {
        { "AgentEvent", "ii", "state,reason" },
        { "BalloonChange", "t", "actual" },
        { "DeviceAdded", "s", "device" },
        { "DeviceRemoved", "s", "device" },
        { "IOError", "ssis", "srcPath,device,action,reason" },
        { "JobCompleted", "a{sv}", "params" },
        { "MigrationIteration", "i", "iteration" },
        { "RTCChange", "x", "utcoffset" },
        { "Reboot", "", NULL },
        { "Watchdog", "i", "action" },
};

const BusInterface bus_domain_interface = {
        .name = "org.libvirt.Domain",
        .emits = "false",
        .methods = methods,
        .n_methods = G_N_ELEMENTS(methods),
        .properties = properties,
        .n_properties = G_N_ELEMENTS(properties),
        .signals = signals,
        .n_signals = G_N_ELEMENTS(signals),
};
