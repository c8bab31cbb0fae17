/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * Prepare makes the domain and its QEMU (paused, waiting for a stream), starts the engine, and leaves a fiber behind
 * (settle_fiber) that follows the job to its end without any client: memory complete ─► QEMU loads its devices ─► READY
 * ─► COMMIT ─► the guest runs ─► RUNNING. The guest starts at COMMIT, not at Finish: a round trip of the client is not
 * part of the downtime. Finish only asks how that went.
 *
 * Before COMMIT any failure ends the incoming QEMU. After COMMIT the guest is ours: if it cannot be started, its QEMU
 * is ended first and then the source is told that it may resume (abandon), in this order, so that it never runs twice.
 */

#include "driver/migration/migration_dst.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/base/units.h"
#include "driver/migration/cookie.h"
#include "driver/migration/postcopy.h"
#include "driver/migration/postcopy_dst.h"
#include "driver/qemu/host.h"
#include "driver/qemu/qmp.h"

#define LOAD_USEC (60 * USEC_PER_SEC)
#define FINISH_USEC (15 * USEC_PER_SEC)
#define FAILURE_POLL_USEC (1 * USEC_PER_SEC)
#define MEMORY_RESERVE_BYTES (64 * MIB) /* QEMU itself, page tables */

/* ---- settling ---- */

static void dst_end_guest(Migration *migration) {
        g_autoptr(GError) error = NULL;

        if (guest_end(migration->context->guests, migration->domain, 0, VIR_DOMAIN_SHUTOFF_FAILED,
                      VIR_DOMAIN_EVENT_STOPPED_FAILED, &error) < 0)
                log_debug("incoming domain '%s' cannot be ended: %s", migration->domain->name, error->message);
}

static int dst_wait(Migration *migration, const bool *flag, GError **reterr) {
        while (!*flag) {
                int r = migration_check(migration, reterr);

                if (r < 0)
                        return r;
                fiber_cond_wait(&migration->changed, FAILURE_POLL_USEC);
        }
        return migration_check(migration, reterr);
}

/* Whether the guest is ours although something failed. Afterwards COMMIT cannot arrive any more. */
static bool dst_settle_commit(Migration *migration, const GError *why) {
        bool committed = false;

        if (migration->committed || !migration->engine)
                return migration->committed;
        if (!migration->engine_gone &&
            engine_dest_refuse(migration->engine, why ? why->message : NULL, &committed, NULL) >= 0)
                return committed;
        /* It cannot be asked any more; but it has written down what it acknowledged. */
        migration->engine_gone = true;
        engine_end(migration->engine);
        return migration_was_committed(migration->commit_path);
}

/* Up to READY. Any failure here means that the source still has the guest. */
static int dst_load(Migration *migration, GError **reterr) {
        int r;

        r = dst_wait(migration, &migration->ready, reterr);
        if (r >= 0) {
                migration->postcopy = engine_is_postcopy(migration->engine);
                r = migration->postcopy ? postcopy_keep_engine(migration, reterr) : 0;
        }
        if (r >= 0)
                r = qmp_migrate_wait(qemu_monitor(migration->domain->qemu), LOAD_USEC, NULL, reterr);
        if (r >= 0)
                r = storage_dst_close(migration, reterr);
        if (r >= 0) {
                migration_set_phase(migration, MIGRATION_PHASE_LOADED);
                r = engine_dest_loaded(migration->engine, reterr);
        }
        if (r >= 0)
                r = dst_wait(migration, &migration->committed, reterr);
        return r;
}

static int dst_start_guest(Migration *migration, GError **reterr) {
        Domain *domain = migration->domain;
        GuestManager *guests = migration->context->guests;

        if (migration->params.flags & VIR_MIGRATE_PAUSED) {
                domain_set_state(domain, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
                domain_emit_lifecycle(domain, guests->bus, VIR_DOMAIN_EVENT_SUSPENDED,
                                      VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
                return 0;
        }
        if (migration->postcopy)
                return guest_run(guests, domain, VIR_DOMAIN_RUNNING_POSTCOPY, VIR_DOMAIN_EVENT_RESUMED_POSTCOPY,
                                 reterr);
        return guest_run(guests, domain, VIR_DOMAIN_RUNNING_MIGRATED, VIR_DOMAIN_EVENT_RESUMED_MIGRATED, reterr);
}

/* The guest is ours: lets it run and tells the source, or makes sure that it never will and tells that. */
static int dst_run(Migration *migration, GError **reterr) {
        g_autoptr(GError) error = NULL;
        int r = 0;

        if (migration->postcopy && (migration->engine_gone || migration->engine_failed))
                r = postcopy_dst_adopt(migration, false, &error);
        if (r >= 0)
                r = dst_start_guest(migration, &error);
        if (r < 0) {
                dst_end_guest(migration);
                if (!domain_is_active(migration->domain) && migration->engine)
                        engine_dest_abandon(migration->engine, error->message, NULL);
                g_propagate_error(reterr, g_steal_pointer(&error));
                return r;
        }
        migration->resumed_usec = clock_monotonic_usec();
        if (migration->committed_usec == 0)
                migration->committed_usec = migration->resumed_usec;
        engine_dest_running(migration->engine, migration->resumed_usec - migration->committed_usec, NULL);
        return 0;
}

/* The end of what settles a job: error NULL when the guest is here for good. */
static void dst_settled(Migration *migration, GError *error) {
        if (!error) {
                g_free(migration->domain->arrived);
                migration->domain->arrived = g_strdup(migration->id);
                migration_set_phase(migration, MIGRATION_PHASE_STARTED);
        } else {
                log_debug("incoming migration of '%s' failed: %s", migration->domain->name, error->message);
                if (!migration->failure)
                        migration->failure = g_error_copy(error);
                dst_end_guest(migration);
                migration->phase = MIGRATION_PHASE_FAILED;
        }
        migration->settled = true;
        fiber_cond_broadcast(&migration->changed);
        /* Nobody is left to call Finish. */
        if (!migration->client && !migration->in_call)
                migration_dst_finish(migration, false, NULL);
}

static void settle_fiber(void *userdata) {
        g_autoptr(Migration) migration = userdata;
        g_autoptr(GError) error = NULL;
        int r;

        r = dst_load(migration, &error);
        if (r >= 0 || dst_settle_commit(migration, error)) {
                migration->committed = true;
                g_clear_error(&error);
                r = dst_run(migration, &error);
                if (r >= 0 && migration->postcopy)
                        postcopy_dst_follow(migration, &error);
        }
        dst_settled(migration, error);
}

static void continue_fiber(void *userdata) {
        g_autoptr(Migration) migration = userdata;
        bool running = migration->phase == MIGRATION_PHASE_POSTCOPY ||
                       migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED ||
                       migration->domain->state == VIR_DOMAIN_RUNNING;
        g_autoptr(GError) error = NULL;
        int r = 0;

        if (postcopy_dst_attach(migration, running, &error) < 0) {
                log_debug("domain '%s': no helper for its memory: %s", migration->domain->name, error->message);
                migration->engine_failed = true;
                g_clear_error(&error);
        }
        if (!running)
                r = dst_run(migration, &error);
        else if (!migration->engine_failed && engine_state(migration->engine) == ENGINE_STATE_COMMITTED)
                engine_dest_running(migration->engine, 0, NULL);
        if (r >= 0)
                postcopy_dst_follow(migration, &error);
        dst_settled(migration, error);
}

int migration_dst_continue(Migration *migration, GError **reterr) {
        int r;

        migration->committed = true;
        r = fiber_start(migration->context->guests->event, "incoming", continue_fiber, migration_ref(migration));
        if (r < 0) {
                migration_unref(migration);
                return error_set_errno(reterr, r, _("cannot follow the migration of '%s'"), migration->domain->name);
        }
        return 0;
}

/* ---- Prepare ---- */

static int dst_check_cookie(MigrationContext *context, const MigrationCookie *cookie, GError **reterr) {
        uint64_t available_bytes = 0;

        if (g_strcmp0(cookie->instance, context->instance) == 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("domain '%s' cannot migrate to the daemon that it is on"), cookie->name);
        /* Huge pages come from a pool of their own, which qemu_ram_new() checks. */
        for (unsigned i = 0; i < cookie->n_blocks; i++)
                if (cookie->blocks[i].page_bytes > 4096)
                        return 0;
        if (qemu_host_available_memory(&available_bytes, NULL) >= 0 &&
            cookie->resident_bytes + MEMORY_RESERVE_BYTES > available_bytes)
                return error_set(
                        reterr, VIR_ERR_OPERATION_FAILED,
                        _("the destination has not enough memory for domain '%s': it needs %llu MiB, %llu MiB are "
                          "available"),
                        cookie->name, (unsigned long long) ((cookie->resident_bytes + MEMORY_RESERVE_BYTES) / MIB),
                        (unsigned long long) (available_bytes / MIB));
        return 0;
}

static int dst_check_ram(const Domain *domain, const MigrationCookie *cookie, GError **reterr) {
        const QemuRam *ram = qemu_ram(domain->qemu);

        if (ram->n_blocks != cookie->n_blocks)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("memory layout differs: domain '%s' has %u RAM blocks on the source and %u here"),
                                 domain->name, cookie->n_blocks, ram->n_blocks);
        for (unsigned i = 0; i < ram->n_blocks; i++) {
                const QemuRamBlock *ours = &ram->blocks[i];
                const CookieBlock *theirs = &cookie->blocks[i];

                if (strcmp(ours->id, theirs->id) != 0 || ours->size_bytes != theirs->size_bytes)
                        return error_set(
                                reterr, VIR_ERR_OPERATION_FAILED,
                                _("memory layout differs: RAM block %u of domain '%s' is '%s' of %llu KiB on the "
                                  "source and '%s' of %llu KiB here"),
                                i, domain->name, theirs->id, (unsigned long long) (theirs->size_bytes / KIB), ours->id,
                                (unsigned long long) (ours->size_bytes / KIB));
        }
        return 0;
}

/* The domain that arrives: a new one, or the inactive one of the same name and uuid. */
static int dst_make_domain(MigrationContext *context, const MigrationParams *params, const MigrationCookie *cookie,
                           DomainDef **ret_def, Domain **ret_domain, GError **reterr) {
        GuestManager *guests = context->guests;
        g_autoptr(DomainDef) def = NULL;
        Domain *domain = NULL;
        int r;

        if (!params->xml)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the client sent no domain XML for the destination"));
        r = guest_parse(guests, params->xml, DOMAIN_PARSE_INACTIVE, NULL, &def, reterr);
        if (r < 0)
                return r;
        if (params->name) {
                g_free(def->name);
                def->name = g_strdup(params->name);
                r = domain_def_validate(def, reterr);
                if (r < 0)
                        return r;
        }
        if (memcmp(def->uuid, cookie->uuid, sizeof(cookie->uuid)) != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("the XML of domain '%s' and its migration cookie name different uuids"), def->name);
        r = domain_list_add(guests->list, def, &domain, reterr);
        if (r < 0)
                return r;
        if (domain_is_active(domain))
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("domain '%s' is already active on the destination"), domain->name);
        *ret_def = g_steal_pointer(&def);
        *ret_domain = domain;
        return 0;
}

static int dst_start_qemu(Migration *migration, DomainDef *def, const MigrationCookie *cookie, GError **reterr) {
        static const QmpMigrateCapability late_activate = { "late-block-activate", true };
        Domain *domain = migration->domain;
        int pair[2], r;

        r = guest_start(migration->context->guests, domain, def, true, reterr);
        if (r >= 0)
                r = dst_check_ram(domain, cookie, reterr);
        if (r >= 0)
                r = qmp_migrate_prepare_device_state(qemu_monitor(domain->qemu), reterr);
        /* Disks stay the source's until the guest really starts here. */
        if (r >= 0)
                r = qmp_migrate_set_capabilities(qemu_monitor(domain->qemu), &late_activate, 1, reterr);
        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return error_set_errno(reterr, errno, _("cannot make a socket pair for the device state"));
        migration->qemu_state_fd = pair[0];
        migration->engine_state_fd = pair[1];
        r = qmp_migrate_incoming_fd(qemu_monitor(domain->qemu), migration->qemu_state_fd, reterr);
        migration->qemu_state_fd = fd_close(migration->qemu_state_fd);
        return r;
}

int migration_dst_address_args(const MigrationContext *context, const MigrationParams *params,
                               MigrationAddress *ret_address, EngineDestArgs *ret_args, GError **reterr) {
        ret_args->port_min = context->port_min;
        ret_args->port_max = context->port_max;
        ret_args->idle_timeout_usec = context->idle_usec;
        ret_args->listen_address = params->listen_address ? params->listen_address : context->address;
        if (params->uri) {
                int r = migration_address_parse(params->uri, ret_address, reterr);

                if (r < 0)
                        return r;
                if (ret_address->port > 0)
                        ret_args->port_min = ret_args->port_max = ret_address->port;
                ret_args->unix_path = ret_address->unix_path;
        }
        return 0;
}

static int dst_start_engine(Migration *migration, unsigned *ret_port, GError **reterr) {
        MigrationContext *context = migration->context;
        Domain *domain = migration->domain;
        g_autoptr(Qemu) qemu = domain->qemu ? qemu_ref(domain->qemu) : NULL;
        g_auto(MigrationAddress) address = { 0 };
        g_autofree EngineRamBlock *blocks = NULL;
        g_autoptr(GArray) tables = NULL;
        _cleanup_fd_ int commit_fd = -EBADF;
        EngineDestArgs args = { .uffd = -1 };
        int r;

        if (!qemu)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("QEMU of domain '%s' ended during the migration; see its log"), domain->name);
        r = migration_dst_address_args(context, &migration->params, &address, &args, reterr);
        if (r < 0)
                return r;
        if (getrandom(migration->token, sizeof(migration->token), 0) != (ssize_t) sizeof(migration->token))
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("no random numbers for the migration token"));
        memcpy(args.token, migration->token, sizeof(args.token));
        migration->commit_path = g_strdup_printf("%s/%s.commit", context->guests->store.status_dir, domain->name);
        commit_fd = open(migration->commit_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (commit_fd < 0)
                return error_set_errno(reterr, errno, _("cannot create '%s'"), migration->commit_path);
        /* A place for the engine's one byte: to overwrite it needs no more room on disk. */
        if (pwrite(commit_fd, " ", 1, 0) != 1)
                return error_set_errno(reterr, errno, _("cannot write to '%s'"), migration->commit_path);
        args.commit_fd = commit_fd;
        args.device_state_fd = migration->engine_state_fd;
        blocks = migration_ram_blocks(qemu_ram(qemu), &args.n_blocks);
        args.blocks = blocks;
        if (migration->params.flags & VIR_MIGRATE_POSTCOPY) {
                tables = postcopy_open_tables(qemu, blocks, args.n_blocks, reterr);
                if (!tables)
                        return -EIO;
                args.postcopy = true;
                args.qemu_pid = qemu_pid(qemu);
                args.uffd = qemu_uffd(qemu, 1);
        }
        r = engine_new(context->guests->event, context->engine_helper, domain->name, qemu_log_fd(qemu),
                       &migration_engine_callbacks, migration, &migration->engine, reterr);
        if (r >= 0)
                r = guest_scope(context->guests, domain, "job", engine_pid(migration->engine), reterr);
        if (r >= 0)
                r = engine_dest_listen(migration->engine, &args, ret_port, reterr);
        migration->engine_state_fd = fd_close(migration->engine_state_fd);
        return r;
}

/* What Prepare answers: the token, and an address if the client gave none that is complete. */
int migration_dst_answer(const Migration *migration, const MigrationParams *params, unsigned port, char **ret_cookie,
                         unsigned *ret_length, char **ret_uri, GError **reterr) {
        MigrationContext *context = migration->context;
        const char *host = context->host ? context->host : context->hostname;
        g_auto(MigrationAddress) address = { 0 };
        g_auto(MigrationCookie) cookie = { 0 };
        int r;

        *ret_uri = NULL;
        if (params->uri) {
                r = migration_address_parse(params->uri, &address, reterr);
                if (r < 0)
                        return r;
        }
        if (!address.unix_path && address.port == 0) {
                if (!address.host && g_str_has_prefix(host, "localhost"))
                        return error_set(
                                reterr, VIR_ERR_OPERATION_FAILED,
                                _("the destination's host name is '%s', which the source cannot reach: give "
                                  "--migrateuri, or set migration_host in the destination's virtferryd.conf"),
                                host);
                *ret_uri = migration_address_format(address.host ? address.host : host, port);
        }
        cookie.name = g_strdup(migration->domain->name);
        memcpy(cookie.uuid, migration->domain->uuid, sizeof(cookie.uuid));
        cookie.hostname = g_strdup(context->hostname);
        cookie.instance = g_strdup(context->instance);
        cookie.id = g_strdup(migration->id);
        cookie.has_token = true;
        memcpy(cookie.token, migration->token, sizeof(cookie.token));
        cookie.uri = g_strdup(*ret_uri);
        cookie.disks_uri = g_strdup(migration->storage.uri);
        *ret_cookie = migration_cookie_format(&cookie, ret_length);
        return 0;
}

static int dst_serve_disks(Migration *migration, GError **reterr) {
        const MigrationContext *context = migration->context;
        const char *host = context->host ? context->host : context->hostname;
        const char *listen = migration->params.listen_address ? migration->params.listen_address : context->address;
        g_auto(MigrationAddress) address = { 0 };
        int r;

        r = migration->params.uri ? migration_address_parse(migration->params.uri, &address, reterr) : 0;
        if (r < 0)
                return r;
        return storage_dst_serve(migration, listen, address.host ? address.host : host, &migration->storage.uri,
                                 reterr);
}

static int dst_start(Migration *migration, DomainDef *def, const MigrationCookie *cookie, char **ret_cookie,
                     unsigned *ret_cookie_length, char **ret_uri, GError **reterr) {
        unsigned port = 0;
        int r;

        migration->storage.disks = storage_disks_copy(cookie->disks, cookie->n_disks);
        migration->storage.n_disks = cookie->n_disks;
        r = storage_dst_create(migration, def, reterr);
        if (r < 0) {
                domain_def_free(def);
                return r;
        }
        r = dst_start_qemu(migration, def, cookie, reterr);
        if (r >= 0)
                r = dst_start_engine(migration, &port, reterr);
        if (r >= 0)
                r = dst_serve_disks(migration, reterr);
        if (r >= 0)
                r = migration_check(migration, reterr);
        if (r >= 0)
                r = migration_dst_answer(migration, &migration->params, port, ret_cookie, ret_cookie_length, ret_uri,
                                         reterr);
        return r;
}

int migration_dst_prepare(MigrationContext *context, const void *client, MigrationParams *params, const char *cookie_in,
                          unsigned cookie_length, char **ret_cookie, unsigned *ret_cookie_length, char **ret_uri,
                          GError **reterr) {
        g_autoptr(DomainDef) def = NULL;
        g_autoptr(Migration) migration = NULL;
        g_auto(MigrationCookie) cookie = { 0 };
        Migration *made = NULL;
        Domain *domain = NULL;
        int r;

        r = migration_cookie_parse(cookie_in, cookie_length, &cookie, reterr);
        if (r >= 0 && params->flags & VIR_MIGRATE_POSTCOPY_RESUME)
                return postcopy_dst_prepare(context, client, params, &cookie, ret_cookie, ret_cookie_length, ret_uri,
                                            reterr);
        if (r >= 0)
                r = dst_check_cookie(context, &cookie, reterr);
        if (r >= 0 && params->flags & VIR_MIGRATE_POSTCOPY)
                r = postcopy_check_host(&cookie, reterr);
        if (r >= 0)
                r = dst_make_domain(context, params, &cookie, &def, &domain, reterr);
        if (r < 0)
                return r;
        r = migration_new(context, domain, true, client, params, &made, reterr);
        if (r < 0) {
                guest_drop_if_gone(context->guests, domain);
                return r;
        }
        migration = migration_ref(made);
        migration->persistent_xml = g_steal_pointer(&cookie.persistent_xml);
        migration->id = g_steal_pointer(&cookie.id);
        migration->in_call = true;
        r = dst_start(migration, g_steal_pointer(&def), &cookie, ret_cookie, ret_cookie_length, ret_uri, reterr);
        migration->in_call = false;
        if (r >= 0 && !migration->client)
                r = error_set(reterr, VIR_ERR_OPERATION_ABORTED,
                              _("the client that prepared the migration of '%s' is gone"), domain->name);
        if (r < 0) {
                dst_end_guest(migration);
                migration_end(migration, false);
                return r;
        }
        migration_set_phase(migration, MIGRATION_PHASE_PREPARED);
        r = fiber_start(context->guests->event, "incoming", settle_fiber, migration_ref(migration));
        if (r < 0) {
                dst_end_guest(migration);
                migration_end(migration, false);
                migration_unref(migration);
                return error_set_errno(reterr, r, _("cannot follow the migration of '%s'"), domain->name);
        }
        domain_emit_lifecycle(migration->domain, context->guests->bus, VIR_DOMAIN_EVENT_STARTED,
                              VIR_DOMAIN_EVENT_STARTED_MIGRATED);
        return 0;
}

/* ---- Finish ---- */

void migration_dst_persist(Migration *migration) {
        Domain *domain = migration->domain;
        GuestManager *guests = migration->context->guests;
        g_autoptr(DomainDef) def = NULL;
        g_autoptr(GError) error = NULL;
        bool existed = domain->config;

        if (!(migration->params.flags & VIR_MIGRATE_PERSIST_DEST))
                return;
        if (migration->persistent_xml) {
                if (guest_parse(guests, migration->persistent_xml, DOMAIN_PARSE_INACTIVE, NULL, &def, &error) < 0)
                        log_debug("the persistent definition of '%s' cannot be read, using that of the guest: %s",
                                  domain->name, error->message);
                else {
                        g_free(def->name);
                        def->name = g_strdup(domain->name);
                }
        }
        if (!def) {
                g_autofree char *xml = domain_def_format(domain->live, DOMAIN_FORMAT_INACTIVE | DOMAIN_FORMAT_SECURE);

                g_clear_error(&error);
                if (guest_parse(guests, xml, DOMAIN_PARSE_INACTIVE, NULL, &def, &error) < 0) {
                        log_debug("domain '%s' cannot be made persistent: %s", domain->name, error->message);
                        return;
                }
        }
        g_clear_error(&error);
        if (store_save_config(&guests->store, domain->name, def, &error) < 0) {
                log_debug("domain '%s' cannot be made persistent: %s", domain->name, error->message);
                return;
        }
        domain_def_free(domain->config);
        domain->config = g_steal_pointer(&def);
        domain_emit_lifecycle(domain, guests->bus, VIR_DOMAIN_EVENT_DEFINED,
                              existed ? VIR_DOMAIN_EVENT_DEFINED_UPDATED : VIR_DOMAIN_EVENT_DEFINED_ADDED);
}

/* A resumption that has not worked out: as it was before. */
static int dst_finish_cancelled(Migration *migration, GError **reterr) {
        migration->recovering = false;
        migration->client = NULL;
        return error_set(reterr, VIR_ERR_MIGRATE_FINISH_OK, _("resuming the migration of domain '%s' was cancelled"),
                         migration->domain->name);
}

static int dst_finish_interrupted(Migration *migration, GError **reterr) {
        migration->in_call = false;
        migration->client = NULL;
        return error_set(
                reterr, VIR_ERR_OPERATION_FAILED,
                _("migration of domain '%s' was interrupted in postcopy: %s; the guest runs on the destination and "
                  "waits where it needs memory that is still on the source; 'virsh migrate --postcopy "
                  "--postcopy-resume' goes on"),
                migration->domain->name,
                migration->pause_reason ? migration->pause_reason->message : _("the link is lost"));
}

int migration_dst_finish(Migration *unowned, bool cancelled, GError **reterr) {
        g_autoptr(Migration) migration = migration_ref(unowned);
        g_autofree char *name = g_strdup(migration->domain->name);
        uint64_t deadline = clock_monotonic_usec() + FINISH_USEC;

        if (postcopy_is_entered(migration) && cancelled)
                return dst_finish_cancelled(migration, reterr);
        migration->in_call = true;
        if (cancelled && !migration->committed) {
                migration->abort_requested = true;
                fiber_cond_broadcast(&migration->changed);
        }
        while (!migration->settled) {
                uint64_t now = clock_monotonic_usec();

                if (now >= deadline)
                        migration->recovering = false;
                if (migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED && !migration->recovering)
                        return dst_finish_interrupted(migration, reterr);
                if (migration->daemon_ends) {
                        migration->in_call = false;
                        return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                         _("the daemon ends; domain '%s' runs here, and postcopy goes on without it"),
                                         name);
                }
                if (now >= deadline && !migration->abort_requested && !migration->committed) {
                        /* No COMMIT has come, and after this none can: settle_fiber refuses it. */
                        migration->abort_requested = true;
                        error_set(&migration->failure, VIR_ERR_OPERATION_TIMEOUT,
                                  _("the source did not hand over domain '%s'"), name);
                        fiber_cond_broadcast(&migration->changed);
                }
                fiber_cond_wait(&migration->changed, FAILURE_POLL_USEC);
        }
        migration->in_call = false;
        if (migration->phase == MIGRATION_PHASE_STARTED) {
                migration_dst_persist(migration);
                migration_end(migration, true);
                return 0;
        }
        if (cancelled)
                error_set(reterr, VIR_ERR_MIGRATE_FINISH_OK, _("migration of domain '%s' was cancelled"), name);
        else if (migration->failure)
                g_propagate_error(reterr, g_error_copy(migration->failure));
        else
                migration_check(migration, reterr);
        migration_end(migration, false);
        return -EIO;
}

void migration_dst_client_gone(Migration *unowned) {
        g_autoptr(Migration) migration = migration_ref(unowned);

        migration->client = NULL;
        if (migration->in_call)
                return;
        if (!migration->committed) {
                migration->abort_requested = true;
                fiber_cond_broadcast(&migration->changed);
        }
        if (migration->settled)
                migration_dst_finish(migration, false, NULL);
}
