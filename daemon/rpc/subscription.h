/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What events a client wants, and sending them (procedures 316 and 317, in the qemu program 4 and 5). */

#include <glib.h>
#include <stdbool.h>

#include "daemon/rpc/client.h"
#include "driver/driver.h"

/* Those of one client. */
SubscriptionList *subscription_list_new(void);
SubscriptionList *subscription_list_free(SubscriptionList *list);

/* event_id: VIR_DOMAIN_EVENT_ID_*. uuid NULL: every domain. *ret_id comes with each event and goes to
 * subscription_remove(). */
int subscription_add(SubscriptionList *list, int event_id, const unsigned char *uuid, int *ret_id, GError **reterr);
/* QEMU's own events. name NULL: all. flags: VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_*. */
int subscription_add_monitor(SubscriptionList *list, const char *name, const unsigned char *uuid, unsigned flags,
                             int *ret_id,
                             GError **reterr);
/* @monitor: of the second kind. */
int subscription_remove(SubscriptionList *list, int id, bool monitor, GError **reterr);

/* Sends the event once for each subscription of the client that it fits. */
void subscription_deliver(RpcClient *client, const DriverEvent *event);
