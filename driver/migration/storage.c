/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * A mirror job copies a disk and then sends each of the guest's writes to both sides. It is ended while the guest is
 * stopped and before QEMU hands out its device state, so both images are equal when the destination says READY, which
 * it does only after its NBD server is closed. The source's images are not changed by any of this: a failure at any
 * time leaves the source with its disks, and the destination's copies worthless; those that we made are removed.
 *
 * QEMU's NBD server knows no token. It takes as many clients as there are disks, which the source uses up; who can
 * reach the port before the source does can read and write the copies, as with libvirt's QEMU driver. So listen on a
 * network that only hosts are on.
 */

#include "driver/migration/storage.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"
#include "driver/base/spawn.h"
#include "driver/migration/migration.h"
#include "driver/qemu/cmdline.h"
#include "driver/qemu/qmp.h"
#include "driver/qemu/qmp_mirror.h"

#define JOB_PREFIX "ferry-mirror-"
#define POLL_USEC (200 * USEC_PER_MSEC)
#define END_POLL_USEC (1 * USEC_PER_MSEC)
#define END_USEC (10 * USEC_PER_SEC) /* the guest is stopped meanwhile */
#define STALL_USEC (30 * USEC_PER_SEC) /* QEMU itself waits until TCP gives up: a quarter of an hour */
#define CREATE_USEC (300 * USEC_PER_SEC) /* qcow2 of some file systems */
#define STORAGE_FLAGS (VIR_MIGRATE_NON_SHARED_DISK | VIR_MIGRATE_NON_SHARED_INC)

StorageDisk *storage_disks_copy(const StorageDisk *disks, unsigned n) {
        StorageDisk *copy = n > 0 ? g_new0(StorageDisk, n) : NULL;

        for (unsigned i = 0; i < n; i++)
                copy[i] = (StorageDisk){ .target = g_strdup(disks[i].target), .bytes = disks[i].bytes };
        return copy;
}

void storage_disks_free(StorageDisk *disks, unsigned n) {
        for (unsigned i = 0; disks && i < n; i++)
                g_free(disks[i].target);
        g_free(disks);
}

void storage_clear(Storage *storage, bool discard) {
        for (guint i = 0; discard && storage->created && i < storage->created->len; i++)
                unlink(g_ptr_array_index(storage->created, i));
        storage_disks_free(storage->disks, storage->n_disks);
        g_free(storage->uri);
        g_clear_pointer(&storage->created, g_ptr_array_unref);
        *storage = (Storage){ 0 };
}

json_object *storage_saved(const Storage *storage) {
        json_object *list = storage->created ? json_object_new_array() : NULL;

        for (guint i = 0; list && i < storage->created->len; i++)
                json_object_array_add(list, json_object_new_string(g_ptr_array_index(storage->created, i)));
        return list;
}

void storage_restore(Storage *storage, json_object *saved) {
        size_t n = saved && json_object_is_type(saved, json_type_array) ? json_object_array_length(saved) : 0;

        for (size_t i = 0; i < n; i++) {
                const char *path = json_object_get_string(json_object_array_get_idx(saved, i));

                if (!storage->created)
                        storage->created = g_ptr_array_new_with_free_func(g_free);
                if (path)
                        g_ptr_array_add(storage->created, g_strdup(path));
        }
}

static const DiskDef *find_disk(const DomainDef *def, const char *target) {
        for (unsigned i = 0; i < def->disks->len; i++) {
                const DiskDef *disk = def->disks->pdata[i];

                if (strcmp(disk->target, target) == 0)
                        return disk;
        }
        return NULL;
}

/* ---- source ---- */

static bool can_copy(const DiskDef *disk) {
        return disk->source && disk->device == DISK_DEVICE_DISK && !disk->readonly;
}

static int choose(Migration *migration, GPtrArray *chosen, GError **reterr) {
        const DomainDef *def = migration->domain->live;
        char **names = migration->params.migrate_disks;

        for (unsigned i = 0; names && names[i]; i++) {
                const DiskDef *disk = find_disk(def, names[i]);

                if (!disk || !can_copy(disk))
                        return error_set(reterr, VIR_ERR_INVALID_ARG,
                                         disk ? _("disk '%s' of domain '%s' is read-only or empty and is not copied")
                                              : _("there is no disk '%s' in domain '%s'"),
                                         names[i], migration->domain->name);
                g_ptr_array_add(chosen, (gpointer) disk);
        }
        for (unsigned i = 0; !names && i < def->disks->len; i++) {
                const DiskDef *disk = def->disks->pdata[i];

                if (can_copy(disk) && !disk->shareable)
                        g_ptr_array_add(chosen, (gpointer) disk);
        }
        if (chosen->len > STORAGE_DISKS_MAX)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("at most %d disks can be copied"),
                                 STORAGE_DISKS_MAX);
        return 0;
}

int storage_src_begin(Migration *migration, GError **reterr) {
        g_autoptr(GPtrArray) chosen = g_ptr_array_new();
        g_autoptr(DomainDef) def = NULL;
        QmpBlockNode *nodes = NULL;
        unsigned n_nodes = 0;
        int r;

        if (!(migration->params.flags & STORAGE_FLAGS))
                return 0;
        r = qmp_query_named_block_nodes(qemu_monitor(migration->domain->qemu), &nodes, &n_nodes, reterr);
        if (r >= 0 && !migration->domain->live)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"),
                              migration->domain->name);
        if (r >= 0)
                r = choose(migration, chosen, reterr);
        Storage *storage = &migration->storage;
        if (r >= 0) {
                storage->disks = g_new0(StorageDisk, chosen->len + 1);
                storage->n_disks = chosen->len;
        }
        for (guint i = 0; r >= 0 && i < chosen->len; i++) {
                const DiskDef *disk = g_ptr_array_index(chosen, i);
                g_autofree char *name = qemu_cmdline_format_node(disk->source_index);
                const QmpBlockNode *node = qmp_block_nodes_find(nodes, n_nodes, name);

                storage->disks[i] =
                        (StorageDisk){ .target = g_strdup(disk->target), .bytes = node ? node->virtual_bytes : 0 };
                if (!node)
                        r = error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("QEMU has no image for disk '%s'"),
                                      disk->target);
        }
        qmp_block_nodes_free(nodes, n_nodes);
        return r;
}

static char *job_name(const char *target) {
        return g_strconcat(JOB_PREFIX, target, NULL);
}

static int start_one(Migration *migration, Qemu *qemu, const StorageDisk *disk, const MigrationAddress *address,
                     GError **reterr) {
        const DiskDef *def = migration->domain->live ? find_disk(migration->domain->live, disk->target) : NULL;
        g_autofree char *job = job_name(disk->target);
        g_autofree char *node = qemu_cmdline_format_node(def ? def->source_index : 0);
        g_autoptr(GError) error = NULL;
        QmpMirrorArgs args = {
                .job = job,
                .node = node,
                .address = { .host = address->host, .port = address->port, .unix_path = address->unix_path },
                .name = disk->target,
                .top_only = migration->params.flags & VIR_MIGRATE_NON_SHARED_INC,
                .synchronous = migration->params.flags & VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES,
                .speed_bytes_per_sec = migration_speed_limit(migration),
        };
        int r;

        if (!def)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("domain '%s' is not running"),
                                 migration->domain->name);
        r = qmp_mirror_start(qemu_monitor(qemu), &args, &error);
        if (r < 0)
                return error_set(reterr, error_code(error), _("disk '%s' cannot be copied to the destination: %s"),
                                 disk->target, error->message);
        return 0;
}

typedef struct Progress {
        unsigned ready, ended;
        uint64_t total_bytes, done_bytes;
} Progress;

/* Sums all jobs up. The first that failed is the error. */
static int look(Qemu *qemu, Progress *ret_progress, GError **reterr) {
        Progress progress = { 0 };
        QmpMirror *mirrors = NULL;
        unsigned n = 0;
        int r = qmp_query_mirrors(qemu_monitor(qemu), &mirrors, &n, reterr);

        for (unsigned i = 0; r >= 0 && i < n; i++) {
                const QmpMirror *mirror = &mirrors[i];

                if (!g_str_has_prefix(mirror->job, JOB_PREFIX))
                        continue;
                if (mirror->ended && mirror->error)
                        r = error_set(reterr, VIR_ERR_OPERATION_FAILED, _("copying disk '%s' failed: %s"),
                                      mirror->job + strlen(JOB_PREFIX), mirror->error);
                progress.ready += mirror->ready;
                progress.ended += mirror->ended;
                progress.total_bytes += mirror->total_bytes;
                progress.done_bytes += mirror->done_bytes;
        }
        qmp_mirrors_free(mirrors, n);
        if (r >= 0)
                *ret_progress = progress;
        return r;
}

int storage_src_copy(Migration *migration, const char *uri, GError **reterr) {
        g_autoptr(Qemu) qemu = qemu_ref(migration->domain->qemu);
        g_auto(MigrationAddress) address = { 0 };
        Storage *storage = &migration->storage;
        Progress progress = { 0 };
        int r;

        if (storage->n_disks == 0)
                return 0;
        if (!uri)
                return error_set(reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                                 _("the destination does not take disks of domain '%s'"), migration->domain->name);
        r = migration_address_parse(uri, &address, reterr);
        for (unsigned i = 0; r >= 0 && i < storage->n_disks; i++)
                r = start_one(migration, qemu, &storage->disks[i], &address, reterr);
        uint64_t moved_usec = clock_monotonic_usec();
        while (r >= 0 && progress.ready < storage->n_disks) {
                r = look(qemu, &progress, reterr);
                if (progress.done_bytes != storage->done_bytes)
                        moved_usec = clock_monotonic_usec();
                else if (r >= 0 && clock_monotonic_usec() - moved_usec > STALL_USEC)
                        r = error_set(
                                reterr, VIR_ERR_OPERATION_TIMEOUT,
                                _("copying the disks of domain '%s' stands still for %u s: the connection to the "
                                  "destination is lost"),
                                migration->domain->name, (unsigned) (STALL_USEC / USEC_PER_SEC));
                storage->total_bytes = progress.total_bytes;
                storage->done_bytes = progress.done_bytes;
                if (r >= 0)
                        r = migration_check(migration, reterr);
                if (r >= 0 && progress.ready < storage->n_disks)
                        fiber_cond_wait(&migration->changed, POLL_USEC);
        }
        return r;
}

/* Until all have ended; then forgets them. */
static int wait_ended(Qemu *qemu, unsigned n, GError **reterr) {
        uint64_t deadline = clock_monotonic_usec() + END_USEC;
        Progress progress = { 0 };
        FiberCond nothing = { 0 };
        int r = 0;

        while (r >= 0 && progress.ended < n) {
                r = look(qemu, &progress, reterr);
                if (r >= 0 && clock_monotonic_usec() >= deadline)
                        r = error_set(reterr, VIR_ERR_OPERATION_TIMEOUT, _("copying the disks did not end within %u s"),
                                      (unsigned) (END_USEC / USEC_PER_SEC));
                if (r >= 0 && progress.ended < n)
                        fiber_cond_wait(&nothing, END_POLL_USEC);
        }
        return r;
}

int storage_src_finish(Migration *migration, GError **reterr) {
        g_autoptr(Qemu) qemu = qemu_ref(migration->domain->qemu);
        Storage *storage = &migration->storage;
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < storage->n_disks; i++) {
                g_autofree char *job = job_name(storage->disks[i].target);

                /* As with memory, the last of it ignores the limit. */
                r = migration_speed_limit(migration) > 0 ? qmp_mirror_set_speed(qemu_monitor(qemu), job, 0, reterr) : 0;
                if (r >= 0)
                        r = qmp_mirror_end(qemu_monitor(qemu), job, false, reterr);
        }
        if (r >= 0)
                r = wait_ended(qemu, storage->n_disks, reterr);
        if (r >= 0)
                storage->done_bytes = storage->total_bytes;
        for (unsigned i = 0; r >= 0 && i < storage->n_disks; i++) {
                g_autofree char *job = job_name(storage->disks[i].target);

                r = qmp_mirror_dismiss(qemu_monitor(qemu), job, reterr);
        }
        return r;
}

void storage_src_abort(Qemu *unowned) {
        g_autoptr(Qemu) qemu = qemu_ref(unowned);
        uint64_t deadline = clock_monotonic_usec() + END_USEC;
        FiberCond nothing = { 0 };
        bool told = false;
        unsigned left = 1;

        while (left > 0 && clock_monotonic_usec() < deadline) {
                QmpMirror *mirrors = NULL;
                unsigned n = 0;

                if (qmp_query_mirrors(qemu_monitor(qemu), &mirrors, &n, NULL) < 0)
                        return;
                left = 0;
                for (unsigned i = 0; i < n; i++) {
                        if (!g_str_has_prefix(mirrors[i].job, JOB_PREFIX))
                                continue;
                        left++;
                        if (mirrors[i].ended)
                                qmp_mirror_dismiss(qemu_monitor(qemu), mirrors[i].job, NULL);
                        else if (!told) {
                                qmp_mirror_disconnect(qemu_monitor(qemu), mirrors[i].job, NULL);
                                qmp_mirror_end(qemu_monitor(qemu), mirrors[i].job, true, NULL);
                        }
                }
                told = true;
                qmp_mirrors_free(mirrors, n);
                if (left > 0)
                        fiber_cond_wait(&nothing, END_POLL_USEC);
        }
}

/* ---- destination ---- */

static int create_one(const Migration *migration, const DiskDef *disk, const StorageDisk *theirs, GError **reterr) {
        g_autofree char *program = g_find_program_in_path("qemu-img");
        g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, theirs->bytes);
        g_autofree char *output = NULL;
        g_autoptr(GError) error = NULL;
        const char *const argv[] = { program, "create",     "-q", "-f", disk_format_to_string(disk->format),
                                     "--",    disk->source, size, NULL };

        if (migration->params.flags & VIR_MIGRATE_NON_SHARED_INC)
                return error_set(
                        reterr, VIR_ERR_OPERATION_FAILED,
                        _("the destination has no image '%s' for disk '%s': an incremental copy needs one on top of "
                          "the same backing image; make it with 'qemu-img create -f qcow2 -b ...'"),
                        disk->source, disk->target);
        if (!program)
                return error_set(
                        reterr, VIR_ERR_OPERATION_FAILED,
                        _("the image '%s' cannot be created: there is no qemu-img; install it, or create the image"),
                        disk->source);
        if (spawn_run(argv, CREATE_USEC, &output, &error) < 0)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the image '%s' for disk '%s' cannot be created: %s"), disk->source, disk->target,
                                 error->message);
        return 0;
}

int storage_dst_create(Migration *migration, const DomainDef *def, GError **reterr) {
        Storage *storage = &migration->storage;

        for (unsigned i = 0; i < storage->n_disks; i++) {
                const StorageDisk *theirs = &storage->disks[i];
                const DiskDef *disk = find_disk(def, theirs->target);
                int r;

                if (!disk || !can_copy(disk))
                        return error_set(reterr, VIR_ERR_INVALID_ARG,
                                         _("the destination's definition of domain '%s' has no writable disk '%s'"),
                                         def->name, theirs->target);
                if (disk->type != DISK_TYPE_FILE || access(disk->source, F_OK) == 0)
                        continue;
                r = create_one(migration, disk, theirs, reterr);
                if (r < 0)
                        return r;
                if (!storage->created)
                        storage->created = g_ptr_array_new_with_free_func(g_free);
                g_ptr_array_add(storage->created, g_strdup(disk->source));
        }
        return 0;
}

static int check_sizes(const Migration *migration, GError **reterr) {
        const Storage *storage = &migration->storage;
        QmpBlockNode *nodes = NULL;
        unsigned n_nodes = 0;
        int r;

        r = qmp_query_named_block_nodes(qemu_monitor(migration->domain->qemu), &nodes, &n_nodes, reterr);
        for (unsigned i = 0; r >= 0 && i < storage->n_disks; i++) {
                const StorageDisk *theirs = &storage->disks[i];
                const DiskDef *disk = find_disk(migration->domain->live, theirs->target);
                g_autofree char *name = qemu_cmdline_format_node(disk->source_index);
                const QmpBlockNode *node = qmp_block_nodes_find(nodes, n_nodes, name);

                if (!node || node->virtual_bytes != theirs->bytes)
                        r = error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                      _("disk '%s' has %" G_GUINT64_FORMAT " bytes on the source and %" G_GUINT64_FORMAT
                                        " in '%s' here: make the image anew with the same size"),
                                      theirs->target, theirs->bytes, node ? node->virtual_bytes : 0, disk->source);
        }
        qmp_block_nodes_free(nodes, n_nodes);
        return r;
}

/* The last port of the range that is free: the engine takes the first. */
static int listen_somewhere(Migration *migration, const char *listen, unsigned *ret_port, GError **reterr) {
        const MigrationContext *context = migration->context;
        unsigned clients = migration->storage.n_disks, wanted = migration->params.disks_port;
        unsigned first = wanted ? wanted : context->port_max, last = wanted ? wanted : context->port_min;

        for (unsigned port = first;; port--) {
                g_autoptr(GError) error = NULL;
                QmpNbdAddress address = { .host = listen ? listen : "", .port = port };
                int r = qmp_nbd_server_start(qemu_monitor(migration->domain->qemu), &address, clients, &error);

                if (r >= 0) {
                        *ret_port = port;
                        return 0;
                }
                if (port == last || !strstr(error->message, "in use"))
                        return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                         _("the destination cannot listen for disks on port %u: %s"), port,
                                         error->message);
        }
}

int storage_dst_serve(Migration *migration, const char *listen, const char *host, char **ret_uri, GError **reterr) {
        Storage *storage = &migration->storage;
        Monitor *monitor = qemu_monitor(migration->domain->qemu);
        g_auto(MigrationAddress) address = { 0 };
        unsigned port = 0;
        int r;

        if (storage->n_disks == 0)
                return 0;
        r = check_sizes(migration, reterr);
        if (r >= 0 && migration->params.disks_uri)
                r = migration_address_parse(migration->params.disks_uri, &address, reterr);
        if (r < 0)
                return r;
        if (address.unix_path) {
                QmpNbdAddress unix_address = { .unix_path = address.unix_path };

                r = qmp_nbd_server_start(monitor, &unix_address, storage->n_disks, reterr);
        } else {
                if (address.port > 0)
                        migration->params.disks_port = address.port;
                r = listen_somewhere(migration, address.host ? address.host : listen, &port, reterr);
        }
        for (unsigned i = 0; r >= 0 && i < storage->n_disks; i++) {
                const DiskDef *disk = find_disk(migration->domain->live, storage->disks[i].target);
                g_autofree char *node = qemu_cmdline_format_node(disk->source_index);

                r = qmp_nbd_export(monitor, node, storage->disks[i].target, reterr);
        }
        if (r >= 0)
                *ret_uri = address.unix_path ? g_strdup(migration->params.disks_uri)
                                             : migration_address_format(address.host ? address.host : host, port);
        return r;
}

int storage_dst_close(Migration *migration, GError **reterr) {
        return migration->storage.n_disks > 0 ? qmp_nbd_server_stop(qemu_monitor(migration->domain->qemu), reterr) : 0;
}
