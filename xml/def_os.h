/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How the guest boots and what its platform offers: os, sysinfo, features, clock, power. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "xml/def_enum.h"

typedef enum OsArch {
        OS_ARCH_UNSET,
        OS_ARCH_I686,
        OS_ARCH_X86_64,
        OS_ARCH_LAST,
} OsArch;
DEF_ENUM_DECLARE(OsArch, os_arch)

typedef enum OsFirmware {
        OS_FIRMWARE_UNSET,
        OS_FIRMWARE_BIOS,
        OS_FIRMWARE_EFI,
        OS_FIRMWARE_LAST,
} OsFirmware;
DEF_ENUM_DECLARE(OsFirmware, os_firmware)

typedef enum OsLoaderType {
        OS_LOADER_TYPE_UNSET,
        OS_LOADER_TYPE_ROM,
        OS_LOADER_TYPE_PFLASH,
        OS_LOADER_TYPE_LAST,
} OsLoaderType;
DEF_ENUM_DECLARE(OsLoaderType, os_loader_type)

typedef enum OsImageFormat {
        OS_IMAGE_FORMAT_UNSET,
        OS_IMAGE_FORMAT_RAW,
        OS_IMAGE_FORMAT_QCOW2,
        OS_IMAGE_FORMAT_LAST,
} OsImageFormat;
DEF_ENUM_DECLARE(OsImageFormat, os_image_format)

typedef enum OsBootDevice {
        OS_BOOT_DEVICE_UNSET,
        OS_BOOT_DEVICE_FD,
        OS_BOOT_DEVICE_HD,
        OS_BOOT_DEVICE_CDROM,
        OS_BOOT_DEVICE_NETWORK,
        OS_BOOT_DEVICE_LAST,
} OsBootDevice;
DEF_ENUM_DECLARE(OsBootDevice, os_boot_device)

typedef enum OsSmbiosMode {
        OS_SMBIOS_MODE_UNSET,
        OS_SMBIOS_MODE_EMULATE,
        OS_SMBIOS_MODE_HOST,
        OS_SMBIOS_MODE_SYSINFO,
        OS_SMBIOS_MODE_LAST,
} OsSmbiosMode;
DEF_ENUM_DECLARE(OsSmbiosMode, os_smbios_mode)

/* <boot dev=/> */
typedef struct OsBootDef {
        OsBootDevice device;
} OsBootDef;

/* <firmware><feature enabled= name=/></firmware>, for firmware='efi' */
typedef struct OsFirmwareFeatureDef {
        char *name; /* "secure-boot", "enrolled-keys" */
        TriState enabled;
} OsFirmwareFeatureDef;

/* <os> */
typedef struct OsDef {
        OsFirmware firmware; /* automatic selection; loader and nvram win if given */
        GPtrArray *firmware_features; /* OsFirmwareFeatureDef */
        OsArch arch;
        char *machine; /* canonical after completion, e.g. "pc-q35-7.2" */
        int type;      /* 1: "hvm", which is all there is */
        char *loader;
        TriState loader_readonly, loader_secure, loader_stateless;
        OsLoaderType loader_type;
        OsImageFormat loader_format;
        char *nvram;          /* path of the variable store; NULL: made up when the domain starts */
        char *nvram_template;
        OsImageFormat nvram_template_format; /* raw is all there is */
        OsImageFormat nvram_format;
        char *kernel, *initrd, *cmdline;
        GPtrArray *boots; /* OsBootDef; excluded by devices' own boot order */
        TriState bootmenu;
        int bootmenu_timeout_msec; /* -1: not said */
        OsSmbiosMode smbios_mode;
        TriState bios_useserial;
        int bios_reboot_timeout_msec; /* 0..65535, -1 is "never reboot"; -2: not said */
} OsDef;

/* <entry name=>value</entry> */
typedef struct SysinfoEntryDef {
        char *name, *value;
} SysinfoEntryDef;

/* <oemStrings><entry>value</entry></oemStrings> */
typedef struct SysinfoOemDef {
        char *value;
} SysinfoOemDef;

/* <baseBoard> may occur several times */
typedef struct SysinfoBoardDef {
        GPtrArray *entries; /* SysinfoEntryDef */
} SysinfoBoardDef;

/* <sysinfo type='smbios'> */
typedef struct SysinfoDef {
        int type;           /* 0: no <sysinfo>; 1: "smbios", which is all there is */
        GPtrArray *bios;    /* SysinfoEntryDef: vendor, version, date, release */
        GPtrArray *system;  /* SysinfoEntryDef: manufacturer, product, version, serial, uuid, sku, family */
        GPtrArray *boards;  /* SysinfoBoardDef: manufacturer, product, version, serial, asset, location */
        GPtrArray *chassis; /* SysinfoEntryDef: manufacturer, version, serial, asset, sku */
        GPtrArray *oem;     /* SysinfoOemDef */
} SysinfoDef;

typedef enum HypervMode {
        HYPERV_MODE_UNSET,
        HYPERV_MODE_CUSTOM,
        HYPERV_MODE_PASSTHROUGH,
        HYPERV_MODE_LAST,
} HypervMode;
DEF_ENUM_DECLARE(HypervMode, hyperv_mode)

/* <features><hyperv> */
typedef struct HypervDef {
        bool present;
        HypervMode mode;
        TriState relaxed, vapic, spinlocks, vpindex, runtime, synic, stimer, stimer_direct, reset, vendor_id,
                frequencies, reenlightenment, tlbflush, ipi, evmcs, avic;
        unsigned spinlocks_retries;
        char *vendor_id_value;
} HypervDef;

typedef enum IoapicDriver {
        IOAPIC_DRIVER_UNSET,
        IOAPIC_DRIVER_KVM,
        IOAPIC_DRIVER_QEMU,
        IOAPIC_DRIVER_LAST,
} IoapicDriver;
DEF_ENUM_DECLARE(IoapicDriver, ioapic_driver)

/* <features> */
typedef struct FeaturesDef {
        bool acpi, apic, pae;
        TriState apic_eoi;
        HypervDef hyperv;
        bool kvm; /* <kvm> is there */
        TriState kvm_hidden, kvm_hint_dedicated, kvm_poll_control, kvm_pv_ipi;
        TriState pmu, vmport, smm, vmcoreinfo, pvspinlock, hap;
        uint64_t smm_tseg_bytes; /* 0: not said */
        IoapicDriver ioapic;
} FeaturesDef;

typedef enum ClockOffset {
        CLOCK_OFFSET_UNSET, /* utc */
        CLOCK_OFFSET_UTC,
        CLOCK_OFFSET_LOCALTIME,
        CLOCK_OFFSET_VARIABLE,
        CLOCK_OFFSET_TIMEZONE,
        CLOCK_OFFSET_ABSOLUTE,
        CLOCK_OFFSET_LAST,
} ClockOffset;
DEF_ENUM_DECLARE(ClockOffset, clock_offset)

typedef enum ClockBasis {
        CLOCK_BASIS_UNSET, /* utc */
        CLOCK_BASIS_UTC,
        CLOCK_BASIS_LOCALTIME,
        CLOCK_BASIS_LAST,
} ClockBasis;
DEF_ENUM_DECLARE(ClockBasis, clock_basis)

typedef enum TimerName {
        TIMER_NAME_UNSET,
        TIMER_NAME_RTC,
        TIMER_NAME_PIT,
        TIMER_NAME_HPET,
        TIMER_NAME_TSC,
        TIMER_NAME_KVMCLOCK,
        TIMER_NAME_HYPERVCLOCK,
        TIMER_NAME_LAST,
} TimerName;
DEF_ENUM_DECLARE(TimerName, timer_name)

typedef enum TimerTickpolicy {
        TIMER_TICKPOLICY_UNSET,
        TIMER_TICKPOLICY_DELAY,
        TIMER_TICKPOLICY_CATCHUP,
        TIMER_TICKPOLICY_DISCARD,
        TIMER_TICKPOLICY_LAST,
} TimerTickpolicy;
DEF_ENUM_DECLARE(TimerTickpolicy, timer_tickpolicy)

typedef enum TimerTrack {
        TIMER_TRACK_UNSET,
        TIMER_TRACK_GUEST,
        TIMER_TRACK_WALL,
        TIMER_TRACK_REALTIME,
        TIMER_TRACK_LAST,
} TimerTrack;
DEF_ENUM_DECLARE(TimerTrack, timer_track)

/* <timer> */
typedef struct TimerDef {
        TimerName name;
        TriState present;
        TimerTickpolicy tickpolicy;
        TimerTrack track;      /* rtc */
        uint64_t frequency_hz; /* tsc; 0: not said */
} TimerDef;

/* <clock> */
typedef struct ClockDef {
        ClockOffset offset;
        int64_t adjustment_sec; /* variable */
        ClockBasis basis;       /* variable */
        char *timezone;         /* timezone */
        int64_t start_sec;      /* absolute: seconds since the epoch */
        GPtrArray *timers;      /* TimerDef */
} ClockDef;

typedef enum LifecycleAction {
        LIFECYCLE_ACTION_UNSET,
        LIFECYCLE_ACTION_DESTROY,
        LIFECYCLE_ACTION_RESTART,
        LIFECYCLE_ACTION_PRESERVE,
        LIFECYCLE_ACTION_LAST,
} LifecycleAction;
DEF_ENUM_DECLARE(LifecycleAction, lifecycle_action)
