/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/subscription.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>

#include "driver/base/fiber.h"
#include "tests/daemon/driver_double.h"
#include "tests/daemon/wire.h"

static int add(Wire *wire, int event_id, bool one_domain) {
        remote_nonnull_domain dom = wire_domain();
        remote_connect_domain_event_callback_register_any_args args = { .eventID = event_id, .dom = one_domain
                                                                        ? &dom : NULL };
        remote_connect_domain_event_callback_register_any_ret ret = { 0 };
        wire_call_ok(wire, REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY,
                     WIRE_XDR(remote_connect_domain_event_callback_register_any_args), &args,
                     WIRE_XDR(remote_connect_domain_event_callback_register_any_ret), &ret);
        return ret.callbackID;
}

static void drop(Wire *wire, int id) {
        remote_connect_domain_event_callback_deregister_any_args args = { .callbackID = id };
        wire_call_ok(wire, REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY,
                     WIRE_XDR(remote_connect_domain_event_callback_deregister_any_args), &args, NULL, NULL);
}

static Frame *event_frame(Wire *wire, int32_t proc) {
        Frame *frame = wire_receive(wire);
        assert_non_null(frame);
        assert_int_equal(frame->header.type, VIR_NET_MESSAGE);
        assert_int_equal(frame->header.status, VIR_NET_OK);
        assert_int_equal(frame->header.proc, proc);
        return frame;
}

/* Each event the driver can send, with the procedure it has to come as. */
static void every_event(void *userdata) {
        g_autofree virTypedParameterPtr params = g_new0(virTypedParameter, 1);
        DomainRef ref = { .name = (char *) "vm1", .id = 7 };
        const struct {
                DriverEvent event;
                int32_t proc;
                const char *words; /* after callbackID and domain, big endian, in hex */
        } cases[] = {
                { { .id = 0, .lifecycle = { 2, 1 } }, 318, "00000002 00000001" },
                { { .id = 1 }, 319, "" },
                { { .id = 2, .rtc_offset = -1 }, 320, "ffffffff ffffffff" },
                { { .id = 3, .watchdog_action = 4 }, 321, "00000004" },
                { { .id = 4, .io_error = { "/d", "v", "r", 1 } }, 322, "00000002 2f640000 00000001 76000000 00000001" },
                { { .id = 6, .io_error = { "/d", "v", "r", 1 } }, 324,
                  "00000002 2f640000 00000001 76000000 00000001 00000001 72000000" },
                { { .id = 13, .balloon_kib = 5 }, 331, "00000000 00000005" },
                { { .id = 15, .device_alias = "v" }, 333, "00000001 76000000" },
                { { .id = 18, .agent = { 1, 2 } }, 348, "00000001 00000002" },
                { { .id = 19, .device_alias = "v" }, 354, "00000001 76000000" },
                { { .id = 20, .iteration = 3 }, 359, "00000003" },
                { { .id = 21, .job_completed = { params, 1 } }, 363, "00000001 00000001 69000000 00000001 00000009" },
        };
        Wire wire;

        strcpy(params[0].field, "i");
        params[0].type = VIR_TYPED_PARAM_INT;
        params[0].value.i = 9;
        memcpy(ref.uuid, double_uuid, sizeof(ref.uuid));
        wire_begin_open(&wire, NULL, false);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                DriverEvent event = cases[i].event;
                g_autoptr(GString) words = g_string_new(NULL);
                event.domain = &ref;
                int id = add(&wire, event.id, false);
                double_event(&event);
                g_autoptr(Frame) frame = event_frame(&wire, cases[i].proc);
                /* 4 bytes id, 8 bytes name, 16 bytes uuid, 4 bytes id of the domain */
                for (size_t at = FRAME_HEADER_BYTES + 32; at < frame->length; at++)
                        g_string_append_printf(words, at % 4 == 3 && at + 1 < frame->length ? "%02x " : "%02x",
                                               frame->data[at]);
                assert_string_equal(words->str, cases[i].words);
                assert_int_equal(frame->data[FRAME_HEADER_BYTES + 3], id);
                drop(&wire, id);
        }
        wire_end(&wire);
}

static void filters(void *userdata) {
        DomainRef here = { .name = (char *) "vm1", .id = 7 }, other = { .name = (char *) "vm2", .id = 8 };
        Wire wire;

        memcpy(here.uuid, double_uuid, sizeof(here.uuid));
        wire_begin_open(&wire, NULL, false);
        int any = add(&wire, 0, false), one = add(&wire, 0, true), reboot = add(&wire, 1, false);
        assert_true(any != one && one != reboot);
        double_event(&(DriverEvent) { .id = 0, .domain = &other });
        g_autoptr(Frame) first = event_frame(&wire, 318);
        assert_int_equal(first->data[FRAME_HEADER_BYTES + 3], any);
        double_event(&(DriverEvent) { .id = 0, .domain = &here });
        g_autoptr(Frame) second = event_frame(&wire, 318);
        g_autoptr(Frame) third = event_frame(&wire, 318);
        assert_int_equal(third->data[FRAME_HEADER_BYTES + 3], one);
        drop(&wire, any);
        drop(&wire, one);
        double_event(&(DriverEvent) { .id = 0, .domain = &here });
        double_event(&(DriverEvent) { .id = 1, .domain = &here });
        g_autoptr(Frame) fourth = event_frame(&wire, 319); /* nothing of the first in between */
        wire_end(&wire);
}

static void refused(void *userdata) {
        static const int bad[] = { -1, 27, 1000 };
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                remote_connect_domain_event_callback_register_any_args args = { .eventID = bad[i] };
                xdrproc_t filter = WIRE_XDR(remote_connect_domain_event_callback_register_any_args);
                int32_t proc = REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY;
                g_autoptr(Frame) frame = wire_call(&wire, REMOTE_PROGRAM, proc, filter, &args);
                virNetMessageError error = wire_error(frame);
                assert_int_equal(error.code, VIR_ERR_INVALID_ARG);
                wire_error_clear(&error);
        }
        wire_end(&wire);
}

static void bounded(void **state) {
        SubscriptionList *list = subscription_list_new();
        g_autoptr(GError) error = NULL;
        int id = 0, r = 0;

        for (unsigned i = 0; i < 2000 && r >= 0; i++)
                r = subscription_add(list, 0, NULL, &id, &error);
        assert_true(r < 0);
        assert_int_equal(id, 1024);
        subscription_list_free(list);
}

static int add_monitor(Wire *wire, const char *name, unsigned flags) {
        char *event = (char *) name;
        qemu_connect_domain_monitor_event_register_args args = { .event = name ? &event : NULL, .flags = flags };
        qemu_connect_domain_monitor_event_register_ret ret = { 0 };
        g_autoptr(Frame) frame = wire_call(wire, QEMU_PROGRAM, QEMU_PROC_CONNECT_DOMAIN_MONITOR_EVENT_REGISTER,
                                           WIRE_XDR(qemu_connect_domain_monitor_event_register_args), &args);
        assert_int_equal(frame->header.status, VIR_NET_OK);
        assert_int_equal(frame_decode(frame, WIRE_XDR(qemu_connect_domain_monitor_event_register_ret), &ret), 0);
        return ret.callbackID;
}

/* QEMU's own events, selected by name in three ways. */
static void monitor_events(void *userdata) {
        static const struct {
                const char *name;
                unsigned flags;
                const char *event;
                bool fits;
        } cases[] = {
                { NULL, 0, "STOP", true },
                { "STOP", 0, "STOP", true },
                { "stop", 0, "STOP", false },
                { "stop", VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_NOCASE, "STOP", true },
                { "^S.*P$", VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX, "STOP", true },
                { "^s.*p$", VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX, "STOP", false },
                { "^s.*p$", 3, "STOP", true },
                { "^R", VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX, "STOP", false },
        };
        DomainRef ref = { .name = (char *) "vm1", .id = 7 };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Wire wire;
                qemu_domain_monitor_event_msg msg = { 0 };
                wire_begin_open(&wire, NULL, false);
                int id = add_monitor(&wire, cases[i].name, cases[i].flags);
                int last = add(&wire, 1, false);
                double_event(&(DriverEvent) { .id = -1, .domain = &ref,
                                              .monitor = { .name = cases[i].event, .details = "{}", .seconds = 5,
                                                           .micros = 6 } });
                double_event(&(DriverEvent) { .id = 1, .domain = &ref });
                g_autoptr(Frame) frame = wire_receive(&wire);
                assert_int_equal(frame->header.prog, cases[i].fits ? QEMU_PROGRAM : REMOTE_PROGRAM);
                if (cases[i].fits) {
                        assert_int_equal(frame_decode(frame, WIRE_XDR(qemu_domain_monitor_event_msg), &msg), 0);
                        assert_int_equal(msg.callbackID, id);
                        assert_string_equal(msg.event, cases[i].event);
                        assert_string_equal(*msg.details, "{}");
                        assert_int_equal(msg.seconds, 5);
                        frame_payload_clear(WIRE_XDR(qemu_domain_monitor_event_msg), &msg);
                }
                assert_true(last > id);
                wire_end(&wire);
        }
}

static void bad_regex(void **state) {
        SubscriptionList *list = subscription_list_new();
        g_autoptr(GError) error = NULL, second = NULL;
        int id = 0;

        assert_true(subscription_add_monitor(list, "(", NULL, 1, &id, &error) < 0);
        assert_true(subscription_add_monitor(list, "x", NULL, 8, &id, &second) < 0);
        subscription_list_free(list);
}

#define IN_FIBER(name) \
        static void test_##name(void **state) { \
                assert_int_equal(fiber_run(#name, name, NULL), 0); \
        }
IN_FIBER(every_event)
IN_FIBER(filters)
IN_FIBER(refused)
IN_FIBER(monitor_events)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_event),
                cmocka_unit_test(test_filters),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(bounded),
                cmocka_unit_test(test_monitor_events),
                cmocka_unit_test(bad_regex),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
