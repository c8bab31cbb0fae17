/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <libvirt/libvirt.h>

/* Finding domains: one, or lists in the old form (names, ids) and the new (all at once). */

HANDLER(lookup_by_id) {
        const remote_domain_lookup_by_id_args *args = argp;
        remote_domain_lookup_by_id_ret *ret = retp;
        g_auto(DomainRef) ref = { 0 };
        int r = driver_lookup_id(call->driver, args->id, &ref, reterr);
        if (r >= 0)
                dispatch_take_ref(&ref, &ret->dom);
        return r;
}

HANDLER(lookup_by_name) {
        const remote_domain_lookup_by_name_args *args = argp;
        remote_domain_lookup_by_name_ret *ret = retp;
        g_auto(DomainRef) ref = { 0 };
        int r = driver_lookup_name(call->driver, args->name, &ref, reterr);
        if (r >= 0)
                dispatch_take_ref(&ref, &ret->dom);
        return r;
}

HANDLER(lookup_by_uuid) {
        const remote_domain_lookup_by_uuid_args *args = argp;
        remote_domain_lookup_by_uuid_ret *ret = retp;
        g_auto(DomainRef) ref = { 0 };
        int r = driver_lookup_uuid(call->driver, (const unsigned char *) args->uuid, &ref, reterr);
        if (r >= 0)
                dispatch_take_ref(&ref, &ret->dom);
        return r;
}

HANDLER(list_all_domains) {
        const remote_connect_list_all_domains_args *args = argp;
        remote_connect_list_all_domains_ret *ret = retp;
        DomainRef *refs = NULL;
        unsigned n = 0;

        int r = driver_list_domains(call->driver, args->flags, &refs, &n, reterr);
        if (r < 0)
                return r;
        if (n > REMOTE_DOMAIN_LIST_MAX) {
                domain_refs_free(refs, n);
                return error_set(reterr, VIR_ERR_RPC, _("%u domains are more than a reply can hold"), n);
        }
        ret->ret = n;
        if (args->need_results) {
                ret->domains.domains_val = g_new0(remote_nonnull_domain, n + 1);
                ret->domains.domains_len = n;
                for (unsigned i = 0; i < n; i++)
                        dispatch_take_ref(&refs[i], &ret->domains.domains_val[i]);
        }
        domain_refs_free(refs, n);
        return 0;
}

static int count_domains(RpcCall *call, unsigned flags, int *ret_n, GError **reterr) {
        DomainRef *refs = NULL;
        unsigned n = 0;
        int r = driver_list_domains(call->driver, flags, &refs, &n, reterr);
        if (r < 0)
                return r;
        domain_refs_free(refs, n);
        *ret_n = (int) n;
        return 0;
}

HANDLER(num_of_domains) {
        remote_connect_num_of_domains_ret *ret = retp;
        return count_domains(call, VIR_CONNECT_LIST_DOMAINS_ACTIVE, &ret->num, reterr);
}

HANDLER(num_of_defined_domains) {
        remote_connect_num_of_defined_domains_ret *ret = retp;
        return count_domains(call, VIR_CONNECT_LIST_DOMAINS_INACTIVE, &ret->num, reterr);
}

HANDLER(list_domains) {
        const remote_connect_list_domains_args *args = argp;
        remote_connect_list_domains_ret *ret = retp;
        DomainRef *refs = NULL;
        unsigned n = 0;

        int r = dispatch_check_count(_("the number of domain ids"), args->maxids, REMOTE_DOMAIN_LIST_MAX, reterr);
        if (r >= 0)
                r = driver_list_domains(call->driver, VIR_CONNECT_LIST_DOMAINS_ACTIVE, &refs, &n, reterr);
        if (r < 0)
                return r;
        ret->ids.ids_len = MIN(n, (unsigned) args->maxids);
        ret->ids.ids_val = g_new0(int, ret->ids.ids_len + 1);
        for (unsigned i = 0; i < ret->ids.ids_len; i++)
                ret->ids.ids_val[i] = refs[i].id;
        domain_refs_free(refs, n);
        return 0;
}

HANDLER(list_defined_domains) {
        const remote_connect_list_defined_domains_args *args = argp;
        remote_connect_list_defined_domains_ret *ret = retp;
        DomainRef *refs = NULL;
        unsigned n = 0;

        int r = dispatch_check_count(_("the number of domain names"), args->maxnames, REMOTE_DOMAIN_LIST_MAX, reterr);
        if (r >= 0)
                r = driver_list_domains(call->driver, VIR_CONNECT_LIST_DOMAINS_INACTIVE, &refs, &n, reterr);
        if (r < 0)
                return r;
        ret->names.names_len = MIN(n, (unsigned) args->maxnames);
        ret->names.names_val = g_new0(remote_nonnull_string, ret->names.names_len + 1);
        for (unsigned i = 0; i < ret->names.names_len; i++)
                ret->names.names_val[i] = g_steal_pointer(&refs[i].name);
        domain_refs_free(refs, n);
        return 0;
}

static const Procedure procedures[] = {
        { PROCEDURE(CONNECT_LIST_DEFINED_DOMAINS), ARGS(remote_connect_list_defined_domains_args),
          RET(remote_connect_list_defined_domains_ret), .func = list_defined_domains },
        { PROCEDURE(DOMAIN_LOOKUP_BY_ID), ARGS(remote_domain_lookup_by_id_args), RET(remote_domain_lookup_by_id_ret),
          .func = lookup_by_id },
        { PROCEDURE(DOMAIN_LOOKUP_BY_NAME), ARGS(remote_domain_lookup_by_name_args),
          RET(remote_domain_lookup_by_name_ret),
          .func = lookup_by_name },
        { PROCEDURE(DOMAIN_LOOKUP_BY_UUID), ARGS(remote_domain_lookup_by_uuid_args),
          RET(remote_domain_lookup_by_uuid_ret),
          .func = lookup_by_uuid },
        { PROCEDURE(CONNECT_NUM_OF_DEFINED_DOMAINS), RET(remote_connect_num_of_defined_domains_ret),
          .func = num_of_defined_domains },
        { PROCEDURE(CONNECT_LIST_DOMAINS), ARGS(remote_connect_list_domains_args), RET(remote_connect_list_domains_ret),
          .func = list_domains },
        { PROCEDURE(CONNECT_NUM_OF_DOMAINS), RET(remote_connect_num_of_domains_ret), .func = num_of_domains },
        { PROCEDURE(CONNECT_LIST_ALL_DOMAINS), ARGS(remote_connect_list_all_domains_args),
          RET(remote_connect_list_all_domains_ret), .func = list_all_domains },
};
const ProcedureTable lookup_procedures = { procedures, G_N_ELEMENTS(procedures) };
