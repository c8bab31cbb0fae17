/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <string.h>

void dispatch_take_ref(DomainRef *ref, remote_nonnull_domain *ret_wire) {
        ret_wire->name = g_steal_pointer(&ref->name);
        memcpy(ret_wire->uuid, ref->uuid, sizeof(ret_wire->uuid));
        ret_wire->id = ref->id;
        domain_ref_clear(ref);
}

int dispatch_require_domain(RpcCall *call, const remote_nonnull_domain *dom, GError **reterr) {
        g_auto(DomainRef) ref = { 0 };
        return driver_lookup_uuid(call->driver, dispatch_uuid(dom), &ref, reterr);
}

int dispatch_require_write(RpcCall *call, GError **reterr) {
        if (!client_read_only(call->client))
                return 0;
        return error_set(reterr, VIR_ERR_OPERATION_DENIED, _("%s is not for read-only connections"),
                         call->procedure->name);
}

int dispatch_check_count(const char *what, int64_t value, int64_t max, GError **reterr) {
        if (value >= 0 && value <= max)
                return 0;
        return error_set(reterr, VIR_ERR_INVALID_ARG, _("%s is %lld, allowed are 0 to %lld"), what, (long long) value,
                         (long long) max);
}
