/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 *   bus ──► sd-bus on the daemon's loop ──► on_message: who calls, within its quota? ──► its turn (bus_queue.c)
 *       ──► fiber (bus_call.c) ──► reply
 *
 * One callback below /org/virtferry sees every method call, standard interfaces included: nothing, not even the tree of
 * objects, is answered by sd-bus itself, because on the system bus each answer needs polkit's consent, which takes a
 * message to polkitd and back. Nothing waits on the loop: connecting, the name, matches and questions to others are all
 * asynchronous.
 *
 * Quotas: so many outstanding calls for each caller; those who were never granted anything share one more bound, so
 * that they can neither fill the memory nor keep others out. Callers take turns, and a long reply is made in many; nobody
 * gets one while the bus has much to take, or for replies that it does not read (bus_deaf.c). A caller that leaves the bus takes with it what it began,
 * as a closed connection does for virsh.
 */

#include "daemon/dbus/bus_service.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "daemon/auth/polkit.h"
#include "daemon/dbus/bus_call.h"
#include "daemon/dbus/bus_object.h"
#include "daemon/dbus/bus_queue.h"
#include "daemon/dbus/bus_signal.h"
#include "driver/base/clock.h"
#include "driver/base/fiber.h"
#include "driver/base/log.h"

#define SYSTEM_ADDRESS "unix:path=/run/dbus/system_bus_socket"
#define RETRY_USEC (5 * USEC_PER_SEC)
#define FLUSH_USEC (1 * USEC_PER_SEC)
#define POLL_USEC (10 * USEC_PER_MSEC)
/* Messages are taken in before calls are served: else a caller that sends many would have them all wait in the bus, in
 * front of everybody else's, instead of meeting its quota. */
#define INTAKE_PRIORITY (-10)
#define MAX_STRANGER_CALLS 256   /* outstanding, of callers that were never granted anything */
#define MAX_QUEUED 8192          /* messages that the bus has not taken: then calls get no answer */
#define ENOUGH_BYTES (32 * 1024) /* in the socket, with what the kernel counts besides: then no call gets a turn */

struct BusService {
        sd_event *event;
        Driver *driver;
        BusKind kind;
        BusLimits limits;
        BusChangeFunc on_change;
        void *userdata;
        sd_bus *bus;
        sd_bus_slot *slots[5];
        PolkitWatch polkit;
        sd_event_source *retry;
        bool lost;       /* the connection is to be taken down */
        bool told;       /* that there is no bus */
        bool stopped;
        bool checking;   /* the watchers' rights are being asked again */
        GHashTable *callers; /* name -> BusCaller */
        BusQueue *queue;
        unsigned n_calls;
        FiberCond ended;
        DriverClient *viewer;
        BusSignals *signals;
};

static void changed(BusService *service) {
        if (service->on_change)
                service->on_change(service, service->userdata);
}

/* ---- callers ---- */

static void caller_drop(void *p) {
        BusCaller *caller = p;

        bus_caller_leave(caller);
        bus_caller_unref(caller);
}

static int on_owner_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        BusService *service = userdata;
        const char *name = NULL, *before = NULL, *after = NULL;

        if (sd_bus_message_read(message, "sss", &name, &before, &after) < 0 || *after)
                return 0;
        if (g_hash_table_remove(service->callers, name))
                changed(service);
        return 0;
}

/* Makes room: somebody who has no call outstanding and was granted nothing. */
static bool forget_a_stranger(BusService *service) {
        GHashTableIter iter;
        void *value;

        g_hash_table_iter_init(&iter, service->callers);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                const BusCaller *caller = value;

                if (caller->n_calls == 0 && !caller->viewer && !caller->owner) {
                        g_hash_table_iter_remove(&iter);
                        return true;
                }
        }
        return false;
}

static BusCaller *find_caller(BusService *service, const char *name) {
        BusCaller *caller = g_hash_table_lookup(service->callers, name);

        if (caller)
                return caller;
        if (g_hash_table_size(service->callers) >= service->limits.max_callers && !forget_a_stranger(service))
                return NULL;
        caller = bus_caller_new(name);
        caller->queue = service->queue;
        g_hash_table_insert(service->callers, g_strdup(name), caller);
        changed(service);
        return caller;
}

static bool is_stranger(const BusCaller *caller) {
        return !caller->viewer && !caller->owner;
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        BusService *service = userdata;
        const char *sender = sd_bus_message_get_sender(message);
        BusCaller *caller;
        uint64_t queued = 0;

        if (!sender || sd_bus_get_n_queued_write(service->bus, &queued) < 0 || queued > MAX_QUEUED)
                return 1;
        caller = service->stopped ? NULL : find_caller(service, sender);
        if (!caller || caller->n_calls >= service->limits.max_calls ||
            (is_stranger(caller) && service->n_calls >= MAX_STRANGER_CALLS)) {
                if (!caller || bus_caller_refuse(caller, clock_monotonic_usec()))
                        (void) sd_bus_reply_method_errorf(message, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                                          "too many calls at a time");
                return 1;
        }
        service->n_calls++;
        bus_call_start(service, caller, message);
        return 1;
}

void bus_service_call_ended(BusService *service) {
        service->n_calls--;
        fiber_cond_broadcast(&service->ended);
}

/* Replies that wait in front of the bus would make all others wait as well. sd-bus' own queue does not tell all: it
 * makes the socket take eight megabytes. */
static bool may_turn(void *userdata) {
        BusService *service = userdata;
        uint64_t queued = 0;
        int bytes = 0;

        if (service->stopped || !service->bus || sd_bus_get_n_queued_write(service->bus, &queued) < 0)
                return true;
        return queued == 0 && (ioctl(sd_bus_get_fd(service->bus), SIOCOUTQ, &bytes) < 0 || bytes < ENOUGH_BYTES);
}

/* ---- rights that have changed ---- */

static void check_watchers(void *userdata) {
        BusService *service = userdata;
        g_autofree char **names = (char **) g_hash_table_get_keys_as_array(service->callers, NULL);
        g_auto(GStrv) copy = g_strdupv(names);

        for (char **name = copy; *name && service->bus; name++) {
                BusCaller *caller = g_hash_table_lookup(service->callers, *name);
                sd_bus *bus = sd_bus_ref(service->bus);
                int r = 1;

                if (caller && caller->watches && caller->uid != 0)
                        r = polkit_check(bus, *name, bus_right_action(BUS_RIGHT_MONITOR), false);
                sd_bus_unref(bus);
                caller = g_hash_table_lookup(service->callers, *name);
                if (caller && r <= 0)
                        caller->watches = false;
        }
        service->checking = false;
        bus_service_call_ended(service);
}

static void on_polkit_changed(void *userdata) {
        BusService *service = userdata;
        GHashTableIter iter;
        void *caller;

        g_hash_table_iter_init(&iter, service->callers);
        while (g_hash_table_iter_next(&iter, NULL, &caller))
                bus_caller_forget(caller);
        if (service->checking || fiber_start(service->event, "dbus-rights", check_watchers, service) < 0)
                return;
        service->checking = true;
        service->n_calls++;
}

/* ---- the connection ---- */

static void bus_gone(BusService *service) {
        for (size_t i = 0; i < G_N_ELEMENTS(service->slots); i++)
                service->slots[i] = sd_bus_slot_unref(service->slots[i]);
        if (service->bus)
                sd_bus_close(service->bus);
        service->bus = sd_bus_unref(service->bus);
        g_hash_table_remove_all(service->callers);
        service->lost = false;
}

static void retry_in(BusService *service, uint64_t usec) {
        sd_event_source_set_time_relative(service->retry, usec);
        sd_event_source_set_enabled(service->retry, SD_EVENT_ONESHOT);
}

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        BusService *service = userdata;

        log_info("The connection to the bus is lost");
        service->lost = true;
        retry_in(service, 0);
        return 0;
}

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        uint32_t answer = 0;

        if (error)
                log_warning("The name %s cannot be had on the bus: %s, ignoring", BUS_NAME, error->message);
        else if (sd_bus_message_read(reply, "u", &answer) >= 0 && answer == 2)
                log_warning("Another daemon has the name %s on the bus, waiting for it", BUS_NAME);
        else
                log_info("%s is on the bus", BUS_NAME);
        return 0;
}

static const char *bus_address(const BusService *service, char **ret_owned) {
        const char *address;

        if (service->kind == BUS_KIND_SYSTEM) {
                address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
                return address ? address : SYSTEM_ADDRESS;
        }
        address = secure_getenv("DBUS_SESSION_BUS_ADDRESS");
        if (address)
                return address;
        *ret_owned = g_strdup_printf("unix:path=%s/bus", g_get_user_runtime_dir());
        return *ret_owned;
}

static int bus_start(BusService *service) {
        g_autofree char *owned = NULL;
        int r = sd_bus_new(&service->bus);

        if (r >= 0)
                r = sd_bus_set_address(service->bus, bus_address(service, &owned));
        if (r >= 0)
                r = sd_bus_set_bus_client(service->bus, true);
        /* We take no descriptors, so nobody can fill our table with them. */
        if (r >= 0)
                r = sd_bus_negotiate_fds(service->bus, false);
        if (r >= 0)
                r = sd_bus_start(service->bus);
        if (r >= 0)
                r = sd_bus_attach_event(service->bus, service->event, SD_EVENT_PRIORITY_NORMAL + INTAKE_PRIORITY);
        return r;
}

/* Everything here is queued until the bus has said hello. */
static int bus_connect(BusService *service) {
        int r = bus_start(service);

        if (r >= 0)
                r = sd_bus_match_signal(service->bus, &service->slots[0], "org.freedesktop.DBus.Local",
                                        "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
                                        on_disconnected, service);
        if (r >= 0)
                r = sd_bus_match_signal_async(service->bus, &service->slots[1], "org.freedesktop.DBus",
                                              "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged",
                                              on_owner_changed, NULL, service);
        if (r >= 0)
                r = sd_bus_add_fallback(service->bus, &service->slots[2], BUS_ROOT, on_message, service);
        if (r >= 0 && service->kind == BUS_KIND_SYSTEM)
                r = polkit_watch(service->bus, &service->polkit, &service->slots[3]);
        if (r >= 0)
                r = sd_bus_request_name_async(service->bus, &service->slots[4], BUS_NAME, SD_BUS_NAME_QUEUE, on_name,
                                              service);
        return r;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        BusService *service = userdata;
        int r;

        if (service->lost) {
                bus_gone(service);
                changed(service);
                retry_in(service, RETRY_USEC);
                return 0;
        }
        if (service->stopped || service->bus)
                return 0;
        r = bus_connect(service);
        if (r >= 0) {
                service->told = false;
                bus_signals_reset(service->signals);
                return 0;
        }
        if (!service->told)
                log_info("There is no bus to connect to (%s), looking for it from time to time", g_strerror(-r));
        service->told = true;
        bus_gone(service);
        retry_in(service, RETRY_USEC);
        return 0;
}

/* ---- life ---- */

BusService *bus_service_new(sd_event *event, Driver *driver, BusKind kind, const BusLimits *limits,
                            BusChangeFunc on_change, void *userdata) {
        BusService *service = g_new0(BusService, 1);

        *service = (BusService) {
                .event = sd_event_ref(event),
                .driver = driver,
                .kind = kind,
                .limits = *limits,
                .on_change = on_change,
                .userdata = userdata,
                .callers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, caller_drop),
                .viewer = driver_client_new(driver, true, 0, 0),
        };
        service->polkit = (PolkitWatch) { on_polkit_changed, service };
        service->queue = bus_queue_new(event, may_turn, service);
        service->signals = bus_signals_new(service);
        if (!service->signals ||
            sd_event_add_time_relative(event, &service->retry, CLOCK_MONOTONIC, 0, 0, on_retry, service) < 0)
                return bus_service_free(service);
        return service;
}

int bus_service_shutdown(BusService *service, uint64_t timeout_usec) {
        uint64_t deadline = clock_monotonic_usec() + timeout_usec, flushed = clock_monotonic_usec() + FLUSH_USEC;
        uint64_t queued = 0;

        service->stopped = true;
        g_hash_table_remove_all(service->callers);
        while (service->n_calls > 0) {
                uint64_t now = clock_monotonic_usec();

                if (now >= deadline)
                        return -ETIMEDOUT;
                fiber_cond_wait(&service->ended, deadline - now);
        }
        while (service->bus && sd_bus_get_n_queued_write(service->bus, &queued) >= 0 && queued > 0 &&
               clock_monotonic_usec() < flushed)
                fiber_sleep(POLL_USEC);
        bus_gone(service);
        return 0;
}

BusService *bus_service_free(BusService *service) {
        if (!service)
                return NULL;
        bus_gone(service);
        bus_signals_free(service->signals);
        sd_event_source_disable_unref(service->retry);
        g_hash_table_unref(service->callers);
        bus_queue_free(service->queue);
        driver_client_free(service->viewer);
        sd_event_unref(service->event);
        g_free(service);
        return NULL;
}

unsigned bus_service_n_callers(const BusService *service) {
        return g_hash_table_size(service->callers);
}

void bus_service_set_limits(BusService *service, const BusLimits *limits) {
        service->limits = *limits;
}

sd_event *bus_service_event(BusService *service) {
        return service->event;
}

Driver *bus_service_driver(BusService *service) {
        return service->driver;
}

sd_bus *bus_service_bus(BusService *service) {
        return service->bus;
}

BusKind bus_service_kind(const BusService *service) {
        return service->kind;
}

DriverClient *bus_service_viewer(BusService *service) {
        return service->viewer;
}

GHashTable *bus_service_callers(BusService *service) {
        return service->callers;
}
