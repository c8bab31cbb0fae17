/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "xml/console.h"
#include "xml/device.h"
#include "xml/disk_name.h"

static char *disk_alias(const DiskDef *disk) {
        const DeviceAddress *address = &disk->info.address;
        const char *bus = disk_bus_to_string(disk->bus);

        switch (disk->bus) {
        case DISK_BUS_VIRTIO:
                return g_strdup_printf("virtio-disk%d", MAX(disk_name_index(disk->target), 0));
        case DISK_BUS_SCSI:
                return g_strdup_printf("%s%u-%u-%u-%u", bus, address->controller, address->bus, address->target,
                                       address->unit);
        default:
                return g_strdup_printf("%s%u-%u-%u", bus, address->controller, address->bus, address->unit);
        }
}

/* QEMU names the buses of the controllers that are part of the machine by itself. */
static char *controller_alias(const DomainDef *def, const ControllerDef *controller) {
        bool first = controller->index == 0;

        switch (controller->type) {
        case CONTROLLER_TYPE_PCI:
                return g_strdup_printf("%s.%d", controller->model == CONTROLLER_MODEL_PCIE_ROOT ? "pcie" : "pci",
                                       controller->index);
        case CONTROLLER_TYPE_USB:
                return first ? g_strdup("usb") : g_strdup_printf("usb%d", controller->index);
        case CONTROLLER_TYPE_IDE:
                if (first && domain_def_is_i440fx(def))
                        return g_strdup("ide");
                break;
        case CONTROLLER_TYPE_SATA:
                if (first && domain_def_is_q35(def))
                        return g_strdup("ide");
                break;
        default:
                break;
        }
        return g_strdup_printf("%s%d", controller_type_to_string(controller->type), controller->index);
}

static char *device_alias(const DomainDef *def, const Device *device) {
        static const char *const prefixes[DEVICE_KIND_LAST] = {
                [DEVICE_NET] = "net",         [DEVICE_SERIAL] = "serial",     [DEVICE_CONSOLE] = "console",
                [DEVICE_CHANNEL] = "channel", [DEVICE_INPUT] = "input",       [DEVICE_SOUND] = "sound",
                [DEVICE_VIDEO] = "video",     [DEVICE_WATCHDOG] = "watchdog", [DEVICE_RNG] = "rng",
                [DEVICE_BALLOON] = "balloon", [DEVICE_PANIC] = "panic",
        };

        if (device->kind == DEVICE_DISK)
                return disk_alias(device->disk);
        if (device->kind == DEVICE_CONTROLLER)
                return controller_alias(def, device->controller);
        return prefixes[device->kind] ? g_strdup_printf("%s%u", prefixes[device->kind], device->number) : NULL;
}

/* Devices that share a name on purpose: a console that is a serial port, USB companions. */
static bool may_share(const Device *device) {
        return (device->kind == DEVICE_CONSOLE && device_console_is_serial(device->chr)) ||
               (device->kind == DEVICE_CONTROLLER && device->controller->type == CONTROLLER_TYPE_USB);
}

int domain_def_assign_aliases(DomainDef *def) {
        g_autoptr(GArray) devices = device_list(def);
        g_autoptr(GHashTable) taken = g_hash_table_new(g_str_hash, g_str_equal);

        for (unsigned i = 0; i < devices->len; i++) {
                const Device *device = &g_array_index(devices, Device, i);

                if (!device->info->alias)
                        device->info->alias = device_alias(def, device);
                if (device->info->alias && !may_share(device) && !g_hash_table_add(taken, device->info->alias))
                        return -EINVAL;
        }
        console_follow_serial(def);
        return 0;
}
