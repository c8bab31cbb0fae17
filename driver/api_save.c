/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Save images: rights, arguments and files here, the work in driver/snapshot. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"
#include "driver/image/image_writer.h"

#define LAZY_WAIT_USEC (60 * USEC_PER_SEC)
#define RUN_STATE_FLAGS (VIR_DOMAIN_SAVE_RUNNING | VIR_DOMAIN_SAVE_PAUSED)

static int save_check(DriverClient *client, const char *what, unsigned flags, unsigned allowed, GError **reterr) {
        int r = driver_check_write(client, what, reterr);

        if (r >= 0 && client->driver->quiescing)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID,
                              _("the daemon is shutting down: try again once it is back"));
        if (r >= 0)
                r = driver_check_flags(flags, allowed, what, reterr);
        if (r >= 0 && (flags & RUN_STATE_FLAGS) == RUN_STATE_FLAGS)
                r = error_set(reterr, VIR_ERR_INVALID_ARG, _("'--running' and '--paused' exclude each other"));
        return r;
}

/* What the flags say of the guest's state: 1 running, 0 paused, -1 nothing. */
static int flags_running(unsigned flags) {
        return flags & VIR_DOMAIN_SAVE_RUNNING ? 1 : flags & VIR_DOMAIN_SAVE_PAUSED ? 0 : -1;
}

int driver_domain_save(DriverClient *client, const unsigned char *uuid, const DriverSaveArgs *args, GError **reterr) {
        SnapshotContext *context = &client->driver->snapshots;
        g_autofree char *managed_path = NULL;
        g_autoptr(Domain) domain = NULL;
        int compression = context->compression;
        int r;

        r = save_check(client, args->path ? "save" : "managedsave", args->flags,
                       RUN_STATE_FLAGS | VIR_DOMAIN_SAVE_BYPASS_CACHE, reterr);
        if (r >= 0 && args->format) {
                compression = image_compression_from_string(args->format);
                if (compression < 0)
                        r = error_set(reterr, VIR_ERR_INVALID_ARG, _("'%s' is no image format: 'raw' and 'zstd' are"),
                                      args->format);
        }
        if (r >= 0)
                r = driver_find_active(client, uuid, &domain, reterr);
        if (r >= 0 && !args->path && !domain->config)
                r = error_set(
                        reterr, VIR_ERR_OPERATION_INVALID,
                        _("domain '%s' is transient, so nothing would start it again: use save instead of managedsave"),
                        domain->name);
        if (r < 0)
                return r;
        /* A guest that was restored a moment ago: the rest of its memory is on its way. Later it is refused. */
        (void) job_wait_lazy(&domain->job, LAZY_WAIT_USEC);
        r = driver_check_active(domain, reterr);
        if (r < 0)
                return r;
        if (!args->path)
                managed_path = snapshot_managed_path(context, domain->name);
        return snapshot_save(context, domain,
                             &(SnapshotSaveArgs){ .path = args->path ? args->path : managed_path,
                                                  .xml = args->xml,
                                                  .managed = !args->path,
                                                  .compression = (ImageCompression) compression,
                                                  .bypass_cache = args->flags & VIR_DOMAIN_SAVE_BYPASS_CACHE,
                                                  .running = flags_running(args->flags) },
                             reterr);
}

/* The definition that a domain is restored with: the image's, or the user's if the guest would not notice. */
static int restore_def(Driver *driver, const char *path, const char *user_xml, DomainDef **ret_def, GError **reterr) {
        g_autoptr(ImageReader) reader = NULL;
        g_autoptr(DomainDef) def = NULL, user = NULL;
        int r;

        r = snapshot_file_open(path, false, &reader, reterr);
        if (r >= 0)
                r = guest_parse(&driver->guests, image_reader_xml(reader), DOMAIN_PARSE_INACTIVE, NULL, &def, reterr);
        if (r >= 0 && user_xml) {
                r = guest_parse(&driver->guests, user_xml, DOMAIN_PARSE_INACTIVE, NULL, &user, reterr);
                if (r >= 0)
                        r = domain_def_check_abi(def, user, reterr);
        }
        if (r < 0)
                return r;
        *ret_def = user ? g_steal_pointer(&user) : g_steal_pointer(&def);
        return 0;
}

int driver_domain_restore(DriverClient *client, const DriverSaveArgs *args, GError **reterr) {
        Driver *driver = client->driver;
        g_autoptr(DomainDef) def = NULL;
        g_autoptr(Domain) domain = NULL;
        Domain *found = NULL;
        int r;

        r = save_check(client, "restore", args->flags, RUN_STATE_FLAGS | VIR_DOMAIN_SAVE_BYPASS_CACHE, reterr);
        if (r >= 0 && !args->path)
                r = error_set(reterr, VIR_ERR_INVALID_ARG, _("restore needs the path of a save image"));
        if (r >= 0)
                r = restore_def(driver, args->path, args->xml, &def, reterr);
        if (r >= 0)
                r = domain_list_add(driver->list, def, &found, reterr);
        if (r < 0)
                return r;
        domain = domain_ref(found);
        r = job_modify_begin(&domain->job, domain->name, "restore", JOB_ACCESS_EXCLUSIVE, reterr);
        if (r < 0) {
                guest_drop_if_gone(&driver->guests, domain);
                return r;
        }
        if (domain_is_active(domain))
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is already active"), domain->name);
        else
                r = snapshot_restore(&driver->snapshots, domain, g_steal_pointer(&def),
                                     &(SnapshotRestoreArgs){ .path = args->path,
                                                             .bypass_cache = args->flags & VIR_DOMAIN_SAVE_BYPASS_CACHE,
                                                             .running = flags_running(args->flags) },
                                     reterr);
        job_modify_end(&domain->job);
        guest_drop_if_gone(&driver->guests, domain);
        return r;
}

/* ---- managed saves ---- */

bool driver_managed_save_exists(const Driver *driver, const Domain *domain) {
        g_autofree char *path = snapshot_managed_path(&driver->snapshots, domain->name);

        return g_file_test(path, G_FILE_TEST_EXISTS);
}

int driver_managed_save_remove(const Driver *driver, const Domain *domain, GError **reterr) {
        g_autofree char *path = snapshot_managed_path(&driver->snapshots, domain->name);

        if (unlink(path) < 0 && errno != ENOENT)
                return error_set_errno(reterr, errno, _("cannot remove the managed save '%s'"), path);
        return 0;
}

int driver_managed_save_start(Driver *driver, Domain *domain, unsigned flags, GError **reterr) {
        g_autofree char *path = snapshot_managed_path(&driver->snapshots, domain->name);
        g_autoptr(DomainDef) def = NULL;
        GError *error = NULL;
        int r;

        r = restore_def(driver, path, NULL, &def, &error);
        if (r >= 0 && memcmp(def->uuid, domain->uuid, sizeof(domain->uuid)) != 0)
                r = error_set(&error, VIR_ERR_OPERATION_FAILED, _("'%s' is of another domain"), path);
        if (r >= 0)
                r = snapshot_restore(&driver->snapshots, domain, g_steal_pointer(&def),
                                     &(SnapshotRestoreArgs){ .path = path, .managed = true,
                                                             .bypass_cache = flags & VIR_DOMAIN_START_BYPASS_CACHE,
                                                             .running = flags & VIR_DOMAIN_START_PAUSED ? 0 : -1 },
                                     &error);
        if (r >= 0)
                return 0;
        /* To boot it instead would throw away what the user has saved; that is for the user to decide. */
        error_set(reterr, error_code(error),
                  _("%s; to boot domain '%s' without its managed save, use start --force-boot"), error->message,
                  domain->name);
        g_error_free(error);
        return r;
}

int driver_domain_has_managed_save(DriverClient *client, const unsigned char *uuid, unsigned flags, bool *ret_yes,
                                   GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_check_flags(flags, 0, "managed save", reterr);

        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r >= 0)
                *ret_yes = driver_managed_save_exists(client->driver, domain);
        return r;
}

int driver_domain_remove_managed_save(DriverClient *client, const unsigned char *uuid, unsigned flags,
                                      GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r;

        r = driver_check_write(client, "managedsave-remove", reterr);
        if (r >= 0)
                r = driver_check_flags(flags, 0, "managedsave-remove", reterr);
        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r >= 0)
                r = job_modify_begin(&domain->job, domain->name, "managedsave-remove", JOB_ACCESS_EXCLUSIVE, reterr);
        if (r < 0)
                return r;
        r = driver_managed_save_remove(client->driver, domain, reterr);
        job_modify_end(&domain->job);
        return r;
}

/* ---- definitions in images ---- */

/* The path of the image that is meant: a managed save if uuid is given. */
static int image_path(DriverClient *client, const unsigned char *uuid, const char *path, char **ret_path,
                      GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r;

        if (!uuid) {
                if (!path || !g_path_is_absolute(path))
                        return error_set(reterr, VIR_ERR_INVALID_ARG, _("the absolute path of a save image is needed"));
                *ret_path = g_strdup(path);
                return 0;
        }
        r = driver_find(client, uuid, &domain, reterr);
        if (r >= 0 && !driver_managed_save_exists(client->driver, domain))
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' has no managed save"), domain->name);
        if (r >= 0)
                *ret_path = snapshot_managed_path(&client->driver->snapshots, domain->name);
        return r;
}

int driver_save_image_xml(DriverClient *client, const unsigned char *uuid, const char *path, unsigned flags,
                          char **ret_xml, GError **reterr) {
        g_autofree char *file = NULL;
        g_autoptr(DomainDef) def = NULL;
        int r = driver_check_flags(flags, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE, "save-image-dumpxml", reterr);

        /* A path may name any file of this host, and the answer tells something about it. */
        if (r >= 0 && (!uuid || flags & VIR_DOMAIN_SAVE_IMAGE_XML_SECURE))
                r = driver_check_write(client, "save-image-dumpxml", reterr);
        if (r >= 0)
                r = image_path(client, uuid, path, &file, reterr);
        if (r >= 0)
                r = restore_def(client->driver, file, NULL, &def, reterr);
        if (r < 0)
                return r;
        *ret_xml =
                domain_def_format(def, DOMAIN_FORMAT_INACTIVE |
                                               (flags & VIR_DOMAIN_SAVE_IMAGE_XML_SECURE ? DOMAIN_FORMAT_SECURE : 0));
        return 0;
}

int driver_save_image_define(DriverClient *client, const unsigned char *uuid, const char *path, const char *xml,
                             unsigned flags, GError **reterr) {
        g_autofree char *file = NULL, *text = NULL;
        g_autoptr(DomainDef) def = NULL;
        _cleanup_fd_ int fd = -EBADF;
        int r;

        r = save_check(client, "save-image-define", flags, RUN_STATE_FLAGS, reterr);
        if (r >= 0)
                r = image_path(client, uuid, path, &file, reterr);
        if (r >= 0)
                r = restore_def(client->driver, file, xml, &def, reterr);
        if (r < 0)
                return r;
        text = domain_def_format(def, DOMAIN_FORMAT_MIGRATABLE | DOMAIN_FORMAT_SECURE);
        fd = open(file, O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot open '%s'"), file);
        return image_writer_set_xml(fd, text, flags_running(flags), reterr);
}
