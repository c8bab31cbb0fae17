/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/daemon/driver_double.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/fiber.h"

#define WAIT_USEC (5 * 1000 * 1000)

DriverDouble driver_double = { .console_fd = -EBADF };
const unsigned char double_uuid[VIR_UUID_BUFLEN] = { 0xaa, 0xbb, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
static DriverEventFunc subscriber;
static void *subscriber_data;
static FiberCond unblocked, changed;

struct DriverClient {
        bool read_only, disconnected;
};

void double_reset(void) {
        if (driver_double.log)
                g_string_free(driver_double.log, TRUE);
        driver_double = (DriverDouble) { .log = g_string_new(NULL), .console_fd = -EBADF };
}

void double_unblock(void) {
        driver_double.block = false;
        fiber_cond_broadcast(&unblocked);
}

void double_wait(const unsigned *counter, unsigned value) {
        while (*counter != value)
                g_assert_cmpint(fiber_cond_wait(&changed, WAIT_USEC), ==, 0);
}

void double_event(const DriverEvent *event) {
        if (subscriber)
                subscriber(event, subscriber_data);
}

static void ref_fill(DomainRef *ref) {
        *ref = (DomainRef) { .name = g_strdup("vm1"), .id = 7 };
        memcpy(ref->uuid, double_uuid, VIR_UUID_BUFLEN);
}

/* Records the call; the error it shall fail with, if any. */
static int enter(const char *name, bool waits, GError **reterr, const char *format, ...) G_GNUC_PRINTF(4, 5);
static int enter(const char *name, bool waits, GError **reterr, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_string_append_printf(driver_double.log, "%s(", name);
        g_string_append_vprintf(driver_double.log, format, ap);
        g_string_append(driver_double.log, ")\n");
        va_end(ap);
        if (waits && driver_double.block) {
                driver_double.n_blocked++;
                fiber_cond_broadcast(&changed);
                while (driver_double.block)
                        fiber_cond_wait(&unblocked, FIBER_FOREVER);
                driver_double.n_blocked--;
        }
        if (driver_double.fail_code)
                return error_set(reterr, driver_double.fail_code, "%s", driver_double.fail_text);
        return 0;
}

void domain_ref_clear(DomainRef *ref) {
        g_clear_pointer(&ref->name, g_free);
}

void domain_refs_free(DomainRef *refs, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                domain_ref_clear(&refs[i]);
        g_free(refs);
}

void driver_stats_free(DriverStatsRecord *records, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                domain_ref_clear(&records[i].domain);
                virTypedParamsFree(records[i].params, records[i].n_params);
        }
        g_free(records);
}

DriverClient *driver_client_new(Driver *driver, bool read_only, uid_t uid, pid_t pid) {
        DriverClient *client = g_new0(DriverClient, 1);
        client->read_only = read_only;
        driver_double.n_clients++;
        g_string_append_printf(driver_double.log, "client_new(%s)\n", read_only ? "ro" : "rw");
        return client;
}

void driver_client_disconnect(DriverClient *client) {
        if (!client->disconnected)
                driver_double.n_disconnected++;
        client->disconnected = true;
        fiber_cond_broadcast(&changed);
}

DriverClient *driver_client_free(DriverClient *client) {
        if (!client)
                return NULL;
        driver_client_disconnect(client);
        driver_double.n_clients--;
        fiber_cond_broadcast(&changed);
        g_free(client);
        return NULL;
}

unsigned driver_subscribe(Driver *driver, DriverEventFunc func, void *userdata) {
        subscriber = func;
        subscriber_data = userdata;
        return 1;
}

void driver_unsubscribe(Driver *driver, unsigned subscription) {
        subscriber = NULL;
}

void driver_summary(const Driver *driver, DriverSummary *ret_summary) {
        *ret_summary = driver_double.summary;
}

int driver_migration_job(DriverClient *client, uint64_t number, DriverJobInfo *ret_info, GError **reterr) {
        *ret_info = driver_double.job;
        ret_info->number = number;
        ret_info->domain = g_strdup(driver_double.job.domain);
        ret_info->error = g_strdup(driver_double.job.error);
        return 0;
}

void driver_job_info_clear(DriverJobInfo *info) {
        g_free(info->domain);
        g_free(info->error);
}

char *driver_uuid_format(const unsigned char *uuid, char *buffer) {
        return strcpy(buffer, "c7a5fdbd-edaf-9455-926a-d65c16db1809");
}

char *driver_hostname(DriverClient *client) {
        return g_strdup("alpha");
}

void driver_domain_close_console(DriverClient *client, const unsigned char *uuid, int fd) {
        driver_double.n_consoles_closed++;
        fiber_cond_broadcast(&changed);
}

static virTypedParameterPtr make_params(int *ret_n) {
        virTypedParameterPtr params = NULL;
        int n = 0, max = 0;
        virTypedParamsAddInt(&params, &n, &max, "i", -5);
        virTypedParamsAddUInt(&params, &n, &max, "u", 5);
        virTypedParamsAddLLong(&params, &n, &max, "l", -6);
        virTypedParamsAddULLong(&params, &n, &max, "ul", 6);
        virTypedParamsAddDouble(&params, &n, &max, "d", 0.5);
        virTypedParamsAddBoolean(&params, &n, &max, "b", 1);
        virTypedParamsAddString(&params, &n, &max, "s", "text");
        *ret_n = n;
        return params;
}

static void log_params(const DriverMigrateArgs *args) {
        for (int i = 0; i < args->n_params; i++)
                if (args->params[i].type == VIR_TYPED_PARAM_STRING)
                        g_string_append_printf(driver_double.log, " %s=%s", args->params[i].field,
                                               args->params[i].value.s);
                else
                        g_string_append_printf(driver_double.log, " %s=%llu", args->params[i].field,
                                               args->params[i].value.ul);
        g_string_append_printf(driver_double.log, " cookie=%.*s flags=%u\n", (int) args->cookie_in_length,
                               args->cookie_in ? args->cookie_in : "", args->flags);
}

static DriverCookie make_cookie(void) {
        return (DriverCookie) { .data = g_strdup("COOKIE"), .length = 6 };
}

int driver_hypervisor_version(DriverClient *client, uint64_t *ret_version, GError **reterr) {
        int r = enter("hypervisor_version", true, reterr, "%s", "");
        if (r < 0)
                return r;
        *ret_version = 42;
        return 0;
}

int driver_node_info(DriverClient *client, virNodeInfo *ret_info, GError **reterr) {
        int r = enter("node_info", false, reterr, "%s", "");
        if (r < 0)
                return r;
        *ret_info = (virNodeInfo) { .model = "x86_64", .memory = 1024, .cpus = 2, .mhz = 2000, .nodes = 1, .sockets = 1,
                                    .cores = 2, .threads = 1 };
        return 0;
}

int driver_node_free_memory(DriverClient *client, uint64_t *ret_bytes, GError **reterr) {
        int r = enter("node_free_memory", false, reterr, "%s", "");
        if (r < 0)
                return r;
        *ret_bytes = 42;
        return 0;
}

int driver_node_memory_stats(DriverClient *client, int cell, virNodeMemoryStatsPtr ret_stats, int *inout_n,
                             GError **reterr) {
        int r = enter("node_memory_stats", false, reterr, "%d", cell);
        if (r < 0)
                return r;
        if (ret_stats) {
                strcpy(ret_stats[0].field, "total");
                ret_stats[0].value = 4096;
        }
        *inout_n = 1;
        return 0;
}

int driver_node_cpu_map(DriverClient *client, unsigned char **ret_map, int *ret_map_bytes, unsigned *ret_online,
                        int *ret_present, GError **reterr) {
        int r = enter("node_cpu_map", false, reterr, "%s", "");
        if (r < 0)
                return r;
        *ret_map = g_malloc0(4);
        (*ret_map)[0] = 3;
        *ret_map_bytes = 4;
        *ret_online = 2;
        *ret_present = 2;
        return 0;
}

int driver_max_vcpus(DriverClient *client, const char *type, int *ret_max, GError **reterr) {
        int r = enter("max_vcpus", false, reterr, "%s", type ? type : "-");
        if (r < 0)
                return r;
        *ret_max = 42;
        return 0;
}

int driver_capabilities(DriverClient *client, char **ret_xml, GError **reterr) {
        int r = enter("capabilities", true, reterr, "%s", "");
        if (r < 0)
                return r;
        *ret_xml = g_strdup("xml");
        return 0;
}

int driver_domain_capabilities(DriverClient *client, const char *emulator, const char *arch, const char *machine,
                               const char *virt_type, unsigned flags, char **ret_xml, GError **reterr) {
        int r = enter("domain_capabilities", true, reterr, "%s, %s, %s, %s, %u", emulator ? emulator : "-",
                      arch ? arch : "-", machine ? machine : "-", virt_type ? virt_type : "-", flags);
        if (r < 0)
                return r;
        *ret_xml = g_strdup("xml");
        return 0;
}

int driver_cpu_models(DriverClient *client, const char *arch, char ***ret_models, GError **reterr) {
        int r = enter("cpu_models", true, reterr, "%s", arch ? arch : "-");
        if (r < 0)
                return r;
        *ret_models = g_strsplit("one two", " ", -1);
        return 0;
}

int driver_list_domains(DriverClient *client, unsigned flags, DomainRef **ret_refs, unsigned *ret_n,
                        GError **reterr) {
        int r = enter("list_domains", false, reterr, "%u", flags);
        if (r < 0)
                return r;
        *ret_refs = g_new0(DomainRef, 1);
        ref_fill(&(*ret_refs)[0]);
        *ret_n = 1;
        return 0;
}

int driver_lookup_id(DriverClient *client, int id, DomainRef *ret_ref, GError **reterr) {
        int r = enter("lookup_id", false, reterr, "%d", id);
        if (r < 0)
                return r;
        ref_fill(ret_ref);
        return 0;
}

int driver_lookup_name(DriverClient *client, const char *name, DomainRef *ret_ref, GError **reterr) {
        int r = enter("lookup_name", false, reterr, "%s", name ? name : "-");
        if (r < 0)
                return r;
        ref_fill(ret_ref);
        return 0;
}

int driver_lookup_uuid(DriverClient *client, const unsigned char *uuid, DomainRef *ret_ref, GError **reterr) {
        int r = enter("lookup_uuid", false, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        ref_fill(ret_ref);
        return 0;
}

int driver_domain_define(DriverClient *client, const char *xml, unsigned flags, DomainRef *ret_ref, GError **reterr) {
        int r = enter("domain_define", false, reterr, "%s, %u", xml ? xml : "-", flags);
        if (r < 0)
                return r;
        ref_fill(ret_ref);
        return 0;
}

int driver_domain_undefine(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        int r = enter("domain_undefine", false, reterr, "%02x, %u", uuid[0], flags);
        return r;
}

int driver_domain_create_xml(DriverClient *client, const char *xml, unsigned flags, DomainRef *ret_ref,
                             GError **reterr) {
        int r = enter("domain_create_xml", true, reterr, "%s, %u", xml ? xml : "-", flags);
        if (r < 0)
                return r;
        ref_fill(ret_ref);
        return 0;
}

int driver_domain_create(DriverClient *client, const unsigned char *uuid, unsigned flags, DomainRef *ret_ref,
                         GError **reterr) {
        int r = enter("domain_create", true, reterr, "%02x, %u", uuid[0], flags);
        if (r < 0)
                return r;
        if (ret_ref)
                ref_fill(ret_ref);
        return 0;
}

int driver_domain_shutdown(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        int r = enter("domain_shutdown", true, reterr, "%02x, %u", uuid[0], flags);
        return r;
}

int driver_domain_reboot(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        int r = enter("domain_reboot", true, reterr, "%02x, %u", uuid[0], flags);
        return r;
}

int driver_domain_reset(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        int r = enter("domain_reset", true, reterr, "%02x, %u", uuid[0], flags);
        return r;
}

int driver_domain_destroy(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        int r = enter("domain_destroy", true, reterr, "%02x, %u", uuid[0], flags);
        return r;
}

int driver_domain_suspend(DriverClient *client, const unsigned char *uuid, GError **reterr) {
        int r = enter("domain_suspend", true, reterr, "%02x", uuid[0]);
        return r;
}

int driver_domain_resume(DriverClient *client, const unsigned char *uuid, GError **reterr) {
        int r = enter("domain_resume", true, reterr, "%02x", uuid[0]);
        return r;
}

int driver_domain_get_autostart(DriverClient *client, const unsigned char *uuid, bool *ret_on, GError **reterr) {
        int r = enter("domain_get_autostart", false, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        *ret_on = true;
        return 0;
}

int driver_domain_set_autostart(DriverClient *client, const unsigned char *uuid, bool on, GError **reterr) {
        int r = enter("domain_set_autostart", false, reterr, "%02x, %d", uuid[0], on);
        return r;
}

int driver_domain_xml(DriverClient *client, const unsigned char *uuid, unsigned flags, char **ret_xml,
                      GError **reterr) {
        int r = enter("domain_xml", true, reterr, "%02x, %u", uuid[0], flags);
        if (r < 0)
                return r;
        *ret_xml = g_strdup("xml");
        return 0;
}

int driver_domain_os_type(DriverClient *client, const unsigned char *uuid, char **ret_type, GError **reterr) {
        int r = enter("domain_os_type", false, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        *ret_type = g_strdup("type");
        return 0;
}

int driver_domain_info(DriverClient *client, const unsigned char *uuid, virDomainInfo *ret_info, GError **reterr) {
        int r = enter("domain_info", true, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        *ret_info = (virDomainInfo) { .state = 1, .maxMem = 2048, .memory = 1024, .nrVirtCpu = 3, .cpuTime = 77 };
        return 0;
}

int driver_domain_state(DriverClient *client, const unsigned char *uuid, int *ret_state, int *ret_reason,
                        GError **reterr) {
        int r = enter("domain_state", false, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        *ret_state = 42;
        *ret_reason = 42;
        return 0;
}

int driver_domain_control_info(DriverClient *client, const unsigned char *uuid, virDomainControlInfo *ret_info,
                               GError **reterr) {
        int r = enter("domain_control_info", false, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        *ret_info = (virDomainControlInfo) { .state = 1, .details = 2, .stateTime = 3 };
        return 0;
}

int driver_domain_is_persistent(DriverClient *client, const unsigned char *uuid, bool *ret_yes, GError **reterr) {
        int r = enter("domain_is_persistent", false, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        *ret_yes = true;
        return 0;
}

int driver_domain_is_updated(DriverClient *client, const unsigned char *uuid, bool *ret_yes, GError **reterr) {
        int r = enter("domain_is_updated", false, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        *ret_yes = true;
        return 0;
}

int driver_domain_messages(DriverClient *client, const unsigned char *uuid, unsigned flags, char ***ret_messages,
                           GError **reterr) {
        int r = enter("domain_messages", false, reterr, "%02x, %u", uuid[0], flags);
        if (r < 0)
                return r;
        *ret_messages = g_strsplit("one two", " ", -1);
        return 0;
}

int driver_domain_vcpus(DriverClient *client, const unsigned char *uuid, virVcpuInfoPtr *ret_vcpus,
                        unsigned *ret_n, unsigned char **ret_maps, unsigned map_bytes, GError **reterr) {
        int r = enter("domain_vcpus", true, reterr, "%02x, %u", uuid[0], map_bytes);
        if (r < 0)
                return r;
        *ret_vcpus = g_new0(virVcpuInfo, 1);
        (*ret_vcpus)[0] = (virVcpuInfo) { .number = 0, .state = 1, .cpuTime = 99, .cpu = 1 };
        *ret_n = 1;
        *ret_maps = g_malloc0(map_bytes + 1);
        memset(*ret_maps, 0x55, map_bytes);
        return 0;
}

int driver_domain_vcpu_count(DriverClient *client, const unsigned char *uuid, unsigned flags, int *ret_n,
                             GError **reterr) {
        int r = enter("domain_vcpu_count", false, reterr, "%02x, %u", uuid[0], flags);
        if (r < 0)
                return r;
        *ret_n = 1;
        return 0;
}

int driver_domain_vcpu_pins(DriverClient *client, const unsigned char *uuid, unsigned flags, unsigned n_vcpus,
                            unsigned map_bytes, unsigned char **ret_maps, unsigned *ret_n, GError **reterr) {
        int r = enter("domain_vcpu_pins", false, reterr, "%02x, %u, %u, %u", uuid[0], flags, n_vcpus, map_bytes);
        if (r < 0)
                return r;
        *ret_maps = g_malloc0(map_bytes + 1);
        memset(*ret_maps, 0x55, map_bytes);
        *ret_n = 1;
        return 0;
}

int driver_domain_max_memory(DriverClient *client, const unsigned char *uuid, uint64_t *ret_kib, GError **reterr) {
        int r = enter("domain_max_memory", false, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        *ret_kib = 42;
        return 0;
}

int driver_domain_set_memory(DriverClient *client, const unsigned char *uuid, uint64_t kib, unsigned flags,
                             GError **reterr) {
        int r = enter("domain_set_memory", true, reterr, "%02x, %llu, %u", uuid[0], (unsigned long long) kib, flags);
        return r;
}

int driver_domain_set_memory_stats_period(DriverClient *client, const unsigned char *uuid, int seconds,
                                          unsigned flags, GError **reterr) {
        int r = enter("domain_set_memory_stats_period", true, reterr, "%02x, %d, %u", uuid[0], seconds, flags);
        return r;
}

int driver_domain_memory_stats(DriverClient *client, const unsigned char *uuid, virDomainMemoryStatPtr ret_stats,
                               unsigned max, unsigned *ret_n, GError **reterr) {
        int r = enter("domain_memory_stats", true, reterr, "%02x, %u", uuid[0], max);
        if (r < 0)
                return r;
        ret_stats[0] = (virDomainMemoryStatStruct) { .tag = 6, .val = 524288 };
        *ret_n = 1;
        return 0;
}

int driver_domain_block_info(DriverClient *client, const unsigned char *uuid, const char *path,
                             virDomainBlockInfo *ret_info, GError **reterr) {
        int r = enter("domain_block_info", true, reterr, "%02x, %s", uuid[0], path ? path : "-");
        if (r < 0)
                return r;
        *ret_info = (virDomainBlockInfo) { .capacity = 30, .allocation = 20, .physical = 25 };
        return 0;
}

int driver_domain_block_stats(DriverClient *client, const unsigned char *uuid, const char *path,
                              virDomainBlockStatsStruct *ret_stats, GError **reterr) {
        int r = enter("domain_block_stats", true, reterr, "%02x, %s", uuid[0], path ? path : "-");
        if (r < 0)
                return r;
        *ret_stats = (virDomainBlockStatsStruct) { .rd_req = 1, .rd_bytes = 2, .wr_req = 3, .wr_bytes = 4, .errs = -1 };
        return 0;
}

int driver_domain_interface_stats(DriverClient *client, const unsigned char *uuid, const char *device,
                                  virDomainInterfaceStatsStruct *ret_stats, GError **reterr) {
        int r = enter("domain_interface_stats", false, reterr, "%02x, %s", uuid[0], device ? device : "-");
        if (r < 0)
                return r;
        *ret_stats = (virDomainInterfaceStatsStruct) { 1, 2, 3, 4, 5, 6, 7, 8 };
        return 0;
}

int driver_domain_stats(DriverClient *client, const unsigned char (*uuids)[VIR_UUID_BUFLEN], unsigned n_uuids,
                        unsigned stats, unsigned flags, DriverStatsRecord **ret_records, unsigned *ret_n,
                        GError **reterr) {
        int r = enter("domain_stats", true, reterr, "%u, %u, %u", n_uuids, stats, flags);
        if (r < 0)
                return r;
        *ret_records = g_new0(DriverStatsRecord, 1);
        ref_fill(&(*ret_records)[0].domain);
        (*ret_records)[0].params = make_params(&(*ret_records)[0].n_params);
        *ret_n = 1;
        return 0;
}

int driver_domain_open_console(DriverClient *client, const unsigned char *uuid, const char *device, unsigned flags,
                               int *ret_fd, GError **reterr) {
        int r = enter("domain_open_console", false, reterr, "%02x, %s, %u", uuid[0], device ? device : "-", flags);
        if (r < 0)
                return r;
        *ret_fd = fcntl(driver_double.console_fd, F_DUPFD_CLOEXEC, 3);
        return 0;
}

int driver_domain_monitor_command(DriverClient *client, const unsigned char *uuid, const char *command,
                                  unsigned flags, char **ret_reply, GError **reterr) {
        int r = enter("domain_monitor_command", true, reterr, "%02x, %s, %u", uuid[0], command ? command : "-",
                      flags);
        if (r < 0)
                return r;
        *ret_reply = g_strdup("reply");
        return 0;
}

int driver_domain_job_info(DriverClient *client, const unsigned char *uuid, virDomainJobInfo *ret_info,
                           GError **reterr) {
        int r = enter("domain_job_info", false, reterr, "%02x", uuid[0]);
        if (r < 0)
                return r;
        *ret_info = (virDomainJobInfo) { .type = 2, .timeElapsed = 10, .dataTotal = 100, .dataRemaining = 40,
                                         .fileRemaining = 12 };
        return 0;
}

int driver_domain_job_stats(DriverClient *client, const unsigned char *uuid, unsigned flags, int *ret_type,
                            virTypedParameterPtr *ret_params, int *ret_n_params, GError **reterr) {
        int r = enter("domain_job_stats", false, reterr, "%02x, %u", uuid[0], flags);
        if (r < 0)
                return r;
        *ret_type = 42;
        *ret_params = make_params(ret_n_params);
        return 0;
}

int driver_domain_job_abort(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        int r = enter("domain_job_abort", true, reterr, "%02x, %u", uuid[0], flags);
        return r;
}

int driver_migrate_set_max_downtime(DriverClient *client, const unsigned char *uuid, uint64_t msec, unsigned flags,
                                    GError **reterr) {
        int r = enter("migrate_set_max_downtime", false, reterr, "%02x, %llu, %u", uuid[0],
                      (unsigned long long) msec, flags);
        return r;
}

int driver_migrate_get_max_downtime(DriverClient *client, const unsigned char *uuid, uint64_t *ret_msec,
                                    unsigned flags, GError **reterr) {
        int r = enter("migrate_get_max_downtime", false, reterr, "%02x, %u", uuid[0], flags);
        if (r < 0)
                return r;
        *ret_msec = 42;
        return 0;
}

int driver_migrate_set_max_speed(DriverClient *client, const unsigned char *uuid, uint64_t mib_per_sec,
                                 unsigned flags, GError **reterr) {
        int r = enter("migrate_set_max_speed", true, reterr, "%02x, %llu, %u", uuid[0],
                      (unsigned long long) mib_per_sec, flags);
        return r;
}

int driver_migrate_get_max_speed(DriverClient *client, const unsigned char *uuid, uint64_t *ret_mib_per_sec,
                                 unsigned flags, GError **reterr) {
        int r = enter("migrate_get_max_speed", false, reterr, "%02x, %u", uuid[0], flags);
        if (r < 0)
                return r;
        *ret_mib_per_sec = 42;
        return 0;
}

int driver_migrate_start_postcopy(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        return enter("migrate_start_postcopy", false, reterr, "%02x, %u", uuid[0], flags);
}

int driver_migrate_begin(DriverClient *client, const unsigned char *uuid, const DriverMigrateArgs *args,
                         DriverCookie *ret_cookie, char **ret_xml, GError **reterr) {
        int r = enter("migrate_begin", true, reterr, "%02x", uuid[0]);
        log_params(args);
        if (r < 0)
                return r;
        *ret_cookie = make_cookie();
        *ret_xml = g_strdup("xml");
        return 0;
}

int driver_migrate_prepare(DriverClient *client, const DriverMigrateArgs *args, DriverCookie *ret_cookie,
                           char **ret_uri, GError **reterr) {
        int r = enter("migrate_prepare", true, reterr, "%s", "");
        log_params(args);
        if (r < 0)
                return r;
        *ret_cookie = make_cookie();
        *ret_uri = g_strdup("uri");
        return 0;
}

int driver_migrate_perform(DriverClient *client, const unsigned char *uuid, const char *dconnuri,
                           const DriverMigrateArgs *args, DriverCookie *ret_cookie, GError **reterr) {
        int r = enter("migrate_perform", true, reterr, "%02x, %s", uuid[0], dconnuri ? dconnuri : "-");
        log_params(args);
        if (r < 0)
                return r;
        *ret_cookie = make_cookie();
        return 0;
}

int driver_migrate_finish(DriverClient *client, const DriverMigrateArgs *args, bool cancelled, DomainRef *ret_ref,
                          DriverCookie *ret_cookie, GError **reterr) {
        int r = enter("migrate_finish", true, reterr, "%d", cancelled);
        log_params(args);
        if (r < 0)
                return r;
        ref_fill(ret_ref);
        *ret_cookie = make_cookie();
        return 0;
}

int driver_migrate_confirm(DriverClient *client, const unsigned char *uuid, const DriverMigrateArgs *args,
                           bool cancelled, GError **reterr) {
        int r = enter("migrate_confirm", true, reterr, "%02x, %d", uuid[0], cancelled);
        log_params(args);
        return r;
}

/* ---- save images ---- */

int driver_domain_save(DriverClient *client, const unsigned char *uuid, const DriverSaveArgs *args, GError **reterr) {
        return enter("domain_save", true, reterr, "%02x, %s, %s, %s, %u", uuid[0], args->path ? args->path : "-",
                     args->xml ? args->xml : "-", args->format ? args->format : "-", args->flags);
}

int driver_domain_restore(DriverClient *client, const DriverSaveArgs *args, GError **reterr) {
        return enter("domain_restore", true, reterr, "%s, %s, %u", args->path ? args->path : "-",
                     args->xml ? args->xml : "-", args->flags);
}

int driver_domain_has_managed_save(DriverClient *client, const unsigned char *uuid, unsigned flags, bool *ret_yes,
                                   GError **reterr) {
        *ret_yes = true;
        return enter("domain_has_managed_save", false, reterr, "%02x, %u", uuid[0], flags);
}

int driver_domain_remove_managed_save(DriverClient *client, const unsigned char *uuid, unsigned flags,
                                      GError **reterr) {
        return enter("domain_remove_managed_save", true, reterr, "%02x, %u", uuid[0], flags);
}

int driver_save_image_xml(DriverClient *client, const unsigned char *uuid, const char *path, unsigned flags,
                          char **ret_xml, GError **reterr) {
        int r = enter("save_image_xml", true, reterr, "%s, %s, %u", uuid ? "domain" : "-", path ? path : "-", flags);

        if (r >= 0)
                *ret_xml = g_strdup("<domain/>");
        return r;
}

int driver_save_image_define(DriverClient *client, const unsigned char *uuid, const char *path, const char *xml,
                             unsigned flags, GError **reterr) {
        return enter("save_image_define", true, reterr, "%s, %s, %s, %u", uuid ? "domain" : "-", path ? path : "-",
                     xml ? xml : "-", flags);
}
