/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Disks: for each image a storage node (the file) and a format node above it, down the backing chain, and the device on
 * top:
 *
 *      virtio-blk-pci ── libvirt-1-format (qcow2) ── libvirt-1-storage (file)
 *                              │ backing
 *                        libvirt-2-format (raw) ── libvirt-2-storage (file)
 */

#include <errno.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/qemu/cmdline_internal.h"
#include "driver/qemu/image.h"

char *qemu_cmdline_storage_node(unsigned index) {
        return g_strdup_printf("libvirt-%u-storage", index);
}

char *qemu_cmdline_format_node(unsigned index) {
        return g_strdup_printf("libvirt-%u-format", index);
}

static bool cache_is_direct(DiskCache cache) {
        return cache == DISK_CACHE_NONE || cache == DISK_CACHE_DIRECTSYNC;
}

static bool cache_is_said(DiskCache cache) {
        return cache != DISK_CACHE_UNSET && cache != DISK_CACHE_DEFAULT;
}

static void node_add_cache(json_object *node, const DiskDef *disk, bool direct_allowed) {
        if (!cache_is_said(disk->cache))
                return;
        json_object *cache = json_object_new_object();
        json_add_bool(cache, "direct", cache_is_direct(disk->cache) && direct_allowed);
        json_add_bool(cache, "no-flush", disk->cache == DISK_CACHE_UNSAFE);
        json_add(node, "cache", cache);
}

typedef struct Image {
        DiskType type;
        DiskFormat format;
        const char *path;
        unsigned index;
        bool read_only;
        bool top;
} Image;

static json_object *image_storage_node(const DiskDef *disk, const Image *image, bool direct_allowed) {
        g_autofree char *name = qemu_cmdline_storage_node(image->index);
        json_object *node = json_object_new_object();

        json_add_string(node, "driver", image->type == DISK_TYPE_BLOCK ? "host_device" : "file");
        json_add_string(node, "filename", image->path);
        /* aio cannot be changed by blockdev-reopen; a buffered file accepts the same kinds. */
        if (disk->io != DISK_IO_UNSET)
                json_add_string(node, "aio", disk_io_to_string(disk->io));
        json_add_string(node, "node-name", name);
        json_add_bool(node, "auto-read-only", true);
        json_add_string(node, "discard", "unmap");
        node_add_cache(node, disk, direct_allowed);
        return node;
}

static json_object *image_format_node(const DiskDef *disk, const Image *image, const Image *backing,
                                      bool direct_allowed) {
        g_autofree char *name = qemu_cmdline_format_node(image->index);
        g_autofree char *file = qemu_cmdline_storage_node(image->index);
        json_object *node = json_object_new_object();

        json_add_string(node, "node-name", name);
        json_add_bool(node, "read-only", image->read_only);
        if (image->top && disk->discard != DISK_DISCARD_UNSET)
                json_add_string(node, "discard", disk_discard_to_string(disk->discard));
        if (image->top && disk->detect_zeroes != DISK_DETECT_ZEROES_UNSET) {
                /* QEMU accepts "unmap" only where discards are passed on. */
                bool unmap = disk->detect_zeroes == DISK_DETECT_ZEROES_UNMAP && disk->discard != DISK_DISCARD_UNMAP;
                json_add_string(node, "detect-zeroes",
                                unmap ? "on" : disk_detect_zeroes_to_string(disk->detect_zeroes));
        }
        node_add_cache(node, disk, direct_allowed);
        json_add_string(node, "driver",
                        disk_format_to_string(image->format == DISK_FORMAT_UNSET ? DISK_FORMAT_RAW : image->format));
        json_add_string(node, "file", file);
        if (image->format == DISK_FORMAT_QCOW2) {
                /* NULL, and not a guess: the chain was read before the start, and must not be another one now. */
                g_autofree char *backing_node = backing ? qemu_cmdline_format_node(backing->index) : NULL;
                json_object_object_add(node, "backing", backing_node ? json_object_new_string(backing_node) : NULL);
        }
        return node;
}

/* Image number i of a disk, 0 on top; false below the last. */
static bool disk_image(const DiskDef *disk, unsigned i, Image *ret) {
        if (i == 0) {
                if (!disk->source)
                        return false;
                *ret = (Image){
                        .type = disk->type,
                        .format = disk->format,
                        .path = disk->source,
                        .index = disk->source_index,
                        .read_only = disk->readonly || disk->device == DISK_DEVICE_CDROM,
                        .top = true,
                };
                return true;
        }
        const DiskBackingDef *backing = image_below(disk, i);
        if (!backing)
                return false;
        *ret = (Image){
                .type = backing->type,
                .format = backing->format,
                .path = backing->source,
                .index = backing->index,
                .read_only = true,
        };
        return true;
}

json_object *qemu_cmdline_disk_nodes(const DiskDef *disk, bool direct_allowed) {
        json_object *nodes = json_object_new_array();
        Image image, backing;

        /* blockdev-reopen takes nodes in any order but opens what it is given together: the whole chain. */
        for (unsigned i = 0; disk_image(disk, i, &image); i++) {
                bool more = disk_image(disk, i + 1, &backing);
                json_object_array_add(nodes, image_storage_node(disk, &image, direct_allowed));
                json_object_array_add(nodes, image_format_node(disk, &image, more ? &backing : NULL, direct_allowed));
        }
        return nodes;
}

/* The nodes from the bottom up: a node must exist before another names it. */
static void add_nodes(Cmdline *cmdline, const DiskDef *disk) {
        g_autoptr(json_object) nodes = qemu_cmdline_disk_nodes(disk, true);

        for (size_t pair = json_object_array_length(nodes) / 2; pair-- > 0;) {
                cmdline_add_value(cmdline, "-blockdev", json_line(json_object_array_get_idx(nodes, pair * 2)));
                cmdline_add_value(cmdline, "-blockdev", json_line(json_object_array_get_idx(nodes, pair * 2 + 1)));
        }
}

static char *add_copy_on_read(Cmdline *cmdline, const DiskDef *disk) {
        g_autofree char *file = qemu_cmdline_format_node(disk->source_index);
        char *name = g_strdup_printf("libvirt-CoR-%s", disk->target);
        json_object *node = json_object_new_object();

        json_add_string(node, "driver", "copy-on-read");
        json_add_string(node, "node-name", name);
        json_add_string(node, "file", file);
        json_add_string(node, "discard", "unmap");
        cmdline_add_json(cmdline, "-blockdev", node);
        return name;
}

static const char *disk_driver(const DiskDef *disk) {
        bool cdrom = disk->device == DISK_DEVICE_CDROM;

        switch (disk->bus) {
        case DISK_BUS_VIRTIO:
                return "virtio-blk-pci";
        case DISK_BUS_SCSI:
                return cdrom ? "scsi-cd" : "scsi-hd";
        case DISK_BUS_SATA:
        case DISK_BUS_IDE:
                return cdrom ? "ide-cd" : "ide-hd";
        case DISK_BUS_UNSET:
        default:
                return NULL;
        }
}

/* Where the disk is plugged in. */
static int disk_add_address(Cmdline *cmdline, const DiskDef *disk, json_object *device, GError **reterr) {
        const DeviceAddress *address = &disk->info.address;

        if (disk->bus == DISK_BUS_VIRTIO)
                return cmdline_device_pci(cmdline, device, &disk->info, reterr);

        ControllerType type = disk->bus == DISK_BUS_SCSI   ? CONTROLLER_TYPE_SCSI
                              : disk->bus == DISK_BUS_SATA ? CONTROLLER_TYPE_SATA
                                                           : CONTROLLER_TYPE_IDE;
        const ControllerDef *controller = cmdline_controller(cmdline, type, address->controller);
        if (!controller || !controller->info.alias)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("disk '%s' is on controller %u of type '%s', which the domain does not have"),
                                 disk->target, address->controller, controller_type_to_string(type));

        g_autofree char *bus = NULL;
        if (disk->bus == DISK_BUS_SCSI) {
                bus = g_strdup_printf("%s.0", controller->info.alias);
                json_add_string(device, "bus", bus);
                json_add_uint64(device, "channel", address->bus);
                json_add_uint64(device, "scsi-id", address->target);
                json_add_uint64(device, "lun", address->unit);
        } else if (disk->bus == DISK_BUS_SATA) {
                bus = g_strdup_printf("%s.%u", controller->info.alias, address->unit);
                json_add_string(device, "bus", bus);
        } else {
                bus = g_strdup_printf("%s.%u", controller->info.alias, address->bus);
                json_add_string(device, "bus", bus);
                json_add_uint64(device, "unit", address->unit);
        }
        return 0;
}

static void disk_add_identity(const DiskDef *disk, json_object *device) {
        if (disk->bus == DISK_BUS_SCSI) {
                g_autofree char *id =
                        disk->serial ? g_strdup(disk->serial) : g_strdup_printf("drive-%s", disk->info.alias);
                json_add_string(device, "device_id", id);
        }
        json_add_string(device, "serial", disk->serial);
        json_add_string(device, "vendor", disk->vendor);
        json_add_string(device, "product", disk->product);
        if (disk->wwn)
                json_add_uint64(device, "wwn", g_ascii_strtoull(disk->wwn, NULL, 16));
}

static void disk_add_errors(const DiskDef *disk, json_object *device) {
        const char *write_errors = NULL, *read_errors = NULL;

        if (disk->error_policy != DISK_ERROR_POLICY_UNSET)
                write_errors = disk->error_policy == DISK_ERROR_POLICY_ENOSPACE
                                       ? "enospc"
                                       : disk_error_policy_to_string(disk->error_policy);
        if (disk->rerror_policy != DISK_ERROR_POLICY_UNSET)
                read_errors = disk_error_policy_to_string(disk->rerror_policy);
        else if (write_errors && disk->error_policy != DISK_ERROR_POLICY_ENOSPACE)
                read_errors = write_errors; /* As libvirt: error_policy speaks for both. */
        json_add_string(device, "werror", write_errors);
        json_add_string(device, "rerror", read_errors);
}

static unsigned disk_boot_index(Cmdline *cmdline, const DiskDef *disk) {
        unsigned *slot = disk->device == DISK_DEVICE_CDROM ? &cmdline->boot_cdrom : &cmdline->boot_disk;
        unsigned index = *slot;

        if (disk->info.boot_order > 0)
                return disk->info.boot_order;
        *slot = 0;
        return index;
}

static int add_disk(Cmdline *cmdline, const DiskDef *disk, GError **reterr) {
        g_autofree char *drive = NULL;
        const char *driver = disk_driver(disk);

        if (!driver)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("disk '%s' has no bus"), disk->target);
        if (disk->source) {
                add_nodes(cmdline, disk);
                drive = disk->copy_on_read == TRI_YES ? add_copy_on_read(cmdline, disk)
                                                      : qemu_cmdline_format_node(disk->source_index);
        }

        json_object *device = cmdline_device(driver, &disk->info);
        int r = disk_add_address(cmdline, disk, device, reterr);
        if (r < 0) {
                json_object_put(device);
                return r;
        }
        json_add_string(device, "drive", drive);
        cmdline_device_boot(device, disk_boot_index(cmdline, disk));
        if (disk->bus == DISK_BUS_VIRTIO && disk->queues > 0)
                json_add_uint64(device, "num-queues", disk->queues);
        if (disk->logical_block_bytes > 0)
                json_add_uint64(device, "logical_block_size", disk->logical_block_bytes);
        if (disk->physical_block_bytes > 0)
                json_add_uint64(device, "physical_block_size", disk->physical_block_bytes);
        disk_add_identity(disk, device);
        if (cache_is_said(disk->cache) && disk->source && disk->device != DISK_DEVICE_CDROM)
                json_add_string(device, "write-cache",
                                disk->cache == DISK_CACHE_WRITETHROUGH || disk->cache == DISK_CACHE_DIRECTSYNC ? "off"
                                                                                                               : "on");
        if (disk->shareable)
                json_add_bool(device, "share-rw", true);
        disk_add_errors(disk, device);
        return cmdline_add_device(cmdline, device, reterr);
}

int cmdline_add_disks(Cmdline *cmdline, GError **reterr) {
        for (unsigned i = 0; i < cmdline->def->disks->len; i++) {
                int r = add_disk(cmdline, cmdline->def->disks->pdata[i], reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}
