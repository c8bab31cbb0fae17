/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * domain->qemu is set exactly while QEMU runs, and domain->live and domain->id with it. A domain leaves that state in
 * one place only: on_exited(), which runs when the process is gone, whoever ended it. guest_end() notes why it wants
 * the end (domain->stop_detail, stop_reason), kills, and waits for on_exited(); a guest that powers itself off takes
 * the same way without the note.
 *
 *   inactive ──guest_start──► paused ──guest_run──► running ──guest_pause──► paused
 *       ▲                        │                     │                        │
 *       └───────────────── on_exited (kill, power-off, crash) ─────────────────┘
 */

#include "driver/guest/guest.h"

#include <errno.h>
#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"
#include "driver/base/scope.h"
#include "driver/guest/guest_internal.h"
#include "driver/qemu/qmp.h"

GuestLink *guest_link_new(GuestManager *manager, Domain *domain) {
        GuestLink *link = g_new0(GuestLink, 1);

        link->manager = manager;
        link->domain = domain_ref(domain);
        return link;
}

void guest_link_free(GuestLink *link) {
        domain_unref(link->domain);
        g_free(link);
}

int guest_caps(GuestManager *manager, const char *emulator, QemuCaps **ret_caps, GError **reterr) {
        g_autofree char *found = NULL;

        if (!emulator)
                emulator = manager->default_emulator;
        if (!emulator) {
                found = qemu_caps_find_emulator("x86_64");
                emulator = found;
        }
        if (!emulator)
                return error_set(
                        reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                        _("no emulator 'qemu-system-x86_64' was found: install QEMU, or name it in <emulator> or in "
                          "the daemon's configuration"));
        return qemu_caps_cache_get(manager->caps, emulator, ret_caps, reterr);
}

static const char *resolve_machine(const char *name, void *userdata) {
        const QemuMachine *machine = qemu_caps_machine(userdata, name);

        return machine ? machine->name : NULL;
}

int guest_parse(GuestManager *manager, const char *xml, unsigned parse_flags, const char *schema_dir,
                DomainDef **ret_def, GError **reterr) {
        g_autoptr(DomainDef) def = NULL;
        g_autoptr(QemuCaps) caps = NULL;
        DomainDefaults defaults = { .machine_resolve = resolve_machine, .arch = OS_ARCH_X86_64 };
        int r;

        r = domain_def_parse(xml, strlen(xml), parse_flags, schema_dir, &def, reterr);
        if (r >= 0)
                r = guest_caps(manager, def->emulator, &caps, reterr);
        if (r < 0)
                return r;
        defaults.emulator = qemu_caps_binary(caps);
        defaults.machine = qemu_caps_default_machine(caps)->name;
        defaults.userdata = caps;
        r = domain_def_complete(def, &defaults, reterr);
        if (r >= 0)
                r = domain_def_validate(def, reterr);
        if (r < 0)
                return r;
        *ret_def = g_steal_pointer(&def);
        return 0;
}

void guest_drop_if_gone(GuestManager *manager, Domain *domain) {
        /* A migration that has lost its guest still has to answer its client. */
        if (!domain->config && !domain_is_active(domain) && !domain->migration && !domain->snapshot)
                domain_list_remove(manager->list, domain);
}

/* Back to inactive. The Qemu is gone or never came to be. */
static void guest_forget(GuestManager *manager, Domain *domain) {
        domain->qemu = qemu_unref(domain->qemu);
        domain->live = domain_def_free(domain->live);
        domain->id = -1;
        domain->stop_detail = domain->stop_reason = -1;
        domain->stop_hint = 0;
        g_clear_pointer(&domain->arrived, g_free);
        domain->reboot_pending = false;
        domain->changing_run_state = false;
        domain->updated = false;
        store_remove_status(&manager->store, domain->name);
}

void guest_release(GuestManager *manager, Domain *domain) {
        if (!domain->qemu)
                return;
        guest_save(manager, domain);
        domain->qemu = qemu_unref(domain->qemu);
}

static void on_exited(Qemu *qemu, int status, void *userdata) {
        GuestLink *link = userdata;
        GuestManager *manager = link->manager;
        g_autoptr(Domain) domain = domain_ref(link->domain);
        int reason = domain->stop_reason, detail = domain->stop_detail;

        log_debug("domain '%s': QEMU ended with status %d", domain->name, status);
        guest_link_free(link);
        if (domain->qemu != qemu)
                return;
        if (detail < 0) {
                reason = VIR_DOMAIN_SHUTOFF_CRASHED;
                detail = VIR_DOMAIN_EVENT_STOPPED_FAILED;
        }
        qemu_cleanup(qemu, false);
        guest_forget(manager, domain);
        domain_set_state(domain, VIR_DOMAIN_SHUTOFF, reason);
        domain_emit_lifecycle(domain, manager->bus, VIR_DOMAIN_EVENT_STOPPED, detail);
        if (domain->migration)
                manager->migrating_guest_exited(domain, manager->userdata);
        if (domain->snapshot)
                manager->snapshot_guest_exited(domain, manager->userdata);
        guest_drop_if_gone(manager, domain);
}

static void on_event(Qemu *qemu, const char *name, json_object *data, uint64_t timestamp_usec, void *userdata) {
        GuestLink *link = userdata;

        guest_on_event(link->manager, link->domain, name, data, timestamp_usec);
}

const QemuCallbacks guest_qemu_callbacks = {
        .event = on_event,
        .exited = on_exited,
};

int guest_start(GuestManager *manager, Domain *domain, DomainDef *def, bool incoming, GError **reterr) {
        g_autoptr(QemuCaps) caps = NULL;
        GuestLink *link = NULL;
        int r;

        domain->live = def;
        domain->id = domain_list_next_id(manager->list);
        def->id = domain->id;
        domain_set_state(domain, VIR_DOMAIN_PAUSED,
                         incoming ? VIR_DOMAIN_PAUSED_MIGRATION : VIR_DOMAIN_PAUSED_STARTING_UP);
        r = guest_caps(manager, def->emulator, &caps, reterr);
        if (r >= 0)
                r = domain_def_assign_aliases(def);
        if (r >= 0) {
                link = guest_link_new(manager, domain);
                r = qemu_start(&(QemuStartArgs){ .event = manager->event, .settings = &manager->settings, .def = def,
                                                 .caps = caps, .incoming = incoming, .callbacks = &guest_qemu_callbacks,
                                                 .userdata = link },
                               &domain->qemu, reterr);
                if (r < 0)
                        guest_link_free(link);
        }
        if (r < 0) {
                guest_forget(manager, domain);
                domain_set_state(domain, VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_FAILED);
                return r;
        }
        domain->started_usec = clock_realtime_usec();
        r = qemu_refresh_def(domain->qemu, domain->live, reterr);
        if (r < 0) {
                guest_end(manager, domain, 0, VIR_DOMAIN_SHUTOFF_FAILED, VIR_DOMAIN_EVENT_STOPPED_FAILED, NULL);
                return r;
        }
        guest_save(manager, domain);
        return 0;
}

static int guest_gone(const Domain *domain, GError **reterr) {
        return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"), domain->name);
}

int guest_run(GuestManager *manager, Domain *domain, int reason, int event_detail, GError **reterr) {
        Monitor *monitor = domain->qemu ? qemu_monitor(domain->qemu) : NULL;
        int r;

        if (!monitor)
                return guest_gone(domain, reterr);
        if (domain->handing_over)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("domain '%s' is being handed over to another host"), domain->name);
        domain->changing_run_state = true;
        r = qmp_cont(monitor, reterr);
        domain->changing_run_state = false;
        if (r < 0)
                return r;
        if (!domain_is_active(domain))
                return guest_gone(domain, reterr);
        domain_set_state(domain, VIR_DOMAIN_RUNNING, reason);
        if (event_detail >= 0)
                domain_emit_lifecycle(domain, manager->bus, VIR_DOMAIN_EVENT_RESUMED, event_detail);
        guest_save(manager, domain);
        return 0;
}

int guest_pause(GuestManager *manager, Domain *domain, int reason, int event_detail, GError **reterr) {
        Monitor *monitor = domain->qemu ? qemu_monitor(domain->qemu) : NULL;
        int r;

        if (!monitor)
                return guest_gone(domain, reterr);
        /* While another fiber lets it run, "paused" is about to be wrong. */
        if (domain->state == VIR_DOMAIN_PAUSED && !domain->changing_run_state)
                return 0;
        domain->changing_run_state = true;
        r = qmp_stop(monitor, reterr);
        domain->changing_run_state = false;
        if (r < 0)
                return r;
        if (!domain_is_active(domain))
                return guest_gone(domain, reterr);
        domain_set_state(domain, VIR_DOMAIN_PAUSED, reason);
        if (event_detail >= 0)
                domain_emit_lifecycle(domain, manager->bus, VIR_DOMAIN_EVENT_SUSPENDED, event_detail);
        guest_save(manager, domain);
        return 0;
}

int guest_scope(GuestManager *manager, const Domain *domain, const char *kind, pid_t pid, GError **reterr) {
        g_autofree char *description = g_strdup_printf("Memory engine of virtual machine %s", domain->name);

        return scope_enter(manager->settings.scopes,
                           &(ScopeArgs){ .kind = kind, .name = domain->name, .description = description, .pid = pid },
                           reterr);
}

int guest_end(GuestManager *manager, Domain *domain, uint64_t grace_usec, int shutoff_reason, int stop_detail,
              GError **reterr) {
        g_autoptr(Qemu) qemu = NULL;

        if (!domain->qemu)
                return 0;
        qemu = qemu_ref(domain->qemu);
        domain->stop_detail = stop_detail;
        domain->stop_reason = shutoff_reason;
        return qemu_kill(qemu, grace_usec, reterr);
}
