/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <net/if.h>
#include <string.h>

#include "driver/base/i18n.h"
#include "xml/device.h"
#include "xml/validate_internal.h"

static bool is_interface_name(const char *name) {
        return *name && strlen(name) < IFNAMSIZ && !strpbrk(name, "/ \t\n:") && !g_str_equal(name, ".") &&
               !g_str_equal(name, "..");
}

static bool is_power_of_two(unsigned value) {
        return (value & (value - 1)) == 0;
}

static int validate_net(const NetDef *net, GError **reterr) {
        if (net->bridge && !is_interface_name(net->bridge))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("interface '%s': '%.64s' is not a name of a bridge"),
                                 net->mac, net->bridge);
        if (net->target && !is_interface_name(net->target))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("interface '%s': '%.64s' is not a name of a network device"), net->mac, net->target);
        if ((net->queues || net->rx_queue_size || net->tx_queue_size) && net->model != NET_MODEL_VIRTIO)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("interface '%s': queues and queue sizes need model 'virtio'"), net->mac);
        if (net->queues > 1 && net->type == NET_TYPE_USER)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("interface '%s': type 'user' has one queue"),
                                 net->mac);
        if (!is_power_of_two(net->rx_queue_size) || !is_power_of_two(net->tx_queue_size))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("interface '%s': queue sizes must be powers of two"),
                                 net->mac);
        if (net->tx_queue_size > 256)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("interface '%s': tx_queue_size is at most 256"),
                                 net->mac);
        if (net->backend == NET_BACKEND_VHOST && (net->type == NET_TYPE_USER || net->model != NET_MODEL_VIRTIO))
                return error_set(
                        reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                        _("interface '%s': driver 'vhost' needs model 'virtio' and type 'bridge' or 'ethernet'"),
                        net->mac);
        if (net->mtu && net->type == NET_TYPE_USER)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("interface '%s': <mtu> does not go with type 'user'"), net->mac);
        if (net->managed == TRI_NO && !net->target)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("interface '%s': managed='no' needs the name of the device"), net->mac);
        return 0;
}

int validate_nets(const DomainDef *def, GError **reterr) {
        int r = 0;

        for (unsigned i = 0; i < def->nets->len && r == 0; i++)
                r = validate_net(g_ptr_array_index(def->nets, i), reterr);
        return r;
}

/* Unix socket addresses hold 108 bytes with the NUL. */
static int validate_char(const Device *device, GError **reterr) {
        const CharDef *chr = device->chr;
        g_autofree char *name = device_describe(device);

        if ((chr->type == CHAR_TYPE_FILE || (chr->type == CHAR_TYPE_UNIX && device->kind != DEVICE_CHANNEL)) &&
            !chr->source_path)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s of type '%s' needs <source path=>"), name,
                                 char_type_to_string(chr->type));
        if (chr->source_path && chr->type != CHAR_TYPE_PTY && chr->source_path[0] != '/')
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s: the path '%s' is not absolute"), name,
                                 chr->source_path);
        if (chr->type == CHAR_TYPE_UNIX && chr->source_path && strlen(chr->source_path) > 107)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s: the path '%s' is too long for a socket"), name,
                                 chr->source_path);
        if (chr->type == CHAR_TYPE_UNIX && !chr->source_path && chr->mode == CHAR_MODE_CONNECT)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s: mode 'connect' needs a path"), name);
        if (chr->log_append && !chr->log_file)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s: <log> needs the attribute 'file'"), name);
        if (chr->log_file && chr->log_file[0] != '/')
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s: the log file '%s' is not an absolute path"), name,
                                 chr->log_file);
        if (chr->target_model && !g_str_equal(chr->target_model, "isa-serial"))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("%s: model '%.64s' is not supported by Ferry: use 'isa-serial'"), name,
                                 chr->target_model);
        if (chr->name && (!*chr->name || strchr(chr->name, '/') || strlen(chr->name) > 128))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s is not a good name: use one without '/'"), name);
        return 0;
}

int validate_chars(const DomainDef *def, GError **reterr) {
        g_autoptr(GArray) devices = device_list(def);

        for (unsigned i = 0; i < devices->len; i++) {
                const Device *device = &g_array_index(devices, Device, i);
                int r;

                if (device->kind != DEVICE_SERIAL && device->kind != DEVICE_CONSOLE && device->kind != DEVICE_CHANNEL)
                        continue;
                r = validate_char(device, reterr);
                if (r < 0)
                        return r;
                for (unsigned j = 0; j < i; j++) {
                        const Device *other = &g_array_index(devices, Device, j);

                        if (other->kind != device->kind)
                                continue;
                        if (device->kind == DEVICE_SERIAL &&
                            (device->chr->port == other->chr->port || device->chr->port > 3))
                                return error_set(
                                        reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                        _("serial port %d: there are four ISA ports, 0 to 3, and each is there once"),
                                        device->chr->port);
                        if (device->kind == DEVICE_CHANNEL && device->chr->name &&
                            g_strcmp0(device->chr->name, other->chr->name) == 0)
                                return error_set(reterr, VIR_ERR_XML_ERROR, _("two channels have the name '%s'"),
                                                 device->chr->name);
                }
        }
        return 0;
}

static bool has_audio(const DomainDef *def, int id) {
        for (unsigned i = 0; i < def->audios->len; i++)
                if (((const AudioDef *) g_ptr_array_index(def->audios, i))->id == id)
                        return true;
        return id == -1;
}

static int validate_graphics(const DomainDef *def, GError **reterr) {
        const GraphicsDef *graphics;
        g_autoptr(GDateTime) valid_to = NULL;

        if (def->graphics->len > 1)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("there can be only one <graphics>"));
        if (def->graphics->len == 0)
                return 0;
        graphics = g_ptr_array_index(def->graphics, 0);
        if (graphics->port > 0 && graphics->port < 5900)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("VNC port %d is less than 5900"), graphics->port);
        if (graphics->listen != LISTEN_TYPE_ADDRESS &&
            (graphics->port > 0 || graphics->listen_address || graphics->websocket))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("<listen type='%s'> does not go with a port or an address"),
                                 listen_type_to_string(graphics->listen));
        if (graphics->listen != LISTEN_TYPE_SOCKET && graphics->listen_socket)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("a socket of <graphics> needs <listen type='socket'>"));
        if (graphics->password && strlen(graphics->password) > 8)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("the VNC password has %zu characters, and VNC uses only 8"),
                                 strlen(graphics->password));
        if (graphics->password_valid_to) {
                g_autoptr(GTimeZone) utc = g_time_zone_new_utc();

                valid_to = g_date_time_new_from_iso8601(graphics->password_valid_to, utc);
                if (!valid_to)
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("passwdValidTo '%.64s' is not like '2027-01-31T12:00:00'"),
                                         graphics->password_valid_to);
        }
        if (graphics->keymap && (!*graphics->keymap || strchr(graphics->keymap, '/')))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("'%.64s' is not the name of a keymap"), graphics->keymap);
        if (!has_audio(def, graphics->audio_id))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("<graphics> names the audio backend %d, which does not exist"), graphics->audio_id);
        return 0;
}

static int validate_video(const DomainDef *def, const VideoDef *video, bool first, GError **reterr) {
        const char *model = video_model_to_string(video->model);

        if (video->model == VIDEO_MODEL_NONE && def->videos->len > 1)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("<video> of model 'none' must be the only one"));
        if (!first && video->model != VIDEO_MODEL_VIRTIO)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("video model '%s' can only be the first one: use 'virtio'"), model);
        if (video->heads > 1 && video->model != VIDEO_MODEL_VIRTIO)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("video model '%s' has one head"), model);
        if (video->vram_kib && (video->model == VIDEO_MODEL_VIRTIO || video->model == VIDEO_MODEL_NONE))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("vram of <video> does not go with model '%s'"),
                                 model);
        if (video->vram_kib && (video->vram_kib < 1024 || !is_power_of_two(video->vram_kib)))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("vram of <video> must be a power of two of at least 1024"));
        if (!video->resolution_x != !video->resolution_y)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<resolution> needs x and y"));
        if (video->resolution_x && (video->model == VIDEO_MODEL_CIRRUS || video->model == VIDEO_MODEL_NONE))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<resolution> does not go with video model '%s'"), model);
        return 0;
}

int validate_display(const DomainDef *def, GError **reterr) {
        int r = validate_graphics(def, reterr);

        for (unsigned i = 0; i < def->videos->len && r == 0; i++)
                r = validate_video(def, g_ptr_array_index(def->videos, i), i == 0, reterr);
        for (unsigned i = 0; i < def->inputs->len && r == 0; i++) {
                const InputDef *input = g_ptr_array_index(def->inputs, i);

                if (input->type == INPUT_TYPE_TABLET && input->bus == INPUT_BUS_PS2)
                        r = error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                      _("a tablet cannot be on bus 'ps2': use 'usb' or 'virtio'"));
        }
        for (unsigned i = 0; i < def->audios->len && r == 0; i++)
                for (unsigned j = 0; j < i; j++)
                        if (((const AudioDef *) g_ptr_array_index(def->audios, i))->id ==
                            ((const AudioDef *) g_ptr_array_index(def->audios, j))->id)
                                r = error_set(reterr, VIR_ERR_XML_ERROR, _("two <audio> have the same id"));
        for (unsigned i = 0; i < def->sounds->len && r == 0; i++)
                if (!has_audio(def, ((const SoundDef *) g_ptr_array_index(def->sounds, i))->audio_id))
                        r = error_set(reterr, VIR_ERR_XML_ERROR,
                                      _("<sound> names an audio backend that does not exist"));
        return r;
}

static int validate_watchdogs(const DomainDef *def, GError **reterr) {
        for (unsigned i = 0; i < def->watchdogs->len; i++) {
                const WatchdogDef *watchdog = g_ptr_array_index(def->watchdogs, i);
                const WatchdogDef *first = g_ptr_array_index(def->watchdogs, 0);

                if (watchdog->action != first->action)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("all watchdogs of a guest must have the same action"));
                if (watchdog->model == WATCHDOG_MODEL_ITCO && !domain_def_is_q35(def))
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("watchdog model 'itco' needs machine 'q35'"));
                for (unsigned j = 0; j < i && watchdog->model != WATCHDOG_MODEL_I6300ESB; j++)
                        if (((const WatchdogDef *) g_ptr_array_index(def->watchdogs, j))->model == watchdog->model)
                                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                                 _("watchdog model '%s' can be there only once"),
                                                 watchdog_model_to_string(watchdog->model));
        }
        return 0;
}

int validate_small(const DomainDef *def, GError **reterr) {
        int r = validate_watchdogs(def, reterr);

        for (unsigned i = 0; i < def->rngs->len && r == 0; i++) {
                const RngDef *rng = g_ptr_array_index(def->rngs, i);

                if (rng->backend == RNG_BACKEND_BUILTIN && rng->path)
                        r = error_set(reterr, VIR_ERR_XML_ERROR, _("<rng><backend model='builtin'> has no path"));
                else if (rng->path && rng->path[0] != '/')
                        r = error_set(reterr, VIR_ERR_XML_ERROR, _("<rng><backend>: '%.64s' is not an absolute path"),
                                      rng->path);
                else if (rng->rate_period_msec && !rng->rate_bytes)
                        r = error_set(reterr, VIR_ERR_XML_ERROR, _("<rng><rate> needs the attribute 'bytes'"));
        }
        for (unsigned i = 0; i < def->panics->len && r == 0; i++)
                for (unsigned j = 0; j < i; j++)
                        if (((const PanicDef *) g_ptr_array_index(def->panics, i))->model ==
                            ((const PanicDef *) g_ptr_array_index(def->panics, j))->model)
                                r = error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                              _("<panic> of the same model can be there only once"));
        if (r == 0 && def->balloon.model == BALLOON_MODEL_NONE &&
            (def->balloon.autodeflate || def->balloon.free_page_reporting))
                r = error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                              _("<memballoon model='none'> has no autodeflate or freePageReporting"));
        return r;
}
