/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/systemd/notify.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "driver/base/clock.h"
#include "driver/base/i18n.h"

/* While guests migrate the number moves by itself. */
#define REFRESH_USEC USEC_PER_SEC

struct Notify {
        sd_event *event;
        Driver *driver;
        sd_event_source *refresh;
        unsigned subscription; /* 0: nobody listens to us */
        char *status;          /* as last told */
        bool ready;
};

char *notify_status_text(const DriverSummary *summary) {
        if (summary->migrating > 0 && summary->guests == 1)
                return g_strdup_printf(_("1 guest, migrating %u %%"), summary->percent);
        if (summary->migrating > 0)
                return g_strdup_printf(_("%u guests, %u migrating %u %%"), summary->guests, summary->migrating,
                                       summary->percent);
        if (summary->guests == 0)
                return g_strdup(_("no guests"));
        return summary->guests == 1 ? g_strdup(_("1 guest")) : g_strdup_printf(_("%u guests"), summary->guests);
}

static void notify_update(Notify *notify) {
        DriverSummary summary = { 0 };

        driver_summary(notify->driver, &summary);
        g_autofree char *text = notify_status_text(&summary);
        if (notify->ready && g_strcmp0(text, notify->status) != 0) {
                (void) sd_notifyf(0, "STATUS=%s", text);
                g_free(notify->status);
                notify->status = g_steal_pointer(&text);
        }
        if (summary.migrating == 0) {
                (void) sd_event_source_set_enabled(notify->refresh, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_time_relative(notify->refresh, REFRESH_USEC);
        (void) sd_event_source_set_enabled(notify->refresh, SD_EVENT_ONESHOT);
}

static int on_refresh(sd_event_source *source, uint64_t usec, void *userdata) {
        notify_update(userdata);
        return 0;
}

/* The event is told in the middle of a change: look when that is over. */
static void on_driver_event(const DriverEvent *event, void *userdata) {
        Notify *notify = userdata;

        if (event->id == DRIVER_EVENT_MONITOR)
                return;
        (void) sd_event_source_set_time_relative(notify->refresh, 0);
        (void) sd_event_source_set_enabled(notify->refresh, SD_EVENT_ONESHOT);
}

Notify *notify_new(sd_event *event, Driver *driver) {
        Notify *notify = g_new0(Notify, 1);

        notify->event = event;
        notify->driver = driver;
        if (!g_getenv("NOTIFY_SOCKET"))
                return notify;
        if (sd_event_add_time_relative(event, &notify->refresh, CLOCK_MONOTONIC, 0, 0, on_refresh, notify) < 0)
                return notify;
        (void) sd_event_source_set_enabled(notify->refresh, SD_EVENT_OFF);
        notify->subscription = driver_subscribe(driver, on_driver_event, notify);
        return notify;
}

Notify *notify_free(Notify *notify) {
        if (!notify)
                return NULL;
        if (notify->subscription)
                driver_unsubscribe(notify->driver, notify->subscription);
        sd_event_source_disable_unref(notify->refresh);
        g_free(notify->status);
        g_free(notify);
        return NULL;
}

void notify_ready(Notify *notify) {
        (void) sd_notify(0, "READY=1");
        notify->ready = true;
        g_clear_pointer(&notify->status, g_free);
        if (notify->subscription)
                notify_update(notify);
}

void notify_reloading(void) {
        (void) sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_monotonic_usec());
}

void notify_stopping(Notify *notify, const char *why) {
        if (notify)
                notify->ready = false;
        (void) sd_notifyf(0, "STOPPING=1\nSTATUS=%s", why);
}
