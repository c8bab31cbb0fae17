/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Virtual CPUs: number, placement, model, topology, guest NUMA cells. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "xml/def_memory.h"

typedef enum VcpuPlacement {
        VCPU_PLACEMENT_UNSET,
        VCPU_PLACEMENT_STATIC,
        VCPU_PLACEMENT_LAST,
} VcpuPlacement;
DEF_ENUM_DECLARE(VcpuPlacement, vcpu_placement)

/* <vcpu placement= cpuset= current=>max</vcpu> */
typedef struct VcpuDef {
        unsigned max;     /* 1 after completion if not said */
        unsigned current; /* 0: max */
        VcpuPlacement placement;
        Bitset *cpuset; /* host CPUs for all threads that are not pinned otherwise; NULL: any */
} VcpuDef;

/* <vcpupin vcpu= cpuset=/> */
typedef struct VcpupinDef {
        int vcpu;
        Bitset *cpuset;
} VcpupinDef;

/* <cputune> */
typedef struct CputuneDef {
        GPtrArray *vcpupins; /* VcpupinDef */
        Bitset *emulatorpin; /* NULL: vcpu cpuset */
} CputuneDef;

typedef enum CpuMode {
        CPU_MODE_UNSET, /* no <cpu mode=>: custom if a model is named, else the machine's default CPU */
        CPU_MODE_CUSTOM,
        CPU_MODE_HOST_MODEL,
        CPU_MODE_HOST_PASSTHROUGH,
        CPU_MODE_MAXIMUM,
        CPU_MODE_LAST,
} CpuMode;
DEF_ENUM_DECLARE(CpuMode, cpu_mode)

typedef enum CpuMatch {
        CPU_MATCH_UNSET,
        CPU_MATCH_EXACT,
        CPU_MATCH_MINIMUM,
        CPU_MATCH_STRICT,
        CPU_MATCH_LAST,
} CpuMatch;
DEF_ENUM_DECLARE(CpuMatch, cpu_match)

typedef enum CpuCheck {
        CPU_CHECK_UNSET,
        CPU_CHECK_NONE,
        CPU_CHECK_PARTIAL,
        CPU_CHECK_FULL,
        CPU_CHECK_LAST,
} CpuCheck;
DEF_ENUM_DECLARE(CpuCheck, cpu_check)

typedef enum CpuFallback {
        CPU_FALLBACK_UNSET,
        CPU_FALLBACK_ALLOW,
        CPU_FALLBACK_FORBID,
        CPU_FALLBACK_LAST,
} CpuFallback;
DEF_ENUM_DECLARE(CpuFallback, cpu_fallback)

typedef enum CpuPolicy {
        CPU_POLICY_UNSET, /* require */
        CPU_POLICY_FORCE,
        CPU_POLICY_REQUIRE,
        CPU_POLICY_OPTIONAL,
        CPU_POLICY_DISABLE,
        CPU_POLICY_FORBID,
        CPU_POLICY_LAST,
} CpuPolicy;
DEF_ENUM_DECLARE(CpuPolicy, cpu_policy)

typedef enum CpuCacheMode {
        CPU_CACHE_MODE_UNSET,
        CPU_CACHE_MODE_EMULATE,
        CPU_CACHE_MODE_PASSTHROUGH,
        CPU_CACHE_MODE_DISABLE,
        CPU_CACHE_MODE_LAST,
} CpuCacheMode;
DEF_ENUM_DECLARE(CpuCacheMode, cpu_cache_mode)

typedef enum CpuAddrMode {
        CPU_ADDR_MODE_UNSET,
        CPU_ADDR_MODE_EMULATE,
        CPU_ADDR_MODE_PASSTHROUGH,
        CPU_ADDR_MODE_LAST,
} CpuAddrMode;
DEF_ENUM_DECLARE(CpuAddrMode, cpu_addr_mode)

typedef struct CpuFeatureDef {
        char *name; /* libvirt's spelling, e.g. "sse4.1" */
        CpuPolicy policy;
} CpuFeatureDef;

/* <sibling id= value=/> */
typedef struct NumaDistanceDef {
        int id;
        unsigned value; /* 10..255 */
} NumaDistanceDef;

/* <numa><cell/> */
typedef struct NumaCellDef {
        int id; /* equals its index after completion */
        Bitset *cpus;
        uint64_t memory_bytes;
        MemoryAccess access; /* UNSET: memoryBacking's */
        TriState discard;    /* UNSET: memoryBacking's */
        GPtrArray *distances; /* NumaDistanceDef; empty: QEMU's defaults (10 and 20) */
} NumaCellDef;

/* <cpu> */
typedef struct CpuDef {
        CpuMode mode;
        CpuMatch match;
        CpuCheck check;
        TriState migratable;
        char *model;
        CpuFallback fallback;
        char *vendor_id; /* 12 characters that replace the CPU's vendor string */
        char *vendor;    /* "Intel", "AMD": only compared by libvirt, never given to QEMU */
        bool topology;   /* the four numbers below are set */
        unsigned sockets, dies, clusters, cores, threads;
        CpuCacheMode cache_mode;
        int cache_level; /* -1: not said */
        CpuAddrMode maxphysaddr_mode;
        unsigned maxphysaddr_bits, maxphysaddr_limit;
        GPtrArray *features; /* CpuFeatureDef */
        GPtrArray *cells;    /* NumaCellDef */
} CpuDef;
