/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Statistics: of disks and interfaces, and the bulk call behind domstats. Parameter names: libvirt's
 * virConnectGetAllDomainStats(). */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"
#include "driver/qemu/cmdline.h"
#include "driver/qemu/qmp.h"
#include "driver/task_stat.h"

#define STATS_HONOURED \
        (VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_VCPU | \
         VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK)

/* ---- disks ---- */

static int find_disk(const DomainDef *def, const char *path, const DiskDef **ret_disk, GError **reterr) {
        for (guint i = 0; i < def->disks->len; i++) {
                const DiskDef *disk = g_ptr_array_index(def->disks, i);

                if (g_strcmp0(disk->target, path) == 0 || g_strcmp0(disk->source, path) == 0) {
                        *ret_disk = disk;
                        return 0;
                }
        }
        return error_set(reterr, VIR_ERR_INVALID_ARG, _("domain '%s' has no disk '%s'"), def->name, path);
}

static int block_info_live(Domain *domain, const DiskDef *disk, virDomainBlockInfo *info, GError **reterr) {
        g_autofree char *format_node = qemu_cmdline_format_node(disk->source_index),
                        *storage_node = qemu_cmdline_storage_node(disk->source_index);
        const QmpBlockNode *format, *storage;
        QmpBlockNode *nodes = NULL;
        unsigned n = 0;
        int r = qmp_query_named_block_nodes(qemu_monitor(domain->qemu), &nodes, &n, reterr);

        if (r < 0)
                return r;
        format = qmp_block_nodes_find(nodes, n, format_node);
        storage = qmp_block_nodes_find(nodes, n, storage_node);
        if (!format)
                format = storage;
        if (format)
                info->capacity = format->virtual_bytes;
        if (storage)
                info->allocation = storage->actual_bytes;
        qmp_block_nodes_free(nodes, n);
        return 0;
}

int driver_domain_block_info(DriverClient *client, const unsigned char *uuid, const char *path,
                             virDomainBlockInfo *ret_info, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        virDomainBlockInfo info = { 0 };
        const DiskDef *disk = NULL;
        struct stat st;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r >= 0)
                r = find_disk(domain_def(domain), path, &disk, reterr);
        if (r >= 0 && !disk->source)
                r = error_set(reterr, VIR_ERR_INVALID_ARG, _("disk '%s' of domain '%s' has no medium"), path,
                              domain->name);
        if (r < 0)
                return r;
        if (stat(disk->source, &st) >= 0) {
                info.physical = (unsigned long long) st.st_size;
                info.allocation = (unsigned long long) st.st_blocks * 512;
                info.capacity = info.physical;
        }
        if (domain->qemu) {
                r = block_info_live(domain, disk, &info, reterr);
                if (r < 0)
                        return r;
        }
        *ret_info = info;
        return 0;
}

int driver_domain_block_stats(DriverClient *client, const unsigned char *uuid, const char *path,
                              virDomainBlockStatsStruct *ret_stats, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        const QmpBlockStats *found;
        const DiskDef *disk = NULL;
        QmpBlockStats *stats = NULL;
        unsigned n = 0;
        int r = driver_find_active(client, uuid, &domain, reterr);

        if (r >= 0 && *path != '\0')
                r = find_disk(domain_def(domain), path, &disk, reterr);
        if (r >= 0)
                r = qmp_query_block_stats(qemu_monitor(domain->qemu), &stats, &n, reterr);
        if (r < 0)
                return r;
        *ret_stats = (virDomainBlockStatsStruct){ .errs = -1 };
        /* An empty path asks for the sum over all disks. */
        for (unsigned i = 0; !disk && i < n; i++) {
                ret_stats->rd_req += (long long) stats[i].rd_operations;
                ret_stats->rd_bytes += (long long) stats[i].rd_bytes;
                ret_stats->wr_req += (long long) stats[i].wr_operations;
                ret_stats->wr_bytes += (long long) stats[i].wr_bytes;
        }
        found = disk && disk->info.alias ? qmp_block_stats_find(stats, n, disk->info.alias) : NULL;
        if (found)
                *ret_stats = (virDomainBlockStatsStruct){ .rd_req = (long long) found->rd_operations,
                                                          .rd_bytes = (long long) found->rd_bytes,
                                                          .wr_req = (long long) found->wr_operations,
                                                          .wr_bytes = (long long) found->wr_bytes,
                                                          .errs = -1 };
        qmp_block_stats_free(stats, n);
        return 0;
}

/* ---- interfaces ---- */

static long long read_counter(const char *device, const char *counter) {
        g_autofree char *path = g_strdup_printf("/sys/class/net/%s/statistics/%s", device, counter);
        g_autofree char *text = NULL;

        return file_read(path, 64, &text, NULL, NULL) < 0 ? -1 : strtoll(text, NULL, 10);
}

/* The host's receive is the guest's transmit. */
static void read_interface(const char *device, virDomainInterfaceStatsStruct *stats) {
        *stats = (virDomainInterfaceStatsStruct){
                .rx_bytes = read_counter(device, "tx_bytes"),
                .rx_packets = read_counter(device, "tx_packets"),
                .rx_errs = read_counter(device, "tx_errors"),
                .rx_drop = read_counter(device, "tx_dropped"),
                .tx_bytes = read_counter(device, "rx_bytes"),
                .tx_packets = read_counter(device, "rx_packets"),
                .tx_errs = read_counter(device, "rx_errors"),
                .tx_drop = read_counter(device, "rx_dropped"),
        };
}

int driver_domain_interface_stats(DriverClient *client, const unsigned char *uuid, const char *device,
                                  virDomainInterfaceStatsStruct *ret_stats, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find_active(client, uuid, &domain, reterr);

        if (r < 0)
                return r;
        for (guint i = 0; i < domain->live->nets->len; i++) {
                const NetDef *net = g_ptr_array_index(domain->live->nets, i);
                const char *tap = qemu_tap(domain->qemu, i);

                if (tap && (strcmp(tap, device) == 0 || g_strcmp0(net->mac, device) == 0)) {
                        read_interface(tap, ret_stats);
                        return 0;
                }
        }
        return error_set(reterr, VIR_ERR_INVALID_ARG, _("domain '%s' has no host interface '%s'"), domain->name,
                         device);
}

/* ---- domstats ---- */

typedef struct Record {
        virTypedParameterPtr params;
        int n, max;
} Record;

static void add(Record *record, const char *name, uint64_t value) {
        virTypedParamsAddULLong(&record->params, &record->n, &record->max, name, value);
}

static void G_GNUC_PRINTF(3, 4) add_indexed(Record *record, uint64_t value, const char *format, ...) {
        char name[VIR_TYPED_PARAM_FIELD_LENGTH];
        va_list ap;

        va_start(ap, format);
        vsnprintf(name, sizeof(name), format, ap);
        va_end(ap);
        add(record, name, value);
}

static void G_GNUC_PRINTF(3, 4) add_text(Record *record, const char *text, const char *format, ...) {
        char name[VIR_TYPED_PARAM_FIELD_LENGTH];
        va_list ap;

        va_start(ap, format);
        vsnprintf(name, sizeof(name), format, ap);
        va_end(ap);
        if (text)
                virTypedParamsAddString(&record->params, &record->n, &record->max, name, text);
}

static void add_state(Record *record, Domain *domain) {
        virTypedParamsAddInt(&record->params, &record->n, &record->max, "state.state", domain->state);
        virTypedParamsAddInt(&record->params, &record->n, &record->max, "state.reason", domain->reason);
}

static void add_cpu(Record *record, Domain *domain) {
        TaskStat stat;

        if (!domain->qemu || task_stat_read(qemu_pid(domain->qemu), 0, &stat) < 0)
                return;
        add(record, "cpu.time", stat.cpu_nsec);
        add(record, "cpu.user", stat.user_nsec);
        add(record, "cpu.system", stat.system_nsec);
}

static void add_balloon(Record *record, Domain *domain, DriverClient *client) {
        static const struct {
                int tag;
                const char *name;
        } names[] = {
                { VIR_DOMAIN_MEMORY_STAT_SWAP_IN, "balloon.swap_in" },
                { VIR_DOMAIN_MEMORY_STAT_SWAP_OUT, "balloon.swap_out" },
                { VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT, "balloon.major_fault" },
                { VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT, "balloon.minor_fault" },
                { VIR_DOMAIN_MEMORY_STAT_UNUSED, "balloon.unused" },
                { VIR_DOMAIN_MEMORY_STAT_AVAILABLE, "balloon.available" },
                { VIR_DOMAIN_MEMORY_STAT_USABLE, "balloon.usable" },
                { VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE, "balloon.last-update" },
                { VIR_DOMAIN_MEMORY_STAT_DISK_CACHES, "balloon.disk_caches" },
                { VIR_DOMAIN_MEMORY_STAT_RSS, "balloon.rss" },
                { VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGALLOC, "balloon.hugetlb_pgalloc" },
                { VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGFAIL, "balloon.hugetlb_pgfail" },
                { VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON, "balloon.current" },
        };
        virDomainMemoryStatStruct stats[VIR_DOMAIN_MEMORY_STAT_NR];
        unsigned n = 0;

        add(record, "balloon.maximum", domain_def(domain)->memory.total_bytes / 1024);
        if (!domain->qemu) {
                add(record, "balloon.current", domain_def(domain)->memory.current_bytes / 1024);
                return;
        }
        if (driver_domain_memory_stats(client, domain->uuid, stats, G_N_ELEMENTS(stats), &n, NULL) < 0)
                return;
        for (unsigned i = 0; i < n; i++)
                for (size_t j = 0; j < G_N_ELEMENTS(names); j++)
                        if (stats[i].tag == names[j].tag)
                                add(record, names[j].name, stats[i].val);
}

static void add_vcpus(Record *record, Domain *domain, DriverClient *client) {
        const VcpuDef *vcpu = &domain_def(domain)->vcpu;
        virVcpuInfoPtr vcpus = NULL;
        unsigned char *maps = NULL;
        unsigned n = 0;

        virTypedParamsAddUInt(&record->params, &record->n, &record->max, "vcpu.current",
                              vcpu->current ? vcpu->current : vcpu->max);
        virTypedParamsAddUInt(&record->params, &record->n, &record->max, "vcpu.maximum", vcpu->max);
        if (!domain->qemu || driver_domain_vcpus(client, domain->uuid, &vcpus, &n, &maps, 0, NULL) < 0)
                return;
        for (unsigned i = 0; i < n; i++) {
                char name[VIR_TYPED_PARAM_FIELD_LENGTH];

                snprintf(name, sizeof(name), "vcpu.%u.state", vcpus[i].number);
                virTypedParamsAddInt(&record->params, &record->n, &record->max, name, vcpus[i].state);
                add_indexed(record, vcpus[i].cpuTime, "vcpu.%u.time", vcpus[i].number);
        }
        g_free(vcpus);
        g_free(maps);
}

static void add_interfaces(Record *record, Domain *domain) {
        unsigned count = 0;

        if (!domain->qemu)
                return;
        for (guint i = 0; i < domain->live->nets->len; i++) {
                const char *tap = qemu_tap(domain->qemu, i);
                virDomainInterfaceStatsStruct stats;

                if (!tap)
                        continue;
                read_interface(tap, &stats);
                add_text(record, tap, "net.%u.name", count);
                add_indexed(record, (uint64_t) stats.rx_bytes, "net.%u.rx.bytes", count);
                add_indexed(record, (uint64_t) stats.rx_packets, "net.%u.rx.pkts", count);
                add_indexed(record, (uint64_t) stats.rx_errs, "net.%u.rx.errs", count);
                add_indexed(record, (uint64_t) stats.rx_drop, "net.%u.rx.drop", count);
                add_indexed(record, (uint64_t) stats.tx_bytes, "net.%u.tx.bytes", count);
                add_indexed(record, (uint64_t) stats.tx_packets, "net.%u.tx.pkts", count);
                add_indexed(record, (uint64_t) stats.tx_errs, "net.%u.tx.errs", count);
                add_indexed(record, (uint64_t) stats.tx_drop, "net.%u.tx.drop", count);
                count++;
        }
        virTypedParamsAddUInt(&record->params, &record->n, &record->max, "net.count", count);
}

static void add_disk(Record *record, const DiskDef *disk, unsigned i, const QmpBlockStats *stats) {
        add_text(record, disk->target, "block.%u.name", i);
        add_text(record, disk->source, "block.%u.path", i);
        if (!stats)
                return;
        add_indexed(record, stats->rd_operations, "block.%u.rd.reqs", i);
        add_indexed(record, stats->rd_bytes, "block.%u.rd.bytes", i);
        add_indexed(record, stats->rd_total_nsec, "block.%u.rd.times", i);
        add_indexed(record, stats->wr_operations, "block.%u.wr.reqs", i);
        add_indexed(record, stats->wr_bytes, "block.%u.wr.bytes", i);
        add_indexed(record, stats->wr_total_nsec, "block.%u.wr.times", i);
        add_indexed(record, stats->flush_operations, "block.%u.fl.reqs", i);
        add_indexed(record, stats->flush_total_nsec, "block.%u.fl.times", i);
}

static void add_disks(Record *record, Domain *domain, DriverClient *client) {
        QmpBlockStats *stats = NULL;
        const DomainDef *def;
        unsigned n = 0;

        if (domain->qemu)
                qmp_query_block_stats(qemu_monitor(domain->qemu), &stats, &n, NULL);
        def = domain_def(domain);
        if (!def) {
                qmp_block_stats_free(stats, n);
                return;
        }
        virTypedParamsAddUInt(&record->params, &record->n, &record->max, "block.count", def->disks->len);
        for (guint i = 0; i < def->disks->len; i++) {
                const DiskDef *disk = g_ptr_array_index(def->disks, i);
                virDomainBlockInfo info;

                add_disk(record, disk, i, disk->info.alias ? qmp_block_stats_find(stats, n, disk->info.alias) : NULL);
                if (disk->target && driver_domain_block_info(client, domain->uuid, disk->target, &info, NULL) >= 0) {
                        add_indexed(record, info.allocation, "block.%u.allocation", i);
                        add_indexed(record, info.capacity, "block.%u.capacity", i);
                        add_indexed(record, info.physical, "block.%u.physical", i);
                }
                if (domain_def(domain) != def)
                        break;
        }
        qmp_block_stats_free(stats, n);
}

static void fill_record(DriverClient *client, Domain *domain, unsigned stats, DriverStatsRecord *ret_record) {
        Record record = { 0 };

        if (stats & VIR_DOMAIN_STATS_STATE)
                add_state(&record, domain);
        if (stats & VIR_DOMAIN_STATS_CPU_TOTAL)
                add_cpu(&record, domain);
        if (stats & VIR_DOMAIN_STATS_BALLOON)
                add_balloon(&record, domain, client);
        if (stats & VIR_DOMAIN_STATS_VCPU && domain_def(domain))
                add_vcpus(&record, domain, client);
        if (stats & VIR_DOMAIN_STATS_INTERFACE)
                add_interfaces(&record, domain);
        if (stats & VIR_DOMAIN_STATS_BLOCK)
                add_disks(&record, domain, client);
        domain_get_ref(domain, &ret_record->domain);
        ret_record->params = record.params;
        ret_record->n_params = record.n;
}

#define STATS_FLAGS                                                                                                    \
        (VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT | VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING |                        \
         VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS)

int driver_domain_stats(DriverClient *client, const unsigned char (*uuids)[VIR_UUID_BUFLEN], unsigned n_uuids,
                        unsigned stats, unsigned flags, DriverStatsRecord **ret_records, unsigned *ret_n,
                        GError **reterr) {
        DriverStatsRecord *records;
        DomainRef *refs = NULL;
        unsigned n = 0, n_refs = 0;
        int r;

        if (flags & VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS && stats & ~(unsigned) STATS_HONOURED)
                return error_set(reterr, VIR_ERR_ARGUMENT_UNSUPPORTED,
                                 _("statistics groups 0x%x are not supported by Ferry"),
                                 stats & ~(unsigned) STATS_HONOURED);
        if (stats == 0)
                stats = STATS_HONOURED;
        if (!uuids) {
                r = driver_list_domains(client, flags & ~(unsigned) STATS_FLAGS, &refs, &n_refs, reterr);
                if (r < 0)
                        return r;
        }
        records = g_new0(DriverStatsRecord, (uuids ? n_uuids : n_refs) + 1);
        for (unsigned i = 0; i < (uuids ? n_uuids : n_refs); i++) {
                g_autoptr(Domain) domain = NULL;

                if (driver_find(client, uuids ? uuids[i] : refs[i].uuid, &domain, NULL) >= 0 && !domain->removed)
                        fill_record(client, domain, stats, &records[n++]);
        }
        domain_refs_free(refs, n_refs);
        *ret_records = records;
        *ret_n = n;
        return 0;
}

void driver_stats_free(DriverStatsRecord *records, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                domain_ref_clear(&records[i].domain);
                virTypedParamsFree(records[i].params, records[i].n_params);
        }
        g_free(records);
}
