/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/postcopy_dst.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"
#include "driver/migration/migration_dst.h"
#include "driver/migration/postcopy.h"

#define FOLLOW_POLL_USEC (1 * USEC_PER_SEC)
#define NOTICE_USEC (15 * USEC_PER_SEC) /* for us to see that the link is gone as well */

/* ---- helpers ---- */

int postcopy_dst_adopt(Migration *migration, bool running, GError **reterr) {
        MigrationContext *context = migration->context;
        Domain *domain = migration->domain;
        g_autoptr(Qemu) qemu = domain->qemu ? qemu_ref(domain->qemu) : NULL;
        g_autofree EngineRamBlock *blocks = NULL;
        g_autoptr(GArray) tables = NULL;
        EngineDestArgs args = { .postcopy = true, .device_state_fd = -1, .commit_fd = -1,
                                .idle_timeout_usec = context->idle_usec };
        int r;

        if (!qemu)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"), domain->name);
        r = postcopy_new_engine(migration, reterr);
        migration->engine_failed = true; /* until it has taken over */
        if (r < 0)
                return r;
        blocks = migration_ram_blocks(qemu_ram(qemu), &args.n_blocks);
        tables = postcopy_open_tables(qemu, blocks, args.n_blocks, reterr);
        if (!tables)
                return -EIO;
        args.blocks = blocks;
        args.qemu_pid = qemu_pid(qemu);
        args.uffd = qemu_uffd(qemu, 1);
        r = engine_dest_adopt(migration->engine, &args, running, reterr);
        if (r < 0)
                return r;
        migration->engine_failed = false;
        migration->complete = migration->complete || engine_state(migration->engine) == ENGINE_STATE_DONE;
        fiber_cond_broadcast(&migration->changed);
        log_debug("domain '%s': a new helper serves its memory, in state '%s'", domain->name,
                  engine_state_name(engine_state(migration->engine)));
        return 0;
}

int postcopy_dst_attach(Migration *migration, bool running, GError **reterr) {
        g_autofree char *path = postcopy_control_path(migration->domain);
        g_autoptr(GError) error = NULL;

        if (!path || engine_attach(migration->context->guests->event, path, migration->domain->name,
                                   &migration_engine_callbacks, migration, &migration->engine, &error) < 0) {
                log_debug("domain '%s': the helper of its postcopy cannot be taken over: %s", migration->domain->name,
                          error ? error->message : "no QEMU");
                return postcopy_dst_adopt(migration, running, reterr);
        }
        migration->stats = *engine_stats(migration->engine);
        log_debug("domain '%s': took over the helper of its migration in state '%s'", migration->domain->name,
                  engine_state_name(engine_state(migration->engine)));
        migration->complete = engine_state(migration->engine) == ENGINE_STATE_DONE;
        return 0;
}

int postcopy_dst_follow(Migration *migration, GError **reterr) {
        Domain *domain = migration->domain;
        bool active = false;

        job_enter_postcopy(&domain->job);
        if (migration->engine && !migration->engine_failed)
                active = engine_state(migration->engine) == ENGINE_STATE_POSTCOPY;
        if (active ||
            (migration->phase != MIGRATION_PHASE_POSTCOPY && migration->phase != MIGRATION_PHASE_POSTCOPY_PAUSED))
                postcopy_note_active(migration);
        while (!migration->complete && domain->qemu) {
                g_autoptr(GError) error = NULL;

                if ((migration->engine_failed || !migration->engine) &&
                    postcopy_dst_adopt(migration, true, &error) < 0) {
                        log_debug("domain '%s': no new helper for its memory: %s", domain->name, error->message);
                        migration->engine_failed = true;
                }
                if (migration->engine && engine_state(migration->engine) == ENGINE_STATE_PAUSED &&
                    !migration->complete && migration->phase == MIGRATION_PHASE_POSTCOPY)
                        postcopy_note_paused(migration);
                if (!migration->complete)
                        fiber_cond_wait(&migration->changed, FOLLOW_POLL_USEC);
        }
        if (!domain->qemu)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("QEMU of domain '%s' ended during the migration; see its log"), domain->name);
        postcopy_note_complete(migration);
        return 0;
}

/* ---- Prepare ---- */

/* The source may have seen the loss before we do. */
static int dst_listen(Migration *migration, const MigrationParams *params, unsigned *ret_port, GError **reterr) {
        MigrationContext *context = migration->context;
        g_auto(MigrationAddress) address = { 0 };
        EngineDestArgs args = { .device_state_fd = -1, .commit_fd = -1, .uffd = -1 };
        uint64_t deadline = clock_monotonic_usec() + NOTICE_USEC;
        int r;

        while ((!migration->engine || migration->engine_failed) && clock_monotonic_usec() < deadline)
                fiber_cond_wait(&migration->changed, FOLLOW_POLL_USEC); /* postcopy_dst_follow() makes a new one */
        if (!migration->engine || migration->engine_failed)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("domain '%s' has no helper that serves its memory"), migration->domain->name);
        r = migration_dst_address_args(context, params, &address, &args, reterr);
        if (r < 0)
                return r;
        if (getrandom(migration->token, sizeof(migration->token), 0) != (ssize_t) sizeof(migration->token))
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("no random numbers for the migration token"));
        memcpy(args.token, migration->token, sizeof(args.token));
        return engine_dest_recover(migration->engine, &args, ret_port, reterr);
}

static int dst_answer_complete(MigrationContext *context, const Domain *domain, char **ret_cookie,
                               unsigned *ret_cookie_length, char **ret_uri) {
        g_auto(MigrationCookie) cookie = { 0 };

        cookie.name = g_strdup(domain->name);
        memcpy(cookie.uuid, domain->uuid, sizeof(cookie.uuid));
        cookie.hostname = g_strdup(context->hostname);
        cookie.instance = g_strdup(context->instance);
        cookie.id = g_strdup(domain->arrived);
        cookie.complete = true;
        /* A client insists on an address. */
        cookie.uri = g_strdup_printf("tcp://%s", context->host ? context->host : context->hostname);
        *ret_uri = g_strdup(cookie.uri);
        *ret_cookie = migration_cookie_format(&cookie, ret_cookie_length);
        return 0;
}

int postcopy_dst_prepare(MigrationContext *context, const void *client, const MigrationParams *params,
                         const MigrationCookie *cookie, char **ret_cookie, unsigned *ret_cookie_length, char **ret_uri,
                         GError **reterr) {
        Domain *domain = domain_list_find_uuid(context->guests->list, cookie->uuid);
        g_autoptr(Migration) migration = NULL;
        unsigned port = 0;
        int r;

        if (domain && !domain->migration && domain->qemu && cookie->id && g_strcmp0(domain->arrived, cookie->id) == 0)
                return dst_answer_complete(context, domain, ret_cookie, ret_cookie_length, ret_uri);
        if (!domain || !domain->migration || !domain->migration->incoming || !postcopy_is_entered(domain->migration) ||
            g_strcmp0(domain->migration->id, cookie->id) != 0)
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("the destination has no postcopy migration of domain '%s' that could be resumed: if the "
                          "guest does not run there, 'virsh destroy' ends what is left of it on the source"),
                        cookie->name);
        migration = migration_ref(domain->migration);
        if (migration->in_call)
                return error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("postcopy migration of domain '%s' is not interrupted at the destination, or is being "
                          "resumed already"),
                        cookie->name);
        migration->client = client;
        migration->params.flags |= params->flags & ~(unsigned) VIR_MIGRATE_POSTCOPY_RESUME;
        migration->in_call = true;
        r = dst_listen(migration, params, &port, reterr);
        migration->in_call = false;
        if (r < 0)
                return r;
        migration->recovering = true;
        return migration_dst_answer(migration, params, port, ret_cookie, ret_cookie_length, ret_uri, reterr);
}

Domain *postcopy_dst_arrived(MigrationContext *context, const char *data, unsigned length) {
        g_auto(MigrationCookie) cookie = { 0 };
        Domain *domain;

        if (migration_cookie_parse(data, length, &cookie, NULL) < 0 || !cookie.id)
                return NULL;
        domain = domain_list_find_uuid(context->guests->list, cookie.uuid);
        if (!domain || !domain->qemu || domain->migration || g_strcmp0(domain->arrived, cookie.id) != 0)
                return NULL;
        return domain;
}
