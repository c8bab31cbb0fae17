/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/random.h>

#include "driver/base/i18n.h"
#include "xml/complete_internal.h"
#include "xml/disk_name.h"
#include "xml/spec.h"

static void complete_disk(DiskDef *disk) {
        static const struct {
                const char *prefix;
                DiskBus bus;
        } buses[] = { { "vd", DISK_BUS_VIRTIO }, { "sd", DISK_BUS_SCSI }, { "hd", DISK_BUS_IDE } };

        if (!disk->type)
                disk->type = DISK_TYPE_FILE;
        if (!disk->device)
                disk->device = DISK_DEVICE_DISK;
        for (unsigned i = 0; i < G_N_ELEMENTS(buses) && !disk->bus; i++)
                if (g_str_has_prefix(disk->target, buses[i].prefix))
                        disk->bus = buses[i].bus;
        if (!disk->bus)
                disk->bus = DISK_BUS_IDE;
        disk->driver_name = 1;
        if (!disk->format)
                disk->format = DISK_FORMAT_RAW;
        if (disk->device == DISK_DEVICE_CDROM)
                disk->readonly = true;
}

/* libvirt keeps the disks of one bus together, in the order of their names, and hands out addresses in that order. */
static void sort_disks(GPtrArray *disks) {
        for (unsigned n = 1; n < disks->len; n++) {
                DiskDef *disk = g_ptr_array_index(disks, n);
                unsigned at = n;
                bool found = false;

                for (unsigned i = n; i > 0; i--) {
                        const DiskDef *other = g_ptr_array_index(disks, i - 1);

                        if (other->bus != disk->bus)
                                continue;
                        if (disk_name_index(other->target) > disk_name_index(disk->target))
                                at = i - 1;
                        else if (!found)
                                at = i;
                        found = true;
                }
                memmove(disks->pdata + at + 1, disks->pdata + at, (n - at) * sizeof(void *));
                disks->pdata[at] = disk;
        }
}

/* Six lower-case pairs. */
static int normalise_mac(char **inout_mac, GError **reterr) {
        unsigned bytes[6];
        char end;

        if (sscanf(*inout_mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4],
                   &bytes[5], &end) != 6 ||
            strspn(*inout_mac, "0123456789abcdefABCDEF:") != strlen(*inout_mac))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<mac address='%.64s'/> is not a MAC address"),
                                 *inout_mac);
        if (bytes[0] & 1)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<mac address='%s'/> is a multicast address"),
                                 *inout_mac);
        g_free(*inout_mac);
        *inout_mac = g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4],
                                     bytes[5]);
        return 0;
}

static int complete_net(NetDef *net, GError **reterr) {
        unsigned char random[3];

        if (!net->model)
                net->model = NET_MODEL_RTL8139;
        if (net->mac)
                return normalise_mac(&net->mac, reterr);
        if (getrandom(random, sizeof(random), 0) != (ssize_t) sizeof(random))
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("cannot make a MAC address: no random numbers"));
        net->mac = g_strdup_printf("52:54:00:%02x:%02x:%02x", random[0], random[1], random[2]);
        return 0;
}

static void complete_graphics(GraphicsDef *graphics) {
        if (!graphics->listen)
                graphics->listen = graphics->listen_socket ? LISTEN_TYPE_SOCKET : LISTEN_TYPE_ADDRESS;
        if (graphics->listen != LISTEN_TYPE_ADDRESS)
                return;
        if (graphics->port > 0 && graphics->autoport != TRI_YES)
                graphics->autoport = TRI_NO;
        else
                graphics->autoport = TRI_YES;
        if (graphics->port == 0)
                graphics->port = -1;
}

static void complete_video(VideoDef *video, bool first) {
        if (!video->model)
                video->model = VIDEO_MODEL_CIRRUS;
        switch (video->model) {
        case VIDEO_MODEL_VGA:
        case VIDEO_MODEL_CIRRUS:
        case VIDEO_MODEL_BOCHS:
                if (!video->vram_kib)
                        video->vram_kib = 16384;
                break;
        default:
                break;
        }
        if (video->model == VIDEO_MODEL_NONE)
                return;
        if (!video->heads)
                video->heads = 1;
        if (first)
                video->primary = TRI_YES;
}

/* The card that is marked as primary comes first; the mark is dropped from the others. */
static void complete_videos(DomainDef *def) {
        GPtrArray *videos = def->videos;

        if (videos->len == 0 && def->graphics->len > 0)
                bind_append(videos, &video_spec);
        for (unsigned i = 1; i < videos->len; i++) {
                VideoDef *video = g_ptr_array_index(videos, i);

                if (video->primary == TRI_YES &&
                    ((const VideoDef *) g_ptr_array_index(videos, 0))->primary != TRI_YES) {
                        memmove(videos->pdata + 1, videos->pdata, i * sizeof(void *));
                        videos->pdata[0] = video;
                }
        }
        for (unsigned i = 0; i < videos->len; i++)
                complete_video(g_ptr_array_index(videos, i), i == 0);
}

static void add_ps2_input(DomainDef *def, InputType type) {
        InputDef *input;

        for (unsigned i = 0; i < def->inputs->len; i++) {
                input = g_ptr_array_index(def->inputs, i);
                if (input->type == type && input->bus == INPUT_BUS_PS2)
                        return;
        }
        input = bind_append(def->inputs, &input_spec);
        input->type = type;
        input->bus = INPUT_BUS_PS2;
}

static void complete_inputs(DomainDef *def) {
        for (unsigned i = 0; i < def->inputs->len; i++) {
                InputDef *input = g_ptr_array_index(def->inputs, i);

                if (!input->bus)
                        input->bus = input->type == INPUT_TYPE_TABLET ? INPUT_BUS_USB : INPUT_BUS_PS2;
        }
        add_ps2_input(def, INPUT_TYPE_MOUSE);
        add_ps2_input(def, INPUT_TYPE_KEYBOARD);
}

static void complete_small(DomainDef *def) {
        if (def->audios->len == 0) {
                AudioDef *audio = bind_append(def->audios, &audio_spec);

                audio->id = 1;
                audio->type = 1;
        }
        if (!def->balloon.present) {
                def->balloon.present = true;
                def->balloon.model = BALLOON_MODEL_VIRTIO;
        }
        for (unsigned i = 0; i < def->rngs->len; i++) {
                RngDef *rng = g_ptr_array_index(def->rngs, i);

                if (rng->backend == RNG_BACKEND_RANDOM && !rng->path)
                        rng->path = g_strdup("/dev/random");
        }
        for (unsigned i = 0; i < def->watchdogs->len; i++) {
                WatchdogDef *watchdog = g_ptr_array_index(def->watchdogs, i);

                if (!watchdog->action)
                        watchdog->action = WATCHDOG_ACTION_RESET;
        }
        for (unsigned i = 0; i < def->panics->len; i++) {
                PanicDef *panic = g_ptr_array_index(def->panics, i);

                if (!panic->model)
                        panic->model = PANIC_MODEL_ISA;
        }
}

int complete_devices(DomainDef *def, GError **reterr) {
        int r = 0;

        for (unsigned i = 0; i < def->disks->len; i++)
                complete_disk(g_ptr_array_index(def->disks, i));
        sort_disks(def->disks);
        for (unsigned i = 0; i < def->nets->len && r == 0; i++)
                r = complete_net(g_ptr_array_index(def->nets, i), reterr);
        for (unsigned i = 0; i < def->graphics->len; i++)
                complete_graphics(g_ptr_array_index(def->graphics, i));
        complete_videos(def);
        complete_inputs(def);
        complete_small(def);
        return r;
}
