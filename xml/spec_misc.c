/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def_misc.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(RngBackend, RNG_BACKEND_LAST, rng_backend, "random", "builtin")
DEF_ENUM_DEFINE(BalloonModel, BALLOON_MODEL_LAST, balloon_model, "virtio", "none")
DEF_ENUM_DEFINE(WatchdogModel, WATCHDOG_MODEL_LAST, watchdog_model, "i6300esb", "ib700", "itco")
DEF_ENUM_DEFINE(WatchdogAction, WATCHDOG_ACTION_LAST, watchdog_action, "reset", "shutdown", "poweroff", "pause",
                "none", "inject-nmi")
DEF_ENUM_DEFINE(PanicModel, PANIC_MODEL_LAST, panic_model, "isa", "hyperv")

static const char *const rng_model_names[] = { NULL, "virtio", NULL };

#define AT(member) .offset = offsetof(RngDef, member)
const BindSpec rng_spec = {
        .name = "rng",
        .size = sizeof(RngDef),
        .fields = (const BindField[]) {
                { "@model", BIND_ENUM, AT(model), .names = rng_model_names, .flags = BIND_REQUIRED },
                { "rate/@bytes", BIND_UINT, AT(rate_bytes), .min = 1, .flags = BIND_HOST },
                { "rate/@period", BIND_UINT, AT(rate_period_msec), .min = 1, .flags = BIND_HOST },
                { "backend/@model", BIND_ENUM, AT(backend), .names = rng_backend_names,
                  .flags = BIND_REQUIRED | BIND_HOST },
                { "backend", BIND_STRING, AT(path), .flags = BIND_HOST },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(BalloonDef, member)
const BindSpec balloon_spec = {
        .name = "memballoon",
        .size = sizeof(BalloonDef),
        .fields = (const BindField[]) {
                { "", BIND_PRESENT, AT(present) },
                { "@model", BIND_ENUM, AT(model), .names = balloon_model_names, .flags = BIND_REQUIRED },
                { "@autodeflate", BIND_ONOFF, AT(autodeflate) },
                { "@freePageReporting", BIND_ONOFF, AT(free_page_reporting) },
                { "stats/@period", BIND_UINT, AT(stats_period_sec), .max = G_MAXINT, .flags = BIND_HOST },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(WatchdogDef, member)
const BindSpec watchdog_spec = {
        .name = "watchdog",
        .size = sizeof(WatchdogDef),
        .fields = (const BindField[]) {
                { "@model", BIND_ENUM, AT(model), .names = watchdog_model_names, .flags = BIND_REQUIRED },
                { "@action", BIND_ENUM, AT(action), .names = watchdog_action_names, .flags = BIND_HOST },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(PanicDef, member)
const BindSpec panic_spec = {
        .name = "panic",
        .size = sizeof(PanicDef),
        .fields = (const BindField[]) {
                { "@model", BIND_ENUM, AT(model), .names = panic_model_names },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
};
#undef AT
