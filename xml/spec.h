/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The tables of the domain definition, one per struct; for xml/ itself and its tests. */

#include "xml/bind.h"

extern const BindSpec domain_spec;
extern const BindSpec memory_backing_spec, numatune_spec, cputune_spec, cpu_spec, numa_distance_spec;
extern const BindSpec os_spec, os_boot_spec, sysinfo_spec, features_spec, clock_spec;
extern const BindSpec device_info_spec, controller_spec, disk_spec, net_spec;
extern const BindSpec serial_spec, console_spec, channel_spec;
extern const BindSpec graphics_spec, video_spec, input_spec, sound_spec, audio_spec;
extern const BindSpec rng_spec, balloon_spec, watchdog_spec, panic_spec;

#define SPEC_BIT(value) (UINT64_C(1) << (value))
