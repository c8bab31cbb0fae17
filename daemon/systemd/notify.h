/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the service manager is told, with sd_notify(3): when the daemon is ready, loads its configuration again, stops,
 * and a line for `systemctl status`. The watchdog is sd-event's own. Without a service manager every call does nothing.
 * All calls on the loop's thread.
 */

#include <glib.h>
#include <systemd/sd-event.h>

#include "driver/driver.h"

typedef struct Notify Notify;

/* Keeps the status line as the driver's guests come and go. event and driver must outlive it. Never NULL. */
Notify *notify_new(sd_event *event, Driver *driver);
/* Accepts NULL, returns NULL. */
Notify *notify_free(Notify *notify);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Notify, notify_free)

/* Ready, for the first time or after notify_reloading(); tells the status, too. */
void notify_ready(Notify *notify);
/* The configuration is about to be read again; notify_ready() follows. */
void notify_reloading(void);
/* The daemon ends; why is shown. Nothing is told after this. notify may be NULL: it stops before it was ready. */
void notify_stopping(Notify *notify, const char *why);

/* The line for a summary: "3 guests, 1 migrating 62 %". Owned by the caller. */
char *notify_status_text(const DriverSummary *summary);
