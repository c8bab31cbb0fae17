/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Defining, starting, pausing and ending domains. */

#include <errno.h>
#include <glib/gstdio.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"
#include "driver/qemu/qmp.h"

#define DESTROY_GRACE_USEC (15 * USEC_PER_SEC)

/* Takes the domain for a short change: finds it, checks rights, waits for its turn. */
static int modify_begin(DriverClient *client, const unsigned char *uuid, const char *what, JobAccess access,
                        bool active, Domain **ret_domain, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r;

        r = driver_check_write(client, what, reterr);
        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r >= 0)
                r = job_modify_begin(&domain->job, domain->name, what, access, reterr);
        if (r < 0)
                return r;
        if (active)
                r = driver_check_active(domain, reterr);
        if (r >= 0 && domain->removed)
                r = error_set(reterr, VIR_ERR_NO_DOMAIN, _("domain '%s' has just been removed"), domain->name);
        if (r < 0) {
                job_modify_end(&domain->job);
                return r;
        }
        *ret_domain = g_steal_pointer(&domain);
        return 0;
}

static int modify_end(Domain *domain, int r) {
        job_modify_end(&domain->job);
        domain_unref(domain);
        return r;
}

/* ---- definitions ---- */

static int define(Driver *driver, DomainDef *def, Domain *domain, GError **reterr) {
        bool existed = domain->config;
        int r;

        r = store_save_config(&driver->guests.store, domain->name, def, reterr);
        if (r < 0)
                return r;
        domain_def_free(domain->config);
        domain->config = def;
        domain->updated = domain_is_active(domain);
        domain_emit_lifecycle(domain, driver->bus, VIR_DOMAIN_EVENT_DEFINED,
                              existed ? VIR_DOMAIN_EVENT_DEFINED_UPDATED : VIR_DOMAIN_EVENT_DEFINED_ADDED);
        return 0;
}

/* Finds or makes the domain that def is about and takes it for a short change. */
static int add_begin(Driver *driver, const DomainDef *def, const char *what, JobAccess access, Domain **ret_domain,
                     GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        Domain *found = NULL;
        int r;

        r = domain_list_add(driver->list, def, &found, reterr);
        if (r < 0)
                return r;
        domain = domain_ref(found);
        r = job_modify_begin(&domain->job, domain->name, what, access, reterr);
        if (r < 0) {
                guest_drop_if_gone(&driver->guests, domain);
                return r;
        }
        *ret_domain = g_steal_pointer(&domain);
        return 0;
}

/* A domain that has got neither a definition nor a guest goes again. */
static int add_end(Driver *driver, Domain *domain, DomainRef *ret_ref, int r) {
        if (r >= 0)
                domain_get_ref(domain, ret_ref);
        job_modify_end(&domain->job);
        guest_drop_if_gone(&driver->guests, domain);
        domain_unref(domain);
        return r;
}

static int parse_given(Driver *driver, const char *xml, bool validate, DomainDef **ret_def, GError **reterr) {
        return guest_parse(&driver->guests, xml, DOMAIN_PARSE_INACTIVE | (validate ? DOMAIN_PARSE_VALIDATE : 0),
                           driver->schema_dir, ret_def, reterr);
}

int driver_domain_define(DriverClient *client, const char *xml, unsigned flags, DomainRef *ret_ref, GError **reterr) {
        Driver *driver = client->driver;
        g_autoptr(DomainDef) def = NULL;
        Domain *domain = NULL;
        int r;

        r = driver_check_write(client, "define", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, VIR_DOMAIN_DEFINE_VALIDATE, "define", reterr);
        if (r >= 0)
                r = parse_given(driver, xml, flags & VIR_DOMAIN_DEFINE_VALIDATE, &def, reterr);
        if (r >= 0)
                r = add_begin(driver, def, "define", JOB_ACCESS_DURING_OUT, &domain, reterr);
        if (r < 0)
                return r;
        r = define(driver, def, domain, reterr);
        if (r >= 0)
                def = NULL;
        return add_end(driver, domain, ret_ref, r);
}

int driver_domain_undefine(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        Driver *driver = client->driver;
        Domain *domain = NULL;
        int r;

        /* Snapshots and checkpoints that a client wants gone as well: there are none. */
        r = driver_check_flags(flags,
                               VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                                       VIR_DOMAIN_UNDEFINE_NVRAM | VIR_DOMAIN_UNDEFINE_KEEP_NVRAM |
                                       VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA,
                               "undefine", reterr);
        if (r >= 0)
                r = modify_begin(client, uuid, "undefine", JOB_ACCESS_EXCLUSIVE, false, &domain, reterr);
        if (r < 0)
                return r;
        if (!domain->config)
                return modify_end(domain, error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                                    _("cannot undefine transient domain '%s'"), domain->name));
        if (driver_managed_save_exists(driver, domain)) {
                if (!(flags & VIR_DOMAIN_UNDEFINE_MANAGED_SAVE))
                        return modify_end(
                                domain,
                                error_set(
                                        reterr, VIR_ERR_OPERATION_INVALID,
                                        _("cannot undefine domain '%s' with a managed save: say --managed-save to "
                                          "remove it, too"),
                                        domain->name));
                r = driver_managed_save_remove(driver, domain, reterr);
                if (r < 0)
                        return modify_end(domain, r);
        }
        if (domain->config->os.nvram && !domain_is_active(domain) &&
            g_file_test(domain->config->os.nvram, G_FILE_TEST_EXISTS)) {
                if (flags & VIR_DOMAIN_UNDEFINE_NVRAM)
                        g_remove(domain->config->os.nvram);
                else if (!(flags & VIR_DOMAIN_UNDEFINE_KEEP_NVRAM))
                        return modify_end(
                                domain,
                                error_set(
                                        reterr, VIR_ERR_OPERATION_INVALID,
                                        _("cannot undefine domain '%s' with NVRAM '%s': say --nvram to remove it or "
                                          "--keep-nvram to keep it"),
                                        domain->name, domain->config->os.nvram));
        }
        r = store_remove_config(&driver->guests.store, domain->name, reterr);
        if (r >= 0) {
                domain->config = domain_def_free(domain->config);
                domain->autostart = false;
                domain_emit_lifecycle(domain, driver->bus, VIR_DOMAIN_EVENT_UNDEFINED,
                                      VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
                guest_drop_if_gone(&driver->guests, domain);
        }
        return modify_end(domain, r);
}

/* ---- starting ---- */

#define START_FLAGS                                                                                                    \
        (VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY | VIR_DOMAIN_START_BYPASS_CACHE |                      \
         VIR_DOMAIN_START_FORCE_BOOT | VIR_DOMAIN_START_VALIDATE)

static int start_check_flags(unsigned flags, GError **reterr) {
        if (flags & VIR_DOMAIN_START_AUTODESTROY)
                return error_set(reterr, VIR_ERR_ARGUMENT_UNSUPPORTED,
                                 _("starting with '--autodestroy' is not supported by Ferry: leave it out"));
        return driver_check_flags(flags, START_FLAGS, "start", reterr);
}

/* Consumes def. */
static int start(Driver *driver, Domain *domain, DomainDef *def, unsigned flags, GError **reterr) {
        int r;

        r = guest_start(&driver->guests, domain, def, false, reterr);
        if (r < 0)
                return r;
        if (!(flags & VIR_DOMAIN_START_PAUSED)) {
                r = guest_run(&driver->guests, domain, VIR_DOMAIN_RUNNING_BOOTED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED,
                              reterr);
                if (r < 0) {
                        guest_end(&driver->guests, domain, 0, VIR_DOMAIN_SHUTOFF_FAILED,
                                  VIR_DOMAIN_EVENT_STOPPED_FAILED, NULL);
                        return r;
                }
        }
        domain_emit_lifecycle(domain, driver->bus, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
        if (flags & VIR_DOMAIN_START_PAUSED) {
                domain_set_state(domain, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER);
                domain_emit_lifecycle(domain, driver->bus, VIR_DOMAIN_EVENT_SUSPENDED,
                                      VIR_DOMAIN_EVENT_SUSPENDED_PAUSED);
                guest_save(&driver->guests, domain);
        }
        return 0;
}

int driver_domain_create(DriverClient *client, const unsigned char *uuid, unsigned flags, DomainRef *ret_ref,
                         GError **reterr) {
        Domain *domain = NULL;
        int r;

        r = start_check_flags(flags, reterr);
        if (r >= 0)
                r = modify_begin(client, uuid, "start", JOB_ACCESS_EXCLUSIVE, false, &domain, reterr);
        if (r < 0)
                return r;
        if (domain_is_active(domain))
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain is already running"));
        else if (!domain->config)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID,
                              _("domain '%s' is transient: it cannot be started again"), domain->name);
        else if (driver_managed_save_exists(client->driver, domain) && !(flags & VIR_DOMAIN_START_FORCE_BOOT))
                r = driver_managed_save_start(client->driver, domain, flags, reterr);
        else if (flags & VIR_DOMAIN_START_FORCE_BOOT &&
                 (r = driver_managed_save_remove(client->driver, domain, reterr)) < 0)
                ;
        else
                r = start(client->driver, domain, domain_def_copy(domain->config), flags, reterr);
        if (r >= 0 && ret_ref)
                domain_get_ref(domain, ret_ref);
        return modify_end(domain, r);
}

int driver_domain_create_xml(DriverClient *client, const char *xml, unsigned flags, DomainRef *ret_ref,
                             GError **reterr) {
        Driver *driver = client->driver;
        g_autoptr(DomainDef) def = NULL;
        Domain *domain = NULL;
        int r;

        r = driver_check_write(client, "create", reterr);
        if (r >= 0)
                r = start_check_flags(flags, reterr);
        if (r >= 0)
                r = parse_given(driver, xml, flags & VIR_DOMAIN_START_VALIDATE, &def, reterr);
        if (r >= 0)
                r = add_begin(driver, def, "create", JOB_ACCESS_EXCLUSIVE, &domain, reterr);
        if (r < 0)
                return r;
        if (domain_is_active(domain))
                r = error_set(reterr, VIR_ERR_OPERATION_FAILED, _("domain '%s' is already running"), domain->name);
        else
                r = start(driver, domain, g_steal_pointer(&def), flags, reterr);
        return add_end(driver, domain, ret_ref, r);
}

/* ---- ending and resetting ---- */

int driver_domain_shutdown(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        Domain *domain = NULL;
        int r;

        r = driver_check_flags(flags, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN, "shutdown", reterr);
        if (r >= 0)
                r = modify_begin(client, uuid, "shutdown", JOB_ACCESS_DURING_OUT | JOB_ACCESS_IN_POSTCOPY, true,
                                 &domain, reterr);
        if (r < 0)
                return r;
        domain->reboot_pending = false;
        return modify_end(domain, qmp_system_powerdown(qemu_monitor(domain->qemu), reterr));
}

int driver_domain_reboot(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        Domain *domain = NULL;
        int r;

        r = driver_check_flags(flags, VIR_DOMAIN_REBOOT_ACPI_POWER_BTN, "reboot", reterr);
        if (r >= 0)
                r = modify_begin(client, uuid, "reboot", JOB_ACCESS_EXCLUSIVE, true, &domain, reterr);
        if (r < 0)
                return r;
        /* ACPI knows a power button and no reboot button: the guest powers off, QEMU waits, and on_shutdown() resets
         * it. */
        r = qmp_set_action(qemu_monitor(domain->qemu), NULL, "pause", reterr);
        if (r >= 0 && (r = driver_check_active(domain, reterr)) >= 0) {
                domain->reboot_pending = true;
                r = qmp_system_powerdown(qemu_monitor(domain->qemu), reterr);
        }
        return modify_end(domain, r);
}

int driver_domain_reset(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        Domain *domain = NULL;
        int r;

        r = driver_check_flags(flags, 0, "reset", reterr);
        if (r >= 0)
                r = modify_begin(client, uuid, "reset", JOB_ACCESS_EXCLUSIVE, true, &domain, reterr);
        if (r < 0)
                return r;
        return modify_end(domain, qmp_system_reset(qemu_monitor(domain->qemu), reterr));
}

int driver_domain_destroy(DriverClient *client, const unsigned char *uuid, unsigned flags, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        Driver *driver = client->driver;
        int r;

        r = driver_check_write(client, "destroy", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, VIR_DOMAIN_DESTROY_GRACEFUL, "destroy", reterr);
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r < 0)
                return r;
        /* No turn to wait for: destroy is what helps when another call hangs. */
        domain_emit_lifecycle(domain, driver->bus, VIR_DOMAIN_EVENT_SHUTDOWN, VIR_DOMAIN_EVENT_SHUTDOWN_HOST);
        return guest_end(&driver->guests, domain,
                         flags & VIR_DOMAIN_DESTROY_GRACEFUL ? DESTROY_GRACE_USEC : USEC_PER_SEC * 5,
                         VIR_DOMAIN_SHUTOFF_DESTROYED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED, reterr);
}

/* ---- pausing ---- */

int driver_domain_suspend(DriverClient *client, const unsigned char *uuid, GError **reterr) {
        Domain *domain = NULL;
        int r;

        r = modify_begin(client, uuid, "suspend", JOB_ACCESS_DURING_OUT | JOB_ACCESS_IN_POSTCOPY, true, &domain,
                         reterr);
        if (r < 0)
                return r;
        /* QEMU's stop waits for every processor, and one that waits for memory would keep its monitor from
         * answering. */
        if (domain->migration && domain->migration->phase == MIGRATION_PHASE_POSTCOPY_PAUSED)
                return modify_end(
                        domain,
                        error_set(
                                reterr, VIR_ERR_OPERATION_INVALID,
                                _("memory of domain '%s' is missing and its source is not connected (postcopy): resume "
                                  "the migration first"),
                                domain->name));
        if (domain->state == VIR_DOMAIN_SHUTDOWN || domain->state == VIR_DOMAIN_CRASHED)
                return modify_end(domain, error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                                    _("domain '%s' is shutting down or has crashed"), domain->name));
        return modify_end(domain, guest_pause(&client->driver->guests, domain, VIR_DOMAIN_PAUSED_USER,
                                              VIR_DOMAIN_EVENT_SUSPENDED_PAUSED, reterr));
}

int driver_domain_resume(DriverClient *client, const unsigned char *uuid, GError **reterr) {
        Domain *domain = NULL;
        int r;

        r = modify_begin(client, uuid, "resume", JOB_ACCESS_DURING_OUT | JOB_ACCESS_IN_POSTCOPY, true, &domain, reterr);
        if (r < 0)
                return r;
        if (domain->migration && !domain->migration->incoming &&
            domain->migration->phase >= MIGRATION_PHASE_STOP_AND_COPY)
                return modify_end(
                        domain,
                        error_set(
                                reterr, VIR_ERR_OPERATION_INVALID,
                                domain->migration->phase == MIGRATION_PHASE_UNKNOWN
                                        ? _("domain '%s' was handed over to another host that has not confirmed: it "
                                            "must not run twice; if it does not run there, 'virsh domjobabort' resumes "
                                            "it here")
                                        : _("domain '%s' is being handed over to another host"),
                                domain->name));
        if (domain->state == VIR_DOMAIN_RUNNING)
                return modify_end(domain, error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain is already running")));
        if (domain->state != VIR_DOMAIN_PAUSED)
                return modify_end(domain, error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                                    _("domain '%s' is shutting down or has crashed"), domain->name));
        return modify_end(domain, guest_run(&client->driver->guests, domain, VIR_DOMAIN_RUNNING_UNPAUSED,
                                            VIR_DOMAIN_EVENT_RESUMED_UNPAUSED, reterr));
}

/* ---- autostart ---- */

int driver_domain_get_autostart(DriverClient *client, const unsigned char *uuid, bool *ret_on, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r >= 0)
                *ret_on = domain->autostart;
        return r;
}

int driver_domain_set_autostart(DriverClient *client, const unsigned char *uuid, bool on, GError **reterr) {
        Domain *domain = NULL;
        int r;

        r = modify_begin(client, uuid, "autostart", JOB_ACCESS_ALWAYS, false, &domain, reterr);
        if (r < 0)
                return r;
        if (!domain->config)
                return modify_end(domain, error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                                    _("cannot set autostart for transient domain '%s'"), domain->name));
        r = store_set_autostart(&client->driver->guests.store, domain->name, on, reterr);
        if (r >= 0)
                domain->autostart = on;
        return modify_end(domain, r);
}
