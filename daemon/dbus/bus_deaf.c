/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_deaf.h"

#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/log.h"

#define ASK_EACH 64                     /* objects or short replies: some hundred KiB */
#define MAX_UNREAD_BYTES (4 * 1024 * 1024) /* more may come in between */
#define AGAIN_USEC (100 * USEC_PER_MSEC)
#define ACCURACY_USEC (10 * USEC_PER_MSEC)

static void ask(BusCaller *caller, sd_bus *bus);

static int on_again(sd_event_source *source, uint64_t usec, void *userdata) {
        BusCaller *caller = userdata;
        sd_bus *bus = sd_bus_slot_get_bus(caller->deaf_slot);

        caller->deaf_timer = sd_event_source_disable_unref(caller->deaf_timer);
        ask(caller, bus);
        return 0;
}

/* 0 if the bus does not tell. */
static uint32_t read_unread(sd_bus_message *reply) {
        uint32_t bytes = 0;
        int r = sd_bus_message_is_method_error(reply, NULL) ? 0 : sd_bus_message_enter_container(reply, 'a', "{sv}");

        while (r > 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                const char *key = NULL;

                r = sd_bus_message_read(reply, "s", &key);
                if (r > 0 && strcmp(key, "OutgoingBytes") == 0)
                        return sd_bus_message_read(reply, "v", "u", &bytes) > 0 ? bytes : 0;
                if (r > 0)
                        r = sd_bus_message_skip(reply, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return 0;
}

static int on_stats(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        BusCaller *caller = userdata;
        sd_bus *bus = sd_bus_message_get_bus(reply);
        bool deaf = read_unread(reply) > MAX_UNREAD_BYTES;

        if (deaf && !caller->deaf)
                log_info("D-Bus client %s does not read its replies, its calls wait", caller->name);
        if (deaf && sd_event_add_time_relative(sd_bus_get_event(bus), &caller->deaf_timer, CLOCK_MONOTONIC, AGAIN_USEC,
                                               ACCURACY_USEC, on_again, caller) < 0)
                deaf = false;
        caller->deaf = deaf;
        if (!deaf) {
                caller->deaf_slot = sd_bus_slot_unref(caller->deaf_slot);
                bus_queue_hold(caller->queue, &caller->lane, false);
        }
        return 0;
}

/* The caller gets no turn until the answer has come. */
static void ask(BusCaller *caller, sd_bus *bus) {
        sd_bus_slot *slot = NULL;
        int r = sd_bus_call_method_async(bus, &slot, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                         "org.freedesktop.DBus.Debug.Stats", "GetConnectionStats", on_stats, caller, "s",
                                         caller->name);

        sd_bus_slot_unref(caller->deaf_slot);
        caller->deaf_slot = slot;
        caller->deaf = caller->deaf && r >= 0;
        bus_queue_hold(caller->queue, &caller->lane, r >= 0);
}

void bus_deaf_count(BusCaller *caller, sd_bus *bus, unsigned n) {
        caller->n_unread += n;
        if (caller->n_unread < ASK_EACH || caller->deaf_slot || caller->gone)
                return;
        caller->n_unread = 0;
        ask(caller, bus);
}
