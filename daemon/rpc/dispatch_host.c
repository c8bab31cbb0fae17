/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <libvirt/libvirt.h>
#include <string.h>

/* The host: versions, capacity, what its emulator can do. */

HANDLER(get_type) {
        remote_connect_get_type_ret *ret = retp;
        ret->type = g_strdup("QEMU"); /* the hypervisor, by the name that tools compare with */
        return 0;
}

HANDLER(get_version) {
        remote_connect_get_version_ret *ret = retp;
        uint64_t version = 0;
        int r = driver_hypervisor_version(call->driver, &version, reterr);
        ret->hv_ver = version;
        return r;
}

/* The libvirt whose interface we offer: tools derive from it what they may ask. */
HANDLER(get_lib_version) {
        remote_connect_get_lib_version_ret *ret = retp;
        ret->lib_ver = LIBVIR_VERSION_NUMBER;
        return 0;
}

HANDLER(get_hostname) {
        remote_connect_get_hostname_ret *ret = retp;
        ret->hostname = driver_hostname(call->driver);
        return 0;
}

HANDLER(get_max_vcpus) {
        const remote_connect_get_max_vcpus_args *args = argp;
        remote_connect_get_max_vcpus_ret *ret = retp;
        return driver_max_vcpus(call->driver, dispatch_optional(args->type), &ret->max_vcpus, reterr);
}

HANDLER(node_get_info) {
        remote_node_get_info_ret *ret = retp;
        virNodeInfo info = { 0 };
        int r = driver_node_info(call->driver, &info, reterr);
        if (r < 0)
                return r;

        G_STATIC_ASSERT(sizeof(ret->model) == sizeof(info.model));
        memcpy(ret->model, info.model, sizeof(ret->model));
        ret->memory = info.memory;
        ret->cpus = (int) info.cpus;
        ret->mhz = (int) info.mhz;
        ret->nodes = (int) info.nodes;
        ret->sockets = (int) info.sockets;
        ret->cores = (int) info.cores;
        ret->threads = (int) info.threads;
        return 0;
}

HANDLER(get_capabilities) {
        remote_connect_get_capabilities_ret *ret = retp;
        return driver_capabilities(call->driver, &ret->capabilities, reterr);
}

HANDLER(get_domain_capabilities) {
        const remote_connect_get_domain_capabilities_args *args = argp;
        remote_connect_get_domain_capabilities_ret *ret = retp;
        return driver_domain_capabilities(call->driver, dispatch_optional(args->emulatorbin),
                                          dispatch_optional(args->arch), dispatch_optional(args->machine),
                                          dispatch_optional(args->virttype), args->flags, &ret->capabilities, reterr);
}

HANDLER(get_free_memory) {
        remote_node_get_free_memory_ret *ret = retp;
        uint64_t bytes = 0;
        int r = driver_node_free_memory(call->driver, &bytes, reterr);
        ret->freeMem = bytes;
        return r;
}

HANDLER(get_memory_stats) {
        const remote_node_get_memory_stats_args *args = argp;
        remote_node_get_memory_stats_ret *ret = retp;
        virNodeMemoryStats stats[REMOTE_NODE_MEMORY_STATS_MAX] = { 0 };
        int n = args->nparams;

        int r = dispatch_check_count(_("the number of memory statistics"), n, REMOTE_NODE_MEMORY_STATS_MAX, reterr);
        if (r < 0)
                return r;
        if (args->flags != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags 0x%x for memory statistics"),
                                 args->flags);
        r = driver_node_memory_stats(call->driver, args->cellNum, args->nparams > 0 ? stats : NULL, &n, reterr);
        if (r < 0)
                return r;

        ret->nparams = n;
        if (args->nparams == 0)
                return 0; /* only the number was asked for */
        ret->params.params_val = g_new0(remote_node_get_memory_stats, (gsize) n);
        ret->params.params_len = (u_int) n;
        for (int i = 0; i < n; i++) {
                ret->params.params_val[i].field = g_strdup(stats[i].field);
                ret->params.params_val[i].value = stats[i].value;
        }
        return 0;
}

HANDLER(get_cpu_map) {
        const remote_node_get_cpu_map_args *args = argp;
        remote_node_get_cpu_map_ret *ret = retp;
        g_autofree unsigned char *map = NULL;
        int map_bytes = 0;

        if (args->flags != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags 0x%x for a CPU map"), args->flags);
        int r = driver_node_cpu_map(call->driver, &map, &map_bytes, &ret->online, &ret->ret, reterr);
        if (r < 0)
                return r;
        if (args->need_map && map_bytes <= REMOTE_CPUMAP_MAX) {
                ret->cpumap.cpumap_len = (u_int) map_bytes;
                ret->cpumap.cpumap_val = (char *) g_steal_pointer(&map);
        }
        return 0;
}

HANDLER(get_cpu_model_names) {
        const remote_connect_get_cpu_model_names_args *args = argp;
        remote_connect_get_cpu_model_names_ret *ret = retp;
        g_auto(GStrv) models = NULL;

        if (args->flags != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags 0x%x for CPU models"), args->flags);
        int r = driver_cpu_models(call->driver, args->arch, &models, reterr);
        if (r < 0)
                return r;
        unsigned n = MIN(g_strv_length(models), REMOTE_CONNECT_CPU_MODELS_MAX);
        ret->ret = (int) n;
        if (!args->need_results)
                return 0;
        ret->models.models_val = g_new0(remote_nonnull_string, n + 1);
        ret->models.models_len = n;
        for (unsigned i = 0; i < n; i++)
                ret->models.models_val[i] = g_strdup(models[i]);
        return 0;
}

static const Procedure procedures[] = {
        { PROCEDURE(CONNECT_GET_TYPE), RET(remote_connect_get_type_ret), .func = get_type },
        { PROCEDURE(CONNECT_GET_VERSION), RET(remote_connect_get_version_ret), .func = get_version },
        { PROCEDURE(CONNECT_GET_MAX_VCPUS), ARGS(remote_connect_get_max_vcpus_args),
          RET(remote_connect_get_max_vcpus_ret),
          .func = get_max_vcpus },
        { PROCEDURE(NODE_GET_INFO), RET(remote_node_get_info_ret), .func = node_get_info },
        { PROCEDURE(CONNECT_GET_CAPABILITIES), RET(remote_connect_get_capabilities_ret), .func = get_capabilities },
        { PROCEDURE(CONNECT_GET_HOSTNAME), RET(remote_connect_get_hostname_ret), .func = get_hostname },
        { PROCEDURE(NODE_GET_FREE_MEMORY), RET(remote_node_get_free_memory_ret), .func = get_free_memory },
        { PROCEDURE(CONNECT_GET_LIB_VERSION), RET(remote_connect_get_lib_version_ret), .func = get_lib_version },
        { PROCEDURE(NODE_GET_MEMORY_STATS), ARGS(remote_node_get_memory_stats_args),
          RET(remote_node_get_memory_stats_ret),
          .func = get_memory_stats },
        { PROCEDURE(NODE_GET_CPU_MAP), ARGS(remote_node_get_cpu_map_args), RET(remote_node_get_cpu_map_ret),
          .func = get_cpu_map },
        { PROCEDURE(CONNECT_GET_CPU_MODEL_NAMES), ARGS(remote_connect_get_cpu_model_names_args),
          RET(remote_connect_get_cpu_model_names_ret), .func = get_cpu_model_names },
        { PROCEDURE(CONNECT_GET_DOMAIN_CAPABILITIES), ARGS(remote_connect_get_domain_capabilities_args),
          RET(remote_connect_get_domain_capabilities_ret), .func = get_domain_capabilities },
};
const ProcedureTable host_procedures = { procedures, G_N_ELEMENTS(procedures) };
