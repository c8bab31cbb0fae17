/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <libvirt/libvirt.h>

/* What a domain is. */

HANDLER(get_xml_desc) {
        const remote_domain_get_xml_desc_args *args = argp;
        remote_domain_get_xml_desc_ret *ret = retp;
        return driver_domain_xml(call->driver, dispatch_uuid(&args->dom), args->flags, &ret->xml, reterr);
}

HANDLER(get_autostart) {
        const remote_domain_get_autostart_args *args = argp;
        remote_domain_get_autostart_ret *ret = retp;
        bool on = false;
        int r = driver_domain_get_autostart(call->driver, dispatch_uuid(&args->dom), &on, reterr);
        ret->autostart = on;
        return r;
}

/* Marking a domain for the next boot only is something we do not offer, so none is marked. */
HANDLER(get_autostart_once) {
        const remote_domain_get_autostart_once_args *args = argp;
        remote_domain_get_autostart_once_ret *ret = retp;
        ret->autostart = 0;
        return dispatch_require_domain(call, &args->dom, reterr);
}

HANDLER(get_info) {
        const remote_domain_get_info_args *args = argp;
        remote_domain_get_info_ret *ret = retp;
        virDomainInfo info = { 0 };
        int r = driver_domain_info(call->driver, dispatch_uuid(&args->dom), &info, reterr);
        if (r < 0)
                return r;
        ret->state = info.state;
        ret->maxMem = info.maxMem;
        ret->memory = info.memory;
        ret->nrVirtCpu = info.nrVirtCpu;
        ret->cpuTime = info.cpuTime;
        return 0;
}

HANDLER(get_state) {
        const remote_domain_get_state_args *args = argp;
        remote_domain_get_state_ret *ret = retp;
        if (args->flags != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags 0x%x for a domain's state"),
                                 args->flags);
        return driver_domain_state(call->driver, dispatch_uuid(&args->dom), &ret->state, &ret->reason, reterr);
}

HANDLER(get_control_info) {
        const remote_domain_get_control_info_args *args = argp;
        remote_domain_get_control_info_ret *ret = retp;
        virDomainControlInfo info = { 0 };
        int r = driver_domain_control_info(call->driver, dispatch_uuid(&args->dom), &info, reterr);
        if (r < 0)
                return r;
        ret->state = info.state;
        ret->details = info.details;
        ret->stateTime = info.stateTime;
        return 0;
}

HANDLER(get_max_memory) {
        const remote_domain_get_max_memory_args *args = argp;
        remote_domain_get_max_memory_ret *ret = retp;
        uint64_t kib = 0;
        int r = driver_domain_max_memory(call->driver, dispatch_uuid(&args->dom), &kib, reterr);
        ret->memory = kib;
        return r;
}

HANDLER(get_max_vcpus) {
        const remote_domain_get_max_vcpus_args *args = argp;
        remote_domain_get_max_vcpus_ret *ret = retp;
        return driver_domain_vcpu_count(call->driver, dispatch_uuid(&args->dom), VIR_DOMAIN_VCPU_MAXIMUM, &ret->num,
                                        reterr);
}

HANDLER(get_vcpus_flags) {
        const remote_domain_get_vcpus_flags_args *args = argp;
        remote_domain_get_vcpus_flags_ret *ret = retp;
        return driver_domain_vcpu_count(call->driver, dispatch_uuid(&args->dom), args->flags, &ret->num, reterr);
}

/* Both sizes come from the client, and so does their product. */
static int check_maps(int n, int map_bytes, GError **reterr) {
        int r = dispatch_check_count(_("the number of vCPUs"), n, REMOTE_VCPUINFO_MAX, reterr);
        if (r >= 0)
                r = dispatch_check_count(_("the size of the CPU maps"), (int64_t) n * map_bytes, REMOTE_CPUMAPS_MAX,
                                         reterr);
        return r;
}

HANDLER(get_vcpus) {
        const remote_domain_get_vcpus_args *args = argp;
        remote_domain_get_vcpus_ret *ret = retp;
        g_autofree virVcpuInfoPtr vcpus = NULL;
        g_autofree unsigned char *maps = NULL;
        unsigned n = 0;

        int r = check_maps(args->maxinfo, args->maplen, reterr);
        if (r >= 0)
                r = driver_domain_vcpus(call->driver, dispatch_uuid(&args->dom), &vcpus, &n, &maps,
                                        (unsigned) args->maplen, reterr);
        if (r < 0)
                return r;

        n = MIN(n, (unsigned) args->maxinfo);
        ret->info.info_val = g_new0(remote_vcpu_info, n + 1);
        ret->info.info_len = n;
        for (unsigned i = 0; i < n; i++)
                ret->info.info_val[i] = (remote_vcpu_info) {
                        .number = vcpus[i].number,
                        .state = vcpus[i].state,
                        .cpu_time = vcpus[i].cpuTime,
                        .cpu = vcpus[i].cpu,
                };
        ret->cpumaps.cpumaps_len = n * (unsigned) args->maplen;
        ret->cpumaps.cpumaps_val = (char *) g_steal_pointer(&maps);
        return 0;
}

HANDLER(get_vcpu_pin_info) {
        const remote_domain_get_vcpu_pin_info_args *args = argp;
        remote_domain_get_vcpu_pin_info_ret *ret = retp;
        g_autofree unsigned char *maps = NULL;
        unsigned n = 0;

        int r = check_maps(args->ncpumaps, args->maplen, reterr);
        if (r >= 0)
                r = driver_domain_vcpu_pins(call->driver, dispatch_uuid(&args->dom), args->flags,
                                            (unsigned) args->ncpumaps,
                                            (unsigned) args->maplen, &maps, &n, reterr);
        if (r < 0)
                return r;
        ret->num = (int) n;
        ret->cpumaps.cpumaps_len = n * (unsigned) args->maplen;
        ret->cpumaps.cpumaps_val = (char *) g_steal_pointer(&maps);
        return 0;
}

HANDLER(get_os_type) {
        const remote_domain_get_os_type_args *args = argp;
        remote_domain_get_os_type_ret *ret = retp;
        return driver_domain_os_type(call->driver, dispatch_uuid(&args->dom), &ret->type, reterr);
}

HANDLER(is_active) {
        const remote_domain_is_active_args *args = argp;
        remote_domain_is_active_ret *ret = retp;
        g_auto(DomainRef) ref = { 0 };
        int r = driver_lookup_uuid(call->driver, dispatch_uuid(&args->dom), &ref, reterr);
        ret->active = r >= 0 && ref.id >= 0;
        return r;
}

HANDLER(is_persistent) {
        const remote_domain_is_persistent_args *args = argp;
        remote_domain_is_persistent_ret *ret = retp;
        bool yes = false;
        int r = driver_domain_is_persistent(call->driver, dispatch_uuid(&args->dom), &yes, reterr);
        ret->persistent = yes;
        return r;
}

HANDLER(is_updated) {
        const remote_domain_is_updated_args *args = argp;
        remote_domain_is_updated_ret *ret = retp;
        bool yes = false;
        int r = driver_domain_is_updated(call->driver, dispatch_uuid(&args->dom), &yes, reterr);
        ret->updated = yes;
        return r;
}

HANDLER(get_messages) {
        const remote_domain_get_messages_args *args = argp;
        remote_domain_get_messages_ret *ret = retp;
        g_auto(GStrv) messages = NULL;

        int r = driver_domain_messages(call->driver, dispatch_uuid(&args->dom), args->flags, &messages, reterr);
        if (r < 0)
                return r;
        unsigned n = messages ? MIN(g_strv_length(messages), REMOTE_DOMAIN_MESSAGES_MAX) : 0;
        ret->msgs.msgs_val = g_new0(remote_nonnull_string, n + 1);
        ret->msgs.msgs_len = n;
        for (unsigned i = 0; i < n; i++)
                ret->msgs.msgs_val[i] = g_strdup(messages[i]);
        return 0;
}

/* ---- security labels: guests run unconfined ---- */

HANDLER(get_security_label) {
        const remote_domain_get_security_label_args *args = argp;
        remote_domain_get_security_label_ret *ret = retp;
        ret->label.label_val = g_strdup("");
        ret->label.label_len = 1; /* the terminator is part of it */
        return dispatch_require_domain(call, &args->dom, reterr);
}

HANDLER(get_security_label_list) {
        const remote_domain_get_security_label_list_args *args = argp;
        return dispatch_require_domain(call, &args->dom, reterr);
}

HANDLER(get_security_model) {
        remote_node_get_security_model_ret *ret = retp;
        ret->model.model_val = g_strdup("none");
        ret->model.model_len = sizeof("none");
        ret->doi.doi_val = g_strdup("0");
        ret->doi.doi_len = sizeof("0");
        return 0;
}

/* ---- what every domain has none of: snapshots, checkpoints ---- */

HANDLER(snapshot_num) {
        const remote_domain_snapshot_num_args *args = argp;
        return dispatch_require_domain(call, &args->dom, reterr);
}

HANDLER(snapshot_list_names) {
        const remote_domain_snapshot_list_names_args *args = argp;
        return dispatch_require_domain(call, &args->dom, reterr);
}

HANDLER(has_current_snapshot) {
        const remote_domain_has_current_snapshot_args *args = argp;
        return dispatch_require_domain(call, &args->dom, reterr);
}

HANDLER(list_all_snapshots) {
        const remote_domain_list_all_snapshots_args *args = argp;
        return dispatch_require_domain(call, &args->dom, reterr);
}

HANDLER(list_all_checkpoints) {
        const remote_domain_list_all_checkpoints_args *args = argp;
        return dispatch_require_domain(call, &args->dom, reterr);
}

static const Procedure procedures[] = {
        { PROCEDURE(DOMAIN_GET_XML_DESC), ARGS(remote_domain_get_xml_desc_args), RET(remote_domain_get_xml_desc_ret),
          .func = get_xml_desc },
        { PROCEDURE(DOMAIN_GET_AUTOSTART), ARGS(remote_domain_get_autostart_args), RET(remote_domain_get_autostart_ret),
          .func = get_autostart },
        { PROCEDURE(DOMAIN_GET_INFO), ARGS(remote_domain_get_info_args), RET(remote_domain_get_info_ret),
          .func = get_info },
        { PROCEDURE(DOMAIN_GET_MAX_MEMORY), ARGS(remote_domain_get_max_memory_args),
          RET(remote_domain_get_max_memory_ret),
          .func = get_max_memory },
        { PROCEDURE(DOMAIN_GET_MAX_VCPUS), ARGS(remote_domain_get_max_vcpus_args), RET(remote_domain_get_max_vcpus_ret),
          .func = get_max_vcpus },
        { PROCEDURE(DOMAIN_GET_OS_TYPE), ARGS(remote_domain_get_os_type_args), RET(remote_domain_get_os_type_ret),
          .func = get_os_type },
        { PROCEDURE(DOMAIN_GET_VCPUS), ARGS(remote_domain_get_vcpus_args), RET(remote_domain_get_vcpus_ret),
          .func = get_vcpus },
        { PROCEDURE(DOMAIN_GET_SECURITY_LABEL), ARGS(remote_domain_get_security_label_args),
          RET(remote_domain_get_security_label_ret), .func = get_security_label },
        { PROCEDURE(NODE_GET_SECURITY_MODEL), RET(remote_node_get_security_model_ret), .func = get_security_model },
        { PROCEDURE(DOMAIN_IS_ACTIVE), ARGS(remote_domain_is_active_args), RET(remote_domain_is_active_ret),
          .func = is_active },
        { PROCEDURE(DOMAIN_IS_PERSISTENT), ARGS(remote_domain_is_persistent_args), RET(remote_domain_is_persistent_ret),
          .func = is_persistent },
        { PROCEDURE(DOMAIN_SNAPSHOT_NUM), ARGS(remote_domain_snapshot_num_args), RET(remote_domain_snapshot_num_ret),
          .func = snapshot_num },
        { PROCEDURE(DOMAIN_SNAPSHOT_LIST_NAMES), ARGS(remote_domain_snapshot_list_names_args),
          RET(remote_domain_snapshot_list_names_ret), .func = snapshot_list_names },
        { PROCEDURE(DOMAIN_HAS_CURRENT_SNAPSHOT), ARGS(remote_domain_has_current_snapshot_args),
          RET(remote_domain_has_current_snapshot_ret), .func = has_current_snapshot },
        { PROCEDURE(DOMAIN_GET_VCPUS_FLAGS), ARGS(remote_domain_get_vcpus_flags_args),
          RET(remote_domain_get_vcpus_flags_ret),
          .func = get_vcpus_flags },
        { PROCEDURE(DOMAIN_IS_UPDATED), ARGS(remote_domain_is_updated_args), RET(remote_domain_is_updated_ret),
          .func = is_updated },
        { PROCEDURE(DOMAIN_GET_STATE), ARGS(remote_domain_get_state_args), RET(remote_domain_get_state_ret),
          .func = get_state },
        { PROCEDURE(DOMAIN_GET_CONTROL_INFO), ARGS(remote_domain_get_control_info_args),
          RET(remote_domain_get_control_info_ret),
          .func = get_control_info },
        { PROCEDURE(DOMAIN_GET_VCPU_PIN_INFO), ARGS(remote_domain_get_vcpu_pin_info_args),
          RET(remote_domain_get_vcpu_pin_info_ret), .func = get_vcpu_pin_info },
        { PROCEDURE(DOMAIN_LIST_ALL_SNAPSHOTS), ARGS(remote_domain_list_all_snapshots_args),
          RET(remote_domain_list_all_snapshots_ret), .func = list_all_snapshots },
        { PROCEDURE(DOMAIN_GET_SECURITY_LABEL_LIST), ARGS(remote_domain_get_security_label_list_args),
          RET(remote_domain_get_security_label_list_ret), .func = get_security_label_list },
        { PROCEDURE(DOMAIN_LIST_ALL_CHECKPOINTS), ARGS(remote_domain_list_all_checkpoints_args),
          RET(remote_domain_list_all_checkpoints_ret), .func = list_all_checkpoints },
        { PROCEDURE(DOMAIN_GET_MESSAGES), ARGS(remote_domain_get_messages_args), RET(remote_domain_get_messages_ret),
          .func = get_messages },
        { PROCEDURE(DOMAIN_GET_AUTOSTART_ONCE), ARGS(remote_domain_get_autostart_once_args),
          RET(remote_domain_get_autostart_once_ret), .func = get_autostart_once },
};
const ProcedureTable info_procedures = { procedures, G_N_ELEMENTS(procedures) };
