/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(VirtType, VIRT_TYPE_LAST, virt_type, "qemu", "kvm")
DEF_ENUM_DEFINE(SeclabelType, SECLABEL_TYPE_LAST, seclabel_type, "none", "dynamic")

static_assert(offsetof(DomainDef, has_uuid) == offsetof(DomainDef, uuid) + UUID_BYTES,
              "BIND_UUID wants the bool behind the bytes");

#define AT(member) .offset = offsetof(SeclabelDef, member)
static const BindSpec seclabel_spec = {
        .name = "seclabel",
        .size = sizeof(SeclabelDef),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(type), .names = seclabel_type_names },
                { "@model", BIND_STRING, AT(model) },
                { "@relabel", BIND_YESNO, AT(relabel) },
                { "label", BIND_STRING, AT(label) },
                { "imagelabel", BIND_STRING, AT(imagelabel) },
                { "baselabel", BIND_STRING, AT(baselabel) },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(QemuArgDef, member)
static const BindSpec qemu_arg_spec = {
        .name = "qemu:arg",
        .size = sizeof(QemuArgDef),
        .fields = (const BindField[]) {
                { "@value", BIND_STRING, AT(value), .flags = BIND_REQUIRED },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(QemuEnvDef, member)
static const BindSpec qemu_env_spec = {
        .name = "qemu:env",
        .size = sizeof(QemuEnvDef),
        .fields = (const BindField[]) {
                { "@name", BIND_STRING, AT(name), .flags = BIND_REQUIRED },
                { "@value", BIND_STRING, AT(value) },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(DomainDef, member)
#define DEVICES(element, member, table) { "devices/" element, BIND_LIST, AT(member), .spec = &table }

/* The order is libvirt's. */
const BindSpec domain_spec = {
        .name = "domain",
        .size = sizeof(DomainDef),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(virt_type), .names = virt_type_names, .flags = BIND_REQUIRED },
                { "@id", BIND_INT, AT(id), .unset = -1, .min = -1, .flags = BIND_HOST },
                { "name", BIND_STRING, AT(name), .flags = BIND_REQUIRED | BIND_HOST },
                { "uuid", BIND_UUID, AT(uuid) },
                { "genid", BIND_STRING, AT(genid), .flags = BIND_EMPTY },
                { "title", BIND_STRING, AT(title), .flags = BIND_HOST },
                { "description", BIND_STRING, AT(description), .flags = BIND_HOST },
                { "metadata", BIND_RAW, AT(metadata), .flags = BIND_HOST },
                { "maxMemory/@slots", BIND_UINT, AT(memory.max_slots), .max = 256 },
                { "maxMemory", BIND_BYTES, AT(memory.max_bytes) },
                { "memory", BIND_BYTES, AT(memory.total_bytes) },
                { "memory/@dumpCore", BIND_ONOFF, AT(memory.dump_core), .flags = BIND_HOST },
                { "currentMemory", BIND_BYTES, AT(memory.current_bytes), .flags = BIND_HOST },
                { "memoryBacking", BIND_STRUCT, AT(backing), .spec = &memory_backing_spec, .flags = BIND_HOST },
                { "vcpu/@placement", BIND_ENUM, AT(vcpu.placement), .names = vcpu_placement_names, .flags = BIND_HOST },
                { "vcpu/@cpuset", BIND_BITSET, AT(vcpu.cpuset), .flags = BIND_HOST },
                { "vcpu/@current", BIND_UINT, AT(vcpu.current), .min = 1, .max = BITSET_MAX },
                { "vcpu", BIND_UINT, AT(vcpu.max), .min = 1, .max = BITSET_MAX },
                { "cputune", BIND_STRUCT, AT(cputune), .spec = &cputune_spec, .flags = BIND_HOST },
                { "numatune", BIND_STRUCT, AT(numatune), .spec = &numatune_spec, .flags = BIND_HOST },
                { "resource/partition", BIND_STRING, AT(partition), .flags = BIND_HOST },
                { "sysinfo", BIND_STRUCT, AT(sysinfo), .spec = &sysinfo_spec },
                { "os", BIND_STRUCT, AT(os), .spec = &os_spec },
                { "features", BIND_STRUCT, AT(features), .spec = &features_spec },
                { "cpu", BIND_STRUCT, AT(cpu), .spec = &cpu_spec },
                { "clock", BIND_STRUCT, AT(clock), .spec = &clock_spec },
                { "on_poweroff", BIND_ENUM, AT(on_poweroff), .names = lifecycle_action_names, .flags = BIND_HOST },
                { "on_reboot", BIND_ENUM, AT(on_reboot), .names = lifecycle_action_names, .flags = BIND_HOST },
                { "on_crash", BIND_ENUM, AT(on_crash), .names = lifecycle_action_names, .flags = BIND_HOST },
                { "pm/suspend-to-mem/@enabled", BIND_YESNO, AT(pm_suspend_to_mem) },
                { "pm/suspend-to-disk/@enabled", BIND_YESNO, AT(pm_suspend_to_disk) },
                { "devices/emulator", BIND_STRING, AT(emulator), .flags = BIND_HOST },
                DEVICES("disk", disks, disk_spec),
                DEVICES("controller", controllers, controller_spec),
                DEVICES("interface", nets, net_spec),
                DEVICES("serial", serials, serial_spec),
                DEVICES("console", consoles, console_spec),
                DEVICES("channel", channels, channel_spec),
                DEVICES("input", inputs, input_spec),
                { "devices/graphics", BIND_LIST, AT(graphics), .spec = &graphics_spec, .flags = BIND_HOST },
                DEVICES("sound", sounds, sound_spec),
                { "devices/audio", BIND_LIST, AT(audios), .spec = &audio_spec, .flags = BIND_HOST },
                DEVICES("video", videos, video_spec),
                DEVICES("watchdog", watchdogs, watchdog_spec),
                { "devices/memballoon", BIND_STRUCT, AT(balloon), .spec = &balloon_spec },
                DEVICES("rng", rngs, rng_spec),
                DEVICES("panic", panics, panic_spec),
                { "seclabel", BIND_LIST, AT(seclabels), .spec = &seclabel_spec, .flags = BIND_HOST },
                { "qemu:commandline/qemu:arg", BIND_LIST, AT(qemu_args), .spec = &qemu_arg_spec },
                { "qemu:commandline/qemu:env", BIND_LIST, AT(qemu_envs), .spec = &qemu_env_spec, .flags = BIND_HOST },
                {},
        },
};
#undef AT
