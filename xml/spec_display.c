/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def_display.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(GraphicsType, GRAPHICS_TYPE_LAST, graphics_type, "vnc")
DEF_ENUM_DEFINE(ListenType, LISTEN_TYPE_LAST, listen_type, "address", "socket", "none")
DEF_ENUM_DEFINE(VncSharePolicy, VNC_SHARE_POLICY_LAST, vnc_share_policy, "allow-exclusive", "force-shared", "ignore")
DEF_ENUM_DEFINE(VideoModel, VIDEO_MODEL_LAST, video_model, "vga", "cirrus", "virtio", "bochs", "none")
DEF_ENUM_DEFINE(InputType, INPUT_TYPE_LAST, input_type, "mouse", "tablet", "keyboard")
DEF_ENUM_DEFINE(InputBus, INPUT_BUS_LAST, input_bus, "ps2", "usb", "virtio")
DEF_ENUM_DEFINE(SoundModel, SOUND_MODEL_LAST, sound_model, "ich6", "ich9", "ac97")

static const char *const audio_type_names[] = { NULL, "none", NULL };

#define AT(member) .offset = offsetof(GraphicsDef, member)
const BindSpec graphics_spec = {
        .name = "graphics",
        .size = sizeof(GraphicsDef),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(type), .names = graphics_type_names, .flags = BIND_REQUIRED },
                { "@socket", BIND_STRING, AT(listen_socket) },
                { "@port", BIND_INT, AT(port), .unset = 0, .min = -1, .max = 65535 },
                { "@autoport", BIND_YESNO, AT(autoport) },
                { "@websocket", BIND_INT, AT(websocket), .unset = 0, .min = -1, .max = 65535 },
                { "@listen", BIND_STRING, AT(listen_address) },
                { "@keymap", BIND_STRING, AT(keymap) },
                { "@passwd", BIND_STRING, AT(password), .flags = BIND_SECRET },
                { "@passwdValidTo", BIND_STRING, AT(password_valid_to), .flags = BIND_SECRET },
                { "@sharePolicy", BIND_ENUM, AT(share_policy), .names = vnc_share_policy_names },
                { "listen/@type", BIND_ENUM, AT(listen), .names = listen_type_names },
                { "listen/@address", BIND_STRING, AT(listen_address) },
                { "listen/@socket", BIND_STRING, AT(listen_socket) },
                { "audio/@id", BIND_INT, AT(audio_id), .unset = -1, .min = 1 },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(VideoDef, member)
const BindSpec video_spec = {
        .name = "video",
        .size = sizeof(VideoDef),
        .fields = (const BindField[]) {
                { "model/@type", BIND_ENUM, AT(model), .names = video_model_names },
                { "model/@vram", BIND_UINT, AT(vram_kib) },
                { "model/@heads", BIND_UINT, AT(heads), .min = 1, .max = 16 },
                { "model/@primary", BIND_YESNO, AT(primary) },
                { "model/resolution/@x", BIND_UINT, AT(resolution_x), .min = 1, .max = 65535 },
                { "model/resolution/@y", BIND_UINT, AT(resolution_y), .min = 1, .max = 65535 },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(InputDef, member)
const BindSpec input_spec = {
        .name = "input",
        .size = sizeof(InputDef),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(type), .names = input_type_names, .flags = BIND_REQUIRED },
                { "@bus", BIND_ENUM, AT(bus), .names = input_bus_names },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(SoundDef, member)
const BindSpec sound_spec = {
        .name = "sound",
        .size = sizeof(SoundDef),
        .fields = (const BindField[]) {
                { "@model", BIND_ENUM, AT(model), .names = sound_model_names, .flags = BIND_REQUIRED },
                { "audio/@id", BIND_INT, AT(audio_id), .unset = -1, .min = 1, .flags = BIND_HOST },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
};
#undef AT

#define AT(member) .offset = offsetof(AudioDef, member)
const BindSpec audio_spec = {
        .name = "audio",
        .size = sizeof(AudioDef),
        .fields = (const BindField[]) {
                { "@id", BIND_INT, AT(id), .unset = 0, .min = 1, .flags = BIND_REQUIRED },
                { "@type", BIND_ENUM, AT(type), .names = audio_type_names, .flags = BIND_REQUIRED },
                {},
        },
};
#undef AT
