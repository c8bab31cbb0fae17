/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "driver/base/i18n.h"
#include "xml/complete_internal.h"
#include "xml/device.h"
#include "xml/validate_internal.h"

/* Which models a type of controllers has: UNSET stands for "none is named". */
static bool model_fits(ControllerType type, ControllerModel model) {
        switch (type) {
        case CONTROLLER_TYPE_PCI:
                return model >= CONTROLLER_MODEL_PCI_ROOT && model <= CONTROLLER_MODEL_PCIE_SWITCH_DOWNSTREAM_PORT;
        case CONTROLLER_TYPE_USB:
                return model >= CONTROLLER_MODEL_PIIX3_UHCI && model <= CONTROLLER_MODEL_NONE;
        case CONTROLLER_TYPE_SCSI:
                return model == CONTROLLER_MODEL_VIRTIO_SCSI;
        case CONTROLLER_TYPE_IDE:
                return model == CONTROLLER_MODEL_UNSET || model == CONTROLLER_MODEL_PIIX3;
        default:
                return model == CONTROLLER_MODEL_UNSET;
        }
}

static bool is_companion(const ControllerDef *controller) {
        return controller->type == CONTROLLER_TYPE_USB && controller->model >= CONTROLLER_MODEL_ICH9_UHCI1 &&
               controller->model <= CONTROLLER_MODEL_ICH9_UHCI3;
}

static int validate_usb(const DomainDef *def, const ControllerDef *controller, GError **reterr) {
        bool xhci = controller->model == CONTROLLER_MODEL_QEMU_XHCI || controller->model == CONTROLLER_MODEL_NEC_XHCI;

        if (controller->usb_ports != -1 && !xhci)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("ports= of <controller type='usb'> needs model 'qemu-xhci' or 'nec-xhci'"));
        if (controller->usb_master_startport != -1 && !is_companion(controller))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<master> needs a usb controller of model 'ich9-uhci1' to 'ich9-uhci3'"));
        if (controller->model == CONTROLLER_MODEL_PIIX3_UHCI && domain_def_is_q35(def))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("usb controller model 'piix3-uhci' needs machine 'pc': use 'qemu-xhci'"));
        if (is_companion(controller)) {
                for (unsigned i = 0; i < def->controllers->len; i++) {
                        const ControllerDef *other = g_ptr_array_index(def->controllers, i);

                        if (other->type == CONTROLLER_TYPE_USB && other->index == controller->index &&
                            other->model == CONTROLLER_MODEL_ICH9_EHCI1)
                                return 0;
                }
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("usb controller %d of model '%s' has no 'ich9-ehci1' with the same index"),
                                 controller->index, controller_model_to_string(controller->model));
        }
        return 0;
}

static int validate_pci(const ControllerDef *controller, GError **reterr) {
        static const struct {
                ControllerModel model;
                const char *names[4];
        } names[] = {
                { CONTROLLER_MODEL_PCI_BRIDGE, { "pci-bridge" } },
                { CONTROLLER_MODEL_DMI_TO_PCI_BRIDGE, { "i82801b11-bridge" } },
                { CONTROLLER_MODEL_PCIE_TO_PCI_BRIDGE, { "pcie-pci-bridge" } },
                { CONTROLLER_MODEL_PCIE_ROOT_PORT, { "pcie-root-port", "ioh3420" } },
                { CONTROLLER_MODEL_PCIE_SWITCH_UPSTREAM_PORT, { "x3130-upstream" } },
                { CONTROLLER_MODEL_PCIE_SWITCH_DOWNSTREAM_PORT, { "xio3130-downstream" } },
        };
        bool root = controller->model == CONTROLLER_MODEL_PCI_ROOT || controller->model == CONTROLLER_MODEL_PCIE_ROOT;
        bool port = controller->model == CONTROLLER_MODEL_PCIE_ROOT_PORT ||
                    controller->model == CONTROLLER_MODEL_PCIE_SWITCH_DOWNSTREAM_PORT;
        bool found = root && !controller->model_name;

        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
                if (controller->model == names[i].model)
                        found = g_strv_contains((const char *const *) names[i].names, controller->model_name);
        if (!found)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("pci controller %d: <model name='%s'/> is not supported for model '%s'"),
                                 controller->index, controller->model_name ?: "",
                                 controller_model_to_string(controller->model));
        if (controller->pcihole64_kib && !root)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("pci controller %d: <pcihole64> needs 'pci-root' or 'pcie-root'"),
                                 controller->index);
        if ((controller->chassis != -1 || controller->port != -1) && !port)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("pci controller %d: chassis and port need a model with ports"), controller->index);
        if (controller->chassis_nr != -1 && controller->model != CONTROLLER_MODEL_PCI_BRIDGE)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("pci controller %d: chassisNr needs model 'pci-bridge'"), controller->index);
        if (controller->hotplug && controller->model != CONTROLLER_MODEL_PCIE_ROOT_PORT)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("pci controller %d: hotplug needs model 'pcie-root-port'"), controller->index);
        return 0;
}

/* QEMU finds a controller by chassis and, for ports, slot. */
static bool same_chassis(const ControllerDef *a, const ControllerDef *b) {
        return a->type == CONTROLLER_TYPE_PCI && b->type == CONTROLLER_TYPE_PCI && a->chassis != -1 &&
               a->chassis == b->chassis && a->port == b->port;
}

static int validate_controller(const DomainDef *def, unsigned number, GError **reterr) {
        const ControllerDef *controller = g_ptr_array_index(def->controllers, number);
        const char *type = controller_type_to_string(controller->type);

        if (!model_fits(controller->type, controller->model))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<controller type='%s'> does not go with model '%s'"), type,
                                 controller_model_to_string(controller->model) ?: "");
        if (controller->type == CONTROLLER_TYPE_IDE && (!domain_def_is_i440fx(def) || controller->index > 0))
                return error_set(
                        reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                        _("<controller type='ide' index='%d'> is not supported: only machine 'pc' has one, with index "
                          "0"),
                        controller->index);
        for (unsigned i = 0; i < number; i++) {
                const ControllerDef *other = g_ptr_array_index(def->controllers, i);

                if (other->type == controller->type && other->index == controller->index &&
                    !(is_companion(controller) && other->model != controller->model) && !is_companion(other))
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("there are two controllers of type '%s' with index %d"), type,
                                         controller->index);
                if (same_chassis(controller, other))
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("pci controllers %d and %d have the same chassis and port"), other->index,
                                         controller->index);
        }
        if (controller->type == CONTROLLER_TYPE_USB)
                return validate_usb(def, controller, reterr);
        return controller->type == CONTROLLER_TYPE_PCI ? validate_pci(controller, reterr) : 0;
}

int validate_controllers(const DomainDef *def, GError **reterr) {
        int r = 0;

        for (unsigned i = 0; i < def->controllers->len && r == 0; i++)
                r = validate_controller(def, i, reterr);
        return r;
}

/* The type of address that a device has; UNSET: it must not have any. */
static AddressType wanted_address(const DomainDef *def, const Device *device) {
        switch (device->kind) {
        case DEVICE_DISK:
                return device->disk->bus == DISK_BUS_VIRTIO ? ADDRESS_TYPE_PCI : ADDRESS_TYPE_DRIVE;
        case DEVICE_CONTROLLER:
                if (device->controller->model == CONTROLLER_MODEL_NONE ||
                    device->controller->model == CONTROLLER_MODEL_PCI_ROOT ||
                    device->controller->model == CONTROLLER_MODEL_PCIE_ROOT)
                        return ADDRESS_TYPE_UNSET;
                return ADDRESS_TYPE_PCI;
        case DEVICE_INPUT:
                return device->input->bus == INPUT_BUS_USB ? ADDRESS_TYPE_USB :
                       device->input->bus == INPUT_BUS_VIRTIO ? ADDRESS_TYPE_PCI : ADDRESS_TYPE_UNSET;
        case DEVICE_CONSOLE:
        case DEVICE_CHANNEL:
                return device->chr->target == CHAR_TARGET_VIRTIO ? ADDRESS_TYPE_VIRTIO_SERIAL : ADDRESS_TYPE_UNSET;
        case DEVICE_VIDEO:
                return device->video->model == VIDEO_MODEL_NONE ? ADDRESS_TYPE_UNSET : ADDRESS_TYPE_PCI;
        case DEVICE_WATCHDOG:
                return device->watchdog->model == WATCHDOG_MODEL_I6300ESB ? ADDRESS_TYPE_PCI : ADDRESS_TYPE_UNSET;
        case DEVICE_BALLOON:
                return device->balloon->model == BALLOON_MODEL_NONE ? ADDRESS_TYPE_UNSET : ADDRESS_TYPE_PCI;
        case DEVICE_NET:
        case DEVICE_SOUND:
        case DEVICE_RNG:
                return ADDRESS_TYPE_PCI;
        default:
                return ADDRESS_TYPE_UNSET;
        }
}

static int validate_address(const DomainDef *def, const Device *device, GError **reterr) {
        const DeviceAddress *address = &device->info->address;
        AddressType wanted = wanted_address(def, device);
        g_autofree char *name = NULL;
        const ControllerDef *controller;

        /* the one ISA address that libvirt writes */
        if (device->kind == DEVICE_PANIC && device->panic->model == PANIC_MODEL_ISA &&
            address->type == ADDRESS_TYPE_ISA && address->irq == 0)
                return 0;
        if (address->type == wanted && wanted != ADDRESS_TYPE_USB && wanted != ADDRESS_TYPE_VIRTIO_SERIAL)
                return 0;
        name = device_describe(device);
        if (address->type != wanted)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("%s cannot have an address of type '%s'"), name,
                                 address_type_to_string(address->type) ?: _("none"));
        controller = wanted == ADDRESS_TYPE_USB
                             ? controller_find(def, CONTROLLER_TYPE_USB, (int) address->bus)
                             : controller_find(def, CONTROLLER_TYPE_VIRTIO_SERIAL, (int) address->controller);
        if (!controller || controller->model == CONTROLLER_MODEL_NONE)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("the address of %s names a controller that does not exist"), name);
        if (wanted == ADDRESS_TYPE_VIRTIO_SERIAL &&
            (address->bus != 0 ||
             (int) address->port >= (controller->serial_ports > 0 ? controller->serial_ports : 31)))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the address of %s names a port that does not exist"),
                                 name);
        return 0;
}

/* Two devices with the same port of a bus that is neither PCI (complete_pci.c has seen to that) nor a drive's. */
static bool same_port(const Device *a, const Device *b) {
        const DeviceAddress *x = &a->info->address, *y = &b->info->address;

        if (x->type != y->type || x->bus != y->bus)
                return false;
        if (x->type == ADDRESS_TYPE_USB)
                return g_strcmp0(x->usb_port, y->usb_port) == 0;
        return x->type == ADDRESS_TYPE_VIRTIO_SERIAL && x->controller == y->controller && x->port == y->port;
}

static int validate_alias(const Device *device, GHashTable *taken, GError **reterr) {
        const char *alias = device->info->alias;
        g_autofree char *name = NULL;

        if (!alias || device->kind == DEVICE_GRAPHICS ||
            (device->kind == DEVICE_CONSOLE && device_console_is_serial(device->chr)) ||
            (device->kind == DEVICE_CONTROLLER && device->controller->type == CONTROLLER_TYPE_USB))
                return 0;
        name = device_describe(device);
        if (!*alias ||
            strspn(alias, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != strlen(alias) ||
            strlen(alias) > 64)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s: alias '%.64s' has odd characters"), name, alias);
        if (!g_hash_table_add(taken, (void *) alias))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s: alias '%s' is used by another device too"), name,
                                 alias);
        return 0;
}

static int validate_boot_order(const DomainDef *def, const Device *device, Bitset *orders, GError **reterr) {
        g_autofree char *name = NULL;

        if (!device->info->boot_order)
                return 0;
        name = device_describe(device);
        if (device->kind != DEVICE_DISK && device->kind != DEVICE_NET)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("%s cannot have <boot order=>: only disks and interfaces can"), name);
        if (def->os.boots->len > 0)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("%s has <boot order=>, which does not go with <os><boot dev=>: remove one"), name);
        if (bitset_has(orders, device->info->boot_order))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("boot order %u is used for more than one device"),
                                 device->info->boot_order);
        bitset_add(orders, device->info->boot_order);
        return 0;
}

int validate_infos(const DomainDef *def, GError **reterr) {
        g_autoptr(GArray) devices = device_list(def);
        g_autoptr(GHashTable) taken = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(Bitset) orders = bitset_new();

        for (unsigned i = 0; i < devices->len; i++) {
                const Device *device = &g_array_index(devices, Device, i);
                int r = validate_alias(device, taken, reterr);

                if (r == 0)
                        r = validate_boot_order(def, device, orders, reterr);
                if (r == 0)
                        r = validate_address(def, device, reterr);
                for (unsigned j = 0; j < i && r == 0; j++)
                        if (same_port(device, &g_array_index(devices, Device, j))) {
                                g_autofree char *a = device_describe(&g_array_index(devices, Device, j)),
                                                *b = device_describe(device);

                                r = error_set(reterr, VIR_ERR_XML_ERROR, _("%s and %s have the same address"), a, b);
                        }
                if (r < 0)
                        return r;
        }
        return 0;
}
