/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/live.h"

#include <string.h>

#include "xml/device.h"

/* "12-name" */
static bool is_id_and_name(const char *text) {
        const char *end = text;

        while (g_ascii_isdigit(*end))
                end++;
        return end > text && *end == '-';
}

/* libvirt's forms and ours. */
static bool is_made_up_path(const char *path) {
        g_auto(GStrv) parts = g_strsplit(path, "/", -1);
        unsigned n = g_strv_length(parts);
        const char *directory = n >= 2 ? parts[n - 2] : "", *above = n >= 3 ? parts[n - 3] : "";

        if (n >= 4 && g_str_equal(above, "domains") && g_str_equal(parts[n - 4], "ferry"))
                return true;
        if (g_str_has_prefix(directory, "domain-"))
                return is_id_and_name(directory + strlen("domain-"));
        return g_str_equal(above, "channel") && is_id_and_name(directory);
}

static void drop_char(CharDef *chr) {
        if (chr->type == CHAR_TYPE_PTY ||
            (chr->type == CHAR_TYPE_UNIX && chr->source_path && is_made_up_path(chr->source_path)))
                g_clear_pointer(&chr->source_path, g_free);
        chr->state = CHANNEL_STATE_UNSET;
}

static void drop_graphics(GraphicsDef *graphics) {
        if (graphics->autoport == TRI_YES)
                graphics->port = -1;
        if (graphics->listen_socket && is_made_up_path(graphics->listen_socket))
                g_clear_pointer(&graphics->listen_socket, g_free);
}

static void drop_net(NetDef *net) {
        const char *number = net->target && g_str_has_prefix(net->target, "vnet") ? net->target + strlen("vnet") : "";

        if (*number && strspn(number, "0123456789") == strlen(number))
                g_clear_pointer(&net->target, g_free);
        if (net->type == NET_TYPE_NETWORK) {
                g_clear_pointer(&net->bridge, g_free);
                g_clear_pointer(&net->port_id, g_free);
        }
}

static void drop_backing(GPtrArray *chain) {
        for (unsigned i = 0; i < chain->len; i++) {
                DiskBackingDef *backing = g_ptr_array_index(chain, i);

                backing->index = 0;
                drop_backing(backing->below);
        }
}

static void drop_device(const Device *device) {
        if (device->info->alias && !g_str_has_prefix(device->info->alias, "ua-"))
                g_clear_pointer(&device->info->alias, g_free);
        switch (device->kind) {
        case DEVICE_DISK:
                device->disk->source_index = 0;
                device->disk->tray = DISK_TRAY_UNSET;
                drop_backing(device->disk->backing);
                break;
        case DEVICE_NET:
                drop_net(device->net);
                break;
        case DEVICE_SERIAL:
        case DEVICE_CONSOLE:
        case DEVICE_CHANNEL:
                drop_char(device->chr);
                break;
        case DEVICE_GRAPHICS:
                drop_graphics(device->graphics);
                break;
        default:
                break;
        }
}

void live_drop(DomainDef *def) {
        g_autoptr(GArray) devices = device_list(def);

        def->id = -1;
        for (unsigned i = 0; i < devices->len; i++)
                drop_device(&g_array_index(devices, Device, i));
        for (unsigned i = 0; i < def->seclabels->len; i++) {
                SeclabelDef *seclabel = g_ptr_array_index(def->seclabels, i);

                g_clear_pointer(&seclabel->label, g_free);
                g_clear_pointer(&seclabel->imagelabel, g_free);
        }
}
