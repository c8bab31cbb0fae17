/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The driver: everything a front end (daemon/rpc, later daemon/dbus) may ask. No wire format in here, no logic in
 * there.
 *
 * All calls are made on the loop's thread. Those marked [fiber] may wait and must run in a fiber; a front end gives
 * each request one of its own, so that calls of one client overlap. Errors are described in driver/base/error.h.
 * Domains are named by uuid. Typed parameters are libvirt's own (<libvirt/libvirt-common.h>), freed with
 * virTypedParamsFree(). Flags are libvirt's too; an unknown flag is refused with VIR_ERR_INVALID_ARG by the driver.
 */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "driver/domain/event.h" /* DomainRef, DriverEvent */

typedef struct Driver Driver;
typedef struct DriverClient DriverClient;

/* ---- the driver itself ---- */

typedef struct DriverConfig {
        /* system mode: our own tmpfs, migration ports for all; false: session mode, RAM in memfds */
        bool privileged;
        /* run-time state, lost at boot: status files, monitors, RAM files; e.g. /run/libvirt/ferry */
        const char *state_dir;
        const char *config_dir;   /* persistent definitions and autostart links; e.g. /etc/libvirt/ferry */
        const char *log_dir;      /* one log per domain; e.g. /var/log/libvirt/ferry */
        const char *lib_dir;      /* persistent state: nvram, save images; e.g. /var/lib/libvirt/ferry */
        const char *helper_dir;   /* where virt-ferry-engine, virt-ferry-peer and the uffd shim are */
        const char *schema_dir;   /* where domain.rng is */
        const char *hostname;     /* NULL: the machine's */
        const char *host_uuid;    /* NULL: /etc/machine-id's */
        const char *emulator;     /* default emulator; NULL: the first qemu-system-x86_64 in PATH or /usr/bin */
        const char *hugetlbfs;    /* mount point of hugetlbfs, NULL: found in /proc/mounts */
        const char *ram_size;    /* tmpfs size= limit: "80%", "16G"; NULL: none */
        /* where guests and helpers get scopes of their own if a service manager started us; NULL: nowhere */
        const char *guest_slice;
        const char *restore_mode;      /* "lazy" (default, also NULL): guests run before their memory is read; "full" */
        const char *save_image_format; /* of save images: "raw" (default, also NULL), "zstd" */
        const char *ram_huge;     /* tmpfs huge= policy: "advise" (default), "within_size", "never" */
        /* libvirt's network daemon, for interfaces of type network; NULL: network:///system */
        const char *network_uri;
        const char *socket_path;  /* our own RPC socket, for peer-to-peer migration */
        const char *migration_address; /* where incoming migration listens by default; NULL: all */
        const char *migration_host;    /* the name that goes into migration URIs; NULL: hostname */
        unsigned migration_port_min, migration_port_max; /* 49152..49215 */
        unsigned migration_max_outgoing; /* migrations that leave at a time, others wait; 0: no limit */
        unsigned migration_bandwidth;    /* MiB/s that they share; 0: no limit */
        const char *migration_policy; /* in its text form (docs/policy.md); NULL: balanced */
        unsigned migration_idle_sec; /* a migration peer silent for so long is lost; 0: 10 */
} DriverConfig;

/* Loads definitions, finds running guests again, starts nothing. [fiber] config is copied. */
int driver_new(sd_event *event, const DriverConfig *config, Driver **ret_driver, GError **reterr);
/* Forgets everything; guests go on. All clients must be freed before. */
Driver *driver_free(Driver *driver);
/* Starts the domains that are marked for autostart, once after boot. [fiber] */
void driver_autostart(Driver *driver);
/* Asks the default emulator what it can do, so that the first start or incoming migration need not wait for it (0.2 to
 * 0.4 s). Without one nothing happens. [fiber] */
void driver_probe(Driver *driver);
/* Number of running guests: a daemon with --timeout stays while it is not 0. */
unsigned driver_active_domains(const Driver *driver);
/* What the daemon does, in three numbers. */
typedef struct DriverSummary {
        unsigned guests;    /* running, incoming ones included */
        unsigned migrating; /* of them, those that come or go */
        unsigned percent;   /* how much of the memory of the slowest outgoing one is at the destination, 0 to 100 */
} DriverSummary;
void driver_summary(const Driver *driver, DriverSummary *ret_summary);
/* Lets running jobs finish or be cancelled; refuses new ones; used for a clean shutdown. [fiber] */
void driver_quiesce(Driver *driver, uint64_t timeout_usec);

/* ---- clients ---- */

/* One per connection. A read-only client gets VIR_ERR_OPERATION_DENIED from every call that changes anything (and from
 * dumpxml --security-info), so front ends need no list of their own. */
DriverClient *driver_client_new(Driver *driver, bool read_only, uid_t uid, pid_t pid);
/* The connection is gone: cancels what must not outlive it (incoming migration that was prepared, outgoing that was
 * begun). Calls of this client may still be outstanding, and end in their own time; what they come to hold after this
 * is released again at once. Idempotent. */
void driver_client_disconnect(DriverClient *client);
/* Disconnects and frees. No call of this client may be outstanding. */
DriverClient *driver_client_free(DriverClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DriverClient, driver_client_free)

/* ---- events ---- */

/* Calls func for every event of every domain, from the loop; the event is borrowed for the call. func must not call
 * back into the driver. Returns a number for driver_unsubscribe(). */
unsigned driver_subscribe(Driver *driver, DriverEventFunc func, void *userdata);
void driver_unsubscribe(Driver *driver, unsigned subscription);

/* ---- host ---- */

char *driver_hostname(DriverClient *client);                                          /* owned by the caller */
/* [fiber] major*1e6+minor*1e3+micro */
int driver_hypervisor_version(DriverClient *client, uint64_t *ret_version, GError **reterr);
int driver_node_info(DriverClient *client, virNodeInfo *ret_info, GError **reterr);
int driver_node_free_memory(DriverClient *client, uint64_t *ret_bytes, GError **reterr);
/* n 0: asks for the number */
int driver_node_memory_stats(DriverClient *client, int cell, virNodeMemoryStatsPtr ret_stats, int *inout_n,
                             GError **reterr);
int driver_node_cpu_map(DriverClient *client, unsigned char **ret_map, int *ret_map_bytes, unsigned *ret_online,
                        int *ret_present, GError **reterr);
int driver_max_vcpus(DriverClient *client, const char *type, int *ret_max, GError **reterr);
/* [fiber] */
int driver_capabilities(DriverClient *client, char **ret_xml, GError **reterr);
int driver_domain_capabilities(DriverClient *client, const char *emulator, const char *arch, const char *machine,
                               /* [fiber] */
                               const char *virt_type, unsigned flags, char **ret_xml, GError **reterr);
/* [fiber] */
int driver_cpu_models(DriverClient *client, const char *arch, char ***ret_models, GError **reterr);

/* ---- looking domains up ---- */

/* flags: VIR_CONNECT_LIST_DOMAINS_*. An array of n DomainRef; free with domain_refs_free(). */
int driver_list_domains(DriverClient *client, unsigned flags, DomainRef **ret_refs, unsigned *ret_n, GError **reterr);
int driver_lookup_id(DriverClient *client, int id, DomainRef *ret_ref, GError **reterr);
int driver_lookup_name(DriverClient *client, const char *name, DomainRef *ret_ref, GError **reterr);
int driver_lookup_uuid(DriverClient *client, const unsigned char *uuid, DomainRef *ret_ref, GError **reterr);

/* ---- life cycle ---- */

int driver_domain_define(DriverClient *client, const char *xml, unsigned flags, DomainRef *ret_ref, GError **reterr);
int driver_domain_undefine(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr);
/* [fiber] */
int driver_domain_create_xml(DriverClient *client, const char *xml, unsigned flags, DomainRef *ret_ref,
                             GError **reterr);
/* [fiber] ret_ref may be NULL */
int driver_domain_create(DriverClient *client, const unsigned char *uuid, unsigned flags, DomainRef *ret_ref,
                         GError **reterr);
/* [fiber] */
int driver_domain_shutdown(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr);
/* [fiber] */
int driver_domain_reboot(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr);
/* [fiber] */
int driver_domain_reset(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr);
/* [fiber] */
int driver_domain_destroy(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr);
/* [fiber] */
int driver_domain_suspend(DriverClient *client, const unsigned char *uuid, GError **reterr);
/* [fiber] */
int driver_domain_resume(DriverClient *client, const unsigned char *uuid, GError **reterr);
int driver_domain_get_autostart(DriverClient *client, const unsigned char *uuid, bool *ret_on, GError **reterr);
int driver_domain_set_autostart(DriverClient *client, const unsigned char *uuid, bool on, GError **reterr);

/* ---- save images ---- */

typedef struct DriverSaveArgs {
        const char *path;   /* absolute; NULL: a managed save */
        const char *xml;    /* instead of the domain's own definition; NULL: that */
        const char *format; /* "raw", "zstd"; NULL: as configured */
        unsigned flags;     /* VIR_DOMAIN_SAVE_* */
} DriverSaveArgs;

/* Saves a running or paused domain and ends it. */
/* [fiber] */
int driver_domain_save(DriverClient *client, const unsigned char *uuid, const DriverSaveArgs *args, GError **reterr);
/* Starts a domain from an image; format is not looked at. */
/* [fiber] */
int driver_domain_restore(DriverClient *client, const DriverSaveArgs *args, GError **reterr);
int driver_domain_has_managed_save(DriverClient *client, const unsigned char *uuid, unsigned flags, bool *ret_yes,
                                   GError **reterr);
/* [fiber] */
int driver_domain_remove_managed_save(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr);
/* The definition in an image; uuid NULL: at path, else the domain's managed save. flags:
 * VIR_DOMAIN_SAVE_IMAGE_XML_SECURE. */
int driver_save_image_xml(DriverClient *client, const unsigned char *uuid, const char *path, unsigned flags,
                          char **ret_xml,
                          /* [fiber] */
                          GError **reterr);
/* Replaces it. flags: VIR_DOMAIN_SAVE_RUNNING, _PAUSED. */
int driver_save_image_define(DriverClient *client, const unsigned char *uuid, const char *path, const char *xml,
                             unsigned flags,
                             /* [fiber] */
                             GError **reterr);

/* ---- what a domain is and does ---- */

/* [fiber] */
int driver_domain_xml(DriverClient *client, const unsigned char *uuid, unsigned flags, char **ret_xml, GError **reterr);
int driver_domain_os_type(DriverClient *client, const unsigned char *uuid, char **ret_type, GError **reterr);
/* [fiber] memory in KiB */
int driver_domain_info(DriverClient *client, const unsigned char *uuid, virDomainInfo *ret_info, GError **reterr);
int driver_domain_state(DriverClient *client, const unsigned char *uuid, int *ret_state, int *ret_reason,
                        GError **reterr);
int driver_domain_control_info(DriverClient *client, const unsigned char *uuid, virDomainControlInfo *ret_info,
                               GError **reterr);
int driver_domain_is_persistent(DriverClient *client, const unsigned char *uuid, bool *ret_yes, GError **reterr);
int driver_domain_is_updated(DriverClient *client, const unsigned char *uuid, bool *ret_yes, GError **reterr);
/* strv */
int driver_domain_messages(DriverClient *client, const unsigned char *uuid, unsigned flags, char ***ret_messages,
                           GError **reterr);
int driver_domain_vcpus(DriverClient *client, const unsigned char *uuid, virVcpuInfoPtr *ret_vcpus, unsigned *ret_n,
                        /* [fiber] maps: n * map_bytes; g_free both */
                        unsigned char **ret_maps, unsigned map_bytes, GError **reterr);
int driver_domain_vcpu_count(DriverClient *client, const unsigned char *uuid, unsigned flags, int *ret_n,
                             GError **reterr);
int driver_domain_vcpu_pins(DriverClient *client, const unsigned char *uuid, unsigned flags, unsigned n_vcpus,
                            unsigned map_bytes, unsigned char **ret_maps, unsigned *ret_n, GError **reterr);
int driver_domain_max_memory(DriverClient *client, const unsigned char *uuid, uint64_t *ret_kib, GError **reterr);
/* [fiber] */
int driver_domain_set_memory(DriverClient *client, const unsigned char *uuid, uint64_t kib, unsigned flags,
                             GError **reterr);
/* [fiber] */
int driver_domain_set_memory_stats_period(DriverClient *client, const unsigned char *uuid, int seconds, unsigned flags,
                                          GError **reterr);
int driver_domain_memory_stats(DriverClient *client, const unsigned char *uuid, virDomainMemoryStatPtr ret_stats,
                               unsigned max,
                               /* [fiber] */
                               unsigned *ret_n, GError **reterr);
/* [fiber] */
int driver_domain_block_info(DriverClient *client, const unsigned char *uuid, const char *path,
                             virDomainBlockInfo *ret_info, GError **reterr);
/* [fiber] */
int driver_domain_block_stats(DriverClient *client, const unsigned char *uuid, const char *path,
                              virDomainBlockStatsStruct *ret_stats, GError **reterr);
int driver_domain_interface_stats(DriverClient *client, const unsigned char *uuid, const char *device,
                                  virDomainInterfaceStatsStruct *ret_stats, GError **reterr);

/* One record of domstats. */
typedef struct DriverStatsRecord {
        DomainRef domain;
        virTypedParameterPtr params;
        int n_params;
} DriverStatsRecord;
/* uuids NULL: all domains that flags (VIR_CONNECT_GET_ALL_DOMAINS_STATS_*) select. stats: VIR_DOMAIN_STATS_* mask, 0
 * for all. */
int driver_domain_stats(DriverClient *client, const unsigned char (*uuids)[VIR_UUID_BUFLEN], unsigned n_uuids,
                        unsigned stats, unsigned flags,
                        /* [fiber] */
                        DriverStatsRecord **ret_records, unsigned *ret_n, GError **reterr);
void driver_stats_free(DriverStatsRecord *records, unsigned n);

/* A descriptor (non-blocking, owned by the caller) connected to the console; device NULL: the first console or serial.
 * flags: VIR_DOMAIN_CONSOLE_FORCE, _SAFE. A console has one user: a second gets OPERATION_FAILED without FORCE, with it
 * the first one's descriptor ends. */
int driver_domain_open_console(DriverClient *client, const unsigned char *uuid, const char *device, unsigned flags,
                               int *ret_fd, GError **reterr);
/* That user is done. */
void driver_domain_close_console(DriverClient *client, const unsigned char *uuid, int fd);
/* flags: VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP 1. */
/* [fiber] */
int driver_domain_monitor_command(DriverClient *client, const unsigned char *uuid, const char *command, unsigned flags,
                                  char **ret_reply, GError **reterr);

/* ---- jobs and migration (libvirt's protocol v3 with parameters; reference: libvirt's src/libvirt-domain.c) ---- */

int driver_domain_job_info(DriverClient *client, const unsigned char *uuid, virDomainJobInfo *ret_info,
                           GError **reterr);
/* flags: VIR_DOMAIN_JOB_STATS_COMPLETED, _KEEP_COMPLETED. */
int driver_domain_job_stats(DriverClient *client, const unsigned char *uuid, unsigned flags, int *ret_type,
                            virTypedParameterPtr *ret_params, int *ret_n_params, GError **reterr);
/* [fiber] */
int driver_domain_job_abort(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr);

int driver_migrate_set_max_downtime(DriverClient *client, const unsigned char *uuid, uint64_t msec, unsigned flags,
                                    GError **reterr);
int driver_migrate_get_max_downtime(DriverClient *client, const unsigned char *uuid, uint64_t *ret_msec, unsigned flags,
                                    GError **reterr);
/* Speeds: of precopy, or, with flag VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY, of the pages that are pushed in postcopy.
 * [fiber] */
int driver_migrate_set_max_speed(DriverClient *client, const unsigned char *uuid, uint64_t mib_per_sec, unsigned flags,
                                 GError **reterr);
int driver_migrate_get_max_speed(DriverClient *client, const unsigned char *uuid, uint64_t *ret_mib_per_sec,
                                 unsigned flags, GError **reterr);

/* Switches a running migration that was begun with VIR_MIGRATE_POSTCOPY to postcopy as soon as that can be. Returns at
 * once. */
int driver_migrate_start_postcopy(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr);

/* A cookie: opaque bytes that the client carries between the two sides. Owned by the caller, g_free(data). */
typedef struct DriverCookie {
        char *data;
        unsigned length;
} DriverCookie;

/* The typed parameters of one migration call, borrowed. cookie_in may be empty. */
typedef struct DriverMigrateArgs {
        virTypedParameterPtr params;
        int n_params;
        const char *cookie_in;
        unsigned cookie_in_length;
        unsigned flags; /* VIR_MIGRATE_* */
} DriverMigrateArgs;

/* Source. Takes the migration job and holds it until Confirm, a failed Perform, or the client's end. */
int driver_migrate_begin(DriverClient *client, const unsigned char *uuid, const DriverMigrateArgs *args,
                         /* [fiber] */
                         DriverCookie *ret_cookie, char **ret_xml, GError **reterr);
/* Destination. *ret_uri is NULL if the client gave a usable migrate_uri. */
/* [fiber] */
int driver_migrate_prepare(DriverClient *client, const DriverMigrateArgs *args, DriverCookie *ret_cookie,
                           char **ret_uri, GError **reterr);
/* Source. With VIR_MIGRATE_PEER2PEER, dconnuri names the destination and the whole migration happens inside. */
int driver_migrate_perform(DriverClient *client, const unsigned char *uuid, const char *dconnuri,
                           const DriverMigrateArgs *args,
                           /* [fiber] */
                           DriverCookie *ret_cookie, GError **reterr);
/* Destination. cancelled: stop the incoming guest; then always fails with VIR_ERR_MIGRATE_FINISH_OK. */
int driver_migrate_finish(DriverClient *client, const DriverMigrateArgs *args, bool cancelled,
                          /* [fiber] */
                          DomainRef *ret_ref, DriverCookie *ret_cookie, GError **reterr);
/* Source. cancelled: the destination failed, the guest goes on here. */
/* [fiber] */
int driver_migrate_confirm(DriverClient *client, const unsigned char *uuid, const DriverMigrateArgs *args,
                           bool cancelled, GError **reterr);

/* ---- migration jobs as things of their own: every one has a number, running or finished (driver/domain/job_info.h)
 * ---- */

/* All that are known, oldest first; owned by the caller. Their changes come as DRIVER_EVENT_JOB. */
int driver_migration_jobs(DriverClient *client, uint64_t **ret_numbers, unsigned *ret_n, GError **reterr);
/* *ret_info is overwritten; driver_job_info_clear(). INVALID_ARG: there is none with this number (any more). */
int driver_migration_job(DriverClient *client, uint64_t number, DriverJobInfo *ret_info, GError **reterr);
/* Starts a peer-to-peer migration and returns its number at once. It belongs to the daemon: it goes on when the client
 * has gone. args->flags and parameters are those of driver_migrate_perform(). */
int driver_migration_job_start(DriverClient *client, const unsigned char *uuid, const char *dconnuri,
                               const DriverMigrateArgs *args, uint64_t *ret_number, GError **reterr);
/* As driver_domain_job_abort(), and also before the job has begun. [fiber] */
int driver_migration_job_cancel(DriverClient *client, uint64_t number, GError **reterr);
/* Precopy stands still, or goes on: the guest runs, its writes are remembered, the policy waits. In postcopy the link
 * between both ends is closed, or made anew to the same destination (at once; whether that succeeds the job tells).
 * OPERATION_INVALID in any other phase. [fiber] */
int driver_migration_job_pause(DriverClient *client, uint64_t number, bool pause, GError **reterr);
/* Another policy in its text form (docs/policy.md). OPERATION_INVALID if precopy is not under way. */
int driver_migration_job_set_policy(DriverClient *client, uint64_t number, const char *policy, GError **reterr);

/* ---- identities ---- */

/* As libvirt reads and writes them. -EINVAL. */
int driver_uuid_parse(const char *text, unsigned char *ret_uuid);
/* Into a buffer of VIR_UUID_STRING_BUFLEN bytes, which is returned. */
char *driver_uuid_format(const unsigned char *uuid, char *buffer);
