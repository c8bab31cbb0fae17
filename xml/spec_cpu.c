/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def_cpu.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(VcpuPlacement, VCPU_PLACEMENT_LAST, vcpu_placement, "static")
DEF_ENUM_DEFINE(CpuMode, CPU_MODE_LAST, cpu_mode, "custom", "host-model", "host-passthrough", "maximum")
DEF_ENUM_DEFINE(CpuMatch, CPU_MATCH_LAST, cpu_match, "exact", "minimum", "strict")
DEF_ENUM_DEFINE(CpuCheck, CPU_CHECK_LAST, cpu_check, "none", "partial", "full")
DEF_ENUM_DEFINE(CpuFallback, CPU_FALLBACK_LAST, cpu_fallback, "allow", "forbid")
DEF_ENUM_DEFINE(CpuPolicy, CPU_POLICY_LAST, cpu_policy, "force", "require", "optional", "disable", "forbid")
DEF_ENUM_DEFINE(CpuCacheMode, CPU_CACHE_MODE_LAST, cpu_cache_mode, "emulate", "passthrough", "disable")
DEF_ENUM_DEFINE(CpuAddrMode, CPU_ADDR_MODE_LAST, cpu_addr_mode, "emulate", "passthrough")

#define AT(member) .offset = offsetof(VcpupinDef, member)
static const BindSpec vcpupin_spec = {
        .name = "vcpupin",
        .size = sizeof(VcpupinDef),
        .fields = (const BindField[]) {
                { "@vcpu", BIND_INT, AT(vcpu), .unset = -1, .flags = BIND_REQUIRED, .max = BITSET_MAX - 1 },
                { "@cpuset", BIND_BITSET, AT(cpuset), .flags = BIND_REQUIRED },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(CputuneDef, member)
const BindSpec cputune_spec = {
        .name = "cputune",
        .size = sizeof(CputuneDef),
        .fields = (const BindField[]) {
                { "vcpupin", BIND_LIST, AT(vcpupins), .spec = &vcpupin_spec, .max = BITSET_MAX },
                { "emulatorpin/@cpuset", BIND_BITSET, AT(emulatorpin) },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(CpuFeatureDef, member)
static const BindSpec cpu_feature_spec = {
        .name = "feature",
        .size = sizeof(CpuFeatureDef),
        .fields = (const BindField[]) {
                { "@policy", BIND_ENUM, AT(policy), .names = cpu_policy_names },
                { "@name", BIND_STRING, AT(name), .flags = BIND_REQUIRED },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(NumaDistanceDef, member)
const BindSpec numa_distance_spec = {
        .name = "sibling",
        .size = sizeof(NumaDistanceDef),
        .fields = (const BindField[]) {
                { "@id", BIND_INT, AT(id), .unset = -1, .flags = BIND_REQUIRED },
                { "@value", BIND_UINT, AT(value), .flags = BIND_REQUIRED, .min = 10, .max = 255 },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(NumaCellDef, member)
static const BindSpec numa_cell_spec = {
        .name = "cell",
        .size = sizeof(NumaCellDef),
        .fields = (const BindField[]) {
                { "@id", BIND_INT, AT(id), .unset = -1 },
                { "@cpus", BIND_BITSET, AT(cpus) },
                { "@memory", BIND_BYTES, AT(memory_bytes), .flags = BIND_ALWAYS },
                { "@memAccess", BIND_ENUM, AT(access), .names = memory_access_names, .flags = BIND_HOST },
                { "@discard", BIND_YESNO, AT(discard), .flags = BIND_HOST },
                { "distances/sibling", BIND_LIST, AT(distances), .spec = &numa_distance_spec, .max = 128 },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(CpuDef, member)
const BindSpec cpu_spec = {
        .name = "cpu",
        .size = sizeof(CpuDef),
        .fields = (const BindField[]) {
                { "@mode", BIND_ENUM, AT(mode), .names = cpu_mode_names },
                { "@match", BIND_ENUM, AT(match), .names = cpu_match_names, .flags = BIND_HOST },
                { "@check", BIND_ENUM, AT(check), .names = cpu_check_names, .flags = BIND_HOST },
                { "@migratable", BIND_ONOFF, AT(migratable) },
                { "model", BIND_STRING, AT(model) },
                { "model/@fallback", BIND_ENUM, AT(fallback), .names = cpu_fallback_names, .flags = BIND_HOST },
                { "model/@vendor_id", BIND_STRING, AT(vendor_id) },
                { "vendor", BIND_STRING, AT(vendor), .flags = BIND_HOST },
                { "topology", BIND_PRESENT, AT(topology) },
                { "topology/@sockets", BIND_UINT, AT(sockets), .min = 1, .max = BITSET_MAX },
                { "topology/@dies", BIND_UINT, AT(dies), .min = 1, .max = BITSET_MAX },
                { "topology/@clusters", BIND_UINT, AT(clusters), .min = 1, .max = 1 },
                { "topology/@cores", BIND_UINT, AT(cores), .min = 1, .max = BITSET_MAX },
                { "topology/@threads", BIND_UINT, AT(threads), .min = 1, .max = BITSET_MAX },
                { "cache/@level", BIND_INT, AT(cache_level), .unset = -1, .max = 3 },
                { "cache/@mode", BIND_ENUM, AT(cache_mode), .names = cpu_cache_mode_names },
                { "maxphysaddr/@mode", BIND_ENUM, AT(maxphysaddr_mode), .names = cpu_addr_mode_names },
                { "maxphysaddr/@bits", BIND_UINT, AT(maxphysaddr_bits), .min = 32, .max = 64 },
                { "maxphysaddr/@limit", BIND_UINT, AT(maxphysaddr_limit), .min = 32, .max = 64 },
                { "feature", BIND_LIST, AT(features), .spec = &cpu_feature_spec },
                { "numa/cell", BIND_LIST, AT(cells), .spec = &numa_cell_spec, .max = 128 },
                {},
        },
};
#undef AT
