/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The manager: what exists once per daemon, its clients, its events. */

#include "driver/driver.h"

#include <errno.h>
#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/base/scope.h"
#include "driver/driver_internal.h"
#include "driver/migration/job_record.h"
#include "driver/migration/job_stats.h"
#include "driver/migration/migration_dst.h"
#include "driver/migration/migration_src.h"
#include "driver/migration/recover.h"
#include "driver/qemu/host.h"
#include "driver/qemu/ram.h"

#define QUIESCE_POLL_USEC (200 * USEC_PER_MSEC)
#define PORT_MIN 49152 /* libvirt's range for incoming migration */
#define PORT_MAX 49215

/* A copy that lives as long as the driver. */
static const char *keep(Driver *driver, const char *text) {
        char *copy = g_strdup(text);

        if (copy)
                g_ptr_array_add(driver->strings, copy);
        return copy;
}

static const char *keep_path(Driver *driver, const char *dir, const char *name) {
        char *path = g_build_filename(dir, name, NULL);

        g_ptr_array_add(driver->strings, path);
        return path;
}

static void on_migrating_guest_exited(Domain *domain, void *userdata) {
        Migration *migration = domain->migration;

        migration->guest_exited = true;
        fiber_cond_broadcast(&migration->changed);
        /* Between calls nobody waits for it: on the source the job is over, on the destination settle_fiber sees it. */
        /* In postcopy the helper has the memory that the destination still needs. */
        if (!migration->incoming && !migration->in_call && migration->phase != MIGRATION_PHASE_COMMITTED &&
            migration->phase != MIGRATION_PHASE_POSTCOPY)
                migration_end(migration, false);
}

/* virsh migrate --abort-on-error. */
static void on_migrating_guest_io_error(Domain *domain, const char *disk, void *userdata) {
        Migration *migration = domain->migration;

        if (migration->incoming || !(migration->params.flags & VIR_MIGRATE_ABORT_ON_ERROR) || migration->failure)
                return;
        error_set(&migration->failure, VIR_ERR_OPERATION_FAILED,
                  _("migration of domain '%s' was aborted: disk '%s' had an I/O error"), domain->name, disk);
        fiber_cond_broadcast(&migration->changed);
}

static void on_snapshot_guest_exited(Domain *domain, void *userdata) {
        snapshot_guest_exited(domain->snapshot);
}

static void driver_configure(Driver *driver, const DriverConfig *config) {
        const char *helpers = config->helper_dir;

        driver->guests.settings = (QemuSettings){
                .privileged = config->privileged,
                .state_dir = keep(driver, config->state_dir),
                .log_dir = keep(driver, config->log_dir),
                .lib_dir = keep(driver, config->lib_dir),
                .hugetlbfs = keep(driver, config->hugetlbfs),
                .ram_huge = keep(driver, config->ram_huge),
                .ram_size = keep(driver, config->ram_size),
                .uffd_shim = keep_path(driver, helpers, "ferry-uffd-shim.so"),
                .prealloc_helper = keep_path(driver, helpers, "virt-ferry-prealloc"),
                .network_helper = keep_path(driver, helpers, "virt-ferry-network"),
                .network_uri = keep(driver, config->network_uri),
        };
        driver->guests.default_emulator = keep(driver, config->emulator);
        driver->guests.migrating_guest_exited = on_migrating_guest_exited;
        driver->guests.migrating_guest_io_error = on_migrating_guest_io_error;
        driver->guests.snapshot_guest_exited = on_snapshot_guest_exited;
        driver->snapshots = (SnapshotContext){
                .guests = &driver->guests,
                .engine_helper = keep_path(driver, helpers, "virt-ferry-engine"),
                .dir = keep_path(driver, config->lib_dir, "save"),
                .lazy = g_strcmp0(config->restore_mode, "full") != 0,
                .compression =
                        image_compression_from_string(config->save_image_format) == IMAGE_ZSTD ? IMAGE_ZSTD : IMAGE_RAW,
        };
        driver->migrations = (MigrationContext){
                .guests = &driver->guests,
                .records = job_records_new(driver->bus),
                .engine_helper = keep_path(driver, helpers, "virt-ferry-engine"),
                .peer_helper = keep_path(driver, helpers, "virt-ferry-peer"),
                .socket_path = keep(driver, config->socket_path),
                .hostname = driver->hostname,
                .instance = driver->instance,
                .address = keep(driver, config->migration_address),
                .host = keep(driver, config->migration_host),
                .port_min = config->migration_port_min ? config->migration_port_min : PORT_MIN,
                .port_max = config->migration_port_max ? config->migration_port_max : PORT_MAX,
                .idle_usec = (uint64_t) config->migration_idle_sec * 1000000,
                .policy = keep(driver, config->migration_policy),
                .max_outgoing = config->migration_max_outgoing,
                .bandwidth_mib = config->migration_bandwidth,
        };
}

static int driver_prepare(Driver *driver, const DriverConfig *config, GError **reterr) {
        const char *const dirs[] = { config->state_dir, config->config_dir, config->log_dir, config->lib_dir };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(dirs); i++)
                r = dir_make(dirs[i], 0711, reterr);
        if (r >= 0)
                r = dir_make(driver->snapshots.dir, 0700, reterr);
        if (r >= 0)
                r = store_init(&driver->guests.store, config->config_dir, config->state_dir, reterr);
        if (r >= 0 && config->guest_slice)
                r = scope_manager_new(driver->event, config->guest_slice, &driver->scopes, reterr);
        driver->guests.settings.scopes = driver->scopes;
        if (r >= 0)
                r = qemu_ram_mount(&driver->guests.settings, reterr);
        if (r >= 0)
                r = qemu_host_uuid(config->host_uuid, driver->host_uuid, reterr);
        return r;
}

static void driver_recover(Driver *driver) {
        g_autoptr(GPtrArray) all = NULL;
        unsigned lost, bad = 0;

        store_load_configs(&driver->guests.store, driver->list, &bad, NULL);
        lost = guest_reattach_all(&driver->guests);
        all = domain_list_all(driver->list);
        for (guint i = 0; i < all->len; i++) {
                Domain *domain = g_ptr_array_index(all, i);

                if (domain->migration_saved)
                        migration_recover(&driver->migrations, domain);
                if (domain->snapshot_saved)
                        snapshot_recover(&driver->snapshots, domain);
        }
        log_debug("%u guests run, %u have ended, %u definitions cannot be read", domain_list_active(driver->list), lost,
                  bad);
}

int driver_new(sd_event *event, const DriverConfig *config, Driver **ret_driver, GError **reterr) {
        Driver *driver = NULL;
        unsigned char random[UUID_BYTES];
        char text[UUID_TEXT_SIZE];
        int r;

        /* Typed parameters are libvirt's, and its error slots must exist before the first one. */
        if (virInitialize() < 0)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("libvirt's client library cannot be initialised"));
        driver = g_new0(Driver, 1);
        uuid_generate(random);
        driver->event = sd_event_ref(event);
        driver->strings = g_ptr_array_new_with_free_func(g_free);
        driver->clients = g_ptr_array_new();
        driver->attempts = g_ptr_array_new();
        driver->list = domain_list_new();
        driver->bus = event_bus_new();
        driver->caps = qemu_caps_cache_new(event);
        driver->hostname = config->hostname ? g_strdup(config->hostname) : qemu_host_name();
        driver->schema_dir = g_strdup(config->schema_dir);
        driver->lib_dir = g_strdup(config->lib_dir);
        driver->instance = g_strdup(uuid_format(random, text));
        driver->guests.event = event;
        driver->guests.caps = driver->caps;
        driver->guests.list = driver->list;
        driver->guests.bus = driver->bus;
        driver_configure(driver, config);
        r = driver_prepare(driver, config, reterr);
        if (r < 0) {
                driver_free(driver);
                return r;
        }
        driver_recover(driver);
        *ret_driver = driver;
        return 0;
}

/* Lets go of every guest, which goes on. */
static void driver_release_guests(Driver *driver) {
        g_autoptr(GPtrArray) all = domain_list_all(driver->list);

        for (guint i = 0; i < all->len; i++) {
                Domain *domain = g_ptr_array_index(all, i);

                guest_release(&driver->guests, domain);
        }
}

Driver *driver_free(Driver *driver) {
        if (!driver)
                return NULL;
        /* A fiber waits for an emulator that does not answer, and will come back to all of this: leave it to the
         * kernel, as the process ends. */
        if (driver->probing)
                return NULL;
        driver_console_release(driver);
        driver_release_guests(driver);
        /* With guests still there it is busy, and stays. */
        (void) qemu_ram_unmount(&driver->guests.settings);
        domain_list_free(driver->list);
        g_ptr_array_unref(driver->attempts);
        job_records_free(driver->migrations.records);
        event_bus_free(driver->bus);
        qemu_caps_cache_free(driver->caps);
        scope_manager_free(driver->scopes);
        store_clear(&driver->guests.store);
        g_ptr_array_unref(driver->clients);
        g_ptr_array_unref(driver->strings);
        g_free(driver->hostname);
        g_free(driver->schema_dir);
        g_free(driver->lib_dir);
        g_free(driver->instance);
        sd_event_unref(driver->event);
        g_free(driver);
        return NULL;
}

/* Whether this is the first daemon since the host has booted; remembers it. */
static bool first_since_boot(Driver *driver) {
        g_autofree char *marker = g_build_filename(driver->guests.settings.state_dir, "autostarted", NULL);
        g_autofree char *boot = NULL, *last = NULL;

        if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot, NULL, NULL) < 0)
                return false;
        if (file_read(marker, 64, &last, NULL, NULL) >= 0 && strcmp(boot, last) == 0)
                return false;
        return file_replace(marker, boot, strlen(boot), 0600, NULL) >= 0;
}

void driver_autostart(Driver *driver) {
        if (!first_since_boot(driver))
                return;

        g_autoptr(DriverClient) client = driver_client_new(driver, false, 0, 0);
        g_autoptr(GPtrArray) all = domain_list_all(driver->list);

        for (guint i = 0; i < all->len; i++) {
                Domain *domain = g_ptr_array_index(all, i);
                g_autoptr(GError) error = NULL;

                if (domain->autostart && !domain_is_active(domain) &&
                    driver_domain_create(client, domain->uuid, 0, NULL, &error) < 0)
                        log_debug("domain '%s' cannot be started with the host, ignoring: %s", domain->name,
                                  error->message);
        }
}

void driver_probe(Driver *driver) {
        g_autoptr(QemuCaps) caps = NULL;
        g_autoptr(GError) error = NULL;

        driver->probing = true;
        if (guest_caps(&driver->guests, NULL, &caps, &error) < 0)
                log_debug("the default emulator cannot be asked about itself, ignoring: %s", error->message);
        driver->probing = false;
}

unsigned driver_active_domains(const Driver *driver) {
        return domain_list_active(driver->list);
}

void driver_summary(const Driver *driver, DriverSummary *ret_summary) {
        g_autoptr(GPtrArray) all = domain_list_all(driver->list);
        DriverSummary summary = { .guests = domain_list_active(driver->list), .percent = 100 };

        for (guint i = 0; i < all->len; i++) {
                const Domain *domain = g_ptr_array_index(all, i);
                virDomainJobInfo info = { 0 };

                if (!domain->migration)
                        continue;
                summary.migrating++;
                job_stats_info(domain->migration, &info);
                if (!domain->migration->incoming && info.dataTotal > 0)
                        summary.percent = MIN(summary.percent, 100 - 100 * info.dataRemaining / info.dataTotal);
        }
        *ret_summary = summary;
}

/* Jobs that a daemon should not leave in the middle. One in phase UNKNOWN waits for an operator and keeps; in
 * postcopy the helper goes on by itself. */
static unsigned driver_running_jobs(const Driver *driver) {
        g_autoptr(GPtrArray) all = domain_list_all(driver->list);
        unsigned n = 0;

        for (guint i = 0; i < all->len; i++) {
                const Domain *domain = g_ptr_array_index(all, i);

                n += domain->migration && domain->migration->phase != MIGRATION_PHASE_UNKNOWN &&
                     domain->migration->phase != MIGRATION_PHASE_POSTCOPY &&
                     domain->migration->phase != MIGRATION_PHASE_POSTCOPY_PAUSED;
                n += domain->snapshot && domain->snapshot->phase != SNAPSHOT_PHASE_LAZY;
        }
        return n;
}

void driver_quiesce(Driver *driver, uint64_t timeout_usec) {
        uint64_t deadline = clock_monotonic_usec() + timeout_usec;
        g_autoptr(GPtrArray) all = domain_list_all(driver->list);

        driver->quiescing = true;
        for (guint i = 0; i < all->len; i++) {
                Domain *domain = g_ptr_array_index(all, i);

                if (domain->migration && (domain->migration->phase == MIGRATION_PHASE_POSTCOPY ||
                                          domain->migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED)) {
                        domain->migration->daemon_ends = true;
                        fiber_cond_broadcast(&domain->migration->changed);
                        continue;
                }
                /* Too late to be cancelled is soon over; in UNKNOWN an abort would be an operator's word. */
                if (domain->migration && domain->migration->incoming)
                        migration_dst_client_gone(domain->migration);
                else if (domain->migration && domain->migration->phase < MIGRATION_PHASE_COMMITTING)
                        migration_src_abort(domain->migration, NULL);
                if (domain->snapshot)
                        snapshot_abort(domain->snapshot, NULL);
        }
        driver_attempts_cancel(driver);
        while ((driver_running_jobs(driver) > 0 || driver->attempts->len > 0 || driver->probing) &&
               clock_monotonic_usec() < deadline)
                fiber_sleep(QUIESCE_POLL_USEC);
}

/* ---- clients ---- */

DriverClient *driver_client_new(Driver *driver, bool read_only, uid_t uid, pid_t pid) {
        DriverClient *client = g_new0(DriverClient, 1);

        client->driver = driver;
        client->read_only = read_only;
        client->uid = uid;
        client->pid = pid;
        g_ptr_array_add(driver->clients, client);
        return client;
}

static void client_gone_fiber(void *userdata) {
        g_autoptr(Migration) migration = userdata;

        if (migration->incoming)
                migration_dst_client_gone(migration);
        else
                migration_src_client_gone(migration);
}

void driver_client_disconnect(DriverClient *client) {
        g_autoptr(GPtrArray) all = NULL;

        if (client->gone)
                return;
        client->gone = true;
        all = domain_list_all(client->driver->list);
        for (guint i = 0; i < all->len; i++) {
                Domain *domain = g_ptr_array_index(all, i);

                if (domain->migration && domain->migration->client == client)
                        fiber_start(client->driver->event, "client-gone", client_gone_fiber,
                                    migration_ref(domain->migration));
        }
}

DriverClient *driver_client_free(DriverClient *client) {
        if (!client)
                return NULL;
        driver_client_disconnect(client);
        g_ptr_array_remove_fast(client->driver->clients, client);
        g_free(client);
        return NULL;
}

/* ---- identities ---- */

int driver_uuid_parse(const char *text, unsigned char *ret_uuid) {
        return uuid_parse(text, ret_uuid);
}

char *driver_uuid_format(const unsigned char *uuid, char *buffer) {
        return uuid_format(uuid, buffer);
}

/* ---- events ---- */

unsigned driver_subscribe(Driver *driver, DriverEventFunc func, void *userdata) {
        return event_bus_subscribe(driver->bus, func, userdata);
}

void driver_unsubscribe(Driver *driver, unsigned subscription) {
        event_bus_unsubscribe(driver->bus, subscription);
}

/* ---- checks ---- */

int driver_check_write(const DriverClient *client, const char *what, GError **reterr) {
        if (client->read_only)
                return error_set(reterr, VIR_ERR_OPERATION_DENIED,
                                 _("read-only access prevents '%s': connect without -r"), what);
        return 0;
}

int driver_check_flags(unsigned flags, unsigned allowed, const char *what, GError **reterr) {
        if (flags & ~allowed)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags (0x%x) in '%s'"), flags & ~allowed,
                                 what);
        return 0;
}

int driver_find(const DriverClient *client, const unsigned char *uuid, Domain **ret_domain, GError **reterr) {
        Domain *domain = domain_list_find_uuid(client->driver->list, uuid);
        char text[UUID_TEXT_SIZE];

        if (!domain)
                return error_set(reterr, VIR_ERR_NO_DOMAIN, _("no domain with matching uuid '%s'"),
                                 uuid_format(uuid, text));
        *ret_domain = domain_ref(domain);
        return 0;
}

int driver_check_active(const Domain *domain, GError **reterr) {
        if (!domain_is_active(domain))
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain is not running"));
        if (!domain->qemu)
                return error_set(
                        reterr, VIR_ERR_OPERATION_FAILED,
                        _("QEMU of domain '%s' runs, but does not answer since the daemon was restarted: end that "
                          "process, then restart the daemon"),
                        domain->name);
        return 0;
}

int driver_find_active(const DriverClient *client, const unsigned char *uuid, Domain **ret_domain, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r >= 0)
                r = driver_check_active(domain, reterr);
        if (r < 0)
                return r;
        *ret_domain = g_steal_pointer(&domain);
        return 0;
}
