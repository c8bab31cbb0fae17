/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a person at the guest sees and touches: graphics, video, input, sound. */

#include "xml/def_device.h"

typedef enum GraphicsType {
        GRAPHICS_TYPE_UNSET,
        GRAPHICS_TYPE_VNC,
        GRAPHICS_TYPE_LAST,
} GraphicsType;
DEF_ENUM_DECLARE(GraphicsType, graphics_type)

typedef enum ListenType {
        LISTEN_TYPE_UNSET,
        LISTEN_TYPE_ADDRESS,
        LISTEN_TYPE_SOCKET,
        LISTEN_TYPE_NONE,
        LISTEN_TYPE_LAST,
} ListenType;
DEF_ENUM_DECLARE(ListenType, listen_type)

typedef enum VncSharePolicy {
        VNC_SHARE_POLICY_UNSET,
        VNC_SHARE_POLICY_ALLOW_EXCLUSIVE,
        VNC_SHARE_POLICY_FORCE_SHARED,
        VNC_SHARE_POLICY_IGNORE,
        VNC_SHARE_POLICY_LAST,
} VncSharePolicy;
DEF_ENUM_DECLARE(VncSharePolicy, vnc_share_policy)

/* <graphics type='vnc'>, with one listener */
typedef struct GraphicsDef {
        GraphicsType type;
        int port;     /* 5900..; -1: chosen when the domain starts (autoport) */
        TriState autoport; /* YES: port is live data */
        int websocket; /* -1: chosen when the domain starts; 0: none */
        ListenType listen;
        char *listen_address; /* address; NULL: 127.0.0.1 */
        char *listen_socket;  /* socket; NULL: made up when the domain starts */
        char *password; /* secret: formatted with DOMAIN_FORMAT_SECURE only */
        char *password_valid_to; /* "2026-01-01T00:00:00", UTC */
        char *keymap;
        VncSharePolicy share_policy;
        int audio_id; /* -1: none */
        DeviceInfo info;
} GraphicsDef;

typedef enum VideoModel {
        VIDEO_MODEL_UNSET,
        VIDEO_MODEL_VGA,
        VIDEO_MODEL_CIRRUS,
        VIDEO_MODEL_VIRTIO,
        VIDEO_MODEL_BOCHS,
        VIDEO_MODEL_NONE,
        VIDEO_MODEL_LAST,
} VideoModel;
DEF_ENUM_DECLARE(VideoModel, video_model)

/* <video> */
typedef struct VideoDef {
        VideoModel model;
        unsigned vram_kib; /* 0: not said or not a property of the model */
        unsigned heads; /* 1 after completion; 0 for model none */
        TriState primary;
        unsigned resolution_x, resolution_y; /* 0: not said */
        DeviceInfo info;
} VideoDef;

typedef enum InputType {
        INPUT_TYPE_UNSET,
        INPUT_TYPE_MOUSE,
        INPUT_TYPE_TABLET,
        INPUT_TYPE_KEYBOARD,
        INPUT_TYPE_LAST,
} InputType;
DEF_ENUM_DECLARE(InputType, input_type)

typedef enum InputBus {
        INPUT_BUS_UNSET,
        INPUT_BUS_PS2, /* part of the machine: no device to create */
        INPUT_BUS_USB,
        INPUT_BUS_VIRTIO,
        INPUT_BUS_LAST,
} InputBus;
DEF_ENUM_DECLARE(InputBus, input_bus)

/* <input> */
typedef struct InputDef {
        InputType type;
        InputBus bus;
        DeviceInfo info;
} InputDef;

typedef enum SoundModel {
        SOUND_MODEL_UNSET,
        SOUND_MODEL_ICH6,
        SOUND_MODEL_ICH9,
        SOUND_MODEL_AC97,
        SOUND_MODEL_LAST,
} SoundModel;
DEF_ENUM_DECLARE(SoundModel, sound_model)

/* <sound>; ich6 and ich9 have one duplex codec. Plays into the audio backend 'none'. */
typedef struct SoundDef {
        SoundModel model;
        int audio_id; /* -1: the first audio backend */
        DeviceInfo info;
} SoundDef;

/* <audio id= type='none'/> */
typedef struct AudioDef {
        int id;
        int type; /* 1: "none", which is all there is */
} AudioDef;
