/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Walking over all devices of a definition, whatever they are. */

#include "xml/def.h"

typedef enum DeviceKind {
        DEVICE_DISK,
        DEVICE_CONTROLLER,
        DEVICE_NET,
        DEVICE_SERIAL,
        DEVICE_CONSOLE,
        DEVICE_CHANNEL,
        DEVICE_INPUT,
        DEVICE_GRAPHICS,
        DEVICE_SOUND,
        DEVICE_VIDEO,
        DEVICE_WATCHDOG,
        DEVICE_BALLOON,
        DEVICE_RNG,
        DEVICE_PANIC,
        DEVICE_KIND_LAST,
} DeviceKind;

/* One device: exactly one way to see it fits its kind. */
typedef struct Device {
        DeviceKind kind;
        unsigned number; /* among those of its kind */
        DeviceInfo *info;
        union {
                void *data;
                DiskDef *disk;
                ControllerDef *controller;
                NetDef *net;
                CharDef *chr; /* SERIAL, CONSOLE, CHANNEL */
                InputDef *input;
                GraphicsDef *graphics;
                SoundDef *sound;
                VideoDef *video;
                WatchdogDef *watchdog;
                BalloonDef *balloon;
                RngDef *rng;
                PanicDef *panic;
        };
} Device;

/* All devices (the balloon if it is there), kind by kind in the order of DeviceKind; Device, by value. */
GArray *device_list(const DomainDef *def);
/* "disk 'vda'", "interface '52:54:00:...'", "controller 'usb' 0", "rng 1": for messages; owned by the caller. */
char *device_describe(const Device *device);
/* Whether console number 0 is but another face of serial port 0. */
bool device_console_is_serial(const CharDef *console);
