/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/params.h"

#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"

static bool param_to_wire(const virTypedParameter *param, remote_typed_param *ret_wire) {
        remote_typed_param_value value = { .type = param->type };

        switch (param->type) {
        case VIR_TYPED_PARAM_INT:
                value.remote_typed_param_value_u.i = param->value.i;
                break;
        case VIR_TYPED_PARAM_UINT:
                value.remote_typed_param_value_u.ui = param->value.ui;
                break;
        case VIR_TYPED_PARAM_LLONG:
                value.remote_typed_param_value_u.l = param->value.l;
                break;
        case VIR_TYPED_PARAM_ULLONG:
                value.remote_typed_param_value_u.ul = param->value.ul;
                break;
        case VIR_TYPED_PARAM_DOUBLE:
                value.remote_typed_param_value_u.d = param->value.d;
                break;
        case VIR_TYPED_PARAM_BOOLEAN:
                value.remote_typed_param_value_u.b = param->value.b;
                break;
        case VIR_TYPED_PARAM_STRING:
                value.remote_typed_param_value_u.s = g_strdup(param->value.s ? param->value.s : "");
                break;
        default:
                return false;
        }
        *ret_wire = (remote_typed_param) { .field = g_strdup(param->field), .value = value };
        return true;
}

remote_typed_param *params_to_wire(const virTypedParameter *params, int n, unsigned max, unsigned *ret_n) {
        remote_typed_param *wire = g_new0(remote_typed_param, n > 0 ? n : 1);
        unsigned used = 0;

        for (int i = 0; i < n && used < max; i++)
                if (param_to_wire(&params[i], &wire[used]))
                        used++;
        *ret_n = used;
        return wire;
}

static int param_from_wire(const remote_typed_param *wire, virTypedParameterPtr ret_param, GError **reterr) {
        virTypedParameter param = { .type = wire->value.type };

        if (strlen(wire->field) >= sizeof(param.field))
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the name of parameter '%.80s...' is too long"),
                                 wire->field);
        strcpy(param.field, wire->field);

        switch (wire->value.type) {
        case VIR_TYPED_PARAM_INT:
                param.value.i = wire->value.remote_typed_param_value_u.i;
                break;
        case VIR_TYPED_PARAM_UINT:
                param.value.ui = wire->value.remote_typed_param_value_u.ui;
                break;
        case VIR_TYPED_PARAM_LLONG:
                param.value.l = wire->value.remote_typed_param_value_u.l;
                break;
        case VIR_TYPED_PARAM_ULLONG:
                param.value.ul = wire->value.remote_typed_param_value_u.ul;
                break;
        case VIR_TYPED_PARAM_DOUBLE:
                param.value.d = wire->value.remote_typed_param_value_u.d;
                break;
        case VIR_TYPED_PARAM_BOOLEAN:
                param.value.b = (char) (wire->value.remote_typed_param_value_u.b != 0);
                break;
        case VIR_TYPED_PARAM_STRING:
                /* virTypedParamsFree() frees it with free(), which is what g_free() is. */
                param.value.s = g_strdup(wire->value.remote_typed_param_value_u.s);
                break;
        default:
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("parameter '%s' has the unknown type %d"), wire->field,
                                 wire->value.type);
        }
        *ret_param = param;
        return 0;
}

int params_from_wire(const remote_typed_param *wire, unsigned n, virTypedParameterPtr *ret_params, int *ret_n,
                     GError **reterr) {
        virTypedParameterPtr params = g_new0(virTypedParameter, n > 0 ? n : 1);

        for (unsigned i = 0; i < n; i++) {
                int r = param_from_wire(&wire[i], &params[i], reterr);
                if (r < 0) {
                        virTypedParamsFree(params, (int) i);
                        return r;
                }
        }
        *ret_params = params;
        *ret_n = (int) n;
        return 0;
}

void params_wire_free(remote_typed_param *wire, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                g_free(wire[i].field);
                if (wire[i].value.type == VIR_TYPED_PARAM_STRING)
                        g_free(wire[i].value.remote_typed_param_value_u.s);
        }
        g_free(wire);
}
