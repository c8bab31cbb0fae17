/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/event.h"

typedef struct Subscription {
        unsigned number; /* 0: unsubscribed during delivery, freed afterwards */
        DriverEventFunc func;
        void *userdata;
} Subscription;

struct EventBus {
        GPtrArray *subscriptions;
        unsigned last_number;
        unsigned delivering; /* depth */
};

void domain_ref_clear(DomainRef *ref) {
        g_clear_pointer(&ref->name, g_free);
}

void domain_refs_free(DomainRef *refs, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                domain_ref_clear(&refs[i]);
        g_free(refs);
}

EventBus *event_bus_new(void) {
        EventBus *bus = g_new0(EventBus, 1);

        bus->subscriptions = g_ptr_array_new_with_free_func(g_free);
        return bus;
}

EventBus *event_bus_free(EventBus *bus) {
        if (!bus)
                return NULL;
        g_ptr_array_unref(bus->subscriptions);
        g_free(bus);
        return NULL;
}

unsigned event_bus_subscribe(EventBus *bus, DriverEventFunc func, void *userdata) {
        Subscription *subscription = g_new0(Subscription, 1);

        subscription->number = ++bus->last_number;
        subscription->func = func;
        subscription->userdata = userdata;
        g_ptr_array_add(bus->subscriptions, subscription);
        return subscription->number;
}

static void event_bus_sweep(EventBus *bus) {
        for (guint i = bus->subscriptions->len; i-- > 0;) {
                Subscription *subscription = g_ptr_array_index(bus->subscriptions, i);

                if (subscription->number == 0)
                        g_ptr_array_remove_index(bus->subscriptions, i);
        }
}

void event_bus_unsubscribe(EventBus *bus, unsigned number) {
        for (guint i = 0; i < bus->subscriptions->len; i++) {
                Subscription *subscription = g_ptr_array_index(bus->subscriptions, i);

                if (subscription->number == number)
                        subscription->number = 0;
        }
        if (bus->delivering == 0)
                event_bus_sweep(bus);
}

void event_bus_emit(EventBus *bus, const DriverEvent *event) {
        bus->delivering++;
        for (guint i = 0; i < bus->subscriptions->len; i++) {
                Subscription *subscription = g_ptr_array_index(bus->subscriptions, i);

                if (subscription->number != 0)
                        subscription->func(event, subscription->userdata);
        }
        if (--bus->delivering == 0)
                event_bus_sweep(bus);
}
