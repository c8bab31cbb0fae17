/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/error.h"

static void test_round_trip(void **state) {
        virTypedParameterPtr params = NULL, back = NULL;
        int n = 0, max = 0, n_back = 0;
        unsigned n_wire = 0;
        const char *text = NULL;
        unsigned long long ul = 0;
        double d = 0;

        virTypedParamsAddInt(&params, &n, &max, "i", -5);
        virTypedParamsAddUInt(&params, &n, &max, "u", 5);
        virTypedParamsAddLLong(&params, &n, &max, "l", INT64_MIN);
        virTypedParamsAddULLong(&params, &n, &max, "ul", UINT64_MAX);
        virTypedParamsAddDouble(&params, &n, &max, "d", 0.25);
        virTypedParamsAddBoolean(&params, &n, &max, "b", 1);
        virTypedParamsAddString(&params, &n, &max, "s", "text");
        remote_typed_param *wire = params_to_wire(params, n, 64, &n_wire);
        assert_int_equal(n_wire, n);
        assert_int_equal(params_from_wire(wire, n_wire, &back, &n_back, NULL), 0);
        assert_int_equal(n_back, n);
        for (int i = 0; i < n; i++) {
                assert_string_equal(back[i].field, params[i].field);
                assert_int_equal(back[i].type, params[i].type);
        }
        assert_int_equal(back[0].value.i, -5);
        assert_int_equal(back[2].value.l, INT64_MIN);
        assert_int_equal(virTypedParamsGetULLong(back, n, "ul", &ul), 1);
        assert_true(ul == UINT64_MAX);
        assert_int_equal(virTypedParamsGetDouble(back, n, "d", &d), 1);
        assert_true(d == 0.25);
        assert_int_equal(virTypedParamsGetString(back, n, "s", &text), 1);
        assert_string_equal(text, "text");
        params_wire_free(wire, n_wire);
        virTypedParamsFree(params, n);
        virTypedParamsFree(back, n_back);
}

static void test_limits(void **state) {
        virTypedParameter params[3] = {
                { .field = "a", .type = VIR_TYPED_PARAM_INT },
                { .field = "odd", .type = 99 },
                { .field = "b", .type = VIR_TYPED_PARAM_INT },
        };
        unsigned n = 0;

        remote_typed_param *wire = params_to_wire(params, 3, 64, &n);
        assert_int_equal(n, 2);
        assert_string_equal(wire[1].field, "b");
        params_wire_free(wire, n);
        wire = params_to_wire(params, 3, 1, &n);
        assert_int_equal(n, 1);
        params_wire_free(wire, n);
}

static void test_hostile(void **state) {
        g_autofree char *name = g_strnfill(VIR_TYPED_PARAM_FIELD_LENGTH, 'n');
        remote_typed_param wire[2] = {
                { .field = (char *) "s", .value = { .type = 7, .remote_typed_param_value_u.s = (char *) "text" } },
                { .field = name, .value = { .type = 1 } },
        };
        virTypedParameterPtr params = NULL;
        int n = 0;
        g_autoptr(GError) error = NULL, second = NULL;

        assert_true(params_from_wire(wire, 2, &params, &n, &error) < 0);
        assert_true(error_is(error, VIR_ERR_INVALID_ARG));
        name[3] = '\0';
        wire[1].value.type = 8;
        assert_true(params_from_wire(wire, 2, &params, &n, &second) < 0);
        assert_non_null(strstr(second->message, "unknown type 8"));
        assert_null(params);
}

int main(void) {
        /* libvirt's own functions for parameters need it */
        if (virInitialize() < 0)
                return 1;
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_hostile),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
