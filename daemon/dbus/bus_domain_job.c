/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A domain's jobs: what org.libvirt.Domain has for them, and org.virtferry.Domain1. */

#include "daemon/dbus/bus_domain.h"
#include "daemon/dbus/bus_util.h"

int bus_domain_abort_job(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        return driver_domain_job_abort(call->driver, call->object.uuid, 0, reterr);
}

int bus_domain_get_job_info(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        virDomainJobInfo info = { 0 };
        int r = driver_domain_job_info(call->driver, call->object.uuid, &info, reterr);

        if (r < 0)
                return r;
        r = sd_bus_message_append(reply, "(ittttttttttt)", info.type, (uint64_t) info.timeElapsed,
                                  (uint64_t) info.timeRemaining, (uint64_t) info.dataTotal,
                                  (uint64_t) info.dataProcessed, (uint64_t) info.dataRemaining,
                                  (uint64_t) info.memTotal, (uint64_t) info.memProcessed, (uint64_t) info.memRemaining,
                                  (uint64_t) info.fileTotal, (uint64_t) info.fileProcessed,
                                  (uint64_t) info.fileRemaining);
        return bus_done(r, reterr);
}

int bus_domain_get_job_stats(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        virTypedParameterPtr params = NULL;
        uint32_t flags = 0;
        int type = 0, n = 0, r = bus_read_flags(message, &flags, reterr);

        if (r >= 0)
                r = driver_domain_job_stats(call->driver, call->object.uuid, flags, &type, &params, &n, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'r', "ia{sv}");
        if (r >= 0)
                r = sd_bus_message_append(reply, "i", type);
        if (r >= 0)
                r = bus_dict_append(reply, params, n);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        virTypedParamsFree(params, n);
        return bus_done(r, reterr);
}

int bus_domain_get_max_speed(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        uint64_t mib = 0;
        uint32_t flags = 0;
        int r = bus_read_flags(message, &flags, reterr);

        if (r >= 0)
                r = driver_migrate_get_max_speed(call->driver, call->object.uuid, &mib, flags, reterr);
        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "t", mib), reterr);
}

int bus_domain_set_max_speed(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        uint64_t mib = 0;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "tu", &mib, &flags), reterr);

        return r < 0 ? r : driver_migrate_set_max_speed(call->driver, call->object.uuid, mib, flags, reterr);
}

int bus_domain_set_max_downtime(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        uint64_t msec = 0;
        uint32_t flags = 0;
        int r = bus_done(sd_bus_message_read(message, "tu", &msec, &flags), reterr);

        return r < 0 ? r : driver_migrate_set_max_downtime(call->driver, call->object.uuid, msec, flags, reterr);
}

int bus_domain_start_postcopy(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        uint32_t flags = 0;
        int r = bus_read_flags(message, &flags, reterr);

        return r < 0 ? r : driver_migrate_start_postcopy(call->driver, call->object.uuid, flags, reterr);
}

/* ---- migrating ---- */

int bus_domain_migrate_to_uri3(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr) {
        DriverMigrateArgs args = { 0 };
        DriverCookie cookie = { 0 };
        const char *uri = NULL;
        uint32_t flags = 0;
        int r = bus_read_string(message, &uri, reterr);

        if (r >= 0)
                r = bus_dict_read(message, NULL, NULL, &args.params, &args.n_params, reterr);
        if (r >= 0)
                r = bus_read_flags(message, &flags, reterr);
        if (r >= 0 && !(flags & VIR_MIGRATE_PEER2PEER))
                r = error_set(reterr, VIR_ERR_ARGUMENT_UNSUPPORTED,
                              _("a migration over D-Bus is one between the daemons: set VIR_MIGRATE_PEER2PEER (2)"));
        if (r >= 0) {
                args.flags = flags;
                r = driver_migrate_perform(call->driver, call->object.uuid, uri, &args, &cookie, reterr);
                g_free(cookie.data);
        }
        virTypedParamsFree(args.params, args.n_params);
        return r;
}

/* Named as virsh's options. */
static const BusDictFlag migrate_flags[] = {
        { "live", VIR_MIGRATE_LIVE },
        { "persistent", VIR_MIGRATE_PERSIST_DEST },
        { "undefinesource", VIR_MIGRATE_UNDEFINE_SOURCE },
        { "suspend", VIR_MIGRATE_PAUSED },
        { "unsafe", VIR_MIGRATE_UNSAFE },
        { "abort-on-error", VIR_MIGRATE_ABORT_ON_ERROR },
        { "auto-converge", VIR_MIGRATE_AUTO_CONVERGE },
        { "postcopy", VIR_MIGRATE_POSTCOPY },
        { NULL },
};

BUS_METHOD(migrate) {
        DriverMigrateArgs args = { 0 };
        unsigned flags = VIR_MIGRATE_LIVE;
        char path[BUS_PATH_SIZE];
        const char *uri = NULL;
        uint64_t number = 0;
        int r = bus_read_string(message, &uri, reterr);

        if (r >= 0)
                r = bus_dict_read(message, migrate_flags, &flags, &args.params, &args.n_params, reterr);
        if (r >= 0) {
                args.flags = flags | VIR_MIGRATE_PEER2PEER;
                r = driver_migration_job_start(call->driver, call->object.uuid, uri, &args, &number, reterr);
        }
        virTypedParamsFree(args.params, args.n_params);
        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "o", bus_job_path(number, path)), reterr);
}

static const BusMethod methods[] = {
        { "Migrate", "sa{sv}", "dest_uri,options", "o", "job", BUS_RIGHT_MIGRATE, migrate },
};

const BusInterface bus_ferry_interface = {
        .name = "org.virtferry.Domain1",
        .methods = methods,
        .n_methods = G_N_ELEMENTS(methods),
};
