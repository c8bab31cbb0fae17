/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions about the host and its hypervisor. */

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"
#include "driver/qemu/host.h"

char *driver_hostname(DriverClient *client) {
        return g_strdup(client->driver->hostname);
}

int driver_hypervisor_version(DriverClient *client, uint64_t *ret_version, GError **reterr) {
        g_autoptr(QemuCaps) caps = NULL;
        int r = guest_caps(&client->driver->guests, NULL, &caps, reterr);

        if (r >= 0)
                *ret_version = qemu_caps_version(caps);
        return r;
}

int driver_node_info(DriverClient *client, virNodeInfo *ret_info, GError **reterr) {
        return qemu_host_node_info(ret_info, reterr);
}

int driver_node_free_memory(DriverClient *client, uint64_t *ret_bytes, GError **reterr) {
        return qemu_host_free_memory(ret_bytes, reterr);
}

int driver_node_memory_stats(DriverClient *client, int cell, virNodeMemoryStatsPtr ret_stats, int *inout_n,
                             GError **reterr) {
        return qemu_host_memory_stats(cell, ret_stats, inout_n, reterr);
}

int driver_node_cpu_map(DriverClient *client, unsigned char **ret_map, int *ret_map_bytes, unsigned *ret_online,
                        int *ret_present, GError **reterr) {
        return qemu_host_cpu_map(ret_map, ret_map_bytes, ret_online, ret_present, reterr);
}

int driver_max_vcpus(DriverClient *client, const char *type, int *ret_max, GError **reterr) {
        g_autoptr(QemuCaps) caps = NULL;
        int r = guest_caps(&client->driver->guests, NULL, &caps, reterr);

        if (r < 0)
                return r;
        if (type && g_ascii_strcasecmp(type, "kvm") != 0 && g_ascii_strcasecmp(type, "qemu") != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unknown domain type '%s': Ferry has 'kvm' and 'qemu'"),
                                 type);
        *ret_max = qemu_host_max_vcpus(caps, type);
        return 0;
}

int driver_capabilities(DriverClient *client, char **ret_xml, GError **reterr) {
        static const char *const transports[] = { "tcp", "unix", NULL };
        g_autoptr(QemuCaps) caps = NULL;

        /* A host without an emulator still has a host part. */
        guest_caps(&client->driver->guests, NULL, &caps, NULL);
        *ret_xml = qemu_host_capabilities_xml(&(QemuHostArgs){ .uuid = client->driver->host_uuid,
                                                               .uri_transports = transports },
                                              caps);
        return 0;
}

int driver_domain_capabilities(DriverClient *client, const char *emulator, const char *arch, const char *machine,
                               const char *virt_type, unsigned flags, char **ret_xml, GError **reterr) {
        g_autoptr(QemuCaps) caps = NULL;
        /* VIR_CONNECT_GET_DOMAIN_CAPABILITIES_DISABLE_DEPRECATED_FEATURES is younger than the headers that we build
         * with. */
        int r = driver_check_flags(flags, 1u << 0, "domcapabilities", reterr);

        if (r >= 0)
                r = guest_caps(&client->driver->guests, emulator, &caps, reterr);
        if (r < 0)
                return r;
        return qemu_host_domain_capabilities_xml(caps, arch, machine, virt_type, ret_xml, reterr);
}

int driver_cpu_models(DriverClient *client, const char *arch, char ***ret_models, GError **reterr) {
        g_autoptr(QemuCaps) caps = NULL;
        int r = guest_caps(&client->driver->guests, NULL, &caps, reterr);

        if (r < 0)
                return r;
        if (g_strcmp0(arch, qemu_caps_arch(caps)) != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("there is no emulator for architecture '%s' here"),
                                 arch ? arch : "");
        *ret_models = qemu_host_cpu_models(caps);
        return 0;
}
