/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * After COMMIT of a switch to postcopy the guest belongs to the destination, and part of its memory still lies here at
 * the source. From then on nothing that can be repaired ends the job: a lost link, a helper that was killed, a daemon
 * that was restarted all lead to POSTCOPY_PAUSED, and from there 'virsh migrate --postcopy --postcopy-resume' leads
 * back, as often as it takes. What must survive for that lies outside of every process that may die: the guest's
 * memory and its page table are files on tmpfs, the userfaultfd is kept open by QEMU, the phase is in the status file.
 *
 * The source's QEMU is ended only by postcopy_complete from the engine, or by the destination's daemon that says the
 * same through Finish. The destination's page table alone says what is there; the source keeps no account of it.
 */

#include "driver/migration/postcopy.h"

#include <errno.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/kernel.h"
#include "driver/base/log.h"
#include "driver/migration/postcopy_src.h"

/* ---- what the host needs ---- */

int postcopy_check_host(const MigrationCookie *cookie, GError **reterr) {
        _cleanup_fd_ int uffd = kernel_userfaultfd(false);

        if (uffd < 0)
                return error_set(
                        reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                        _("postcopy needs userfaultfd on the destination, and it is not allowed to handle faults of "
                          "the kernel: run its daemon as root, set the sysctl vm.unprivileged_userfaultfd to 1, or "
                          "give it access to /dev/userfaultfd"));
        if (!kernel_has(KERNEL_UFFD_MINOR))
                return error_set(
                        reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                        _("postcopy needs minor faults of userfaultfd on shared memory, which the destination's kernel "
                          "does not have: use Linux 5.14 or later there, or leave '--postcopy' out"));
        for (unsigned i = 0; i < cookie->n_blocks; i++)
                if (cookie->blocks[i].page_bytes > 4096 && !kernel_has(KERNEL_UFFD_MINOR_HUGETLB))
                        return error_set(
                                reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                                _("postcopy of domain '%s', which has huge pages, needs minor faults of userfaultfd on "
                                  "hugetlbfs, which the destination's kernel does not have: use Linux 5.13 or later "
                                  "there, or leave '--postcopy' out"),
                                cookie->name);
        return 0;
}

/* ---- files ---- */

static void close_fd(void *fd) {
        fd_close(*(int *) fd);
}

GArray *postcopy_open_tables(Qemu *qemu, EngineRamBlock *blocks, unsigned n_blocks, GError **reterr) {
        g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));

        g_array_set_clear_func(fds, close_fd);
        for (unsigned i = 0; i < n_blocks; i++) {
                int fd = qemu_open_table(qemu, i, reterr);

                if (fd < 0)
                        return NULL;
                g_array_append_val(fds, fd);
                blocks[i].states_fd = fd;
        }
        return g_steal_pointer(&fds);
}

void postcopy_remove_files(const Domain *domain) {
        g_autofree char *path = postcopy_control_path(domain);

        if (!domain->qemu)
                return;
        qemu_remove_tables(domain->qemu);
        unlink(path);
}

char *postcopy_control_path(const Domain *domain) {
        return domain->qemu ? g_build_filename(qemu_dir(domain->qemu), "engine.sock", NULL) : NULL;
}

int postcopy_keep_engine(Migration *migration, GError **reterr) {
        g_autofree char *path = postcopy_control_path(migration->domain);

        if (!path)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"),
                                 migration->domain->name);
        return engine_listen_control(migration->engine, path, reterr);
}

int postcopy_new_engine(Migration *migration, GError **reterr) {
        MigrationContext *context = migration->context;
        Domain *domain = migration->domain;
        g_autoptr(Qemu) qemu = domain->qemu ? qemu_ref(domain->qemu) : NULL;
        g_autoptr(GError) error = NULL;
        int r;

        if (!qemu)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"), domain->name);
        if (migration->engine)
                engine_end(migration->engine);
        migration->engine = engine_unref(migration->engine);
        r = engine_new(context->guests->event, context->engine_helper, domain->name, qemu_log_fd(qemu),
                       &migration_engine_callbacks, migration, &migration->engine, reterr);
        if (r < 0)
                return r;
        migration->engine_gone = migration->engine_failed = false;
        /* Without a scope of its own it ends when the daemon's service is stopped, and is replaced once more. */
        if (guest_scope(context->guests, domain, "job", engine_pid(migration->engine), &error) < 0)
                log_debug("the helper of domain '%s' gets no scope, ignoring: %s", domain->name, error->message);
        return postcopy_keep_engine(migration, reterr);
}

/* ---- phases ---- */

bool postcopy_is_entered(const Migration *migration) {
        switch (migration->phase) {
        case MIGRATION_PHASE_POSTCOPY:
        case MIGRATION_PHASE_POSTCOPY_PAUSED:
                return true;
        case MIGRATION_PHASE_UNKNOWN:
        case MIGRATION_PHASE_COMMITTED:
                return migration->postcopy;
        default:
                return migration->postcopy && migration->committed;
        }
}

/* The guest's state, unless a user has chosen another at the destination; and the event that goes with it. */
static void set_state(Migration *migration, int paused_reason, int suspended, int running_reason, int resumed) {
        Domain *domain = migration->domain;
        EventBus *bus = migration->context->guests->bus;

        if (!domain->qemu)
                return;
        if (!migration->incoming) {
                domain_set_state(domain, VIR_DOMAIN_PAUSED, paused_reason);
                domain_emit_lifecycle(domain, bus, VIR_DOMAIN_EVENT_SUSPENDED, suspended);
        } else if (domain->state == VIR_DOMAIN_RUNNING) {
                domain_set_state(domain, VIR_DOMAIN_RUNNING, running_reason);
                domain_emit_lifecycle(domain, bus, VIR_DOMAIN_EVENT_RESUMED, resumed);
        }
}

void postcopy_note_active(Migration *migration) {
        bool first = migration->incoming && migration->phase != MIGRATION_PHASE_POSTCOPY_PAUSED;

        migration->recovering = false;
        if (migration->phase == MIGRATION_PHASE_POSTCOPY)
                return;
        /* At the first time the destination's guest was started with that state. */
        if (!first)
                set_state(migration, VIR_DOMAIN_PAUSED_POSTCOPY, VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY,
                          VIR_DOMAIN_RUNNING_POSTCOPY, VIR_DOMAIN_EVENT_RESUMED_POSTCOPY);
        migration_set_phase(migration, MIGRATION_PHASE_POSTCOPY);
}

void postcopy_note_paused(Migration *migration) {
        if (migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED)
                return;
        set_state(migration, VIR_DOMAIN_PAUSED_POSTCOPY_FAILED, VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED,
                  VIR_DOMAIN_RUNNING_POSTCOPY_FAILED, VIR_DOMAIN_EVENT_RESUMED_POSTCOPY_FAILED);
        migration_set_phase(migration, MIGRATION_PHASE_POSTCOPY_PAUSED);
}

void postcopy_note_complete(Migration *migration) {
        Domain *domain = migration->domain;

        if (domain->state != VIR_DOMAIN_RUNNING)
                return;
        domain_set_state(domain, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_MIGRATED);
        domain_emit_lifecycle(domain, migration->context->guests->bus, VIR_DOMAIN_EVENT_RESUMED,
                              VIR_DOMAIN_EVENT_RESUMED_MIGRATED);
}

/* ---- what the engine says ---- */

void postcopy_on_complete(Engine *engine, const EngineStats *stats, void *userdata) {
        Migration *migration = userdata;

        if (migration->engine != engine)
                return;
        migration->stats = *stats;
        migration->complete = true;
        log_debug("migration of '%s': all memory is at the destination", migration->domain->name);
        if (!migration->incoming)
                postcopy_src_complete(migration);
        fiber_cond_broadcast(&migration->changed);
}

void postcopy_on_paused(Engine *engine, const GError *error, void *userdata) {
        g_autoptr(Migration) migration = migration_ref(userdata); /* it may be ended here */

        if (migration->engine != engine)
                return;
        log_debug("migration of '%s' in postcopy lost its link: %s", migration->domain->name, error->message);
        migration->recovering = false;
        g_clear_error(&migration->pause_reason);
        migration->pause_reason = g_error_copy(error);
        if (migration->phase == MIGRATION_PHASE_POSTCOPY)
                postcopy_note_paused(migration);
        if (!migration->incoming)
                postcopy_src_paused(migration);
        fiber_cond_broadcast(&migration->changed);
}

void postcopy_on_resumed(Engine *engine, void *userdata) {
        Migration *migration = userdata;

        if (migration->engine != engine)
                return;
        if (!migration->incoming && engine_state(engine) == ENGINE_STATE_POSTCOPY)
                migration->running = true;
        if (migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED ||
            (!migration->incoming && migration->phase == MIGRATION_PHASE_UNKNOWN && migration->running))
                postcopy_note_active(migration);
        fiber_cond_broadcast(&migration->changed);
}

void postcopy_on_failed(Migration *unowned, const GError *error, bool gone) {
        g_autoptr(Migration) migration = migration_ref(unowned); /* it may be ended here */

        log_debug("migration of '%s' in postcopy lost its helper: %s", migration->domain->name, error->message);
        migration->engine_gone = migration->engine_gone || gone;
        migration->engine_failed = true;
        migration->stats = *engine_stats(migration->engine);
        migration->recovering = false;
        g_clear_error(&migration->pause_reason);
        migration->pause_reason = g_error_copy(error);
        if (migration->phase == MIGRATION_PHASE_POSTCOPY)
                postcopy_note_paused(migration);
        if (!migration->incoming)
                postcopy_src_paused(migration);
        fiber_cond_broadcast(&migration->changed);
}
