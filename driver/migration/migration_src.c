/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 *   Perform:  disks to buffered I/O ─► engine connects, rounds ─► policy says stop ─► stop guest ─► last scan | device
 * state ─► destination READY ─► status file says COMMITTING ─► COMMIT ─► acknowledged ─► destination RUNNING
 *
 * Up to COMMITTING every failure ends the same way (src_give_up): the engine tells the destination to forget it, write
 * protection is taken off, disks get their direct I/O back, and the guest runs on if we had stopped it. From COMMITTING
 * on the guest here never runs again unless the destination itself has said that it never will (abandoned), or an
 * operator does (domjobabort in phase UNKNOWN).
 */

#include "driver/migration/migration_src.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/migration/cookie.h"
#include "driver/migration/decide.h"
#include "driver/migration/slots.h"
#include "driver/migration/postcopy.h"
#include "driver/migration/postcopy_src.h"
#include "driver/qemu/direct_io.h"
#include "driver/qemu/qmp.h"

#define PRIVATE_RAM_MAX 64 /* blocks of QEMU's own that are looked at */
#define STOP_AND_COPY_USEC (120 * USEC_PER_SEC) /* or four times what is expected */
#define DEVICE_STATE_USEC (60 * USEC_PER_SEC)
#define READY_USEC (30 * USEC_PER_SEC)
#define COMMIT_USEC (10 * USEC_PER_SEC)
#define RUNNING_USEC (10 * USEC_PER_SEC)
#define COMPLETE_USEC (10 * USEC_PER_SEC)
#define WAKE_USEC (1 * USEC_PER_SEC)
#define KILL_GRACE_USEC (5 * USEC_PER_SEC)

/* ---- Begin ---- */

static int src_not_running(const Domain *domain, GError **reterr) {
        return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"), domain->name);
}

static int src_dest_xml(MigrationContext *context, Domain *domain, const char *user_xml, char **ret_xml,
                        GError **reterr) {
        g_autoptr(DomainDef) def = NULL;
        int r;

        if (!user_xml) {
                *ret_xml = domain_def_format(domain->live, DOMAIN_FORMAT_MIGRATABLE | DOMAIN_FORMAT_SECURE);
                return 0;
        }
        r = guest_parse(context->guests, user_xml, DOMAIN_PARSE_INACTIVE, NULL, &def, reterr);
        if (r >= 0 && !domain->live)
                r = src_not_running(domain, reterr);
        if (r >= 0)
                r = domain_def_check_abi(domain->live, def, reterr);
        if (r < 0)
                return r;
        *ret_xml = domain_def_format(def, DOMAIN_FORMAT_MIGRATABLE | DOMAIN_FORMAT_SECURE);
        return 0;
}

char *migration_src_begin_cookie(const Migration *migration, const MigrationParams *params, unsigned *ret_length) {
        MigrationContext *context = migration->context;
        Domain *domain = migration->domain;
        g_auto(MigrationCookie) cookie = { 0 };
        const QemuRam *ram = qemu_ram(domain->qemu);

        cookie.name = g_strdup(domain->name);
        memcpy(cookie.uuid, domain->uuid, sizeof(cookie.uuid));
        cookie.hostname = g_strdup(context->hostname);
        cookie.instance = g_strdup(context->instance);
        cookie.id = g_strdup(migration->id);
        cookie.n_blocks = ram->n_blocks;
        cookie.blocks = g_new0(CookieBlock, ram->n_blocks);
        for (unsigned i = 0; i < ram->n_blocks; i++) {
                cookie.blocks[i].id = g_strdup(ram->blocks[i].id);
                cookie.blocks[i].size_bytes = ram->blocks[i].size_bytes;
                cookie.blocks[i].page_bytes = ram->blocks[i].page_bytes;
        }
        cookie.resident_bytes = qemu_ram_allocated(ram);
        if (migration->storage.n_disks > 0) {
                cookie.disks = storage_disks_copy(migration->storage.disks, migration->storage.n_disks);
                cookie.n_disks = migration->storage.n_disks;
        }
        if (params->flags & VIR_MIGRATE_PERSIST_DEST) {
                if (params->persistent_xml)
                        cookie.persistent_xml = g_strdup(params->persistent_xml);
                else if (domain->config)
                        cookie.persistent_xml =
                                domain_def_format(domain->config, DOMAIN_FORMAT_MIGRATABLE | DOMAIN_FORMAT_SECURE);
        }
        return migration_cookie_format(&cookie, ret_length);
}

int migration_src_begin(MigrationContext *context, Domain *domain, const void *client, MigrationParams *params,
                        char **ret_cookie, unsigned *ret_cookie_length, char **ret_xml, GError **reterr) {
        g_autoptr(QemuCaps) caps = NULL;
        g_autofree char *xml = NULL;
        g_autoptr(Migration) keep = NULL;
        Migration *migration = NULL;
        int r;

        if (!domain->qemu)
                return src_not_running(domain, reterr);
        if (params->flags & VIR_MIGRATE_POSTCOPY_RESUME)
                return postcopy_src_begin(domain, client, params, ret_cookie, ret_cookie_length, ret_xml, reterr);
        if (domain->state != VIR_DOMAIN_RUNNING && domain->state != VIR_DOMAIN_PAUSED)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is shutting down or has crashed"),
                                 domain->name);
        if (qemu_uffd(domain->qemu, 0) < 0)
                return error_set(
                        reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                        _("domain '%s' was started without userfaultfd, so its writes cannot be tracked: allow it (run "
                          "the daemon as root, or set the sysctl vm.unprivileged_userfaultfd to 1) and start the "
                          "domain anew"),
                        domain->name);
        r = guest_caps(context->guests, domain->live->emulator, &caps, reterr);
        if (r >= 0 && !domain->qemu)
                r = src_not_running(domain, reterr);
        if (r >= 0)
                r = qemu_direct_io_check(domain->live, caps, reterr);
        if (r >= 0)
                r = src_dest_xml(context, domain, params->xml, &xml, reterr);
        if (r >= 0 && !domain->qemu)
                r = src_not_running(domain, reterr);
        if (r >= 0)
                r = migration_new(context, domain, false, client, params, &migration, reterr);
        if (r < 0)
                return r;
        migration->id = g_uuid_string_random();
        keep = migration_ref(migration);
        r = slots_take(migration, reterr);
        if (r >= 0 && !domain->qemu)
                r = src_not_running(domain, reterr);
        if (r >= 0)
                r = storage_src_begin(migration, reterr);
        if (r < 0) {
                migration_end(migration, false);
                return r;
        }
        *ret_cookie = migration_src_begin_cookie(migration, &migration->params, ret_cookie_length);
        *ret_xml = g_steal_pointer(&xml);
        return 0;
}

/* ---- Perform ---- */

/* Disks to buffered I/O and back. QEMU and the definition stay ours while it waits. */
static int src_direct_io(Migration *migration, bool suspend, GError **reterr) {
        g_autoptr(Qemu) qemu = qemu_ref(migration->domain->qemu);
        g_autoptr(DomainDef) def = domain_def_copy(migration->domain->live);

        return suspend ? qemu_direct_io_suspend(qemu, def, reterr) : qemu_direct_io_resume(qemu, def, reterr);
}

/* Everything back as it was, whatever had been reached before the commit. The job ends. */
static void src_give_up(Migration *migration, const GError *why) {
        Domain *domain = migration->domain;
        GuestManager *guests = migration->context->guests;
        g_autoptr(GError) error = NULL;

        log_debug("migration of '%s' is given up: %s", domain->name, why ? why->message : "?");
        if (why && !migration->failure)
                migration->failure = g_error_copy(why);
        if (migration->engine && !migration->engine_gone)
                engine_source_cancel(migration->engine, NULL);
        /* Whatever the engine could not undo any more. It must be gone first. */
        if (migration->engine)
                engine_end(migration->engine);
        if (domain->qemu) {
                g_autofree EngineRamBlock *blocks = NULL;
                unsigned n;

                blocks = migration_ram_blocks(qemu_ram(domain->qemu), &n);
                engine_source_unprotect(blocks, n, qemu_pid(domain->qemu), qemu_uffd(domain->qemu, 0),
                                        qemu_uffd(domain->qemu, 1), NULL);
        }
        qmp_migrate_cancel(qemu_monitor(domain->qemu), NULL);
        if (domain->qemu && migration->storage.n_disks > 0)
                storage_src_abort(domain->qemu);
        if (domain->qemu && src_direct_io(migration, false, &error) < 0)
                log_debug("domain '%s' keeps buffered disk I/O, ignoring: %s", domain->name, error->message);
        g_clear_error(&error);
        domain->handing_over = false;
        if (migration->stopped_here && domain->state == VIR_DOMAIN_PAUSED &&
            guest_run(guests, domain, VIR_DOMAIN_RUNNING_MIGRATION_CANCELED, VIR_DOMAIN_EVENT_RESUMED_MIGRATED,
                      &error) < 0)
                log_debug("domain '%s' cannot be resumed after its migration failed: %s", domain->name, error->message);
        migration_end(migration, false);
}

int migration_src_engine_args(const Migration *migration, const MigrationCookie *cookie, MigrationAddress *ret_address,
                              EngineRamBlock **ret_blocks, EngineSourceArgs *ret_args, GError **reterr) {
        Domain *domain = migration->domain;
        const char *uri = migration->params.uri ? migration->params.uri : cookie->uri;
        int r;

        if (!uri)
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("neither the client nor the destination named a migration URI"));
        if (!cookie->has_token)
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("the destination's cookie has no token: both ends must be Ferry daemons"));
        r = migration_address_parse(uri, ret_address, reterr);
        if (r < 0)
                return r;
        *ret_blocks = migration_ram_blocks(qemu_ram(domain->qemu), &ret_args->n_blocks);
        ret_args->blocks = *ret_blocks;
        ret_args->idle_timeout_usec = migration->context->idle_usec;
        ret_args->qemu_pid = qemu_pid(domain->qemu);
        ret_args->uffd_async = qemu_uffd(domain->qemu, 0);
        ret_args->uffd_sync = qemu_uffd(domain->qemu, 1);
        memcpy(ret_args->token, cookie->token, sizeof(ret_args->token));
        ret_args->host = ret_address->host;
        ret_args->port = ret_address->port;
        ret_args->unix_path = ret_address->unix_path;
        ret_args->bandwidth_bytes_per_sec = migration_speed_limit(migration);
        ret_args->postcopy = migration->params.flags & VIR_MIGRATE_POSTCOPY;
        ret_args->postcopy_bandwidth_bytes_per_sec = migration_postcopy_speed_limit(migration);
        return 0;
}

/* What QEMU keeps to itself is part of the blackout. Not knowing it only makes the estimate worse. */
static unsigned src_private_ram(Migration *migration, uint64_t sizes[static PRIVATE_RAM_MAX]) {
        const QemuRam *ram = qemu_ram(migration->domain->qemu);
        g_autofree const char **ours = g_new0(const char *, ram->n_blocks + 1);
        g_autoptr(GError) error = NULL;
        unsigned n = 0;

        for (unsigned i = 0; i < ram->n_blocks; i++)
                ours[i] = ram->blocks[i].id;
        if (qmp_private_ram_sizes(qemu_monitor(migration->domain->qemu), ours, PRIVATE_RAM_MAX, sizes, &n, &error) < 0)
                log_debug("migration of '%s': QEMU does not tell its own RAM, ignoring: %s", migration->domain->name,
                          error->message);
        return n;
}

static int src_engine_start(Migration *migration, const MigrationCookie *cookie, GError **reterr) {
        Domain *domain = migration->domain;
        MigrationContext *context = migration->context;
        g_autoptr(Qemu) qemu = domain->qemu ? qemu_ref(domain->qemu) : NULL;
        g_auto(MigrationAddress) address = { 0 };
        g_autofree EngineRamBlock *blocks = NULL;
        uint64_t private_sizes[PRIVATE_RAM_MAX];
        EngineSourceArgs args = { 0 };
        int r;

        if (!qemu)
                return src_not_running(domain, reterr);
        r = migration_src_engine_args(migration, cookie, &address, &blocks, &args, reterr);
        if (r < 0)
                return r;
        args.device_state_estimate_bytes = context->device_state_bytes;
        args.n_private_ram = src_private_ram(migration, private_sizes);
        args.private_ram_sizes = private_sizes;
        r = engine_new(context->guests->event, context->engine_helper, domain->name, qemu_log_fd(qemu),
                       &migration_engine_callbacks, migration, &migration->engine, reterr);
        if (r >= 0)
                r = guest_scope(context->guests, domain, "job", engine_pid(migration->engine), reterr);
        if (r < 0)
                return r;
        migration_set_phase(migration, MIGRATION_PHASE_PRECOPY);
        r = engine_source_start(migration->engine, &args, reterr);
        if (r < 0)
                return r;
        if (migration->copying_usec == 0)
                decide_begin(migration);
        migration_note_iteration(migration, 1);
        return 0;
}

static int src_wait(Migration *migration, const bool *flag, uint64_t timeout_usec, const char *what, GError **reterr) {
        uint64_t deadline = clock_monotonic_usec() + timeout_usec;
        int r;

        while (!*flag) {
                uint64_t now = clock_monotonic_usec();

                r = migration_check(migration, reterr);
                if (r < 0)
                        return r;
                if (now >= deadline)
                        return error_set(reterr, VIR_ERR_OPERATION_TIMEOUT,
                                         _("migration of domain '%s': %s did not come within %u s"),
                                         migration->domain->name, what, (unsigned) (timeout_usec / USEC_PER_SEC));
                fiber_cond_wait(&migration->changed, deadline - now);
        }
        return 0;
}

static int src_pause(Migration *migration, GError **reterr) {
        Domain *domain = migration->domain;

        bool runs = domain->state == VIR_DOMAIN_RUNNING || domain->changing_run_state;

        migration->stopped_here = migration->stopped_here || runs;
        /* Without --live that is long before the last copy; a guest that was paused anyway has no downtime. */
        if (runs && migration->stopped_usec == 0)
                migration->stopped_usec = clock_monotonic_usec();
        return guest_pause(migration->context->guests, domain, VIR_DOMAIN_PAUSED_MIGRATION,
                           VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED, reterr);
}

/* A policy may stop the guest with any amount left; a peer that has gone silent ends it much earlier. */
static uint64_t src_copy_timeout(const Migration *migration) {
        uint64_t expected_usec = migration->decision.expected_downtime_usec;

        return expected_usec < UINT64_MAX / 4 ? MAX(STOP_AND_COPY_USEC, 4 * expected_usec) : UINT64_MAX / 4;
}

static int src_stop_and_copy(Migration *migration, GError **reterr) {
        Domain *domain = migration->domain;
        g_autoptr(Qemu) qemu = qemu_ref(domain->qemu);
        _cleanup_fd_ int qemu_end = -EBADF, engine_end = -EBADF;
        int pair[2], r;

        migration->stopped_here = migration->stopped_here || domain->state == VIR_DOMAIN_RUNNING;
        r = migration->postcopy ? postcopy_keep_engine(migration, reterr) : 0;
        if (r < 0)
                return r;
        migration_set_phase(migration, MIGRATION_PHASE_STOP_AND_COPY);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return error_set_errno(reterr, errno, _("cannot make a socket pair for the device state"));
        qemu_end = pair[0];
        engine_end = pair[1];
        /* A writer that waits for its turn would hold up QEMU's stop. */
        if (migration->history.throttle_percent > 0)
                (void) migration_throttle(migration, 0);
        r = src_pause(migration, reterr);
        if (r >= 0)
                r = storage_src_finish(migration, reterr);
        /* QEMU streams its devices while the engine scans and sends what the guest wrote last. */
        if (r >= 0)
                r = qmp_migrate_fd(qemu_monitor(qemu), qemu_end, reterr);
        qemu_end = fd_close(qemu_end);
        if (r >= 0)
                r = engine_source_stop_and_copy(migration->engine, engine_end, migration->postcopy, src_copy_timeout(migration),
                                                reterr);
        engine_end = fd_close(engine_end);
        if (r >= 0)
                r = qmp_migrate_wait(qemu_monitor(qemu), DEVICE_STATE_USEC, NULL, reterr);
        if (r >= 0)
                r = src_wait(migration, &migration->ready, READY_USEC, _("the destination's READY"), reterr);
        return r < 0 ? r : migration_check(migration, reterr);
}

/* Returns 1 if the destination runs the guest, 0 if nobody can know, negative if it is certain that it does not. */
static int src_commit(Migration *migration, GError **reterr) {
        g_autoptr(GError) error = NULL;
        int r;

        /* Without that on disk a restarted daemon would let the guest run here again. */
        r = migration_set_phase(migration, MIGRATION_PHASE_COMMITTING);
        if (r < 0)
                return error_set_errno(reterr, r,
                                       _("the state of domain '%s' cannot be saved, so it is not handed over"),
                                       migration->domain->name);
        r = engine_source_commit(migration->engine, COMMIT_USEC, &error);
        if (r < 0 && r != -ETIMEDOUT && r != -ENOTCONN) {
                g_propagate_error(reterr, g_steal_pointer(&error));
                return r;
        }
        if (r >= 0) {
                uint64_t deadline = clock_monotonic_usec() + RUNNING_USEC;

                while (!migration->running && !migration->abandoned && !migration->failure &&
                       engine_state(migration->engine) != ENGINE_STATE_PAUSED && clock_monotonic_usec() < deadline)
                        fiber_cond_wait(&migration->changed, WAKE_USEC);
        }
        if (migration->abandoned) {
                g_propagate_error(reterr, g_error_copy(migration->failure));
                return -ECANCELED;
        }
        if (migration->running && migration->postcopy) {
                postcopy_note_active(migration);
                if (migration->complete)
                        postcopy_src_complete(migration);
                else if (migration->engine_failed || engine_state(migration->engine) == ENGINE_STATE_PAUSED)
                        postcopy_note_paused(migration);
                return 1;
        }
        if (!migration->running && !migration->guest_exited)
                domain_set_state(migration->domain, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_UNKNOWN);
        migration_set_phase(migration, migration->running ? MIGRATION_PHASE_COMMITTED : MIGRATION_PHASE_UNKNOWN);
        return migration->running;
}

static int src_move(Migration *migration, const MigrationCookie *cookie, GError **reterr) {
        Domain *domain = migration->domain;
        PolicyAction action;
        int r;

        if (!(migration->params.flags & VIR_MIGRATE_LIVE)) {
                r = src_pause(migration, reterr);
                if (r < 0)
                        return r;
        }
        r = qmp_migrate_prepare_device_state(qemu_monitor(domain->qemu), reterr);
        if (r >= 0)
                r = src_direct_io(migration, true, reterr);
        if (r >= 0)
                r = migration_check(migration, reterr);
        if (r >= 0)
                r = storage_src_copy(migration,
                                     migration->params.disks_uri ? migration->params.disks_uri : cookie->disks_uri,
                                     reterr);
        if (r >= 0)
                r = src_engine_start(migration, cookie, reterr);
        if (r >= 0)
                r = decide_precopy(migration, &action, reterr);
        if (r >= 0) {
                migration->postcopy = action == POLICY_SWITCH_TO_POSTCOPY;
                r = src_stop_and_copy(migration, reterr);
        }
        return r < 0 ? r : src_commit(migration, reterr);
}

/* Tells Finish whose migration it is. */
static char *src_perform_cookie(const Migration *migration, unsigned *ret_length) {
        g_auto(MigrationCookie) cookie = { 0 };

        cookie.name = g_strdup(migration->domain->name);
        memcpy(cookie.uuid, migration->domain->uuid, sizeof(cookie.uuid));
        cookie.id = g_strdup(migration->id);
        return migration_cookie_format(&cookie, ret_length);
}

static int src_perform_resume(Migration *migration, const MigrationParams *params, const char *cookie_in,
                              unsigned cookie_length, char **ret_cookie, unsigned *ret_cookie_length, GError **reterr) {
        g_auto(MigrationCookie) cookie = { 0 };
        int r;

        r = migration_cookie_parse(cookie_in, cookie_length, &cookie, reterr);
        if (r >= 0)
                r = postcopy_src_perform(migration, params, &cookie, reterr);
        if (r < 0)
                return r;
        *ret_cookie = src_perform_cookie(migration, ret_cookie_length);
        if (!migration->client)
                migration_src_client_gone(migration);
        return 0;
}

int migration_src_perform(Migration *unowned, MigrationParams *params, const char *cookie_in, unsigned cookie_length,
                          char **ret_cookie, unsigned *ret_cookie_length, GError **reterr) {
        g_autoptr(Migration) migration = migration_ref(unowned);
        g_auto(MigrationCookie) cookie = { 0 };
        GError *error = NULL;
        int r;

        if (params->flags & VIR_MIGRATE_POSTCOPY_RESUME)
                return src_perform_resume(migration, params, cookie_in, cookie_length, ret_cookie, ret_cookie_length,
                                          reterr);
        if (migration->phase != MIGRATION_PHASE_BEGIN)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("migration of domain '%s' is being performed already"), migration->domain->name);
        migration_params_clear(&migration->params);
        migration->params = *params;
        *params = (MigrationParams){ 0 };
        migration->in_call = true;
        r = migration_check(migration, &error);
        if (r >= 0)
                r = decide_configure(migration, &error);
        if (r >= 0)
                r = migration_cookie_parse(cookie_in, cookie_length, &cookie, &error);
        if (r >= 0)
                r = src_move(migration, &cookie, &error);
        migration->in_call = false;
        if (r < 0) {
                /* The engine's own reason, or the abort, says more than the call that failed because of it. */
                if (migration->failure || migration->abort_requested || migration->guest_exited) {
                        g_clear_error(&error);
                        migration_check(migration, &error);
                }
                src_give_up(migration, error);
                g_propagate_error(reterr, error);
                return r;
        }
        *ret_cookie = src_perform_cookie(migration, ret_cookie_length);
        /* Nobody is left to call Confirm. */
        if (!migration->client)
                migration_src_client_gone(migration);
        return 0;
}

/* ---- Confirm ---- */

static int src_finish(Migration *migration, GError **reterr) {
        Domain *domain = migration->domain;
        GuestManager *guests = migration->context->guests;
        bool undefine = migration->params.flags & VIR_MIGRATE_UNDEFINE_SOURCE;
        int r;

        migration->ended_usec = clock_monotonic_usec();
        decide_learn(migration);
        r = guest_end(guests, domain, KILL_GRACE_USEC, VIR_DOMAIN_SHUTOFF_MIGRATED, VIR_DOMAIN_EVENT_STOPPED_MIGRATED,
                      reterr);
        if (r < 0)
                return r;
        if (undefine && domain->config) {
                store_remove_config(&guests->store, domain->name, NULL);
                domain->config = domain_def_free(domain->config);
                domain->autostart = false;
                domain_emit_lifecycle(domain, guests->bus, VIR_DOMAIN_EVENT_UNDEFINED,
                                      VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
        }
        migration_end(migration, true);
        return 0;
}

/* Without "cancelled" the destination's daemon says itself that everything is there. Otherwise it goes on, or waits to
 * be resumed, without this client. */
static int src_confirm_postcopy(Migration *migration, bool cancelled, GError **reterr) {
        uint64_t deadline = clock_monotonic_usec() + COMPLETE_USEC;

        if (cancelled) {
                migration->client = NULL;
                return 0;
        }
        migration->in_call = true;
        while (migration->phase == MIGRATION_PHASE_POSTCOPY && !migration->daemon_ends &&
               clock_monotonic_usec() < deadline)
                fiber_cond_wait(&migration->changed, WAKE_USEC);
        migration->in_call = false;
        if (migration->daemon_ends)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the daemon ends; postcopy of domain '%s' goes on without it"),
                                 migration->domain->name);
        if (migration->phase != MIGRATION_PHASE_COMMITTED)
                migration_set_phase(migration, MIGRATION_PHASE_COMMITTED);
        return src_finish(migration, reterr);
}

int migration_src_confirm(Migration *unowned, bool cancelled, GError **reterr) {
        g_autoptr(Migration) migration = migration_ref(unowned);
        Domain *domain = migration->domain;

        switch (migration->phase) {
        case MIGRATION_PHASE_BEGIN:
                /* Prepare failed: libvirt's clients tell us this way. */
                migration_end(migration, false);
                return 0;
        case MIGRATION_PHASE_COMMITTED:
                /* The destination said itself that it runs the guest; whatever became of Finish, it is not ours any
                 * more. */
                return src_finish(migration, reterr);
        case MIGRATION_PHASE_POSTCOPY:
        case MIGRATION_PHASE_POSTCOPY_PAUSED:
                return src_confirm_postcopy(migration, cancelled, reterr);
        case MIGRATION_PHASE_UNKNOWN:
                if (migration->abandoned) {
                        src_give_up(migration, migration->failure);
                        return 0;
                }
                if (!cancelled || migration->running) {
                        migration_set_phase(migration, MIGRATION_PHASE_COMMITTED);
                        return src_finish(migration, reterr);
                }
                if (migration->guest_exited) {
                        migration_end(migration, false);
                        return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                         _("QEMU of domain '%s' ended while it was handed over; see its log"),
                                         domain->name);
                }
                /* A client says "cancelled" also when it has merely lost the destination, so this is no answer from
                 * there. */
                migration->client = NULL;
                if (migration->postcopy)
                        return error_set(
                                reterr, VIR_ERR_OPERATION_FAILED,
                                _("the connection broke while domain '%s' was handed over in postcopy, and the "
                                  "destination did not confirm: it stays paused here; if it runs on the destination, "
                                  "'virsh migrate --postcopy --postcopy-resume' goes on, otherwise 'virsh domjobabort "
                                  "%s' resumes it here"),
                                domain->name, domain->name);
                return error_set(
                        reterr, VIR_ERR_OPERATION_FAILED,
                        _("the connection broke while domain '%s' was handed over, and the destination did not "
                          "confirm: it stays paused here; if it does not run on the destination, 'virsh domjobabort "
                          "%s' resumes it here, otherwise run 'virsh destroy %s'"),
                        domain->name, domain->name, domain->name);
        default:
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("migration of domain '%s' is in phase '%s': there is nothing to confirm"),
                                 domain->name, migration_phase_to_string(migration->phase));
        }
}

void migration_src_client_gone(Migration *unowned) {
        g_autoptr(Migration) migration = migration_ref(unowned);
        g_autoptr(GError) error = NULL;

        migration->client = NULL;
        if (migration->in_call) {
                if (migration->phase < MIGRATION_PHASE_COMMITTING) {
                        migration->abort_requested = true;
                        fiber_cond_broadcast(&migration->changed);
                }
                return;
        }
        if (migration->phase == MIGRATION_PHASE_BEGIN)
                migration_end(migration, false);
        else if (migration->phase == MIGRATION_PHASE_COMMITTED && src_finish(migration, &error) < 0)
                log_debug("domain '%s' cannot be ended after its migration: %s", migration->domain->name,
                          error->message);
}

/* An operator says in UNKNOWN that the destination does not run the guest. The engine may know better: that COMMIT has
 * arrived, or that its answer is still to come. */
static bool src_engine_lets_go(Migration *migration) {
        g_autoptr(GError) error = NULL;

        if (!migration->engine || migration->engine_gone || migration->abandoned)
                return true;
        if (engine_source_cancel(migration->engine, &error) != -EREMOTEIO)
                return true;
        log_debug("migration of '%s' is not given up: %s", migration->domain->name, error->message);
        return false;
}

int migration_src_abort(Migration *unowned, GError **reterr) {
        g_autoptr(Migration) migration = migration_ref(unowned);

        if (migration->phase == MIGRATION_PHASE_UNKNOWN && !migration->running && src_engine_lets_go(migration) &&
            migration->phase == MIGRATION_PHASE_UNKNOWN && !migration->running) {
                src_give_up(migration, NULL);
                return 0;
        }
        /* It was settled meanwhile. */
        if (migration->phase == MIGRATION_PHASE_FAILED || migration->abandoned)
                return 0;
        if (migration->phase == MIGRATION_PHASE_POSTCOPY || migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED)
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("cannot abort migration of domain '%s' in post-copy mode: the guest runs on the destination, "
                          "and part of its memory is only here; 'virsh domjobabort --postcopy' interrupts it"),
                        migration->domain->name);
        if (migration->phase >= MIGRATION_PHASE_COMMITTING)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("migration of domain '%s' cannot be aborted any more: the destination has it"),
                                 migration->domain->name);
        migration->abort_requested = true;
        fiber_cond_broadcast(&migration->changed);
        return 0;
}

int migration_src_start_postcopy(Migration *migration, GError **reterr) {
        if (!(migration->params.flags & VIR_MIGRATE_POSTCOPY))
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("migration of domain '%s' was not started with '--postcopy', so it cannot switch to "
                          "postcopy"),
                        migration->domain->name);
        migration->postcopy_requested = true;
        fiber_cond_broadcast(&migration->changed);
        return 0;
}
