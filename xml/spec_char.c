/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def_char.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(CharType, CHAR_TYPE_LAST, char_type, "pty", "file", "unix", "null")
DEF_ENUM_DEFINE(CharMode, CHAR_MODE_LAST, char_mode, "bind", "connect")
DEF_ENUM_DEFINE(CharTarget, CHAR_TARGET_LAST, char_target, "isa-serial", "serial", "virtio")
DEF_ENUM_DEFINE(ChannelState, CHANNEL_STATE_LAST, channel_state, "connected", "disconnected")

#define TYPE_PTY SPEC_BIT(CHAR_TYPE_PTY)
#define TYPE_FILE SPEC_BIT(CHAR_TYPE_FILE)
#define TYPE_UNIX SPEC_BIT(CHAR_TYPE_UNIX)
#define AT(member) .offset = offsetof(CharDef, member)

/* What the three have in common: the host's side. */
#define CHAR_SOURCE \
        { "@type", BIND_ENUM, AT(type), .names = char_type_names, .flags = BIND_REQUIRED | BIND_HOST }, \
        { "source/@mode", BIND_ENUM, AT(mode), .names = char_mode_names, .when = TYPE_UNIX, .flags = BIND_HOST }, \
        { "source/@path", BIND_STRING, AT(source_path), .when = TYPE_PTY | TYPE_FILE | TYPE_UNIX, \
          .flags = BIND_HOST }, \
        { "source/@append", BIND_ONOFF, AT(append), .when = TYPE_FILE, .flags = BIND_HOST }, \
        { "log/@file", BIND_STRING, AT(log_file), .flags = BIND_HOST }, \
        { "log/@append", BIND_ONOFF, AT(log_append), .flags = BIND_HOST }

#define CHAR_INFO { "", BIND_INLINE, AT(info), .spec = &device_info_spec }, {}

const BindSpec serial_spec = {
        .name = "serial",
        .size = sizeof(CharDef),
        .fields = (const BindField[]) {
                CHAR_SOURCE,
                { "target/@type", BIND_ENUM, AT(target), .names = char_target_names,
                  .allow = SPEC_BIT(CHAR_TARGET_ISA_SERIAL) },
                { "target/@port", BIND_INT, AT(port), .unset = -1, .max = 3 },
                { "target/model/@name", BIND_STRING, AT(target_model) },
                CHAR_INFO,
        },
        .discriminator = "@type",
};

const BindSpec console_spec = {
        .name = "console",
        .size = sizeof(CharDef),
        .fields = (const BindField[]) {
                CHAR_SOURCE,
                /* what ttyconsole reads */
                { "@tty", BIND_STRING, AT(source_path), .when = TYPE_PTY, .flags = BIND_HOST },
                { "target/@type", BIND_ENUM, AT(target), .names = char_target_names,
                  .allow = SPEC_BIT(CHAR_TARGET_SERIAL) | SPEC_BIT(CHAR_TARGET_VIRTIO) },
                { "target/@port", BIND_INT, AT(port), .unset = -1, .max = 255 },
                CHAR_INFO,
        },
        .discriminator = "@type",
};

const BindSpec channel_spec = {
        .name = "channel",
        .size = sizeof(CharDef),
        .fields = (const BindField[]) {
                CHAR_SOURCE,
                { "target/@type", BIND_ENUM, AT(target), .names = char_target_names,
                  .allow = SPEC_BIT(CHAR_TARGET_VIRTIO),
                  .flags = BIND_REQUIRED },
                { "target/@name", BIND_STRING, AT(name) },
                { "target/@state", BIND_ENUM, AT(state), .names = channel_state_names, .flags = BIND_HOST },
                CHAR_INFO,
        },
        .discriminator = "@type",
};
