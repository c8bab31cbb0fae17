/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 *   driver event ──┬─ of a domain ──► signal at once
 *                  └─ of a job, or the list of domains may have changed ──► noted ──► (defer source) asks the driver
 * ──► signals timer, while a job runs ──► PropertiesChanged of each running job
 *
 * Inside an event the driver must not be called, hence the defer source. Nothing here waits. Everything is bounded:
 * notes by MAX_NOTES (then the jobs are just looked at as they are), changed properties by the timer, messages that the
 * bus does not take by MAX_QUEUED.
 */

#include "daemon/dbus/bus_signal.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/dbus/bus_call.h"
#include "daemon/dbus/bus_dict.h"
#include "daemon/dbus/bus_object.h"
#include "driver/base/log.h"

#define MAX_NOTES 1024
#define MAX_QUEUED 2048

typedef struct Note {
        uint64_t number;
        DriverJobChange change;
} Note;

/* What was last told of a job. */
typedef struct JobTold {
        uint64_t round;
        bool running;
        char *decision; /* with its reason */
} JobTold;

struct BusSignals {
        BusService *service;
        unsigned subscription;
        sd_event_source *defer, *timer;
        GArray *notes;        /* Note */
        bool domains_changed;
        GHashTable *domains;  /* paths that were announced */
        GHashTable *jobs;     /* number -> JobTold */
};

/* ---- sending ---- */

typedef int (*FillFunc)(sd_bus_message *signal, const void *userdata);

static int emit_to(sd_bus *bus, const char *destination, const char *path, const char *interface, const char *member,
                   FillFunc fill, const void *userdata) {
        sd_bus_message *signal = NULL;
        int r = sd_bus_message_new_signal(bus, &signal, path, interface, member);

        if (r >= 0 && fill)
                r = fill(signal, userdata);
        if (r >= 0 && destination)
                r = sd_bus_message_set_destination(signal, destination);
        if (r >= 0)
                r = sd_bus_send(bus, signal, NULL);
        sd_bus_message_unref(signal);
        return r;
}

static void emit(BusSignals *signals, const char *path, const char *interface, const char *member, FillFunc fill,
                 const void *userdata) {
        sd_bus *bus = bus_service_bus(signals->service);
        uint64_t queued = 0;
        GHashTableIter iter;
        void *value;
        int r = 0;

        if (!bus || sd_bus_get_n_queued_write(bus, &queued) < 0 || queued > MAX_QUEUED)
                return;
        if (bus_service_kind(signals->service) == BUS_KIND_SESSION) {
                r = emit_to(bus, NULL, path, interface, member, fill, userdata);
        } else {
                g_hash_table_iter_init(&iter, bus_service_callers(signals->service));
                while (r >= 0 && g_hash_table_iter_next(&iter, NULL, &value)) {
                        const BusCaller *caller = value;

                        if (caller->watches && !caller->gone)
                                r = emit_to(bus, caller->name, path, interface, member, fill, userdata);
                }
        }
        if (r < 0)
                log_debug("signal %s.%s cannot be sent: %s", interface, member, g_strerror(-r));
}

/* ---- what goes into them ---- */

static int fill_interfaces(sd_bus_message *signal, const void *userdata) {
        BusCall *call = (BusCall *) userdata;
        char path[BUS_PATH_SIZE];
        int r = sd_bus_message_append(signal, "o", bus_object_path(&call->object, path));

        return r < 0 ? r : bus_append_interfaces(call, signal, NULL);
}

static int fill_gone(sd_bus_message *signal, const void *userdata) {
        const BusObject *object = userdata;
        char path[BUS_PATH_SIZE];
        int r = sd_bus_message_append(signal, "o", bus_object_path(object, path));

        if (r >= 0)
                r = sd_bus_message_open_container(signal, 'a', "s");
        for (const BusInterface *const *p = bus_object_interfaces(object->kind); r >= 0 && *p; p++)
                r = sd_bus_message_append(signal, "s", (*p)->name);
        return r < 0 ? r : sd_bus_message_close_container(signal);
}

static int fill_changed(sd_bus_message *signal, const void *userdata) {
        int r = sd_bus_message_append(signal, "s", bus_migration_interface.name);

        if (r >= 0)
                r = bus_append_properties((BusCall *) userdata, &bus_migration_interface, true, signal, NULL);
        return r < 0 ? r : sd_bus_message_append(signal, "as", 0);
}

static int fill_iteration(sd_bus_message *signal, const void *userdata) {
        const DriverJobInfo *job = userdata;

        return sd_bus_message_append(signal, "tttt", job->round, job->pending_bytes, job->bandwidth_bytes_per_sec,
                                     job->dirty_bytes_per_sec);
}

static int fill_decision(sd_bus_message *signal, const void *userdata) {
        const DriverJobInfo *job = userdata;

        return sd_bus_message_append(signal, "sst", job->decision, job->reason, job->expected_blackout_usec);
}

static int fill_completed(sd_bus_message *signal, const void *userdata) {
        const DriverJobInfo *job = userdata;
        g_autofree char *error = g_utf8_make_valid(job->error, -1);

        return sd_bus_message_append(signal, "bst", job->outcome == DRIVER_JOB_COMPLETED, error, job->blackout_usec);
}

static int fill_event(sd_bus_message *signal, const void *userdata) {
        const DriverEvent *event = userdata;
        char path[BUS_PATH_SIZE];

        switch (event->id) {
        case VIR_DOMAIN_EVENT_ID_LIFECYCLE:
                return sd_bus_message_append(signal, "oii", bus_domain_path(event->domain->uuid, path),
                                             event->lifecycle.event, event->lifecycle.detail);
        case VIR_DOMAIN_EVENT_ID_RTC_CHANGE:
                return sd_bus_message_append(signal, "x", event->rtc_offset);
        case VIR_DOMAIN_EVENT_ID_WATCHDOG:
                return sd_bus_message_append(signal, "i", event->watchdog_action);
        case VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON:
                return sd_bus_message_append(signal, "ssis", event->io_error.source_path ?: "",
                                             event->io_error.device_alias ?: "", event->io_error.action,
                                             event->io_error.reason ?: "");
        case VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE:
                return sd_bus_message_append(signal, "t", event->balloon_kib);
        case VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION:
                return sd_bus_message_append(signal, "i", event->iteration);
        case VIR_DOMAIN_EVENT_ID_JOB_COMPLETED:
                return bus_dict_append(signal, event->job_completed.params, event->job_completed.n_params);
        case VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE:
                return sd_bus_message_append(signal, "ii", event->agent.state, event->agent.reason);
        case VIR_DOMAIN_EVENT_ID_DEVICE_ADDED:
        case VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED:
                return sd_bus_message_append(signal, "s", event->device_alias ?: "");
        default:
                return 0;
        }
}

/* libvirt-dbus' names. */
static const char *signal_of(int id) {
        switch (id) {
        case VIR_DOMAIN_EVENT_ID_REBOOT:
                return "Reboot";
        case VIR_DOMAIN_EVENT_ID_RTC_CHANGE:
                return "RTCChange";
        case VIR_DOMAIN_EVENT_ID_WATCHDOG:
                return "Watchdog";
        case VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON:
                return "IOError";
        case VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE:
                return "BalloonChange";
        case VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION:
                return "MigrationIteration";
        case VIR_DOMAIN_EVENT_ID_JOB_COMPLETED:
                return "JobCompleted";
        case VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE:
                return "AgentEvent";
        case VIR_DOMAIN_EVENT_ID_DEVICE_ADDED:
                return "DeviceAdded";
        case VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED:
                return "DeviceRemoved";
        default:
                return NULL;
        }
}

/* ---- domains ---- */

static void forget_domain(BusSignals *signals, const char *path) {
        BusObject object = { 0 };

        if (bus_object_parse(path, &object) >= 0)
                emit(signals, BUS_ROOT, bus_manager_interface.name, "InterfacesRemoved", fill_gone, &object);
}

/* Compares the list of domains with what was announced. */
static void update_domains(BusSignals *signals, bool tell) {
        DriverClient *viewer = bus_service_viewer(signals->service);
        GHashTable *now = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        DomainRef *refs = NULL;
        unsigned n = 0;
        GHashTableIter iter;
        void *path;

        if (driver_list_domains(viewer, 0, &refs, &n, NULL) < 0)
                n = 0;
        for (unsigned i = 0; i < n; i++) {
                BusCall call = { .service = signals->service, .driver = viewer, .object.kind = BUS_OBJECT_DOMAIN };
                char text[BUS_PATH_SIZE];

                g_hash_table_add(now, g_strdup(bus_domain_path(refs[i].uuid, text)));
                memcpy(call.object.uuid, refs[i].uuid, sizeof(call.object.uuid));
                if (tell && !g_hash_table_contains(signals->domains, text))
                        emit(signals, BUS_ROOT, bus_manager_interface.name, "InterfacesAdded", fill_interfaces, &call);
        }
        domain_refs_free(refs, n);
        g_hash_table_iter_init(&iter, signals->domains);
        while (tell && g_hash_table_iter_next(&iter, &path, NULL))
                if (!g_hash_table_contains(now, path))
                        forget_domain(signals, path);
        g_hash_table_unref(signals->domains);
        signals->domains = now;
}

/* ---- jobs ---- */

static void told_free(void *p) {
        JobTold *told = p;

        g_free(told->decision);
        g_free(told);
}

static JobTold *told_get(BusSignals *signals, uint64_t number) {
        JobTold *told = g_hash_table_lookup(signals->jobs, &number);

        if (!told) {
                told = g_new0(JobTold, 1);
                g_hash_table_insert(signals->jobs, g_memdup2(&number, sizeof(number)), told);
        }
        return told;
}

static void arm_timer(BusSignals *signals) {
        int enabled = SD_EVENT_OFF;

        if (sd_event_source_get_enabled(signals->timer, &enabled) >= 0 && enabled != SD_EVENT_OFF)
                return;
        sd_event_source_set_time_relative(signals->timer, BUS_CHANGES_USEC);
        sd_event_source_set_enabled(signals->timer, SD_EVENT_ONESHOT);
}

static void tell_round(BusSignals *signals, const char *path, JobTold *told, const DriverJobInfo *job) {
        if (job->round == told->round)
                return;
        told->round = job->round;
        emit(signals, path, bus_migration_interface.name, "Iteration", fill_iteration, job);
}

static void tell_decision(BusSignals *signals, const char *path, JobTold *told, const DriverJobInfo *job) {
        g_autofree char *now = g_strdup_printf("%s: %s", job->decision, job->reason);

        if (g_strcmp0(now, told->decision) == 0)
                return;
        g_free(told->decision);
        told->decision = g_steal_pointer(&now);
        emit(signals, path, bus_migration_interface.name, "Decision", fill_decision, job);
}

static void tell_changed(BusSignals *signals, uint64_t number) {
        BusCall call = { .service = signals->service, .driver = bus_service_viewer(signals->service),
                         .object = { .kind = BUS_OBJECT_JOB, .number = number } };
        char path[BUS_PATH_SIZE];

        emit(signals, bus_job_path(number, path), bus_properties_interface.name, "PropertiesChanged", fill_changed,
             &call);
        bus_call_deinit(&call);
}

static void tell_job(BusSignals *signals, const Note *note) {
        BusObject object = { .kind = BUS_OBJECT_JOB, .number = note->number };
        BusCall call = { .service = signals->service,
                         .driver = bus_service_viewer(signals->service),
                         .object = object };
        const DriverJobInfo *job = NULL;
        char path[BUS_PATH_SIZE];
        JobTold *told;

        if (note->change == DRIVER_JOB_GONE || bus_call_job(&call, &job, NULL) < 0) {
                if (g_hash_table_remove(signals->jobs, &note->number))
                        emit(signals, BUS_ROOT, bus_manager_interface.name, "InterfacesRemoved", fill_gone, &object);
                bus_call_deinit(&call);
                return;
        }
        bus_job_path(note->number, path);
        told = told_get(signals, note->number);
        told->running = job->outcome == DRIVER_JOB_RUNNING;
        if (note->change == DRIVER_JOB_NEW)
                emit(signals, BUS_ROOT, bus_manager_interface.name, "InterfacesAdded", fill_interfaces, &call);
        if (note->change == DRIVER_JOB_ROUND)
                tell_round(signals, path, told, job);
        if (note->change == DRIVER_JOB_DECISION || note->change == DRIVER_JOB_ENDED)
                tell_decision(signals, path, told, job);
        if (note->change == DRIVER_JOB_ENDED) {
                tell_changed(signals, note->number);
                emit(signals, path, bus_migration_interface.name, "Completed", fill_completed, job);
        }
        if (told->running)
                arm_timer(signals);
        bus_call_deinit(&call);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        BusSignals *signals = userdata;
        GHashTableIter iter;
        void *number, *value;
        bool running = false;

        g_hash_table_iter_init(&iter, signals->jobs);
        while (g_hash_table_iter_next(&iter, &number, &value)) {
                const JobTold *told = value;

                if (!told->running)
                        continue;
                running = true;
                tell_changed(signals, *(uint64_t *) number);
        }
        if (running)
                arm_timer(signals);
        return 0;
}

/* ---- from the driver ---- */

static int on_defer(sd_event_source *source, void *userdata) {
        BusSignals *signals = userdata;
        g_autoptr(GArray) notes = g_steal_pointer(&signals->notes);

        signals->notes = g_array_new(FALSE, FALSE, sizeof(Note));
        if (signals->domains_changed) {
                signals->domains_changed = false;
                update_domains(signals, true);
        }
        for (guint i = 0; i < notes->len; i++)
                tell_job(signals, &g_array_index(notes, Note, i));
        return 0;
}

static void on_driver_event(const DriverEvent *event, void *userdata) {
        BusSignals *signals = userdata;
        char path[BUS_PATH_SIZE];

        if (event->id == DRIVER_EVENT_JOB) {
                const Note note = { .number = event->job.number, .change = event->job.change };
                bool news = note.change == DRIVER_JOB_NEW || note.change == DRIVER_JOB_ENDED ||
                            note.change == DRIVER_JOB_GONE;

                if (news || signals->notes->len < MAX_NOTES)
                        g_array_append_val(signals->notes, note);
                sd_event_source_set_enabled(signals->defer, SD_EVENT_ONESHOT);
                return;
        }
        if (event->id == VIR_DOMAIN_EVENT_ID_LIFECYCLE) {
                emit(signals, BUS_ROOT, bus_connect_interface.name, "DomainEvent", fill_event, event);
                signals->domains_changed = true;
                sd_event_source_set_enabled(signals->defer, SD_EVENT_ONESHOT);
        } else if (signal_of(event->id)) {
                emit(signals, bus_domain_path(event->domain->uuid, path), bus_domain_interface.name,
                     signal_of(event->id), fill_event, event);
        }
}

/* ---- life ---- */

BusSignals *bus_signals_new(BusService *service) {
        BusSignals *signals = g_new0(BusSignals, 1);
        sd_event *event = bus_service_event(service);
        int r;

        signals->service = service;
        signals->notes = g_array_new(FALSE, FALSE, sizeof(Note));
        signals->domains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        signals->jobs = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, told_free);
        r = sd_event_add_defer(event, &signals->defer, on_defer, signals);
        if (r >= 0)
                r = sd_event_source_set_enabled(signals->defer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &signals->timer, CLOCK_MONOTONIC, 0, 0, on_timer, signals);
        if (r >= 0)
                r = sd_event_source_set_enabled(signals->timer, SD_EVENT_OFF);
        if (r < 0)
                return bus_signals_free(signals);
        signals->subscription = driver_subscribe(bus_service_driver(service), on_driver_event, signals);
        return signals;
}

BusSignals *bus_signals_free(BusSignals *signals) {
        if (!signals)
                return NULL;
        if (signals->subscription)
                driver_unsubscribe(bus_service_driver(signals->service), signals->subscription);
        sd_event_source_disable_unref(signals->defer);
        sd_event_source_disable_unref(signals->timer);
        g_array_unref(signals->notes);
        g_hash_table_unref(signals->domains);
        g_hash_table_unref(signals->jobs);
        g_free(signals);
        return NULL;
}

void bus_signals_reset(BusSignals *signals) {
        DriverClient *viewer = bus_service_viewer(signals->service);
        g_autofree uint64_t *numbers = NULL;
        unsigned n = 0;

        update_domains(signals, false);
        g_hash_table_remove_all(signals->jobs);
        if (driver_migration_jobs(viewer, &numbers, &n, NULL) < 0)
                return;
        for (unsigned i = 0; i < n; i++) {
                g_auto(DriverJobInfo) job = { 0 };
                JobTold *told = told_get(signals, numbers[i]);

                told->running =
                        driver_migration_job(viewer, numbers[i], &job, NULL) >= 0 && job.outcome == DRIVER_JOB_RUNNING;
        }
        arm_timer(signals);
}
