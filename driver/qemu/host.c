/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/qemu/host.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/units.h"
#include "driver/qemu/host_internal.h"
#include "xml/uuid.h"

#define SYS_CPU "/sys/devices/system/cpu"
#define SYS_NODE "/sys/devices/system/node"

char *host_read(const char *path) {
        char *text = NULL;

        if (file_read(path, 1 * MIB, &text, NULL, NULL) < 0)
                return NULL;
        return g_strchomp(text);
}

int64_t host_read_number(int64_t fallback, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_autofree char *path = g_strdup_vprintf(format, ap);
        va_end(ap);
        g_autofree char *text = host_read(path);
        return text && *text ? g_ascii_strtoll(text, NULL, 10) : fallback;
}

Bitset *host_read_set(const char *path) {
        g_autofree char *text = host_read(path);
        Bitset *set = NULL;

        return text && bitset_parse(text, &set) >= 0 ? set : bitset_new();
}

/* A line "KEY: NUMBER kB" of a meminfo text, in KiB. */
static bool meminfo_value(const char *text, const char *key, uint64_t *ret_kib) {
        const char *line = text ? strstr(text, key) : NULL;

        if (!line)
                return false;
        *ret_kib = g_ascii_strtoull(line + strlen(key), NULL, 10);
        return true;
}

/* ---- CPUs ---- */

unsigned qemu_host_cpus(void) {
        g_autoptr(Bitset) present = host_read_set(SYS_CPU "/present");
        unsigned n = bitset_count(present);

        return n > 0 ? n : (unsigned) MAX(sysconf(_SC_NPROCESSORS_CONF), 1);
}

int qemu_host_cpu_map(unsigned char **ret_map, int *ret_map_bytes, unsigned *ret_online, int *ret_present,
                      GError **reterr) {
        g_autoptr(Bitset) present = host_read_set(SYS_CPU "/present"), online = host_read_set(SYS_CPU "/online");
        unsigned last = 0;

        for (int cpu = bitset_next(present, 0); cpu >= 0; cpu = bitset_next(present, (unsigned) cpu + 1))
                last = (unsigned) cpu;
        if (bitset_count(present) == 0)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("the kernel does not say which CPUs there are"));

        int bytes = (int) (last / 8 + 1);
        if (ret_map) {
                *ret_map = g_malloc0((gsize) bytes);
                for (int cpu = bitset_next(online, 0); cpu >= 0 && cpu < bytes * 8;
                     cpu = bitset_next(online, (unsigned) cpu + 1))
                        (*ret_map)[cpu / 8] |= (unsigned char) (1u << (cpu % 8));
        }
        if (ret_map_bytes)
                *ret_map_bytes = bytes;
        if (ret_online)
                *ret_online = bitset_count(online);
        *ret_present = (int) last + 1;
        return 0;
}

GArray *qemu_host_nodes(void) {
        g_autoptr(Bitset) set = host_read_set(SYS_NODE "/has_memory");
        GArray *nodes = g_array_new(FALSE, FALSE, sizeof(unsigned));

        for (int node = bitset_next(set, 0); node >= 0; node = bitset_next(set, (unsigned) node + 1)) {
                unsigned number = (unsigned) node;
                g_array_append_val(nodes, number);
        }
        if (nodes->len == 0) {
                unsigned zero = 0;
                g_array_append_val(nodes, zero);
        }
        return nodes;
}

HostCpu *host_cpu_list(unsigned *ret_n) {
        g_autoptr(Bitset) online = host_read_set(SYS_CPU "/online");
        g_autoptr(GArray) nodes = qemu_host_nodes();
        g_autoptr(GArray) list = g_array_new(FALSE, TRUE, sizeof(HostCpu));

        for (int cpu = bitset_next(online, 0); cpu >= 0; cpu = bitset_next(online, (unsigned) cpu + 1)) {
                g_autofree char *siblings = g_strdup_printf(SYS_CPU "/cpu%d/topology/thread_siblings_list", cpu);
                HostCpu entry = {
                        .id = (unsigned) cpu,
                        .socket = (int) host_read_number(0, SYS_CPU "/cpu%d/topology/physical_package_id", cpu),
                        .die = (int) host_read_number(0, SYS_CPU "/cpu%d/topology/die_id", cpu),
                        .core = (int) host_read_number(cpu, SYS_CPU "/cpu%d/topology/core_id", cpu),
                        .node = g_array_index(nodes, unsigned, 0),
                        .siblings = host_read(siblings),
                };
                for (unsigned i = 0; i < nodes->len; i++) {
                        unsigned node = g_array_index(nodes, unsigned, i);
                        g_autofree char *link = g_strdup_printf(SYS_CPU "/cpu%d/node%u", cpu, node);
                        if (access(link, F_OK) >= 0)
                                entry.node = node;
                }
                if (!entry.siblings)
                        entry.siblings = g_strdup_printf("%d", cpu);
                g_array_append_val(list, entry);
        }
        *ret_n = list->len;
        return (HostCpu *) g_array_free(g_steal_pointer(&list), FALSE);
}

void host_cpu_list_free(HostCpu *cpus, unsigned n) {
        for (unsigned i = 0; cpus && i < n; i++)
                g_free(cpus[i].siblings);
        g_free(cpus);
}

HostTopology host_topology(const HostCpu *cpus, unsigned n) {
        g_autoptr(GHashTable) sockets = g_hash_table_new(g_int_hash, g_int_equal);
        g_autoptr(GHashTable) cores = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GHashTable) dies = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        unsigned threads = 1;

        for (unsigned i = 0; i < n; i++) {
                g_autoptr(Bitset) siblings = NULL;
                g_hash_table_add(sockets, (gpointer) &cpus[i].socket);
                g_hash_table_add(dies, g_strdup_printf("%d/%d", cpus[i].socket, cpus[i].die));
                g_hash_table_add(cores, g_strdup_printf("%d/%d/%d", cpus[i].socket, cpus[i].die, cpus[i].core));
                if (bitset_parse(cpus[i].siblings, &siblings) >= 0)
                        threads = MAX(threads, bitset_count(siblings));
        }
        HostTopology topology = {
                .sockets = MAX(g_hash_table_size(sockets), 1),
                .threads = threads,
        };
        topology.dies = MAX(g_hash_table_size(dies) / topology.sockets, 1);
        topology.cores = MAX(g_hash_table_size(cores) / topology.sockets, 1);
        return topology;
}

static unsigned host_mhz(void) {
        g_autofree char *text = host_read("/proc/cpuinfo");
        const char *line = text ? strstr(text, "cpu MHz") : NULL;

        line = line ? strchr(line, ':') : NULL;
        return line ? (unsigned) g_ascii_strtod(line + 1, NULL) : 0;
}

int qemu_host_node_info(virNodeInfo *ret_info, GError **reterr) {
        g_autofree char *meminfo = host_read("/proc/meminfo");
        g_autoptr(GArray) nodes = qemu_host_nodes();
        struct utsname names;
        uint64_t total = 0;
        unsigned n = 0;

        if (!meminfo_value(meminfo, "MemTotal:", &total) || uname(&names) < 0)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("the kernel does not say how much memory there is"));
        HostCpu *cpus = host_cpu_list(&n);
        HostTopology topology = host_topology(cpus, n);
        host_cpu_list_free(cpus, n);

        *ret_info = (virNodeInfo){
                .memory = total,
                .cpus = n,
                .mhz = host_mhz(),
                .nodes = (int) nodes->len,
                .sockets = MAX(topology.sockets / nodes->len, 1),
                .cores = topology.cores,
                .threads = topology.threads,
        };
        g_strlcpy(ret_info->model, names.machine, sizeof(ret_info->model));
        /* Clients multiply these; a topology that does not multiply up is flattened, as libvirt does. */
        if ((unsigned) ret_info->nodes * ret_info->sockets * ret_info->cores * ret_info->threads != n) {
                ret_info->nodes = 1;
                ret_info->sockets = 1;
                ret_info->cores = n;
                ret_info->threads = 1;
        }
        return 0;
}

/* ---- memory ---- */

static int host_memory(const char *key, uint64_t *ret_bytes, GError **reterr) {
        g_autofree char *text = host_read("/proc/meminfo");
        uint64_t kib = 0;

        if (!meminfo_value(text, key, &kib))
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("the kernel does not say how much memory is free"));
        *ret_bytes = kib * KIB;
        return 0;
}

int qemu_host_free_memory(uint64_t *ret_bytes, GError **reterr) {
        return host_memory("MemFree:", ret_bytes, reterr);
}

int qemu_host_available_memory(uint64_t *ret_bytes, GError **reterr) {
        return host_memory("MemAvailable:", ret_bytes, reterr);
}

int qemu_host_memory_stats(int cell, virNodeMemoryStatsPtr ret_stats, int *inout_n, GError **reterr) {
        static const struct {
                const char *key, *field;
                bool per_cell;
        } values[] = {
                {"MemTotal:", VIR_NODE_MEMORY_STATS_TOTAL, true},
                {"MemFree:", VIR_NODE_MEMORY_STATS_FREE, true},
                {"Buffers:", VIR_NODE_MEMORY_STATS_BUFFERS, false},
                {"Cached:", VIR_NODE_MEMORY_STATS_CACHED, false},
        };
        bool all = cell == VIR_NODE_MEMORY_STATS_ALL_CELLS;
        int n = all ? 4 : 2;

        if (*inout_n == 0) {
                *inout_n = n;
                return 0;
        }
        if (*inout_n != n)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("memory statistics of %s have %d fields"),
                                 all ? _("the host") : _("a NUMA node"), n);
        g_autofree char *path = all ? g_strdup("/proc/meminfo") : g_strdup_printf(SYS_NODE "/node%d/meminfo", cell);
        g_autofree char *text = host_read(path);
        if (!text)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the host has no NUMA node %d"), cell);

        for (int i = 0, field = 0; field < n && i < (int) G_N_ELEMENTS(values); i++) {
                uint64_t kib = 0;
                if (!all && !values[i].per_cell)
                        continue;
                if (!meminfo_value(text, values[i].key, &kib))
                        return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("'%s' has no '%s'"), path, values[i].key);
                g_strlcpy(ret_stats[field].field, values[i].field, sizeof(ret_stats[field].field));
                ret_stats[field].value = kib;
                field++;
        }
        return 0;
}

/* ---- identity ---- */

char *qemu_host_name(void) {
        char name[256];

        if (gethostname(name, sizeof(name)) < 0)
                return g_strdup("localhost");
        name[sizeof(name) - 1] = '\0';
        if (strchr(name, '.') || g_str_has_prefix(name, "localhost"))
                return g_strdup(name);

        /* The canonical name, if it can be had from a file: asking the network could block the loop. */
        g_autofree char *hosts = host_read("/etc/hosts");
        g_auto(GStrv) lines = g_strsplit(hosts ?: "", "\n", -1);
        for (char **line = lines; *line; line++) {
                g_auto(GStrv) words = g_strsplit_set(*line, " \t", -1);
                g_autoptr(GPtrArray) fields = g_ptr_array_new();
                for (char **word = words; *word && **word != '#'; word++)
                        if (**word)
                                g_ptr_array_add(fields, *word);
                for (unsigned i = 2; i < fields->len; i++)
                        if (g_str_equal(fields->pdata[i], name) && strchr(fields->pdata[1], '.') &&
                            !g_str_has_prefix(fields->pdata[1], "localhost"))
                                return g_strdup(fields->pdata[1]);
        }
        return g_strdup(name);
}

int qemu_host_uuid(const char *configured, unsigned char *uuid, GError **reterr) {
        if (configured) {
                if (uuid_parse(configured, uuid) < 0 || !uuid_is_valid(uuid))
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("'%s' is no usable host uuid"),
                                         configured);
                return 0;
        }
        g_autofree char *dmi = host_read("/sys/class/dmi/id/product_uuid");
        if (dmi && uuid_parse(dmi, uuid) >= 0 && uuid_is_valid(uuid))
                return 0;
        g_autofree char *machine = host_read("/etc/machine-id");
        if (machine && uuid_parse(machine, uuid) >= 0 && uuid_is_valid(uuid))
                return 0;
        return error_set(
                reterr, VIR_ERR_INTERNAL_ERROR,
                _("the host has no uuid: set 'host_uuid' in the configuration, or run systemd-machine-id-setup"));
}

int qemu_host_max_vcpus(const QemuCaps *caps, const char *type) {
        unsigned n = qemu_caps_default_machine(caps)->max_cpus;

        /* What KVM recommends at least is what it can do at most here; TCG takes what the machine has. */
        return (int) MIN(n, g_strcmp0(type, "qemu") == 0 ? n : 4096u);
}
