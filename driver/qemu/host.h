/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What this machine is: node information from /proc and /sys, and the two XML documents that describe it to clients.
 * Nothing here waits. */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/qemu/caps.h"

int qemu_host_node_info(virNodeInfo *ret_info, GError **reterr);
int qemu_host_free_memory(uint64_t *ret_bytes, GError **reterr);
/* What could be had without swapping: free memory and the page cache that can be dropped. */
int qemu_host_available_memory(uint64_t *ret_bytes, GError **reterr);
/* cell -1 (VIR_NODE_MEMORY_STATS_ALL_CELLS) or a NUMA node. *inout_n 0: only asks for the number of fields. Values in
 * KiB. */
int qemu_host_memory_stats(int cell, virNodeMemoryStatsPtr ret_stats, int *inout_n, GError **reterr);
/* Bitmap of online CPUs, little-endian bits; ret_map may be NULL. *ret_present: number of CPUs that exist. g_free(map).
 */
int qemu_host_cpu_map(unsigned char **ret_map, int *ret_map_bytes, unsigned *ret_online, int *ret_present,
                      GError **reterr);
/* CPUs of the host that exist (online or not). */
unsigned qemu_host_cpus(void);
/* NUMA nodes with memory; GArray of unsigned. */
GArray *qemu_host_nodes(void);
/* The machine's host name as libvirt reports it (canonical if it can be found without asking the network). Owned by the
 * caller. */
char *qemu_host_name(void);
/* Host uuid: configured (may be NULL), else DMI, else from /etc/machine-id. uuid gets 16 bytes. */
int qemu_host_uuid(const char *configured, unsigned char *uuid, GError **reterr);
/* Most vCPUs a domain of this type ("kvm", "qemu"; NULL: kvm if usable) may have. */
int qemu_host_max_vcpus(const QemuCaps *caps, const char *type);

typedef struct QemuHostArgs {
        const unsigned char *uuid;         /* 16 bytes */
        const char *const *uri_transports; /* NULL-terminated: what migration really offers, e.g. "tcp" */
} QemuHostArgs;

/* The document of virConnectGetCapabilities(). caps may be NULL: no emulator, then no <guest>. Owned by the caller. */
char *qemu_host_capabilities_xml(const QemuHostArgs *args, const QemuCaps *caps);

/* The document of virConnectGetDomainCapabilities(). arch, machine, virt_type may be NULL: x86_64, q35, kvm if usable.
 */
int qemu_host_domain_capabilities_xml(const QemuCaps *caps, const char *arch, const char *machine,
                                      const char *virt_type, char **ret_xml, GError **reterr);

/* CPU model names as strv (virConnectGetCPUModelNames). */
char **qemu_host_cpu_models(const QemuCaps *caps);
