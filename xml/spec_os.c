/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def_os.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(OsArch, OS_ARCH_LAST, os_arch, "i686", "x86_64")
DEF_ENUM_DEFINE(OsFirmware, OS_FIRMWARE_LAST, os_firmware, "bios", "efi")
DEF_ENUM_DEFINE(OsLoaderType, OS_LOADER_TYPE_LAST, os_loader_type, "rom", "pflash")
DEF_ENUM_DEFINE(OsImageFormat, OS_IMAGE_FORMAT_LAST, os_image_format, "raw", "qcow2")
DEF_ENUM_DEFINE(OsBootDevice, OS_BOOT_DEVICE_LAST, os_boot_device, "fd", "hd", "cdrom", "network")
DEF_ENUM_DEFINE(OsSmbiosMode, OS_SMBIOS_MODE_LAST, os_smbios_mode, "emulate", "host", "sysinfo")
DEF_ENUM_DEFINE(HypervMode, HYPERV_MODE_LAST, hyperv_mode, "custom", "passthrough")
DEF_ENUM_DEFINE(IoapicDriver, IOAPIC_DRIVER_LAST, ioapic_driver, "kvm", "qemu")
DEF_ENUM_DEFINE(ClockOffset, CLOCK_OFFSET_LAST, clock_offset, "utc", "localtime", "variable", "timezone", "absolute")
DEF_ENUM_DEFINE(ClockBasis, CLOCK_BASIS_LAST, clock_basis, "utc", "localtime")
DEF_ENUM_DEFINE(TimerName, TIMER_NAME_LAST, timer_name, "rtc", "pit", "hpet", "tsc", "kvmclock", "hypervclock")
DEF_ENUM_DEFINE(TimerTickpolicy, TIMER_TICKPOLICY_LAST, timer_tickpolicy, "delay", "catchup", "discard")
DEF_ENUM_DEFINE(TimerTrack, TIMER_TRACK_LAST, timer_track, "guest", "wall", "realtime")
DEF_ENUM_DEFINE(LifecycleAction, LIFECYCLE_ACTION_LAST, lifecycle_action, "destroy", "restart", "preserve")

static const char *const os_type_names[] = { NULL, "hvm", NULL };
static const char *const sysinfo_type_names[] = { NULL, "smbios", NULL };

#define AT(member) .offset = offsetof(OsBootDef, member)
const BindSpec os_boot_spec = {
        .name = "boot",
        .size = sizeof(OsBootDef),
        .fields = (const BindField[]) {
                { "@dev", BIND_ENUM, AT(device), .names = os_boot_device_names, .flags = BIND_REQUIRED },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(OsFirmwareFeatureDef, member)
static const BindSpec os_firmware_feature_spec = {
        .name = "feature",
        .size = sizeof(OsFirmwareFeatureDef),
        .fields = (const BindField[]) {
                { "@enabled", BIND_YESNO, AT(enabled), .flags = BIND_REQUIRED },
                { "@name", BIND_STRING, AT(name), .flags = BIND_REQUIRED },
                {},
        },
};
#undef AT

/* What the guest has read at its start does not matter to it any more: host. */
#define AT(member) .offset = offsetof(OsDef, member)
const BindSpec os_spec = {
        .name = "os",
        .size = sizeof(OsDef),
        .fields = (const BindField[]) {
                { "@firmware", BIND_ENUM, AT(firmware), .names = os_firmware_names, .flags = BIND_HOST },
                { "type/@arch", BIND_ENUM, AT(arch), .names = os_arch_names },
                { "type/@machine", BIND_STRING, AT(machine) },
                { "type", BIND_ENUM, AT(type), .names = os_type_names, .flags = BIND_REQUIRED },
                { "firmware/feature", BIND_LIST, AT(firmware_features), .spec = &os_firmware_feature_spec,
                  .flags = BIND_HOST },
                { "loader/@readonly", BIND_YESNO, AT(loader_readonly), .flags = BIND_HOST },
                { "loader/@secure", BIND_YESNO, AT(loader_secure) },
                { "loader/@type", BIND_ENUM, AT(loader_type), .names = os_loader_type_names },
                { "loader/@stateless", BIND_YESNO, AT(loader_stateless) },
                { "loader/@format", BIND_ENUM, AT(loader_format), .names = os_image_format_names, .flags = BIND_HOST },
                { "loader", BIND_STRING, AT(loader), .flags = BIND_HOST },
                { "nvram/@template", BIND_STRING, AT(nvram_template), .flags = BIND_HOST },
                { "nvram/@templateFormat", BIND_ENUM, AT(nvram_template_format), .names = os_image_format_names,
                  .allow = SPEC_BIT(OS_IMAGE_FORMAT_RAW), .flags = BIND_HOST },
                { "nvram/@format", BIND_ENUM, AT(nvram_format), .names = os_image_format_names, .flags = BIND_HOST },
                { "nvram", BIND_STRING, AT(nvram), .flags = BIND_HOST },
                { "kernel", BIND_STRING, AT(kernel), .flags = BIND_HOST },
                { "initrd", BIND_STRING, AT(initrd), .flags = BIND_HOST },
                { "cmdline", BIND_STRING, AT(cmdline), .flags = BIND_HOST },
                { "boot", BIND_LIST, AT(boots), .spec = &os_boot_spec, .flags = BIND_HOST },
                { "bootmenu/@enable", BIND_YESNO, AT(bootmenu), .flags = BIND_HOST },
                { "bootmenu/@timeout", BIND_INT, AT(bootmenu_timeout_msec), .unset = -1, .max = 65535,
                  .flags = BIND_HOST },
                { "smbios/@mode", BIND_ENUM, AT(smbios_mode), .names = os_smbios_mode_names },
                { "bios/@useserial", BIND_YESNO, AT(bios_useserial), .flags = BIND_HOST },
                { "bios/@rebootTimeout", BIND_INT, AT(bios_reboot_timeout_msec), .unset = -2, .min = -1,
                  .max = 65535, .flags = BIND_HOST },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(SysinfoEntryDef, member)
static const BindSpec sysinfo_entry_spec = {
        .name = "entry",
        .size = sizeof(SysinfoEntryDef),
        .fields = (const BindField[]) {
                { "@name", BIND_STRING, AT(name), .flags = BIND_REQUIRED },
                { "", BIND_STRING, AT(value) },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(SysinfoOemDef, member)
static const BindSpec sysinfo_oem_spec = {
        .name = "entry",
        .size = sizeof(SysinfoOemDef),
        .fields = (const BindField[]) {
                { "", BIND_STRING, AT(value), .flags = BIND_REQUIRED },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(SysinfoBoardDef, member)
static const BindSpec sysinfo_board_spec = {
        .name = "baseBoard",
        .size = sizeof(SysinfoBoardDef),
        .fields = (const BindField[]) {
                { "entry", BIND_LIST, AT(entries), .spec = &sysinfo_entry_spec },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(SysinfoDef, member)
const BindSpec sysinfo_spec = {
        .name = "sysinfo",
        .size = sizeof(SysinfoDef),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(type), .names = sysinfo_type_names, .flags = BIND_REQUIRED },
                { "bios/entry", BIND_LIST, AT(bios), .spec = &sysinfo_entry_spec },
                { "system/entry", BIND_LIST, AT(system), .spec = &sysinfo_entry_spec },
                { "baseBoard", BIND_LIST, AT(boards), .spec = &sysinfo_board_spec },
                { "chassis/entry", BIND_LIST, AT(chassis), .spec = &sysinfo_entry_spec },
                { "oemStrings/entry", BIND_LIST, AT(oem), .spec = &sysinfo_oem_spec },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(HypervDef, member)
static const BindSpec hyperv_spec = {
        .name = "hyperv",
        .size = sizeof(HypervDef),
        .fields = (const BindField[]) {
                { "", BIND_PRESENT, AT(present) },
                { "@mode", BIND_ENUM, AT(mode), .names = hyperv_mode_names },
                { "relaxed", BIND_STATE, AT(relaxed) },
                { "vapic", BIND_STATE, AT(vapic) },
                { "spinlocks", BIND_STATE, AT(spinlocks) },
                { "spinlocks/@retries", BIND_UINT, AT(spinlocks_retries), .min = 4095 },
                { "vpindex", BIND_STATE, AT(vpindex) },
                { "runtime", BIND_STATE, AT(runtime) },
                { "synic", BIND_STATE, AT(synic) },
                { "stimer", BIND_STATE, AT(stimer) },
                { "stimer/direct", BIND_STATE, AT(stimer_direct) },
                { "reset", BIND_STATE, AT(reset) },
                { "vendor_id", BIND_STATE, AT(vendor_id) },
                { "vendor_id/@value", BIND_STRING, AT(vendor_id_value) },
                { "frequencies", BIND_STATE, AT(frequencies) },
                { "reenlightenment", BIND_STATE, AT(reenlightenment) },
                { "tlbflush", BIND_STATE, AT(tlbflush) },
                { "ipi", BIND_STATE, AT(ipi) },
                { "evmcs", BIND_STATE, AT(evmcs) },
                { "avic", BIND_STATE, AT(avic) },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(FeaturesDef, member)
const BindSpec features_spec = {
        .name = "features",
        .size = sizeof(FeaturesDef),
        .fields = (const BindField[]) {
                { "acpi", BIND_PRESENT, AT(acpi) },
                { "apic", BIND_PRESENT, AT(apic) },
                { "apic/@eoi", BIND_ONOFF, AT(apic_eoi) },
                { "pae", BIND_PRESENT, AT(pae) },
                { "hap", BIND_STATE, AT(hap) },
                { "hyperv", BIND_STRUCT, AT(hyperv), .spec = &hyperv_spec },
                { "kvm", BIND_PRESENT, AT(kvm) },
                { "kvm/hidden", BIND_STATE, AT(kvm_hidden) },
                { "kvm/hint-dedicated", BIND_STATE, AT(kvm_hint_dedicated) },
                { "kvm/poll-control", BIND_STATE, AT(kvm_poll_control) },
                { "kvm/pv-ipi", BIND_STATE, AT(kvm_pv_ipi) },
                { "pvspinlock", BIND_STATE, AT(pvspinlock) },
                { "pmu", BIND_STATE, AT(pmu) },
                { "vmport", BIND_STATE, AT(vmport) },
                { "ioapic/@driver", BIND_ENUM, AT(ioapic), .names = ioapic_driver_names },
                { "smm", BIND_STATE, AT(smm) },
                { "smm/tseg", BIND_BYTES, AT(smm_tseg_bytes) },
                { "vmcoreinfo", BIND_STATE, AT(vmcoreinfo) },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(TimerDef, member)
static const BindSpec timer_spec = {
        .name = "timer",
        .size = sizeof(TimerDef),
        .fields = (const BindField[]) {
                { "@name", BIND_ENUM, AT(name), .names = timer_name_names, .flags = BIND_REQUIRED },
                { "@track", BIND_ENUM, AT(track), .names = timer_track_names, .when = SPEC_BIT(TIMER_NAME_RTC) },
                { "@tickpolicy", BIND_ENUM, AT(tickpolicy), .names = timer_tickpolicy_names,
                  .when = SPEC_BIT(TIMER_NAME_RTC) | SPEC_BIT(TIMER_NAME_PIT) },
                { "@frequency", BIND_U64, AT(frequency_hz), .when = SPEC_BIT(TIMER_NAME_TSC) },
                { "@present", BIND_YESNO, AT(present) },
                {},
        },
        .discriminator = "@name",
};
#undef AT

#define AT(member) .offset = offsetof(ClockDef, member)
const BindSpec clock_spec = {
        .name = "clock",
        .size = sizeof(ClockDef),
        .fields = (const BindField[]) {
                { "@offset", BIND_ENUM, AT(offset), .names = clock_offset_names },
                { "@adjustment", BIND_I64, AT(adjustment_sec), .when = SPEC_BIT(CLOCK_OFFSET_VARIABLE),
                  .flags = BIND_HOST | BIND_ALWAYS },
                { "@basis", BIND_ENUM, AT(basis), .names = clock_basis_names, .when = SPEC_BIT(CLOCK_OFFSET_VARIABLE) },
                { "@timezone", BIND_STRING, AT(timezone), .when = SPEC_BIT(CLOCK_OFFSET_TIMEZONE) },
                { "@start", BIND_I64, AT(start_sec), .when = SPEC_BIT(CLOCK_OFFSET_ABSOLUTE), .flags = BIND_ALWAYS,
                  .min = 0 },
                { "timer", BIND_LIST, AT(timers), .spec = &timer_spec },
                {},
        },
        .discriminator = "@offset",
        .discriminator_default = CLOCK_OFFSET_UTC,
};
#undef AT
