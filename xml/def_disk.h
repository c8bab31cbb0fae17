/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Disks. */

#include "xml/def_device.h"

typedef enum DiskType {
        DISK_TYPE_UNSET,
        DISK_TYPE_FILE,
        DISK_TYPE_BLOCK,
        DISK_TYPE_LAST,
} DiskType;
DEF_ENUM_DECLARE(DiskType, disk_type)

typedef enum DiskDevice {
        DISK_DEVICE_UNSET,
        DISK_DEVICE_DISK,
        DISK_DEVICE_CDROM,
        DISK_DEVICE_LAST,
} DiskDevice;
DEF_ENUM_DECLARE(DiskDevice, disk_device)

typedef enum DiskBus {
        DISK_BUS_UNSET,
        DISK_BUS_VIRTIO,
        DISK_BUS_SCSI,
        DISK_BUS_SATA,
        DISK_BUS_IDE,
        DISK_BUS_LAST,
} DiskBus;
DEF_ENUM_DECLARE(DiskBus, disk_bus)

typedef enum DiskFormat {
        DISK_FORMAT_UNSET,
        DISK_FORMAT_RAW,
        DISK_FORMAT_QCOW2,
        DISK_FORMAT_LAST,
} DiskFormat;
DEF_ENUM_DECLARE(DiskFormat, disk_format)

typedef enum DiskCache {
        DISK_CACHE_UNSET, /* QEMU's default: writeback */
        DISK_CACHE_DEFAULT,
        DISK_CACHE_NONE,
        DISK_CACHE_WRITETHROUGH,
        DISK_CACHE_WRITEBACK,
        DISK_CACHE_DIRECTSYNC,
        DISK_CACHE_UNSAFE,
        DISK_CACHE_LAST,
} DiskCache;
DEF_ENUM_DECLARE(DiskCache, disk_cache)

typedef enum DiskIo {
        DISK_IO_UNSET,
        DISK_IO_NATIVE,
        DISK_IO_THREADS,
        DISK_IO_IO_URING,
        DISK_IO_LAST,
} DiskIo;
DEF_ENUM_DECLARE(DiskIo, disk_io)

typedef enum DiskDiscard {
        DISK_DISCARD_UNSET,
        DISK_DISCARD_UNMAP,
        DISK_DISCARD_IGNORE,
        DISK_DISCARD_LAST,
} DiskDiscard;
DEF_ENUM_DECLARE(DiskDiscard, disk_discard)

typedef enum DiskDetectZeroes {
        DISK_DETECT_ZEROES_UNSET,
        DISK_DETECT_ZEROES_OFF,
        DISK_DETECT_ZEROES_ON,
        DISK_DETECT_ZEROES_UNMAP,
        DISK_DETECT_ZEROES_LAST,
} DiskDetectZeroes;
DEF_ENUM_DECLARE(DiskDetectZeroes, disk_detect_zeroes)

typedef enum DiskErrorPolicy {
        DISK_ERROR_POLICY_UNSET,
        DISK_ERROR_POLICY_STOP,
        DISK_ERROR_POLICY_REPORT,
        DISK_ERROR_POLICY_IGNORE,
        DISK_ERROR_POLICY_ENOSPACE, /* not for rerror_policy */
        DISK_ERROR_POLICY_LAST,
} DiskErrorPolicy;
DEF_ENUM_DECLARE(DiskErrorPolicy, disk_error_policy)

typedef enum DiskTray {
        DISK_TRAY_UNSET,
        DISK_TRAY_CLOSED,
        DISK_TRAY_OPEN,
        DISK_TRAY_LAST,
} DiskTray;
DEF_ENUM_DECLARE(DiskTray, disk_tray)

typedef enum DiskStartupPolicy {
        DISK_STARTUP_POLICY_UNSET, /* mandatory */
        DISK_STARTUP_POLICY_MANDATORY,
        DISK_STARTUP_POLICY_REQUISITE, /* drop if missing at boot by migration, restore; mandatory at a cold start */
        DISK_STARTUP_POLICY_OPTIONAL,  /* a missing medium is an empty drive */
        DISK_STARTUP_POLICY_LAST,
} DiskStartupPolicy;
DEF_ENUM_DECLARE(DiskStartupPolicy, disk_startup_policy)

/* One image below a disk's own, as the XML of a running guest lists them; "<backingStore/>" (type UNSET) ends the
 * chain. Kept for tools; what is opened is what the image's own metadata names. */
typedef struct DiskBackingDef {
        DiskType type;
        DiskFormat format;
        char *source;
        unsigned index;
        GPtrArray *below; /* DiskBackingDef, at most one */
} DiskBackingDef;

/* <disk> */
typedef struct DiskDef {
        DiskType type;
        DiskDevice device;
        DiskBus bus;       /* set after completion */
        char *target;      /* "vda", "sdb", "hdc": set after parsing, unique */
        char *source;      /* path of the file or block device; NULL: cdrom without a medium */
        unsigned source_index; /* live */
        DiskStartupPolicy startup_policy;
        int driver_name; /* 1: "qemu" was said, which is all there is */
        DiskFormat format; /* raw after completion if not said */
        DiskCache cache;
        DiskIo io;
        DiskDiscard discard;
        DiskDetectZeroes detect_zeroes;
        DiskErrorPolicy error_policy, rerror_policy;
        TriState copy_on_read;
        unsigned queues; /* virtio; 0: not said */
        bool readonly, shareable; /* cdrom: readonly after completion */
        char *serial, *wwn, *vendor, *product;
        unsigned logical_block_bytes, physical_block_bytes; /* 0: not said */
        DiskTray tray; /* live */
        GPtrArray *backing; /* DiskBackingDef, at most one; live */
        DeviceInfo info;
} DiskDef;
