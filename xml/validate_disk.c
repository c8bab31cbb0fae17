/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "driver/base/i18n.h"
#include "xml/disk_name.h"
#include "xml/validate_internal.h"

static int unsupported(const DiskDef *disk, const char *why, GError **reterr) {
        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("disk '%s': %s"), disk->target, why);
}

static int validate_bus(const DomainDef *def, const DiskDef *disk, GError **reterr) {
        if (disk->bus == DISK_BUS_IDE && !domain_def_is_i440fx(def))
                return unsupported(disk, _("machine 'q35' has no IDE bus, use bus 'sata'"), reterr);
        if (disk->device == DISK_DEVICE_CDROM && disk->bus == DISK_BUS_VIRTIO)
                return unsupported(disk, _("a cdrom cannot be on bus 'virtio', use 'sata' or 'scsi'"), reterr);
        if (disk->device == DISK_DEVICE_DISK && disk->readonly &&
            (disk->bus == DISK_BUS_IDE || disk->bus == DISK_BUS_SATA))
                return unsupported(disk,
                                   _("a disk on bus 'ide' or 'sata' cannot be readonly, use bus 'virtio' or 'scsi'"),
                                   reterr);
        if (disk->queues && disk->bus != DISK_BUS_VIRTIO)
                return unsupported(disk, _("queues= needs bus 'virtio'"), reterr);
        if ((disk->vendor || disk->product) && disk->bus != DISK_BUS_SCSI)
                return unsupported(disk, _("<vendor> and <product> need bus 'scsi'"), reterr);
        if (disk->wwn && disk->bus == DISK_BUS_VIRTIO)
                return unsupported(disk, _("<wwn> does not go with bus 'virtio'"), reterr);
        if (disk->bus == DISK_BUS_VIRTIO && disk_name_index(disk->target) < 0)
                return unsupported(disk, _("its name must be like 'vda'"), reterr);
        return 0;
}

static int validate_source(const DiskDef *disk, GError **reterr) {
        if (!disk->source && disk->device != DISK_DEVICE_CDROM)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("disk '%s' has no <source>"), disk->target);
        if (disk->source && disk->source[0] != '/')
                return error_set(reterr, VIR_ERR_XML_ERROR, _("disk '%s': the source '%s' is not an absolute path"),
                                 disk->target, disk->source);
        if (disk->startup_policy && disk->startup_policy != DISK_STARTUP_POLICY_MANDATORY &&
            disk->device != DISK_DEVICE_CDROM)
                return unsupported(disk, _("a startupPolicy other than 'mandatory' needs device 'cdrom'"), reterr);
        return 0;
}

static int validate_driver(const DiskDef *disk, GError **reterr) {
        if (disk->io == DISK_IO_NATIVE && disk->cache != DISK_CACHE_NONE && disk->cache != DISK_CACHE_DIRECTSYNC)
                return unsupported(disk, _("io='native' needs cache 'none' or 'directsync'"), reterr);
        if (disk->shareable && disk->format != DISK_FORMAT_RAW)
                return unsupported(disk, _("a shareable disk needs driver type 'raw'"), reterr);
        if (disk->copy_on_read == TRI_YES && (disk->readonly || disk->shareable))
                return unsupported(disk, _("copy_on_read does not go with readonly or shareable"), reterr);
        return 0;
}

static bool is_printable(const char *text, size_t max) {
        for (const char *c = text; *c; c++)
                if (*c < 0x20 || *c > 0x7e)
                        return false;
        return strlen(text) <= max;
}

static int validate_strings(const DiskDef *disk, GError **reterr) {
        if (disk->serial && !is_printable(disk->serial, 256))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("disk '%s': the serial is too long or has odd characters"), disk->target);
        if (disk->wwn && (strlen(disk->wwn) != 16 || strspn(disk->wwn, "0123456789abcdefABCDEF") != 16))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("disk '%s': <wwn> must be 16 hex digits"), disk->target);
        if (disk->vendor && !is_printable(disk->vendor, 8))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("disk '%s': <vendor> must be at most 8 printable characters"), disk->target);
        if (disk->product && !is_printable(disk->product, 16))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("disk '%s': <product> must be at most 16 printable characters"), disk->target);
        if (disk->logical_block_bytes & (disk->logical_block_bytes - 1) ||
            disk->physical_block_bytes & (disk->physical_block_bytes - 1))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("disk '%s': block sizes must be powers of two"),
                                 disk->target);
        return 0;
}

static int validate_place(const DiskDef *disk, GError **reterr) {
        const DeviceAddress *address = &disk->info.address;
        bool bad = false;

        switch (disk->bus) {
        case DISK_BUS_IDE:
                bad = address->controller > 0 || address->bus > 1 || address->target > 0 || address->unit > 1;
                break;
        case DISK_BUS_SATA:
                bad = address->bus > 0 || address->target > 0 || address->unit > 5;
                break;
        case DISK_BUS_SCSI:
                bad = address->bus > 0;
                break;
        default:
                return 0;
        }
        if (bad)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("disk '%s': bus '%s' has no place %u:%u:%u:%u"),
                                 disk->target, disk_bus_to_string(disk->bus), address->controller, address->bus,
                                 address->target, address->unit);
        return 0;
}

static int validate_pair(const DiskDef *a, const DiskDef *b, GError **reterr) {
        const DeviceAddress *x = &a->info.address, *y = &b->info.address;

        if (g_str_equal(a->target, b->target))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("target '%s' is used by more than one disk"), a->target);
        if (a->bus == b->bus && x->type == ADDRESS_TYPE_DRIVE && x->controller == y->controller && x->bus == y->bus &&
            x->target == y->target && x->unit == y->unit)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("disks '%s' and '%s' have the same place on bus '%s'"),
                                 b->target, a->target, disk_bus_to_string(a->bus));
        return 0;
}

int validate_disks(const DomainDef *def, GError **reterr) {
        for (unsigned i = 0; i < def->disks->len; i++) {
                const DiskDef *disk = g_ptr_array_index(def->disks, i);
                int r;

                if (!*disk->target || strlen(disk->target) > 32 || strchr(disk->target, '/'))
                        return error_set(reterr, VIR_ERR_XML_ERROR, _("<target dev='%.64s'> is not a name for a disk"),
                                         disk->target);
                r = validate_bus(def, disk, reterr);
                if (r == 0)
                        r = validate_source(disk, reterr);
                if (r == 0)
                        r = validate_driver(disk, reterr);
                if (r == 0)
                        r = validate_strings(disk, reterr);
                if (r == 0)
                        r = validate_place(disk, reterr);
                for (unsigned j = 0; j < i && r == 0; j++)
                        r = validate_pair(disk, g_ptr_array_index(def->disks, j), reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}
