/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Guest memory: sizes, what backs it, host NUMA policy. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "xml/bitset.h"
#include "xml/def_enum.h"

typedef enum MemorySource {
        MEMORY_SOURCE_UNSET,
        MEMORY_SOURCE_FILE,
        MEMORY_SOURCE_ANONYMOUS,
        MEMORY_SOURCE_MEMFD,
        MEMORY_SOURCE_LAST,
} MemorySource;
DEF_ENUM_DECLARE(MemorySource, memory_source)

typedef enum MemoryAccess {
        MEMORY_ACCESS_UNSET,
        MEMORY_ACCESS_SHARED,
        MEMORY_ACCESS_PRIVATE,
        MEMORY_ACCESS_LAST,
} MemoryAccess;
DEF_ENUM_DECLARE(MemoryAccess, memory_access)

typedef enum MemoryAllocation {
        MEMORY_ALLOCATION_UNSET,
        MEMORY_ALLOCATION_IMMEDIATE,
        MEMORY_ALLOCATION_ONDEMAND,
        MEMORY_ALLOCATION_LAST,
} MemoryAllocation;
DEF_ENUM_DECLARE(MemoryAllocation, memory_allocation)

/* <hugepages><page size= unit= nodeset=/> */
typedef struct HugepageDef {
        uint64_t size_bytes;
        Bitset *nodeset; /* guest cells; NULL: all those that no other page names */
} HugepageDef;

/* <memoryBacking> */
typedef struct MemoryBackingDef {
        bool hugepages;   /* <hugepages/>; without pages: the host's default size */
        GPtrArray *pages; /* HugepageDef */
        bool nosharepages, locked, discard;
        MemorySource source;
        MemoryAccess access;
        MemoryAllocation allocation;
        unsigned allocation_threads; /* 0: not said */
} MemoryBackingDef;

typedef enum NumaMode {
        NUMA_MODE_UNSET,
        NUMA_MODE_STRICT,
        NUMA_MODE_PREFERRED,
        NUMA_MODE_INTERLEAVE,
        NUMA_MODE_RESTRICTIVE,
        NUMA_MODE_LAST,
} NumaMode;
DEF_ENUM_DECLARE(NumaMode, numa_mode)

/* <memnode cellid= mode= nodeset=/> */
typedef struct MemnodeDef {
        int cellid; /* guest cell */
        NumaMode mode;
        Bitset *nodeset; /* host nodes */
} MemnodeDef;

/* <numatune>; mode UNSET with a nodeset means strict */
typedef struct NumatuneDef {
        bool memory; /* <memory> is there */
        int placement; /* 1: "static" was said, which is all there is */
        NumaMode mode;
        Bitset *nodeset;     /* host nodes */
        GPtrArray *memnodes; /* MemnodeDef */
} NumatuneDef;

/* <memory>, <currentMemory>, <maxMemory>. All are multiples of 1 KiB after domain_def_complete(). */
typedef struct MemoryDef {
        /* what the guest has at boot; equals the sum of the guest's NUMA cells if there are any */
        uint64_t total_bytes;
        uint64_t current_bytes; /* balloon target, <= total; 0 before completion: total */
        uint64_t max_bytes;     /* 0: no <maxMemory> */
        unsigned max_slots;
        TriState dump_core;
} MemoryDef;
