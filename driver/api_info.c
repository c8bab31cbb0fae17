/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a domain is, and what it does now. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"
#include "driver/qemu/host.h"
#include "driver/qemu/qmp.h"
#include "driver/task_stat.h"

int driver_domain_xml(DriverClient *client, const unsigned char *uuid, unsigned flags, char **ret_xml,
                      GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        const DomainDef *def;
        unsigned format = 0;
        int r;

        r = driver_check_flags(flags,
                               VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_UPDATE_CPU |
                                       VIR_DOMAIN_XML_MIGRATABLE,
                               "dumpxml", reterr);
        if (r >= 0 && flags & VIR_DOMAIN_XML_SECURE)
                r = driver_check_write(client, "dumpxml --security-info", reterr);
        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        def = domain_def(domain);
        if (flags & VIR_DOMAIN_XML_INACTIVE && domain->config)
                def = domain->config;
        if (flags & VIR_DOMAIN_XML_SECURE)
                format |= DOMAIN_FORMAT_SECURE;
        if (flags & VIR_DOMAIN_XML_INACTIVE || !domain_is_active(domain))
                format |= DOMAIN_FORMAT_INACTIVE;
        if (flags & VIR_DOMAIN_XML_MIGRATABLE)
                format |= DOMAIN_FORMAT_MIGRATABLE;
        *ret_xml = domain_def_format(def, format);
        return 0;
}

int driver_domain_os_type(DriverClient *client, const unsigned char *uuid, char **ret_type, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r >= 0)
                *ret_type = g_strdup("hvm");
        return r;
}

int driver_domain_info(DriverClient *client, const unsigned char *uuid, virDomainInfo *ret_info, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        TaskStat stat = { 0 };
        uint64_t actual;
        const DomainDef *def;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r < 0)
                return r;
        def = domain_def(domain);
        *ret_info = (virDomainInfo){
                .state = (unsigned char) domain->state,
                .maxMem = def->memory.total_bytes / 1024,
                .memory = def->memory.current_bytes / 1024,
                .nrVirtCpu = (unsigned short) (def->vcpu.current ? def->vcpu.current : def->vcpu.max),
        };
        if (domain->qemu && task_stat_read(qemu_pid(domain->qemu), 0, &stat) >= 0)
                ret_info->cpuTime = stat.cpu_nsec;
        if (domain->qemu && qemu_monitor(domain->qemu) &&
            qmp_query_balloon(qemu_monitor(domain->qemu), &actual, NULL) >= 0)
                ret_info->memory = actual / 1024;
        return 0;
}

int driver_domain_state(DriverClient *client, const unsigned char *uuid, int *ret_state, int *ret_reason,
                        GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r < 0)
                return r;
        *ret_state = domain->state;
        *ret_reason = domain->reason;
        return 0;
}

int driver_domain_control_info(DriverClient *client, const unsigned char *uuid, virDomainControlInfo *ret_info,
                               GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find_active(client, uuid, &domain, reterr);

        if (r < 0)
                return r;
        *ret_info = (virDomainControlInfo){ .state = VIR_DOMAIN_CONTROL_OK };
        if (!qemu_monitor(domain->qemu)) {
                ret_info->state = VIR_DOMAIN_CONTROL_ERROR;
                ret_info->details = VIR_DOMAIN_CONTROL_ERROR_REASON_MONITOR;
        } else if (domain->job.kind != JOB_NONE || domain->job.modifying) {
                ret_info->state = VIR_DOMAIN_CONTROL_JOB;
        }
        return 0;
}

int driver_domain_is_persistent(DriverClient *client, const unsigned char *uuid, bool *ret_yes, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r >= 0)
                *ret_yes = domain->config;
        return r;
}

int driver_domain_is_updated(DriverClient *client, const unsigned char *uuid, bool *ret_yes, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r >= 0)
                *ret_yes = domain->updated;
        return r;
}

int driver_domain_messages(DriverClient *client, const unsigned char *uuid, unsigned flags, char ***ret_messages,
                           GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        g_autoptr(GPtrArray) messages = g_ptr_array_new_with_free_func(g_free);
        int r = driver_check_flags(flags, VIR_DOMAIN_MESSAGE_DEPRECATION | VIR_DOMAIN_MESSAGE_TAINTING, "dominfo",
                                   reterr);

        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        if ((!flags || flags & VIR_DOMAIN_MESSAGE_TAINTING) && domain->live &&
            (domain->live->qemu_args->len > 0 || domain->live->qemu_envs->len > 0))
                g_ptr_array_add(messages, g_strdup(_("tainted: use of custom QEMU command line arguments")));
        g_ptr_array_add(messages, NULL);
        *ret_messages = (char **) g_ptr_array_free(g_steal_pointer(&messages), FALSE);
        return 0;
}

/* ---- virtual CPUs ---- */

/* Bits of the host's CPUs, all set, in map_bytes bytes. */
static void map_all(unsigned char *map, unsigned map_bytes) {
        unsigned cpus = qemu_host_cpus();

        for (unsigned cpu = 0; cpu < cpus && cpu / 8 < map_bytes; cpu++)
                map[cpu / 8] |= (unsigned char) (1u << cpu % 8);
}

static void map_set(unsigned char *map, unsigned map_bytes, const Bitset *set) {
        if (!set) {
                map_all(map, map_bytes);
                return;
        }
        for (unsigned cpu = 0; cpu < map_bytes * 8; cpu++)
                if (bitset_has(set, cpu))
                        map[cpu / 8] |= (unsigned char) (1u << cpu % 8);
}

static const Bitset *vcpu_pin(const DomainDef *def, unsigned vcpu) {
        for (guint i = 0; i < def->cputune.vcpupins->len; i++) {
                const VcpupinDef *pin = g_ptr_array_index(def->cputune.vcpupins, i);

                if (pin->vcpu == (int) vcpu)
                        return pin->cpuset;
        }
        return def->vcpu.cpuset;
}

int driver_domain_vcpus(DriverClient *client, const unsigned char *uuid, virVcpuInfoPtr *ret_vcpus, unsigned *ret_n,
                        unsigned char **ret_maps, unsigned map_bytes, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        QmpCpu *cpus = NULL;
        virVcpuInfoPtr vcpus;
        unsigned char *maps;
        unsigned n = 0;
        int r = driver_find_active(client, uuid, &domain, reterr);

        if (r >= 0)
                r = qmp_query_cpus(qemu_monitor(domain->qemu), &cpus, &n, reterr);
        if (r < 0)
                return r;
        vcpus = g_new0(virVcpuInfo, n + 1);
        maps = g_malloc0((size_t) n * map_bytes + 1);
        for (unsigned i = 0; i < n && domain->qemu; i++) {
                TaskStat stat = { 0 };

                vcpus[i].number = cpus[i].index;
                vcpus[i].state = VIR_VCPU_RUNNING;
                vcpus[i].cpu = -1;
                if (task_stat_read(qemu_pid(domain->qemu), cpus[i].thread_id, &stat) >= 0) {
                        vcpus[i].cpuTime = stat.cpu_nsec;
                        vcpus[i].cpu = stat.last_cpu;
                }
                if (map_bytes > 0)
                        map_set(maps + (size_t) i * map_bytes, map_bytes, vcpu_pin(domain_def(domain), cpus[i].index));
        }
        qmp_cpus_free(cpus, n);
        *ret_vcpus = vcpus;
        *ret_maps = maps;
        *ret_n = n;
        return 0;
}

int driver_domain_vcpu_count(DriverClient *client, const unsigned char *uuid, unsigned flags, int *ret_n,
                             GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        const DomainDef *def;
        int r = driver_check_flags(flags, VIR_DOMAIN_VCPU_LIVE | VIR_DOMAIN_VCPU_CONFIG | VIR_DOMAIN_VCPU_MAXIMUM,
                                   "vcpucount", reterr);

        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        if (flags & VIR_DOMAIN_VCPU_LIVE && !domain_is_active(domain))
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain is not running"));
        if (flags & VIR_DOMAIN_VCPU_CONFIG && !domain->config)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("transient domain '%s' has no persistent definition"), domain->name);
        def = flags & VIR_DOMAIN_VCPU_CONFIG ? domain->config : domain_def(domain);
        *ret_n = (int) (flags & VIR_DOMAIN_VCPU_MAXIMUM || !def->vcpu.current ? def->vcpu.max : def->vcpu.current);
        return 0;
}

int driver_domain_vcpu_pins(DriverClient *client, const unsigned char *uuid, unsigned flags, unsigned n_vcpus,
                            unsigned map_bytes, unsigned char **ret_maps, unsigned *ret_n, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        const DomainDef *def;
        unsigned char *maps;
        unsigned n;
        int r = driver_check_flags(flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, "vcpupin", reterr);

        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        def = flags & VIR_DOMAIN_AFFECT_CONFIG && domain->config ? domain->config : domain_def(domain);
        n = MIN(n_vcpus, def->vcpu.max);
        maps = g_malloc0((size_t) n * map_bytes + 1);
        for (unsigned i = 0; i < n; i++)
                map_set(maps + (size_t) i * map_bytes, map_bytes, vcpu_pin(def, i));
        *ret_maps = maps;
        *ret_n = n;
        return 0;
}

/* ---- the monitor, for those who know what they do ---- */

int driver_domain_monitor_command(DriverClient *client, const unsigned char *uuid, const char *command, unsigned flags,
                                  char **ret_reply, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        g_autoptr(json_object) reply = NULL;
        json_object *request;
        int r;

        r = driver_check_write(client, "qemu-monitor-command", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, 1, "qemu-monitor-command", reterr);
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        if (flags & 1)
                return qmp_human_monitor_command(qemu_monitor(domain->qemu), command, ret_reply, reterr);
        request = json_parse(command, strlen(command), reterr);
        if (!request)
                return -EINVAL;
        if (!json_object_is_type(request, json_type_object)) {
                json_object_put(request);
                return error_set(
                        reterr, VIR_ERR_INVALID_ARG,
                        _("a monitor command is a JSON object: {\"execute\": ...}; say --hmp for human commands"));
        }
        r = monitor_call_raw(qemu_monitor(domain->qemu), request, QMP_TIMEOUT_USEC, &reply, reterr);
        if (r >= 0)
                *ret_reply = g_strdup(json_line(reply));
        return r;
}
