/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/subscription.h"

#include <libvirt/libvirt-qemu.h>
#include <string.h>

#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/params.h"
#include "daemon/rpc/proto/net_protocol.h"
#include "daemon/rpc/proto/qemu_protocol.h"
#include "daemon/rpc/proto/remote_protocol.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"

/* A client has no use for more. */
#define SUBSCRIPTIONS_MAX 1024
/* The newest event of the libvirt whose interface we offer. Some that clients may ask for never happen here. */
#define EVENT_ID_LAST VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE

typedef struct Subscription {
        int id;
        int event_id; /* -1: QEMU's own events */
        bool any_domain;
        unsigned char uuid[VIR_UUID_BUFLEN];
        char *name;    /* of QEMU's event; NULL: all */
        GRegex *regex; /* instead of name */
        bool no_case;
} Subscription;

struct SubscriptionList {
        GPtrArray *subscriptions;
        int last_id;
};

static void subscription_free(void *p) {
        Subscription *subscription = p;
        g_free(subscription->name);
        g_clear_pointer(&subscription->regex, g_regex_unref);
        g_free(subscription);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Subscription, subscription_free)

SubscriptionList *subscription_list_new(void) {
        SubscriptionList *list = g_new0(SubscriptionList, 1);
        list->subscriptions = g_ptr_array_new_with_free_func(subscription_free);
        return list;
}

SubscriptionList *subscription_list_free(SubscriptionList *list) {
        if (list) {
                g_ptr_array_unref(list->subscriptions);
                g_free(list);
        }
        return NULL;
}

static Subscription *subscription_new(int event_id, const unsigned char *uuid) {
        Subscription *subscription = g_new0(Subscription, 1);
        subscription->event_id = event_id;
        subscription->any_domain = !uuid;
        if (uuid)
                memcpy(subscription->uuid, uuid, VIR_UUID_BUFLEN);
        return subscription;
}

static int list_append(SubscriptionList *list, Subscription *subscription, int *ret_id, GError **reterr) {
        g_autoptr(Subscription) owned = subscription;

        if (list->subscriptions->len >= SUBSCRIPTIONS_MAX)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("a connection cannot have more than %d event callbacks"),
                                 SUBSCRIPTIONS_MAX);
        subscription->id = ++list->last_id;
        *ret_id = subscription->id;
        g_ptr_array_add(list->subscriptions, g_steal_pointer(&owned));
        return 0;
}

int subscription_add(SubscriptionList *list, int event_id, const unsigned char *uuid, int *ret_id, GError **reterr) {
        if (event_id < 0 || event_id > EVENT_ID_LAST)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("there is no domain event with the number %d"),
                                 event_id);
        return list_append(list, subscription_new(event_id, uuid), ret_id, reterr);
}

int subscription_add_monitor(SubscriptionList *list, const char *name, const unsigned char *uuid, unsigned flags,
                             int *ret_id,
                             GError **reterr) {
        const unsigned known = VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX |
                               VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_NOCASE;
        g_autoptr(Subscription) subscription = subscription_new(-1, uuid);
        g_autoptr(GError) error = NULL;

        if (flags & ~known)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags 0x%x for QEMU's events"),
                                 flags & ~known);
        subscription->name = g_strdup(name);
        subscription->no_case = flags & VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_NOCASE;
        if (name && (flags & VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX)) {
                subscription->regex = g_regex_new(name, subscription->no_case ? G_REGEX_CASELESS : 0, 0, &error);
                if (!subscription->regex)
                        return error_set(reterr, VIR_ERR_INVALID_ARG, _("'%s' is not a regular expression: %s"), name,
                                         error->message);
        }
        return list_append(list, g_steal_pointer(&subscription), ret_id, reterr);
}

int subscription_remove(SubscriptionList *list, int id, bool monitor, GError **reterr) {
        for (guint i = 0; i < list->subscriptions->len; i++) {
                const Subscription *subscription = g_ptr_array_index(list->subscriptions, i);
                if (subscription->id == id && (subscription->event_id < 0) == monitor) {
                        g_ptr_array_remove_index(list->subscriptions, i);
                        return 0;
                }
        }
        return error_set(reterr, VIR_ERR_INVALID_ARG, _("there is no event callback with the number %d"), id);
}

static bool subscription_fits(const Subscription *subscription, const DriverEvent *event) {
        if (subscription->event_id != event->id)
                return false;
        if (!subscription->any_domain && memcmp(subscription->uuid, event->domain->uuid, VIR_UUID_BUFLEN) != 0)
                return false;
        if (event->id >= 0 || !subscription->name)
                return true;
        if (subscription->regex)
                return g_regex_match(subscription->regex, event->monitor.name, 0, NULL);
        return (subscription->no_case ? g_ascii_strcasecmp : strcmp)(subscription->name, event->monitor.name) == 0;
}

/* ---- encoding: each fills the message of its procedure; strings are borrowed from the event, so nothing is freed but
 * params ---- */

static remote_nonnull_domain borrow_domain(const DriverEvent *event) {
        remote_nonnull_domain wire = { .name = event->domain->name, .id = event->domain->id };
        memcpy(wire.uuid, event->domain->uuid, sizeof(wire.uuid));
        return wire;
}

static char *borrow(const char *text) {
        return (char *) (text ? text : "");
}

static Frame *event_frame(uint32_t prog, int32_t proc, xdrproc_t filter, const void *msg) {
        FrameHeader header = {
                .prog = prog,
                .vers = 1,
                .proc = proc,
                .type = VIR_NET_MESSAGE,
                .serial = 1, /* as the stock server; clients ignore it */
        };
        return frame_new(&header, filter, msg);
}

#define EVENT_FRAME(NAME, name, ...) \
        event_frame(REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_EVENT_##NAME, (xdrproc_t) xdr_remote_domain_event_##name##_msg, \
                    &(remote_domain_event_##name##_msg) { .callbackID = id, __VA_ARGS__ })

static Frame *encode_io_error(const DriverEvent *event, int id) {
        remote_nonnull_domain dom = borrow_domain(event);
        char *path = borrow(event->io_error.source_path), *alias = borrow(event->io_error.device_alias);

        if (event->id == VIR_DOMAIN_EVENT_ID_IO_ERROR)
                return EVENT_FRAME(CALLBACK_IO_ERROR, callback_io_error,
                                   .msg = { .dom = dom, .srcPath = path, .devAlias = alias,
                                            .action = event->io_error.action });
        return EVENT_FRAME(CALLBACK_IO_ERROR_REASON, callback_io_error_reason,
                           .msg = { .dom = dom, .srcPath = path, .devAlias = alias, .action = event->io_error.action,
                                    .reason = borrow(event->io_error.reason) });
}

static Frame *encode_job_completed(const DriverEvent *event, int id) {
        unsigned n = 0;
        remote_typed_param *params = params_to_wire(event->job_completed.params, event->job_completed.n_params,
                                                    REMOTE_DOMAIN_JOB_STATS_MAX, &n);
        Frame *frame = EVENT_FRAME(CALLBACK_JOB_COMPLETED, callback_job_completed, .dom = borrow_domain(event),
                                   .params = { .params_len = n, .params_val = params });
        params_wire_free(params, n);
        return frame;
}

static Frame *encode_monitor(const DriverEvent *event, int id) {
        char *details = borrow(event->monitor.details);
        qemu_domain_monitor_event_msg msg = {
                .callbackID = id,
                .dom = borrow_domain(event),
                .event = borrow(event->monitor.name),
                .seconds = event->monitor.seconds,
                .micros = event->monitor.micros,
                .details = event->monitor.details ? &details : NULL,
        };
        return event_frame(QEMU_PROGRAM, QEMU_PROC_DOMAIN_MONITOR_EVENT, (xdrproc_t) xdr_qemu_domain_monitor_event_msg,
                           &msg);
}

static Frame *event_encode(const DriverEvent *event, int id) {
        remote_nonnull_domain dom = borrow_domain(event);

        switch (event->id) {
        case -1:
                return encode_monitor(event, id);
        case VIR_DOMAIN_EVENT_ID_LIFECYCLE:
                return EVENT_FRAME(CALLBACK_LIFECYCLE, callback_lifecycle,
                                   .msg = { .dom = dom, .event = event->lifecycle.event,
                                            .detail = event->lifecycle.detail });
        case VIR_DOMAIN_EVENT_ID_REBOOT:
                return EVENT_FRAME(CALLBACK_REBOOT, callback_reboot, .msg = { .dom = dom });
        case VIR_DOMAIN_EVENT_ID_RTC_CHANGE:
                return EVENT_FRAME(CALLBACK_RTC_CHANGE, callback_rtc_change,
                                   .msg = { .dom = dom, .offset = event->rtc_offset });
        case VIR_DOMAIN_EVENT_ID_WATCHDOG:
                return EVENT_FRAME(CALLBACK_WATCHDOG, callback_watchdog,
                                   .msg = { .dom = dom, .action = event->watchdog_action });
        case VIR_DOMAIN_EVENT_ID_IO_ERROR:
        case VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON:
                return encode_io_error(event, id);
        case VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE:
                return EVENT_FRAME(CALLBACK_BALLOON_CHANGE, callback_balloon_change,
                                   .msg = { .dom = dom, .actual = event->balloon_kib });
        case VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED:
                return EVENT_FRAME(CALLBACK_DEVICE_REMOVED, callback_device_removed,
                                   .msg = { .dom = dom, .devAlias = borrow(event->device_alias) });
        case VIR_DOMAIN_EVENT_ID_DEVICE_ADDED:
                return EVENT_FRAME(CALLBACK_DEVICE_ADDED, callback_device_added, .dom = dom,
                                   .devAlias = borrow(event->device_alias));
        case VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE:
                return EVENT_FRAME(CALLBACK_AGENT_LIFECYCLE, callback_agent_lifecycle, .dom = dom,
                                   .state = event->agent.state,
                                   .reason = event->agent.reason);
        case VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION:
                return EVENT_FRAME(CALLBACK_MIGRATION_ITERATION, callback_migration_iteration, .dom = dom,
                                   .iteration = event->iteration);
        case VIR_DOMAIN_EVENT_ID_JOB_COMPLETED:
                return encode_job_completed(event, id);
        default:
                return NULL; /* the driver has none of the others */
        }
}

void subscription_deliver(RpcClient *client, const DriverEvent *event) {
        SubscriptionList *list = client_subscriptions(client);

        for (guint i = 0; i < list->subscriptions->len; i++) {
                const Subscription *subscription = g_ptr_array_index(list->subscriptions, i);
                if (subscription_fits(subscription, event))
                        client_send(client, event_encode(event, subscription->id));
        }
}
