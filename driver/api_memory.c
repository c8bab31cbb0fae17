/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A domain's memory: balloon and its statistics. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"
#include "driver/qemu/qmp.h"

#define BALLOON_ALIAS "balloon0"

int driver_domain_max_memory(DriverClient *client, const unsigned char *uuid, uint64_t *ret_kib, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r >= 0)
                *ret_kib = domain_def(domain)->memory.total_bytes / 1024;
        return r;
}

static int set_config(Driver *driver, Domain *domain, uint64_t kib, GError **reterr) {
        domain->config->memory.current_bytes = kib * 1024;
        return store_save_config(&driver->guests.store, domain->name, domain->config, reterr);
}

int driver_domain_set_memory(DriverClient *client, const unsigned char *uuid, uint64_t kib, unsigned flags,
                             GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        bool live, config;
        int r;

        r = driver_check_write(client, "setmem", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, "setmem", reterr);
        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r >= 0)
                r = job_modify_begin(&domain->job, domain->name, "setmem", JOB_ACCESS_EXCLUSIVE, reterr);
        if (r < 0)
                return r;
        config = flags & VIR_DOMAIN_AFFECT_CONFIG;
        live = flags & VIR_DOMAIN_AFFECT_LIVE || (!flags && domain_is_active(domain));
        config = config || (!flags && !domain_is_active(domain));
        if (live && !domain_is_active(domain))
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain is not running"));
        else if (config && !domain->config)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID,
                              _("transient domain '%s' has no persistent definition to change"), domain->name);
        else if (kib > domain_def(domain)->memory.total_bytes / 1024)
                r = error_set(reterr, VIR_ERR_INVALID_ARG,
                              _("cannot set memory of domain '%s' above its maximum of %llu KiB"), domain->name,
                              (unsigned long long) (domain_def(domain)->memory.total_bytes / 1024));
        if (r >= 0 && live)
                r = qmp_balloon(qemu_monitor(domain->qemu), kib * 1024, reterr);
        if (r >= 0 && config)
                r = set_config(client->driver, domain, kib, reterr);
        job_modify_end(&domain->job);
        return r;
}

int driver_domain_set_memory_stats_period(DriverClient *client, const unsigned char *uuid, int seconds, unsigned flags,
                                          GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r;

        r = driver_check_write(client, "dommemstat --period", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, VIR_DOMAIN_AFFECT_LIVE, "dommemstat --period", reterr);
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r >= 0 && seconds < 0)
                r = error_set(reterr, VIR_ERR_INVALID_ARG, _("a period of %d seconds makes no sense"), seconds);
        if (r < 0)
                return r;
        r = qmp_balloon_set_period(qemu_monitor(domain->qemu), BALLOON_ALIAS, (unsigned) seconds, reterr);
        if (r >= 0 && domain->live)
                domain->live->balloon.stats_period_sec = (unsigned) seconds;
        return r;
}

/* Resident memory of QEMU's process in KiB, 0 if unknown. */
static uint64_t resident_kib(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) pid);
        g_autofree char *text = NULL;
        const char *line;

        if (file_read(path, 65536, &text, NULL, NULL) < 0)
                return 0;
        line = strstr(text, "\nVmRSS:");
        return line ? strtoull(line + strlen("\nVmRSS:"), NULL, 10) : 0;
}

typedef struct StatList {
        virDomainMemoryStatPtr stats;
        unsigned n, max;
} StatList;

static void add_stat(StatList *list, int tag, uint64_t value) {
        if (value != UINT64_MAX && list->n < list->max)
                list->stats[list->n++] = (virDomainMemoryStatStruct){ .tag = tag, .val = value };
}

static void add_balloon_stats(StatList *list, Monitor *monitor) {
        QmpBalloonStats stats;

        if (qmp_balloon_stats(monitor, BALLOON_ALIAS, &stats, NULL) < 0)
                return;
#define KIB_OR_NONE(bytes) ((bytes) == UINT64_MAX ? UINT64_MAX : (bytes) / 1024)
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_SWAP_IN, KIB_OR_NONE(stats.swap_in));
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_SWAP_OUT, KIB_OR_NONE(stats.swap_out));
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT, stats.major_faults);
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT, stats.minor_faults);
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_UNUSED, KIB_OR_NONE(stats.free));
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_AVAILABLE, KIB_OR_NONE(stats.total));
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_USABLE, KIB_OR_NONE(stats.available));
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_DISK_CACHES, KIB_OR_NONE(stats.disk_caches));
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGALLOC, stats.hugetlb_alloc);
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGFAIL, stats.hugetlb_fail);
#undef KIB_OR_NONE
        add_stat(list, VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE, stats.last_update_sec);
}

int driver_domain_memory_stats(DriverClient *client, const unsigned char *uuid, virDomainMemoryStatPtr ret_stats,
                               unsigned max, unsigned *ret_n, GError **reterr) {
        StatList list = { .stats = ret_stats, .max = max };
        g_autoptr(Domain) domain = NULL;
        uint64_t actual;
        int r = driver_find_active(client, uuid, &domain, reterr);

        if (r < 0)
                return r;
        if (qmp_query_balloon(qemu_monitor(domain->qemu), &actual, NULL) < 0)
                actual = domain_def(domain)->memory.total_bytes;
        add_stat(&list, VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON, actual / 1024);
        if (domain->qemu && domain->live->balloon.model != BALLOON_MODEL_NONE)
                add_balloon_stats(&list, qemu_monitor(domain->qemu));
        if (domain->qemu)
                add_stat(&list, VIR_DOMAIN_MEMORY_STAT_RSS, resident_kib(qemu_pid(domain->qemu)));
        *ret_n = list.n;
        return 0;
}
