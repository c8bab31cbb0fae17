/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

/* Bytes of a libvirt size with a unit: "b bytes KB k KiB MB M MiB GB G GiB TB T TiB PB P PiB EB E EiB" (domain XML
 * <memory unit=>); NULL or "" means fallback_unit bytes. -ERANGE if it does not fit, -EINVAL for an unknown unit. */
int units_scale(uint64_t value, const char *unit, uint64_t fallback_unit, uint64_t *ret_bytes);

/* value rounded up to a multiple of align (a power of two). */
static inline uint64_t units_align_up(uint64_t value, uint64_t align) { return (value + align - 1) & ~(align - 1); }
static inline uint64_t units_align_down(uint64_t value, uint64_t align) { return value & ~(align - 1); }
