/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def_memory.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(MemorySource, MEMORY_SOURCE_LAST, memory_source, "file", "anonymous", "memfd")
DEF_ENUM_DEFINE(MemoryAccess, MEMORY_ACCESS_LAST, memory_access, "shared", "private")
DEF_ENUM_DEFINE(MemoryAllocation, MEMORY_ALLOCATION_LAST, memory_allocation, "immediate", "ondemand")
DEF_ENUM_DEFINE(NumaMode, NUMA_MODE_LAST, numa_mode, "strict", "preferred", "interleave", "restrictive")

static const char *const placement_names[] = { NULL, "static", NULL };

#define AT(member) .offset = offsetof(HugepageDef, member)
static const BindSpec hugepage_spec = {
        .name = "page",
        .size = sizeof(HugepageDef),
        .fields = (const BindField[]) {
                { "@size", BIND_BYTES, AT(size_bytes), .flags = BIND_REQUIRED },
                { "@nodeset", BIND_BITSET, AT(nodeset) },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(MemoryBackingDef, member)
const BindSpec memory_backing_spec = {
        .name = "memoryBacking",
        .size = sizeof(MemoryBackingDef),
        .fields = (const BindField[]) {
                { "hugepages", BIND_PRESENT, AT(hugepages) },
                { "hugepages/page", BIND_LIST, AT(pages), .spec = &hugepage_spec },
                { "nosharepages", BIND_PRESENT, AT(nosharepages) },
                { "locked", BIND_PRESENT, AT(locked) },
                { "source/@type", BIND_ENUM, AT(source), .names = memory_source_names },
                { "access/@mode", BIND_ENUM, AT(access), .names = memory_access_names },
                { "allocation/@mode", BIND_ENUM, AT(allocation), .names = memory_allocation_names },
                { "allocation/@threads", BIND_UINT, AT(allocation_threads), .min = 1, .max = 1024 },
                { "discard", BIND_PRESENT, AT(discard) },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(MemnodeDef, member)
static const BindSpec memnode_spec = {
        .name = "memnode",
        .size = sizeof(MemnodeDef),
        .fields = (const BindField[]) {
                { "@cellid", BIND_INT, AT(cellid), .unset = -1, .flags = BIND_REQUIRED },
                { "@mode", BIND_ENUM, AT(mode), .names = numa_mode_names },
                { "@nodeset", BIND_BITSET, AT(nodeset), .flags = BIND_REQUIRED },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(NumatuneDef, member)
const BindSpec numatune_spec = {
        .name = "numatune",
        .size = sizeof(NumatuneDef),
        .fields = (const BindField[]) {
                { "memory", BIND_PRESENT, AT(memory) },
                { "memory/@mode", BIND_ENUM, AT(mode), .names = numa_mode_names },
                { "memory/@placement", BIND_ENUM, AT(placement), .names = placement_names },
                { "memory/@nodeset", BIND_BITSET, AT(nodeset) },
                { "memnode", BIND_LIST, AT(memnodes), .spec = &memnode_spec },
                {},
        },
};
#undef AT
