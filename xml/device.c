/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/device.h"

static const struct {
        const char *element;
        size_t array; /* in DomainDef */
        size_t info;  /* in the device's struct */
} kinds[] = {
#define KIND(kind, element, array, Type) [kind] = { element, offsetof(DomainDef, array), offsetof(Type, info) }
        KIND(DEVICE_DISK, "disk", disks, DiskDef),
        KIND(DEVICE_CONTROLLER, "controller", controllers, ControllerDef),
        KIND(DEVICE_NET, "interface", nets, NetDef),
        KIND(DEVICE_SERIAL, "serial", serials, CharDef),
        KIND(DEVICE_CONSOLE, "console", consoles, CharDef),
        KIND(DEVICE_CHANNEL, "channel", channels, CharDef),
        KIND(DEVICE_INPUT, "input", inputs, InputDef),
        KIND(DEVICE_GRAPHICS, "graphics", graphics, GraphicsDef),
        KIND(DEVICE_SOUND, "sound", sounds, SoundDef),
        KIND(DEVICE_VIDEO, "video", videos, VideoDef),
        KIND(DEVICE_WATCHDOG, "watchdog", watchdogs, WatchdogDef),
        [DEVICE_BALLOON] = { "memballoon", 0, offsetof(BalloonDef, info) },
        KIND(DEVICE_RNG, "rng", rngs, RngDef),
        KIND(DEVICE_PANIC, "panic", panics, PanicDef),
#undef KIND
};
static_assert(G_N_ELEMENTS(kinds) == DEVICE_KIND_LAST, "every kind of device has its array");

static void add_device(GArray *list, DeviceKind kind, unsigned number, void *data) {
        Device device = {
                .kind = kind, .number = number, .data = data, .info = (DeviceInfo *) ((char *) data + kinds[kind].info)
        };

        g_array_append_val(list, device);
}

GArray *device_list(const DomainDef *def) {
        GArray *list = g_array_new(FALSE, FALSE, sizeof(Device));

        for (DeviceKind kind = 0; kind < DEVICE_KIND_LAST; kind++) {
                const GPtrArray *array;

                if (kind == DEVICE_BALLOON) {
                        if (def->balloon.present)
                                add_device(list, kind, 0, (void *) &def->balloon);
                        continue;
                }
                array = *(GPtrArray *const *) ((const char *) def + kinds[kind].array);
                for (unsigned i = 0; i < array->len; i++)
                        add_device(list, kind, i, g_ptr_array_index(array, i));
        }
        return list;
}

char *device_describe(const Device *device) {
        const char *element = kinds[device->kind].element;

        switch (device->kind) {
        case DEVICE_DISK:
                return g_strdup_printf("disk '%s'", device->disk->target);
        case DEVICE_NET:
                return g_strdup_printf("interface '%s'", device->net->mac ?: "?");
        case DEVICE_CONTROLLER:
                return g_strdup_printf("controller '%s' %d", controller_type_to_string(device->controller->type),
                                       device->controller->index);
        case DEVICE_CHANNEL:
                return g_strdup_printf("channel '%s'", device->chr->name ?: "?");
        default:
                return g_strdup_printf("%s %u", element, device->number);
        }
}

bool device_console_is_serial(const CharDef *console) {
        return console->target == CHAR_TARGET_SERIAL;
}
