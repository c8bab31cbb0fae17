/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <libvirt/virterror.h>

#include "driver/base/fiber.h"
#include "tests/daemon/driver_double.h"
#include "tests/daemon/wire.h"

/*
 * Every procedure is called once, with arguments that differ from each other; what reaches the driver and what comes
 * back is compared with data/dispatch.txt. FERRY_TEST_REGENERATE=1 rewrites that file, for review.
 */
#define GOLDEN FERRY_SOURCE_DIR "/tests/daemon/data/dispatch.txt"

/* ---- an XDR stream that any filter can decode from: words count 1 to 7 and begin again, bytes are letters ---- */

static bool_t pattern_getlong(XDR *xdr, long *value) {
        *value = ++xdr->x_handy;
        if (xdr->x_handy == 7)
                xdr->x_handy = 0;
        return TRUE;
}

static bool_t pattern_getbytes(XDR *xdr, char *bytes, u_int length) {
        for (u_int i = 0; i < length; i++)
                bytes[i] = (char) ('a' + (xdr->x_handy + i) % 26);
        return TRUE;
}

static int32_t *pattern_inline(XDR *xdr, u_int length) {
        return NULL;
}

static void pattern_decode(xdrproc_t filter, void *args) {
        static const struct xdr_ops ops = {
                .x_getlong = pattern_getlong,
                .x_getbytes = pattern_getbytes,
                .x_inline = pattern_inline,
        };
        XDR xdr = { .x_op = XDR_DECODE, .x_ops = (struct xdr_ops *) &ops };
        assert_true(filter(&xdr, args));
}

/* ---- one call, in words ---- */

static void describe(GString *out, const Procedure *procedure, const Frame *reply) {
        size_t length = 0;
        const uint8_t *bytes = frame_payload(reply, &length);
        g_autofree void *ret = g_malloc0(MAX(procedure->ret_size, (size_t) 1));

        g_string_append_printf(out, "%d %s\n", procedure->number, procedure->name);
        g_string_append(out, driver_double.log->str);
        if (reply->header.status == VIR_NET_ERROR) {
                virNetMessageError error = wire_error(reply);
                g_string_append_printf(out, "error %d from %d: %s\n\n", error.code, error.domain, *error.message);
                wire_error_clear(&error);
                return;
        }
        if (procedure->ret_filter) {
                assert_int_equal(frame_decode(reply, procedure->ret_filter, ret), 0);
                assert_int_equal(xdr_sizeof(procedure->ret_filter, ret), length); /* and nothing behind it */
                frame_payload_clear(procedure->ret_filter, ret);
        } else
                assert_int_equal(length, 0);
        g_string_append(out, "result");
        for (size_t i = 0; i < length; i++)
                g_string_append_printf(out, i % 4 == 0 ? " %02x" : "%02x", bytes[i]);
        g_string_append(out, "\n\n");
}

/* Those that refuse any flag before they come to the driver. */
static bool takes_no_flags(int32_t proc) {
        switch (proc) {
        case REMOTE_PROC_DOMAIN_MEMORY_STATS:
        case REMOTE_PROC_DOMAIN_GET_BLOCK_INFO:
        case REMOTE_PROC_DOMAIN_GET_STATE:
        case REMOTE_PROC_NODE_GET_MEMORY_STATS:
        case REMOTE_PROC_NODE_GET_CPU_MAP:
        case REMOTE_PROC_CONNECT_GET_CPU_MODEL_NAMES:
        case REMOTE_PROC_CONNECT_SET_IDENTITY:
                return true;
        default:
                return false;
        }
}

static void call_one(Wire *wire, uint32_t prog, const Procedure *procedure, GString *out) {
        g_autofree void *args = g_malloc0(MAX(procedure->args_size, (size_t) 1));

        if (procedure->args_filter)
                pattern_decode(procedure->args_filter, args);
        g_string_truncate(driver_double.log, 0);
        FrameHeader header = { .prog = prog, .vers = 1, .proc = procedure->number, .serial = wire->serial++ };
        g_autoptr(Frame) frame = frame_new(&header, procedure->args_filter, args);
        if (takes_no_flags(procedure->number))
                memset(frame->data + frame->length - 4, 0, 4); /* they come last */
        wire_send_bytes(wire, frame->data, frame->length);
        g_autoptr(Frame) reply = wire_receive(wire);
        assert_int_equal(reply->header.serial, header.serial);
        assert_int_equal(reply->header.type, VIR_NET_REPLY);
        describe(out, procedure, reply);
        if (procedure->args_filter)
                frame_payload_clear(procedure->args_filter, args);
}

static void call_all(uint32_t prog, GString *out) {
        const Program *program = program_find(prog, 1);
        Wire wire;

        for (size_t t = 0; t < program->n_tables; t++)
                for (size_t i = 0; i < program->tables[t]->n; i++) {
                        const Procedure *procedure = &program->tables[t]->procedures[i];
                        if (procedure->number == REMOTE_PROC_DOMAIN_OPEN_CONSOLE)
                                continue; /* test-stream.c */
                        wire_begin_open(&wire, NULL, false);
                        call_one(&wire, prog, procedure, out);
                        wire_end(&wire);
                }
}

static void every_procedure(void *userdata) {
        g_autoptr(GString) out = g_string_new(NULL);
        g_autofree char *golden = NULL;

        call_all(REMOTE_PROGRAM, out);
        call_all(QEMU_PROGRAM, out);
        if (g_getenv("FERRY_TEST_REGENERATE"))
                assert_true(g_file_set_contents(GOLDEN, out->str, -1, NULL));
        assert_true(g_file_get_contents(GOLDEN, &golden, NULL, NULL));
        assert_string_equal(out->str, golden);
}

/* Numbers that a client gives are bounded before anything is made of them. */
static void bounds(void *userdata) {
        remote_nonnull_domain dom = wire_domain();
        remote_domain_get_vcpus_args vcpus[] = {
                { .dom = dom, .maxinfo = -1, .maplen = 1 },
                { .dom = dom, .maxinfo = 16385, .maplen = 1 },
                { .dom = dom, .maxinfo = 16384, .maplen = 513 },
                { .dom = dom, .maxinfo = 1, .maplen = -1 },
                { .dom = dom, .maxinfo = 16384, .maplen = 0x7fffffff },
        };
        remote_domain_memory_stats_args stats = { .dom = dom, .maxStats = 1025 };
        remote_connect_list_domains_args ids = { .maxids = -2 };
        remote_node_get_memory_stats_args node = { .nparams = 17 };
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        for (size_t i = 0; i < G_N_ELEMENTS(vcpus); i++) {
                virNetMessageError error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_GET_VCPUS,
                                                           WIRE_XDR(remote_domain_get_vcpus_args), &vcpus[i]);
                assert_int_equal(error.code, VIR_ERR_INVALID_ARG);
                wire_error_clear(&error);
        }
        virNetMessageError error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_DOMAIN_MEMORY_STATS,
                                                   WIRE_XDR(remote_domain_memory_stats_args), &stats);
        wire_error_clear(&error);
        error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_CONNECT_LIST_DOMAINS,
                                WIRE_XDR(remote_connect_list_domains_args), &ids);
        wire_error_clear(&error);
        error = wire_call_error(&wire, REMOTE_PROGRAM, REMOTE_PROC_NODE_GET_MEMORY_STATS,
                                WIRE_XDR(remote_node_get_memory_stats_args), &node);
        wire_error_clear(&error);
        assert_null(strstr(driver_double.log->str, "domain_vcpus"));
        wire_end(&wire);
}

/* The older form of migration's phases says the same to the driver as the newer one. */
static void fixed_migration(void *userdata) {
        char *xml = (char *) "<x/>", *name = (char *) "new", *uri = (char *) "tcp://h:1";
        remote_domain_migrate_begin3_args begin = { .dom = wire_domain(), .xmlin = &xml, .flags = 1, .dname = &name,
                                                    .resource = 9 };
        remote_domain_migrate_begin3_ret begun = { 0 };
        remote_domain_migrate_prepare3_args prepare = {
                .cookie_in = { 3, (char *) "abc" }, .uri_in = &uri, .flags = 1, .dname = &name, .dom_xml = xml,
        };
        remote_domain_migrate_prepare3_ret prepared = { 0 };
        remote_domain_migrate_finish3_args finish = { .dname = name, .cookie_in = { 3, (char *) "abc" }, .flags = 1,
                                                      .cancelled = 1 };
        remote_domain_migrate_finish3_ret finished = { 0 };
        char *there = (char *) "qemu:///system";
        remote_domain_migrate_perform3_args perform = {
                .dom = wire_domain(), .cookie_in = { 3, (char *) "abc" }, .dconnuri = &there, .uri = &uri, .flags = 3,
        };
        remote_domain_migrate_perform3_ret performed = { 0 };
        remote_domain_migrate_confirm3_args confirm = {
                .dom = wire_domain(), .cookie_in = { 3, (char *) "abc" }, .flags = 1,
        };
        Wire wire;

        wire_begin_open(&wire, NULL, false);
        g_string_truncate(driver_double.log, 0);
        wire_call_ok(&wire, REMOTE_PROC_DOMAIN_MIGRATE_BEGIN3, WIRE_XDR(remote_domain_migrate_begin3_args), &begin,
                     WIRE_XDR(remote_domain_migrate_begin3_ret), &begun);
        assert_memory_equal(begun.cookie_out.cookie_out_val, "COOKIE", begun.cookie_out.cookie_out_len);
        frame_payload_clear(WIRE_XDR(remote_domain_migrate_begin3_ret), &begun);
        wire_call_ok(&wire, REMOTE_PROC_DOMAIN_MIGRATE_PREPARE3, WIRE_XDR(remote_domain_migrate_prepare3_args),
                     &prepare,
                     WIRE_XDR(remote_domain_migrate_prepare3_ret), &prepared);
        frame_payload_clear(WIRE_XDR(remote_domain_migrate_prepare3_ret), &prepared);
        wire_call_ok(&wire, REMOTE_PROC_DOMAIN_MIGRATE_PERFORM3, WIRE_XDR(remote_domain_migrate_perform3_args),
                     &perform,
                     WIRE_XDR(remote_domain_migrate_perform3_ret), &performed);
        frame_payload_clear(WIRE_XDR(remote_domain_migrate_perform3_ret), &performed);
        wire_call_ok(&wire, REMOTE_PROC_DOMAIN_MIGRATE_FINISH3, WIRE_XDR(remote_domain_migrate_finish3_args), &finish,
                     WIRE_XDR(remote_domain_migrate_finish3_ret), &finished);
        frame_payload_clear(WIRE_XDR(remote_domain_migrate_finish3_ret), &finished);
        wire_call_ok(&wire, REMOTE_PROC_DOMAIN_MIGRATE_CONFIRM3, WIRE_XDR(remote_domain_migrate_confirm3_args),
                     &confirm,
                     NULL, NULL);
        assert_string_equal(driver_double.log->str,
                            "migrate_begin(aa)\n destination_xml=<x/> destination_name=new bandwidth=9"
                            " cookie= flags=1\n"
                            "migrate_prepare()\n destination_xml=<x/> destination_name=new migrate_uri=tcp://h:1"
                            " cookie=abc flags=1\n"
                            "migrate_perform(aa, qemu:///system)\n migrate_uri=tcp://h:1 cookie=abc flags=3\n"
                            "migrate_finish(1)\n destination_name=new cookie=abc flags=1\n"
                            "migrate_confirm(aa, 0)\n cookie=abc flags=1\n");
        wire_end(&wire);
}

#define IN_FIBER(name) \
        static void test_##name(void **state) { \
                assert_int_equal(fiber_run(#name, name, NULL), 0); \
        }
IN_FIBER(every_procedure)
IN_FIBER(bounds)
IN_FIBER(fixed_migration)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_procedure),
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_fixed_migration),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
