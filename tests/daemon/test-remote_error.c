/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/remote_error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <libvirt/libvirt.h>

#include "driver/base/error.h"

static void check(virErrorNumber code, const char *text, int domain, const char *message, const char *format) {
        g_autoptr(GError) error = NULL;
        virNetMessageError wire = { 0 };

        error_set(&error, code, "%s", text);
        remote_error_fill(error, &wire);
        assert_int_equal(wire.code, code);
        assert_int_equal(wire.domain, domain);
        assert_int_equal(wire.level, VIR_ERR_ERROR);
        assert_string_equal(*wire.message, message);
        assert_string_equal(*wire.str1, format);
        assert_string_equal(*wire.str2, text);
        assert_int_equal(wire.int1, -1);
        frame_payload_clear((xdrproc_t) xdr_virNetMessageError, &wire);
}

static void test_wording(void **state) {
        check(VIR_ERR_NO_DOMAIN, "no domain 'x'", VIR_FROM_QEMU, "Domain not found: no domain 'x'",
              "Domain not found: %s");
        check(VIR_ERR_OPERATION_INVALID, "domain is not running", VIR_FROM_QEMU,
              "Requested operation is not valid: domain is not running", "Requested operation is not valid: %s");
        check(VIR_ERR_CONFIG_UNSUPPORTED, "no 'x'", VIR_FROM_QEMU, "unsupported configuration: no 'x'",
              "unsupported configuration: %s");
        check(VIR_ERR_OPERATION_DENIED, "x", VIR_FROM_QEMU, "operation forbidden: x", "operation forbidden: %s");
        check(VIR_ERR_NO_NETWORK, "n", VIR_FROM_NETWORK, "Network not found: n", "Network not found: %s");
        check(VIR_ERR_SYSTEM_ERROR, "cannot x", VIR_FROM_QEMU, "cannot x", "%s");
        check(VIR_ERR_MIGRATE_FINISH_OK, "x", VIR_FROM_QEMU, "migration successfully aborted: x",
              "migration successfully aborted: %s");
        check(VIR_ERR_DOM_EXIST, "vm1", VIR_FROM_QEMU, "domain vm1 exists already", "domain %s exists already");
}

/* Percent signs and broken text in a detail are only text. */
static void test_hostile_text(void **state) {
        g_autoptr(GError) error = NULL;
        virNetMessageError wire = { 0 };

        check(VIR_ERR_INTERNAL_ERROR, "%s%n%d", VIR_FROM_QEMU, "internal error: %s%n%d", "internal error: %s");
        error_set(&error, VIR_ERR_OPERATION_FAILED, "bad \xff byte");
        remote_error_fill(error, &wire);
        assert_true(g_utf8_validate(*wire.message, -1, NULL));
        frame_payload_clear((xdrproc_t) xdr_virNetMessageError, &wire);
}

static void test_foreign_errors(void **state) {
        g_autoptr(GError) error = g_error_new(G_FILE_ERROR, 3, "odd");
        virNetMessageError wire = { 0 };

        remote_error_fill(error, &wire);
        assert_int_equal(wire.code, VIR_ERR_INTERNAL_ERROR);
        frame_payload_clear((xdrproc_t) xdr_virNetMessageError, &wire);
        remote_error_fill(NULL, &wire);
        assert_int_equal(wire.code, VIR_ERR_INTERNAL_ERROR);
        frame_payload_clear((xdrproc_t) xdr_virNetMessageError, &wire);
}

/* What the client turns into "not supported". */
static void test_unknown_procedure(void **state) {
        g_autoptr(GError) error = NULL;
        virNetMessageError wire = { 0 };

        remote_error_unknown_procedure(1234, &error);
        g_autoptr(Frame) frame = remote_error_frame(&(FrameHeader) { .proc = 1234, .serial = 5 }, error);
        assert_int_equal(frame->header.type, VIR_NET_REPLY);
        assert_int_equal(frame->header.status, VIR_NET_ERROR);
        assert_int_equal(frame->header.serial, 5);
        assert_int_equal(frame_decode(frame, (xdrproc_t) xdr_virNetMessageError, &wire), 0);
        assert_int_equal(wire.code, 39);
        assert_int_equal(wire.domain, 7);
        assert_string_equal(*wire.message, "unknown procedure: 1234");
        frame_payload_clear((xdrproc_t) xdr_virNetMessageError, &wire);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_wording),
                cmocka_unit_test(test_hostile_text),
                cmocka_unit_test(test_foreign_errors),
                cmocka_unit_test(test_unknown_procedure),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
