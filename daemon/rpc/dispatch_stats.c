/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <libvirt/libvirt.h>
#include <string.h>

#include "daemon/rpc/params.h"

/* What a domain has done so far: counters of its devices and its memory. */

HANDLER(block_stats) {
        const remote_domain_block_stats_args *args = argp;
        remote_domain_block_stats_ret *ret = retp;
        virDomainBlockStatsStruct stats = { 0 };
        int r = driver_domain_block_stats(call->driver, dispatch_uuid(&args->dom), args->path, &stats, reterr);
        if (r < 0)
                return r;
        ret->rd_req = stats.rd_req;
        ret->rd_bytes = stats.rd_bytes;
        ret->wr_req = stats.wr_req;
        ret->wr_bytes = stats.wr_bytes;
        ret->errs = stats.errs;
        return 0;
}

HANDLER(get_block_info) {
        const remote_domain_get_block_info_args *args = argp;
        remote_domain_get_block_info_ret *ret = retp;
        virDomainBlockInfo info = { 0 };

        if (args->flags != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags 0x%x for a disk's size"),
                                 args->flags);
        int r = driver_domain_block_info(call->driver, dispatch_uuid(&args->dom), args->path, &info, reterr);
        if (r < 0)
                return r;
        ret->allocation = info.allocation;
        ret->capacity = info.capacity;
        ret->physical = info.physical;
        return 0;
}

HANDLER(interface_stats) {
        const remote_domain_interface_stats_args *args = argp;
        remote_domain_interface_stats_ret *ret = retp;
        virDomainInterfaceStatsStruct stats = { 0 };
        int r = driver_domain_interface_stats(call->driver, dispatch_uuid(&args->dom), args->device, &stats, reterr);
        if (r < 0)
                return r;
        ret->rx_bytes = stats.rx_bytes;
        ret->rx_packets = stats.rx_packets;
        ret->rx_errs = stats.rx_errs;
        ret->rx_drop = stats.rx_drop;
        ret->tx_bytes = stats.tx_bytes;
        ret->tx_packets = stats.tx_packets;
        ret->tx_errs = stats.tx_errs;
        ret->tx_drop = stats.tx_drop;
        return 0;
}

HANDLER(memory_stats) {
        const remote_domain_memory_stats_args *args = argp;
        remote_domain_memory_stats_ret *ret = retp;
        g_autofree virDomainMemoryStatPtr stats = NULL;
        unsigned n = 0;

        int r = dispatch_check_count(_("the number of memory statistics"), args->maxStats,
                                     REMOTE_DOMAIN_MEMORY_STATS_MAX, reterr);
        if (r < 0)
                return r;
        if (args->flags != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags 0x%x for memory statistics"),
                                 args->flags);
        stats = g_new0(virDomainMemoryStatStruct, args->maxStats + 1);
        r = driver_domain_memory_stats(call->driver, dispatch_uuid(&args->dom), stats, args->maxStats, &n, reterr);
        if (r < 0)
                return r;

        ret->stats.stats_val = g_new0(remote_domain_memory_stat, n + 1);
        ret->stats.stats_len = n;
        for (unsigned i = 0; i < n; i++) {
                ret->stats.stats_val[i].tag = stats[i].tag;
                ret->stats.stats_val[i].val = stats[i].val;
        }
        return 0;
}

HANDLER(get_all_domain_stats) {
        const remote_connect_get_all_domain_stats_args *args = argp;
        remote_connect_get_all_domain_stats_ret *ret = retp;
        unsigned n_uuids = args->doms.doms_len;
        g_autofree unsigned char (*uuids)[VIR_UUID_BUFLEN] = NULL;
        DriverStatsRecord *records = NULL;
        unsigned n = 0;

        if (n_uuids > 0) {
                uuids = g_malloc0_n(n_uuids, sizeof(*uuids));
                for (unsigned i = 0; i < n_uuids; i++)
                        memcpy(uuids[i], args->doms.doms_val[i].uuid, VIR_UUID_BUFLEN);
        }
        int r = driver_domain_stats(call->driver, (const unsigned char(*)[VIR_UUID_BUFLEN]) uuids, n_uuids, args->stats,
                                    args->flags,
                                    &records, &n, reterr);
        if (r < 0)
                return r;

        unsigned used = MIN(n, REMOTE_DOMAIN_LIST_MAX);
        ret->retStats.retStats_val = g_new0(remote_domain_stats_record, used + 1);
        ret->retStats.retStats_len = used;
        for (unsigned i = 0; i < used; i++) {
                remote_domain_stats_record *wire = &ret->retStats.retStats_val[i];
                dispatch_take_ref(&records[i].domain, &wire->dom);
                wire->params.params_val = params_to_wire(records[i].params, records[i].n_params,
                                                         REMOTE_CONNECT_GET_ALL_DOMAIN_STATS_MAX,
                                                         &wire->params.params_len);
        }
        driver_stats_free(records, n);
        return 0;
}

static const Procedure procedures[] = {
        { PROCEDURE(DOMAIN_BLOCK_STATS), ARGS(remote_domain_block_stats_args), RET(remote_domain_block_stats_ret),
          .func = block_stats },
        { PROCEDURE(DOMAIN_INTERFACE_STATS), ARGS(remote_domain_interface_stats_args),
          RET(remote_domain_interface_stats_ret),
          .func = interface_stats },
        { PROCEDURE(DOMAIN_MEMORY_STATS), ARGS(remote_domain_memory_stats_args), RET(remote_domain_memory_stats_ret),
          .func = memory_stats },
        { PROCEDURE(DOMAIN_GET_BLOCK_INFO), ARGS(remote_domain_get_block_info_args),
          RET(remote_domain_get_block_info_ret),
          .func = get_block_info },
        { PROCEDURE(CONNECT_GET_ALL_DOMAIN_STATS), ARGS(remote_connect_get_all_domain_stats_args),
          RET(remote_connect_get_all_domain_stats_ret), .func = get_all_domain_stats },
};
const ProcedureTable stats_procedures = { procedures, G_N_ELEMENTS(procedures) };
