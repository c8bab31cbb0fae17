/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct Listener {
        EventBus *bus;
        unsigned subscription, other;
        unsigned heard;
} Listener;

static void count(const DriverEvent *event, void *userdata) {
        Listener *listener = userdata;

        assert_int_equal(event->id, VIR_DOMAIN_EVENT_ID_REBOOT);
        listener->heard++;
}

static void leave(const DriverEvent *event, void *userdata) {
        Listener *listener = userdata;

        listener->heard++;
        event_bus_unsubscribe(listener->bus, listener->subscription);
        event_bus_unsubscribe(listener->bus, listener->other);
}

static void test_everyone_hears(void **state) {
        g_autoptr(EventBus) bus = event_bus_new();
        Listener a = { .bus = bus }, b = { .bus = bus };

        a.subscription = event_bus_subscribe(bus, count, &a);
        b.subscription = event_bus_subscribe(bus, count, &b);
        assert_int_not_equal(a.subscription, b.subscription);
        event_bus_emit(bus, &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_REBOOT });
        event_bus_unsubscribe(bus, a.subscription);
        event_bus_emit(bus, &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_REBOOT });
        assert_int_equal(a.heard, 1);
        assert_int_equal(b.heard, 2);
}

/* A client may hang up while it is being told. */
static void test_leaving_while_hearing(void **state) {
        g_autoptr(EventBus) bus = event_bus_new();
        Listener a = { .bus = bus }, b = { .bus = bus };

        a.subscription = event_bus_subscribe(bus, leave, &a);
        a.other = b.subscription = event_bus_subscribe(bus, count, &b);
        event_bus_emit(bus, &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_REBOOT });
        event_bus_emit(bus, &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_REBOOT });
        assert_int_equal(a.heard, 1);
        assert_int_equal(b.heard, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_everyone_hears),
                cmocka_unit_test(test_leaving_while_hearing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
