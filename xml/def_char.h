/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Character devices: serial ports, consoles, channels. */

#include "xml/def_device.h"

typedef enum CharType {
        CHAR_TYPE_UNSET,
        CHAR_TYPE_PTY,  /* source_path: live, /dev/pts/N */
        CHAR_TYPE_FILE, /* source_path, append */
        CHAR_TYPE_UNIX, /* source_path, mode; a channel without a path gets one when the domain starts */
        CHAR_TYPE_NULL,
        CHAR_TYPE_LAST,
} CharType;
DEF_ENUM_DECLARE(CharType, char_type)

typedef enum CharMode {
        CHAR_MODE_UNSET, /* connect for type unix, as in libvirt; bind for a channel without a path */
        CHAR_MODE_BIND,  /* QEMU listens */
        CHAR_MODE_CONNECT,
        CHAR_MODE_LAST,
} CharMode;
DEF_ENUM_DECLARE(CharMode, char_mode)

typedef enum CharTarget {
        CHAR_TARGET_UNSET,
        CHAR_TARGET_ISA_SERIAL, /* serial */
        CHAR_TARGET_SERIAL,     /* console: it *is* the serial port with its number, see DomainDef.consoles */
        CHAR_TARGET_VIRTIO,     /* console: virtconsole; channel: virtserialport */
        CHAR_TARGET_LAST,
} CharTarget;
DEF_ENUM_DECLARE(CharTarget, char_target)

typedef enum ChannelState {
        CHANNEL_STATE_UNSET,
        CHANNEL_STATE_CONNECTED,
        CHANNEL_STATE_DISCONNECTED,
        CHANNEL_STATE_LAST,
} ChannelState;
DEF_ENUM_DECLARE(ChannelState, channel_state)

/* <serial>, <console>, <channel> */
typedef struct CharDef {
        CharType type;
        char *source_path;
        CharMode mode;   /* unix */
        TriState append; /* file */
        char *log_file;  /* a copy of what the guest writes */
        TriState log_append;
        CharTarget target;
        int port;           /* serial, console: number; -1 before completion */
        char *target_model; /* serial: "isa-serial" */
        char *name;         /* channel: "org.qemu.guest_agent.0" */
        ChannelState state; /* channel, live */
        DeviceInfo info;
} CharDef;
