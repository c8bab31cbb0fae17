/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small devices: rng, memory balloon, watchdog, panic notifier. */

#include "xml/def_device.h"

typedef enum RngBackend {
        RNG_BACKEND_UNSET,
        RNG_BACKEND_RANDOM,
        RNG_BACKEND_BUILTIN,
        RNG_BACKEND_LAST,
} RngBackend;
DEF_ENUM_DECLARE(RngBackend, rng_backend)

/* <rng model='virtio'> */
typedef struct RngDef {
        int model; /* 1: "virtio", which is all there is */
        unsigned rate_bytes, rate_period_msec; /* 0: not said */
        RngBackend backend;
        char *path; /* random: /dev/urandom after completion if not said */
        DeviceInfo info;
} RngDef;

typedef enum BalloonModel {
        BALLOON_MODEL_UNSET,
        BALLOON_MODEL_VIRTIO,
        BALLOON_MODEL_NONE,
        BALLOON_MODEL_LAST,
} BalloonModel;
DEF_ENUM_DECLARE(BalloonModel, balloon_model)

/* <memballoon>; always there after completion */
typedef struct BalloonDef {
        bool present;
        BalloonModel model;
        TriState autodeflate, free_page_reporting;
        unsigned stats_period_sec; /* 0: none */
        DeviceInfo info;
} BalloonDef;

typedef enum WatchdogModel {
        WATCHDOG_MODEL_UNSET,
        WATCHDOG_MODEL_I6300ESB,
        WATCHDOG_MODEL_IB700,
        WATCHDOG_MODEL_ITCO, /* part of q35 */
        WATCHDOG_MODEL_LAST,
} WatchdogModel;
DEF_ENUM_DECLARE(WatchdogModel, watchdog_model)

typedef enum WatchdogAction {
        WATCHDOG_ACTION_UNSET, /* reset */
        WATCHDOG_ACTION_RESET,
        WATCHDOG_ACTION_SHUTDOWN,
        WATCHDOG_ACTION_POWEROFF,
        WATCHDOG_ACTION_PAUSE,
        WATCHDOG_ACTION_NONE,
        WATCHDOG_ACTION_INJECT_NMI,
        WATCHDOG_ACTION_LAST,
} WatchdogAction;
DEF_ENUM_DECLARE(WatchdogAction, watchdog_action)

/* <watchdog> */
typedef struct WatchdogDef {
        WatchdogModel model;
        WatchdogAction action; /* the same for all watchdogs of a guest */
        DeviceInfo info;
} WatchdogDef;

typedef enum PanicModel {
        PANIC_MODEL_UNSET,
        PANIC_MODEL_ISA,
        PANIC_MODEL_HYPERV, /* a property of the CPU: no device to create */
        PANIC_MODEL_LAST,
} PanicModel;
DEF_ENUM_DECLARE(PanicModel, panic_model)

/* <panic> */
typedef struct PanicDef {
        PanicModel model;
        DeviceInfo info;
} PanicDef;
