/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What QEMU's events mean for a domain. Event names and members: QEMU's qapi/run-state.json, block-core.json,
 * char.json. */

#include <string.h>

#include "driver/base/fiber.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/guest/guest.h"
#include "driver/guest/guest_internal.h"
#include "driver/qemu/cmdline.h"
#include "driver/qemu/qmp.h"

#define AGENT_CHANNEL "org.qemu.guest_agent.0"

static void on_stop(GuestManager *manager, Domain *domain, json_object *data) {
        int reason = VIR_DOMAIN_PAUSED_UNKNOWN, detail = VIR_DOMAIN_EVENT_SUSPENDED_PAUSED;

        if (domain->changing_run_state || domain->state != VIR_DOMAIN_RUNNING)
                return;
        /* A disk error or a watchdog told its reason just before. */
        if (domain->stop_hint == VIR_DOMAIN_PAUSED_IOERROR)
                detail = VIR_DOMAIN_EVENT_SUSPENDED_IOERROR;
        else if (domain->stop_hint == VIR_DOMAIN_PAUSED_WATCHDOG)
                detail = VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG;
        if (domain->stop_hint > 0)
                reason = domain->stop_hint;
        domain->stop_hint = 0;
        domain_set_state(domain, VIR_DOMAIN_PAUSED, reason);
        domain_emit_lifecycle(domain, manager->bus, VIR_DOMAIN_EVENT_SUSPENDED, detail);
        guest_save(manager, domain);
}

static void on_resume(GuestManager *manager, Domain *domain, json_object *data) {
        if (domain->changing_run_state || domain->state != VIR_DOMAIN_PAUSED)
                return;
        domain_set_state(domain, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNPAUSED);
        domain_emit_lifecycle(domain, manager->bus, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
        guest_save(manager, domain);
}

/* QEMU waits with a guest that has powered off or crashed: start it from the beginning. */
static void reset_fiber(void *userdata) {
        GuestLink *link = userdata;
        Domain *domain = link->domain;
        g_autoptr(GError) error = NULL;
        Monitor *monitor = domain->qemu ? qemu_monitor(domain->qemu) : NULL;
        const char *next = domain->qemu && domain->live->on_poweroff == LIFECYCLE_ACTION_RESTART ? "pause" : "poweroff";

        /* "pause" was perhaps set for a single reboot. */
        if (monitor && qmp_system_reset(monitor, &error) >= 0 && domain->qemu &&
            qmp_set_action(monitor, NULL, next, &error) >= 0 && domain->qemu)
                guest_run(link->manager, domain, VIR_DOMAIN_RUNNING_BOOTED, -1, &error);
        if (error)
                log_debug("domain '%s' cannot be reset: %s", domain->name, error->message);
        guest_link_free(link);
}

static void reset_soon(GuestManager *manager, Domain *domain) {
        fiber_start(manager->event, "reset", reset_fiber, guest_link_new(manager, domain));
}

static void on_shutdown(GuestManager *manager, Domain *domain, json_object *data) {
        bool by_guest = json_get_bool(data, "guest", true);

        /* Our own doing: guest_end() tells what has to be told. */
        if (domain->stop_detail >= 0)
                return;
        if (domain->reboot_pending || domain->live->on_poweroff == LIFECYCLE_ACTION_RESTART) {
                domain->reboot_pending = false;
                domain_emit(domain, manager->bus, &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_REBOOT });
                reset_soon(manager, domain);
                return;
        }
        domain->stop_detail = VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN;
        domain->stop_reason = VIR_DOMAIN_SHUTOFF_SHUTDOWN;
        domain_set_state(domain, VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTDOWN_UNKNOWN);
        domain_emit_lifecycle(domain, manager->bus, VIR_DOMAIN_EVENT_SHUTDOWN,
                              by_guest ? VIR_DOMAIN_EVENT_SHUTDOWN_GUEST : VIR_DOMAIN_EVENT_SHUTDOWN_HOST);
        guest_save(manager, domain);
}

static void on_reset(GuestManager *manager, Domain *domain, json_object *data) {
        domain_emit(domain, manager->bus, &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_REBOOT });
}

static void on_watchdog(GuestManager *manager, Domain *domain, json_object *data) {
        static const struct {
                const char *name;
                int action;
        } actions[] = {
                { "none", VIR_DOMAIN_EVENT_WATCHDOG_NONE },         { "pause", VIR_DOMAIN_EVENT_WATCHDOG_PAUSE },
                { "reset", VIR_DOMAIN_EVENT_WATCHDOG_RESET },       { "poweroff", VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF },
                { "shutdown", VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN }, { "debug", VIR_DOMAIN_EVENT_WATCHDOG_DEBUG },
                { "inject-nmi", VIR_DOMAIN_EVENT_WATCHDOG_INJECTNMI },
        };
        const char *name = json_get_string(data, "action");

        for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
                if (g_strcmp0(name, actions[i].name) != 0)
                        continue;
                if (actions[i].action == VIR_DOMAIN_EVENT_WATCHDOG_PAUSE)
                        domain->stop_hint = VIR_DOMAIN_PAUSED_WATCHDOG;
                domain_emit(domain, manager->bus,
                            &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_WATCHDOG, .watchdog_action = actions[i].action });
        }
}

/* The disk that an error names: by device alias in newer QEMU's "qom-path", by node name before. */
static const DiskDef *find_disk(const Domain *domain, json_object *data) {
        const char *path = json_get_string(data, "qom-path"), *node = json_get_string(data, "node-name");

        for (guint i = 0; i < domain->live->disks->len; i++) {
                const DiskDef *disk = g_ptr_array_index(domain->live->disks, i);
                g_autofree char *format_node = qemu_cmdline_format_node(disk->source_index);

                if (disk->info.alias && qmp_block_is_device(path, disk->info.alias))
                        return disk;
                if (g_strcmp0(node, format_node) == 0)
                        return disk;
        }
        return NULL;
}

static void on_block_io_error(GuestManager *manager, Domain *domain, json_object *data) {
        const char *action = json_get_string(data, "action");
        const DiskDef *disk = find_disk(domain, data);
        DriverEvent event = { .id = VIR_DOMAIN_EVENT_ID_IO_ERROR };

        event.io_error.source_path = disk && disk->source ? disk->source : "";
        event.io_error.device_alias = disk && disk->info.alias ? disk->info.alias : "";
        event.io_error.reason = json_get_bool(data, "nospace", false) ? "enospc" : "";
        event.io_error.action = VIR_DOMAIN_EVENT_IO_ERROR_REPORT;
        if (g_strcmp0(action, "ignore") == 0)
                event.io_error.action = VIR_DOMAIN_EVENT_IO_ERROR_NONE;
        if (g_strcmp0(action, "stop") == 0) {
                event.io_error.action = VIR_DOMAIN_EVENT_IO_ERROR_PAUSE;
                domain->stop_hint = VIR_DOMAIN_PAUSED_IOERROR;
        }
        domain_emit(domain, manager->bus, &event);
        event.id = VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON;
        domain_emit(domain, manager->bus, &event);
        if (domain->migration)
                manager->migrating_guest_io_error(domain, disk ? disk->target : "?", manager->userdata);
}

static void on_balloon(GuestManager *manager, Domain *domain, json_object *data) {
        uint64_t bytes = json_get_uint64(data, "actual", 0);

        domain->live->memory.current_bytes = bytes;
        domain_emit(domain, manager->bus,
                    &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, .balloon_kib = bytes / 1024 });
        guest_save(manager, domain);
}

static void on_rtc(GuestManager *manager, Domain *domain, json_object *data) {
        domain_emit(domain, manager->bus,
                    &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_RTC_CHANGE,
                                    .rtc_offset = json_get_int64(data, "offset", 0) });
}

static void on_serial_port(GuestManager *manager, Domain *domain, json_object *data) {
        const char *id = json_get_string(data, "id");
        bool open = json_get_bool(data, "open", false);

        for (guint i = 0; i < domain->live->channels->len; i++) {
                CharDef *channel = g_ptr_array_index(domain->live->channels, i);

                if (!channel->info.alias || g_strcmp0(channel->info.alias, id) != 0)
                        continue;
                channel->state = open ? CHANNEL_STATE_CONNECTED : CHANNEL_STATE_DISCONNECTED;
                if (g_strcmp0(channel->name, AGENT_CHANNEL) == 0) {
                        DriverEvent event = { .id = VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE };

                        event.agent.state = open ? VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
                                                 : VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED;
                        event.agent.reason = VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_REASON_CHANNEL;
                        domain_emit(domain, manager->bus, &event);
                }
                guest_save(manager, domain);
        }
}

static void end_crashed_fiber(void *userdata) {
        GuestLink *link = userdata;
        g_autoptr(GError) error = NULL;

        if (guest_end(link->manager, link->domain, 0, VIR_DOMAIN_SHUTOFF_CRASHED, VIR_DOMAIN_EVENT_STOPPED_CRASHED,
                      &error) < 0)
                log_debug("domain '%s' has crashed and cannot be ended: %s", link->domain->name, error->message);
        guest_link_free(link);
}

/* on_crash: restart, preserve (stays as it is, for a look at it), or destroy. */
static void on_panicked(GuestManager *manager, Domain *domain, json_object *data) {
        domain_set_state(domain, VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED);
        domain_emit_lifecycle(domain, manager->bus, VIR_DOMAIN_EVENT_CRASHED, VIR_DOMAIN_EVENT_CRASHED_PANICKED);
        if (domain->live->on_crash == LIFECYCLE_ACTION_RESTART)
                reset_soon(manager, domain);
        else if (domain->live->on_crash != LIFECYCLE_ACTION_PRESERVE)
                fiber_start(manager->event, "crashed", end_crashed_fiber, guest_link_new(manager, domain));
        guest_save(manager, domain);
}

static void on_device_deleted(GuestManager *manager, Domain *domain, json_object *data) {
        const char *alias = json_get_string(data, "device");

        if (alias)
                domain_emit(domain, manager->bus,
                            &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, .device_alias = alias });
}

void guest_on_event(GuestManager *manager, Domain *domain, const char *name, json_object *data,
                    uint64_t timestamp_usec) {
        static const struct {
                const char *name;
                void (*handle)(GuestManager *manager, Domain *domain, json_object *data);
        } handlers[] = {
                { "STOP", on_stop },
                { "RESUME", on_resume },
                { "SHUTDOWN", on_shutdown },
                { "RESET", on_reset },
                { "WATCHDOG", on_watchdog },
                { "BLOCK_IO_ERROR", on_block_io_error },
                { "BALLOON_CHANGE", on_balloon },
                { "RTC_CHANGE", on_rtc },
                { "VSERPORT_CHANGE", on_serial_port },
                { "GUEST_PANICKED", on_panicked },
                { "DEVICE_DELETED", on_device_deleted },
        };
        DriverEvent raw = { .id = DRIVER_EVENT_MONITOR };

        raw.monitor.name = name;
        raw.monitor.details = data ? json_line(data) : NULL;
        raw.monitor.seconds = (int64_t) (timestamp_usec / 1000000);
        raw.monitor.micros = (unsigned) (timestamp_usec % 1000000);
        domain_emit(domain, manager->bus, &raw);
        /* Events may come before qemu_start() has returned and after the guest was forgotten. */
        for (size_t i = 0; domain->qemu && domain->live && i < G_N_ELEMENTS(handlers); i++)
                if (strcmp(name, handlers[i].name) == 0)
                        handlers[i].handle(manager, domain, data);
}
