/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def_disk.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(DiskType, DISK_TYPE_LAST, disk_type, "file", "block")
DEF_ENUM_DEFINE(DiskDevice, DISK_DEVICE_LAST, disk_device, "disk", "cdrom")
DEF_ENUM_DEFINE(DiskBus, DISK_BUS_LAST, disk_bus, "virtio", "scsi", "sata", "ide")
DEF_ENUM_DEFINE(DiskFormat, DISK_FORMAT_LAST, disk_format, "raw", "qcow2")
DEF_ENUM_DEFINE(DiskCache, DISK_CACHE_LAST, disk_cache, "default", "none", "writethrough", "writeback",
                "directsync", "unsafe")
DEF_ENUM_DEFINE(DiskIo, DISK_IO_LAST, disk_io, "native", "threads", "io_uring")
DEF_ENUM_DEFINE(DiskDiscard, DISK_DISCARD_LAST, disk_discard, "unmap", "ignore")
DEF_ENUM_DEFINE(DiskDetectZeroes, DISK_DETECT_ZEROES_LAST, disk_detect_zeroes, "off", "on", "unmap")
DEF_ENUM_DEFINE(DiskErrorPolicy, DISK_ERROR_POLICY_LAST, disk_error_policy, "stop", "report", "ignore", "enospace")
DEF_ENUM_DEFINE(DiskTray, DISK_TRAY_LAST, disk_tray, "closed", "open")
DEF_ENUM_DEFINE(DiskStartupPolicy, DISK_STARTUP_POLICY_LAST, disk_startup_policy, "mandatory", "requisite", "optional")

static const char *const driver_name_names[] = { NULL, "qemu", NULL };

#define TYPE_FILE SPEC_BIT(DISK_TYPE_FILE)
#define TYPE_BLOCK SPEC_BIT(DISK_TYPE_BLOCK)
#define TYPE_ANY (TYPE_FILE | TYPE_BLOCK)

#define AT(member) .offset = offsetof(DiskBackingDef, member)
static const BindSpec backing_spec = {
        .name = "backingStore",
        .size = sizeof(DiskBackingDef),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(type), .names = disk_type_names },
                { "@index", BIND_UINT, AT(index), .when = TYPE_ANY },
                { "format/@type", BIND_ENUM, AT(format), .names = disk_format_names, .when = TYPE_ANY },
                { "source/@file", BIND_STRING, AT(source), .when = TYPE_FILE, .flags = BIND_REQUIRED },
                { "source/@dev", BIND_STRING, AT(source), .when = TYPE_BLOCK, .flags = BIND_REQUIRED },
                { "backingStore", BIND_LIST, AT(below), .spec = &backing_spec, .when = TYPE_ANY, .max = 1 },
                {},
        },
        .discriminator = "@type",
};
#undef AT

#define AT(member) .offset = offsetof(DiskDef, member)
const BindSpec disk_spec = {
        .name = "disk",
        .size = sizeof(DiskDef),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(type), .names = disk_type_names, .flags = BIND_HOST },
                { "@device", BIND_ENUM, AT(device), .names = disk_device_names },
                { "driver/@name", BIND_ENUM, AT(driver_name), .names = driver_name_names, .flags = BIND_HOST },
                { "driver/@type", BIND_ENUM, AT(format), .names = disk_format_names, .flags = BIND_HOST },
                { "driver/@cache", BIND_ENUM, AT(cache), .names = disk_cache_names, .flags = BIND_HOST },
                { "driver/@error_policy", BIND_ENUM, AT(error_policy), .names = disk_error_policy_names,
                  .flags = BIND_HOST },
                { "driver/@rerror_policy", BIND_ENUM, AT(rerror_policy), .names = disk_error_policy_names,
                  .allow = SPEC_BIT(DISK_ERROR_POLICY_STOP) | SPEC_BIT(DISK_ERROR_POLICY_REPORT) |
                           SPEC_BIT(DISK_ERROR_POLICY_IGNORE),
                  .flags = BIND_HOST },
                { "driver/@io", BIND_ENUM, AT(io), .names = disk_io_names, .flags = BIND_HOST },
                { "driver/@copy_on_read", BIND_ONOFF, AT(copy_on_read), .flags = BIND_HOST },
                { "driver/@discard", BIND_ENUM, AT(discard), .names = disk_discard_names, .flags = BIND_HOST },
                { "driver/@queues", BIND_UINT, AT(queues), .min = 1, .max = 1024 },
                { "driver/@detect_zeroes", BIND_ENUM, AT(detect_zeroes), .names = disk_detect_zeroes_names,
                  .flags = BIND_HOST },
                { "source/@file", BIND_STRING, AT(source), .when = TYPE_FILE, .flags = BIND_HOST },
                { "source/@dev", BIND_STRING, AT(source), .when = TYPE_BLOCK, .flags = BIND_HOST },
                { "source/@startupPolicy", BIND_ENUM, AT(startup_policy), .names = disk_startup_policy_names,
                  .flags = BIND_HOST },
                { "source/@index", BIND_UINT, AT(source_index), .flags = BIND_HOST },
                { "backingStore", BIND_LIST, AT(backing), .spec = &backing_spec, .max = 1, .flags = BIND_HOST },
                { "target/@dev", BIND_STRING, AT(target), .flags = BIND_REQUIRED },
                { "target/@bus", BIND_ENUM, AT(bus), .names = disk_bus_names },
                { "target/@tray", BIND_ENUM, AT(tray), .names = disk_tray_names, .flags = BIND_HOST },
                { "blockio/@logical_block_size", BIND_UINT, AT(logical_block_bytes), .min = 512, .max = 2097152 },
                { "blockio/@physical_block_size", BIND_UINT, AT(physical_block_bytes), .min = 512, .max = 2097152 },
                { "readonly", BIND_PRESENT, AT(readonly) },
                { "shareable", BIND_PRESENT, AT(shareable) },
                { "serial", BIND_STRING, AT(serial) },
                { "wwn", BIND_STRING, AT(wwn) },
                { "vendor", BIND_STRING, AT(vendor) },
                { "product", BIND_STRING, AT(product) },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
        .discriminator = "@type",
        .discriminator_default = DISK_TYPE_FILE,
};
#undef AT
