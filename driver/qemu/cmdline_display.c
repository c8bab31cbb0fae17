/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Graphics, video, input and sound on the command line. */

#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/units.h"
#include "driver/qemu/cmdline_internal.h"

#define VNC_BASE_PORT 5900
#define VNC_LAST_PORT 65535

/* ---- input ---- */

static int add_usb_input(Cmdline *cmdline, const InputDef *input, const char *driver, GError **reterr) {
        const DeviceAddress *address = &input->info.address;
        const ControllerDef *controller = NULL;

        /* All USB controllers of one index share a bus; the one that is no companion names it. */
        for (unsigned i = 0; i < cmdline->def->controllers->len && !controller; i++) {
                const ControllerDef *candidate = cmdline->def->controllers->pdata[i];
                if (candidate->type == CONTROLLER_TYPE_USB && candidate->index == (int) address->bus &&
                    candidate->usb_master_startport < 0 && candidate->model != CONTROLLER_MODEL_NONE)
                        controller = candidate;
        }
        if (!controller)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("input device '%s' is on USB bus %u, which the domain does not have"),
                                 input->info.alias, address->bus);
        g_autofree char *bus = g_strdup_printf("%s.0", controller->info.alias);
        json_object *device = cmdline_device(driver, &input->info);
        json_add_string(device, "bus", bus);
        json_add_string(device, "port", address->usb_port);
        return cmdline_add_device(cmdline, device, reterr);
}

static int add_input(Cmdline *cmdline, const InputDef *input, GError **reterr) {
        static const char *const usb[] = {
                [INPUT_TYPE_MOUSE] = "usb-mouse",
                [INPUT_TYPE_TABLET] = "usb-tablet",
                [INPUT_TYPE_KEYBOARD] = "usb-kbd",
        };
        static const char *const virtio[] = {
                [INPUT_TYPE_MOUSE] = "virtio-mouse-pci",
                [INPUT_TYPE_TABLET] = "virtio-tablet-pci",
                [INPUT_TYPE_KEYBOARD] = "virtio-keyboard-pci",
        };
        if (input->bus == INPUT_BUS_USB)
                return add_usb_input(cmdline, input, usb[input->type], reterr);
        if (input->bus == INPUT_BUS_VIRTIO)
                return cmdline_add_pci_device(cmdline, cmdline_device(virtio[input->type], &input->info), &input->info,
                                              reterr);
        return 0; /* PS/2 is the machine's own. */
}

/* ---- sound ---- */

static void add_audiodevs(Cmdline *cmdline) {
        const GPtrArray *audios = cmdline->def->audios;

        for (unsigned i = 0; i < audios->len; i++) {
                const AudioDef *audio = audios->pdata[i];
                cmdline_add_printf(cmdline, "-audiodev", "none,id=audio%d", audio->id);
        }
        /* A sound device needs somewhere to play to. */
        if (audios->len == 0 && cmdline->def->sounds->len > 0)
                cmdline_add_value(cmdline, "-audiodev", "none,id=audio1");
}

static int add_sound(Cmdline *cmdline, const SoundDef *sound, GError **reterr) {
        const GPtrArray *audios = cmdline->def->audios;
        const AudioDef *first = audios->len > 0 ? audios->pdata[0] : NULL;
        g_autofree char *audiodev = g_strdup_printf("audio%d", sound->audio_id >= 0 ? sound->audio_id
                                                               : first              ? first->id
                                                                                    : 1);

        if (sound->model == SOUND_MODEL_AC97) {
                json_object *device = cmdline_device("AC97", &sound->info);
                json_add_string(device, "audiodev", audiodev);
                return cmdline_add_pci_device(cmdline, device, &sound->info, reterr);
        }
        int r = cmdline_add_pci_device(
                cmdline,
                cmdline_device(sound->model == SOUND_MODEL_ICH9 ? "ich9-intel-hda" : "intel-hda", &sound->info),
                &sound->info, reterr);
        if (r < 0)
                return r;
        g_autofree char *codec = g_strconcat(sound->info.alias, "-codec0", NULL),
                        *bus = g_strconcat(sound->info.alias, ".0", NULL);
        json_object *device = json_add_string(json_object_new_object(), "driver", "hda-duplex");
        json_add_string(device, "id", codec);
        json_add_string(device, "bus", bus);
        json_add_uint64(device, "cad", 0);
        json_add_string(device, "audiodev", audiodev);
        return cmdline_add_device(cmdline, device, reterr);
}

/* ---- graphics ---- */

static int add_vnc(Cmdline *cmdline, const GraphicsDef *graphics, GError **reterr) {
        g_autoptr(GString) text = g_string_new(NULL);

        if (graphics->listen == LISTEN_TYPE_NONE) {
                g_string_append(text, "none");
        } else if (graphics->listen == LISTEN_TYPE_SOCKET) {
                if (!graphics->listen_socket)
                        return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("VNC has no socket to listen on"));
                g_autofree char *path = cmdline_escape(graphics->listen_socket);
                g_string_append_printf(text, "unix:%s", path);
        } else {
                const char *address = graphics->listen_address ?: "127.0.0.1";
                bool automatic = graphics->autoport == TRI_YES || graphics->port < 0;
                if (!automatic && (graphics->port < VNC_BASE_PORT || graphics->port > VNC_LAST_PORT))
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("VNC port %d is not between %d and %d"),
                                         graphics->port, VNC_BASE_PORT, VNC_LAST_PORT);
                g_string_append_printf(text, strchr(address, ':') ? "[%s]:%d" : "%s:%d", address,
                                       automatic ? 0 : graphics->port - VNC_BASE_PORT);
                /* QEMU takes the first port that is free; the driver asks which. */
                if (automatic)
                        g_string_append_printf(text, ",to=%d", VNC_LAST_PORT - VNC_BASE_PORT);
                if (graphics->websocket > 0)
                        g_string_append_printf(text, ",websocket=%d", graphics->websocket);
                else if (graphics->websocket < 0)
                        g_string_append(text, ",websocket=on");
        }
        if (graphics->share_policy != VNC_SHARE_POLICY_UNSET)
                g_string_append_printf(text, ",share=%s", vnc_share_policy_to_string(graphics->share_policy));
        /* The password itself goes over the monitor: the command line is public. */
        if (graphics->password)
                g_string_append(text, ",password=on");
        if (graphics->audio_id >= 0)
                g_string_append_printf(text, ",audiodev=audio%d", graphics->audio_id);
        cmdline_add_value(cmdline, "-vnc", text->str);
        if (graphics->keymap)
                cmdline_add_value(cmdline, "-k", graphics->keymap);
        return 0;
}

/* ---- video ---- */

static int add_video(Cmdline *cmdline, const VideoDef *video, bool primary, GError **reterr) {
        const char *driver = NULL;

        switch (video->model) {
        case VIDEO_MODEL_NONE:
                return 0;
        case VIDEO_MODEL_VGA:
                driver = primary ? "VGA" : "secondary-vga";
                break;
        case VIDEO_MODEL_CIRRUS:
                driver = "cirrus-vga";
                break;
        case VIDEO_MODEL_VIRTIO:
                driver = primary && qemu_caps_has_type(cmdline->caps, "virtio-vga") ? "virtio-vga" : "virtio-gpu-pci";
                break;
        case VIDEO_MODEL_BOCHS:
                driver = "bochs-display";
                break;
        case VIDEO_MODEL_UNSET:
        default:
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("video model '%s' is not supported: use 'virtio' or 'vga'"),
                                 video_model_to_string(video->model) ?: "?");
        }

        json_object *device = cmdline_device(driver, &video->info);
        if (video->model == VIDEO_MODEL_VIRTIO)
                json_add_uint64(device, "max_outputs", MAX(video->heads, 1u));
        else if (video->model == VIDEO_MODEL_BOCHS && video->vram_kib > 0)
                json_add_uint64(device, "vgamem", (uint64_t) video->vram_kib * KIB);
        else if (video->model != VIDEO_MODEL_BOCHS && video->vram_kib > 0)
                json_add_uint64(device, "vgamem_mb", MAX(video->vram_kib / 1024, 1u));
        if (video->resolution_x > 0 && video->resolution_y > 0 && video->model != VIDEO_MODEL_CIRRUS) {
                json_add_uint64(device, "xres", video->resolution_x);
                json_add_uint64(device, "yres", video->resolution_y);
        }
        return cmdline_add_pci_device(cmdline, device, &video->info, reterr);
}

int cmdline_add_displays(Cmdline *cmdline, GError **reterr) {
        const DomainDef *def = cmdline->def;
        int r = 0;

        for (unsigned i = 0; i < def->inputs->len && r >= 0; i++)
                r = add_input(cmdline, def->inputs->pdata[i], reterr);
        if (r >= 0)
                add_audiodevs(cmdline);
        for (unsigned i = 0; i < def->graphics->len && r >= 0; i++)
                r = add_vnc(cmdline, def->graphics->pdata[i], reterr);
        for (unsigned i = 0; i < def->videos->len && r >= 0; i++)
                r = add_video(cmdline, def->videos->pdata[i], i == 0, reterr);
        for (unsigned i = 0; i < def->sounds->len && r >= 0; i++)
                r = add_sound(cmdline, def->sounds->pdata[i], reterr);
        return r;
}
