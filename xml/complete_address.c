/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "driver/base/i18n.h"
#include "xml/complete_internal.h"
#include "xml/device.h"
#include "xml/disk_name.h"

/* libvirt's way from the name to the place on the bus. SCSI is taken as narrow: eight units, one of which is the
 * controller. */
static void place_drive(const DiskDef *disk, unsigned index, DeviceAddress *ret) {
        *ret = (DeviceAddress) { .type = ADDRESS_TYPE_DRIVE };
        switch (disk->bus) {
        case DISK_BUS_SCSI:
                ret->controller = index / 7;
                ret->unit = index % 7;
                break;
        case DISK_BUS_SATA:
                ret->controller = index / 6;
                ret->unit = index % 6;
                break;
        default:
                ret->controller = index / 4;
                ret->bus = index % 4 / 2;
                ret->unit = index % 2;
        }
}

static int complete_drive(DomainDef *def, DiskDef *disk, GError **reterr) {
        static const ControllerType types[DISK_BUS_LAST] = {
                [DISK_BUS_SCSI] = CONTROLLER_TYPE_SCSI,
                [DISK_BUS_SATA] = CONTROLLER_TYPE_SATA,
                [DISK_BUS_IDE] = CONTROLLER_TYPE_IDE,
        };
        ControllerType type = types[disk->bus];

        if (!type)
                return 0;
        if (!disk->info.address.type) {
                int index = disk_name_index(disk->target);

                if (index < 0)
                        return error_set(
                                reterr, VIR_ERR_XML_ERROR,
                                _("disk '%s' gets its place from its name: name it like 'sda', or give it an "
                                  "<address>"),
                                disk->target);
                place_drive(disk, (unsigned) index, &disk->info.address);
        }
        if (disk->info.address.type != ADDRESS_TYPE_DRIVE)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("disk '%s' on bus '%s' needs an address of type 'drive'"),
                                 disk->target, disk_bus_to_string(disk->bus));
        if (disk->info.address.controller > 255)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("disk '%s' would need more controllers than there may be"), disk->target);
        for (unsigned i = 0; i <= disk->info.address.controller; i++)
                if (!controller_find(def, type, (int) i))
                        controller_add(def, type, (int) i, CONTROLLER_MODEL_UNSET);
        return 0;
}

int complete_drives(DomainDef *def, GError **reterr) {
        int r = 0;

        for (unsigned i = 0; i < def->disks->len && r == 0; i++)
                r = complete_drive(def, g_ptr_array_index(def->disks, i), reterr);
        return r;
}

#define VIRTIO_SERIAL_PORTS 31 /* QEMU's default */

static unsigned serial_ports(const ControllerDef *controller) {
        return controller->serial_ports > 0 ? (unsigned) controller->serial_ports : VIRTIO_SERIAL_PORTS;
}

static bool serial_port_used(const GArray *devices, unsigned controller, unsigned port, bool is_console) {
        for (unsigned i = 0; i < devices->len; i++) {
                const Device *device = &g_array_index(devices, Device, i);
                const DeviceAddress *address = &device->info->address;

                if ((device->kind == DEVICE_CHANNEL || device->kind == DEVICE_CONSOLE) &&
                    address->type == ADDRESS_TYPE_VIRTIO_SERIAL && address->controller == controller &&
                    address->port == port && (port != 0 || is_console))
                        return true;
        }
        return false;
}

/* Port 0 is for consoles only. Numbers of ports count from 0, so a controller with N ports has 0 .. N-1. */
static bool find_serial_port(const DomainDef *def, const GArray *devices, bool console, DeviceAddress *ret) {
        for (unsigned i = 0; i < 256; i++) {
                const ControllerDef *controller = controller_find(def, CONTROLLER_TYPE_VIRTIO_SERIAL, (int) i);

                for (unsigned port = console ? 0 : 1; controller && port < serial_ports(controller); port++)
                        if (!serial_port_used(devices, i, port, console)) {
                                *ret = (DeviceAddress){ .type = ADDRESS_TYPE_VIRTIO_SERIAL,
                                                        .controller = i,
                                                        .port = port };
                                return true;
                        }
        }
        return false;
}

static int complete_serial_port(DomainDef *def, const GArray *devices, const Device *device, GError **reterr) {
        DeviceAddress *address = &device->info->address;
        bool console = device->kind == DEVICE_CONSOLE;
        int index;

        if (address->type && address->type != ADDRESS_TYPE_VIRTIO_SERIAL) {
                g_autofree char *name = device_describe(device);

                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s needs an address of type 'virtio-serial'"), name);
        }
        if (address->type) {
                for (unsigned i = 0; i <= address->controller; i++)
                        if (!controller_find(def, CONTROLLER_TYPE_VIRTIO_SERIAL, (int) i))
                                controller_add(def, CONTROLLER_TYPE_VIRTIO_SERIAL, (int) i, CONTROLLER_MODEL_UNSET);
                if (address->port > 0 || console)
                        return 0;
        }
        if (!find_serial_port(def, devices, console, address)) {
                for (index = 0; controller_find(def, CONTROLLER_TYPE_VIRTIO_SERIAL, index);)
                        index++;
                if (index > 255)
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("there are more virtio-serial ports than controllers can have"));
                controller_add(def, CONTROLLER_TYPE_VIRTIO_SERIAL, index, CONTROLLER_MODEL_UNSET);
                if (!find_serial_port(def, devices, console, address))
                        return error_set(reterr, VIR_ERR_XML_ERROR, _("no virtio-serial port is free"));
        }
        return 0;
}

int complete_virtio_serial(DomainDef *def, GError **reterr) {
        g_autoptr(GArray) devices = device_list(def);
        int r = 0;

        /* Two rounds: what the user has placed keeps its place. */
        for (int placed = 1; placed >= 0; placed--)
                for (unsigned i = 0; i < devices->len && r == 0; i++) {
                        const Device *device = &g_array_index(devices, Device, i);

                        if (device->kind != DEVICE_CHANNEL && device->kind != DEVICE_CONSOLE)
                                continue;
                        if (device->chr->target == CHAR_TARGET_VIRTIO && !!device->info->address.type == !!placed)
                                r = complete_serial_port(def, devices, device, reterr);
                }
        return r;
}

static unsigned usb_ports(const ControllerDef *controller) {
        if (controller->usb_ports > 0)
                return (unsigned) controller->usb_ports;
        switch (controller->model) {
        case CONTROLLER_MODEL_PIIX3_UHCI:
        case CONTROLLER_MODEL_PIIX4_UHCI:
                return 2;
        case CONTROLLER_MODEL_EHCI:
        case CONTROLLER_MODEL_ICH9_EHCI1:
                return 6;
        case CONTROLLER_MODEL_NEC_XHCI:
        case CONTROLLER_MODEL_QEMU_XHCI:
                return 4;
        default:
                return 0; /* companions' ports are their master's */
        }
}

static bool usb_port_used(const DomainDef *def, unsigned bus, const char *port) {
        for (unsigned i = 0; i < def->inputs->len; i++) {
                const DeviceAddress *address = &((const InputDef *) g_ptr_array_index(def->inputs, i))->info.address;

                if (address->type == ADDRESS_TYPE_USB && address->bus == bus && g_strcmp0(address->usb_port, port) == 0)
                        return true;
        }
        return false;
}

static int complete_usb_address(DomainDef *def, InputDef *input, GError **reterr) {
        DeviceAddress *address = &input->info.address;
        bool any_bus = !address->type;

        if (address->type && address->type != ADDRESS_TYPE_USB)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("a USB %s needs an address of type 'usb'"),
                                 input_type_to_string(input->type));
        if (address->usb_port)
                return 0;
        for (unsigned i = 0; i < def->controllers->len; i++) {
                const ControllerDef *controller = g_ptr_array_index(def->controllers, i);

                if (controller->type != CONTROLLER_TYPE_USB ||
                    (!any_bus && address->bus != (unsigned) controller->index))
                        continue;
                for (unsigned port = 1; port <= usb_ports(controller); port++) {
                        g_autofree char *text = g_strdup_printf("%u", port);

                        if (usb_port_used(def, (unsigned) controller->index, text))
                                continue;
                        address->type = ADDRESS_TYPE_USB;
                        address->bus = (unsigned) controller->index;
                        address->usb_port = g_steal_pointer(&text);
                        return 0;
                }
        }
        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                         _("no USB port is free for a %s: add <controller type='usb' model='qemu-xhci' ports='15'/>"),
                         input_type_to_string(input->type));
}

int complete_usb(DomainDef *def, GError **reterr) {
        int r = 0;

        for (unsigned i = 0; i < def->inputs->len && r == 0; i++) {
                InputDef *input = g_ptr_array_index(def->inputs, i);

                if (input->bus == INPUT_BUS_USB)
                        r = complete_usb_address(def, input, reterr);
        }
        return r;
}
