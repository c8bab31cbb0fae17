/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "driver/base/i18n.h"
#include "xml/complete_internal.h"
#include "xml/device.h"

/*
 * Theory of operation.
 *
 * A PciMap holds, for each bus (one per pci controller, by index), which functions of which slots are taken. It is
 * filled in this order: what the chipset itself has, what the XML places, pci controllers without a place, then all
 * other devices, in libvirt's order of kinds. Where a device finds no bus, one is added: a root port for PCI Express
 * devices, a pcie-to-pci-bridge (behind a root port) or a pci-bridge for conventional ones. If any was added, it
 * becomes a controller of the definition and everything without a place is placed anew, because controllers go first;
 * this repeats until no bus is added. A q35 guest whose XML has no pci controllers but the root gets one root port more
 * than it needs, for a device to be plugged in later.
 *
 *     q35                                  i440fx
 *     00:01.0  primary video               00:01.0  ISA bridge, .1 IDE, .2 USB (piix3), .3 power management
 *     00:1a.x, 00:1d.x  ICH9 USB           00:02.0  primary video
 *     00:1b.0  first ich9 sound
 *     00:1f.0  ISA bridge, .2 SATA, .3 SMBus
 */

#define PCI_BUSES 256
#define PCI_SLOTS 32

/* What a device can be plugged into. */
typedef enum PciPlug {
        PCI_PLUG_NONE,
        PCI_PLUG_PCI,        /* conventional slot */
        PCI_PLUG_PCIE,       /* root port or downstream port */
        PCI_PLUG_ROOT,       /* pcie-root itself, sharing slots: root ports */
        PCI_PLUG_ROOT_ALONE, /* pcie-root itself, a slot of its own: dmi-to-pci-bridge */
        PCI_PLUG_DOWNSTREAM, /* upstream port: downstream ports */
} PciPlug;

typedef struct PciBus {
        ControllerModel model; /* UNSET: no such bus */
        uint8_t used[PCI_SLOTS]; /* functions */
        bool root_ports[PCI_SLOTS]; /* slots whose function 0 is a root port that others may join */
} PciBus;

typedef struct PciMap {
        DomainDef *def;
        bool q35;
        unsigned n_buses;
        unsigned n_known; /* buses that are controllers of def; the others were added */
        PciBus buses[PCI_BUSES];
} PciMap;

static PciPlug bus_offers(ControllerModel model) {
        switch (model) {
        case CONTROLLER_MODEL_PCI_ROOT:
        case CONTROLLER_MODEL_PCI_BRIDGE:
        case CONTROLLER_MODEL_DMI_TO_PCI_BRIDGE:
        case CONTROLLER_MODEL_PCIE_TO_PCI_BRIDGE:
                return PCI_PLUG_PCI;
        case CONTROLLER_MODEL_PCIE_ROOT:
                return PCI_PLUG_ROOT;
        case CONTROLLER_MODEL_PCIE_ROOT_PORT:
        case CONTROLLER_MODEL_PCIE_SWITCH_DOWNSTREAM_PORT:
                return PCI_PLUG_PCIE;
        case CONTROLLER_MODEL_PCIE_SWITCH_UPSTREAM_PORT:
                return PCI_PLUG_DOWNSTREAM;
        default:
                return PCI_PLUG_NONE;
        }
}

static void bus_slots(ControllerModel model, unsigned *ret_first, unsigned *ret_last) {
        *ret_first = model == CONTROLLER_MODEL_DMI_TO_PCI_BRIDGE || bus_offers(model) == PCI_PLUG_PCIE ||
                                     bus_offers(model) == PCI_PLUG_DOWNSTREAM ? 0 : 1;
        *ret_last = bus_offers(model) == PCI_PLUG_PCIE ? 0 : PCI_SLOTS - 1;
}

static PciPlug controller_plug(const ControllerDef *controller) {
        switch (controller->type) {
        case CONTROLLER_TYPE_USB:
                if (controller->model == CONTROLLER_MODEL_NONE)
                        return PCI_PLUG_NONE;
                return controller->model == CONTROLLER_MODEL_QEMU_XHCI || controller->model == CONTROLLER_MODEL_NEC_XHCI
                               ? PCI_PLUG_PCIE
                               : PCI_PLUG_PCI;
        case CONTROLLER_TYPE_SCSI:
        case CONTROLLER_TYPE_VIRTIO_SERIAL:
                return PCI_PLUG_PCIE;
        case CONTROLLER_TYPE_SATA:
                return PCI_PLUG_PCI;
        case CONTROLLER_TYPE_PCI:
                break;
        default:
                return PCI_PLUG_NONE;
        }
        switch (controller->model) {
        case CONTROLLER_MODEL_PCI_BRIDGE:
                return PCI_PLUG_PCI;
        case CONTROLLER_MODEL_PCIE_TO_PCI_BRIDGE:
        case CONTROLLER_MODEL_PCIE_SWITCH_UPSTREAM_PORT:
                return PCI_PLUG_PCIE;
        case CONTROLLER_MODEL_PCIE_ROOT_PORT:
                return PCI_PLUG_ROOT;
        case CONTROLLER_MODEL_DMI_TO_PCI_BRIDGE:
                return PCI_PLUG_ROOT_ALONE;
        case CONTROLLER_MODEL_PCIE_SWITCH_DOWNSTREAM_PORT:
                return PCI_PLUG_DOWNSTREAM;
        default:
                return PCI_PLUG_NONE;
        }
}

/* What the device needs; PCI_PLUG_NONE if it is no PCI device. */
static PciPlug device_plug(const PciMap *map, const Device *device) {
        PciPlug plug = PCI_PLUG_NONE;

        switch (device->kind) {
        case DEVICE_DISK:
                plug = device->disk->bus == DISK_BUS_VIRTIO ? PCI_PLUG_PCIE : PCI_PLUG_NONE;
                break;
        case DEVICE_CONTROLLER:
                plug = controller_plug(device->controller);
                break;
        case DEVICE_NET:
                plug = device->net->model == NET_MODEL_VIRTIO || device->net->model == NET_MODEL_E1000E ? PCI_PLUG_PCIE
                                                                                                        : PCI_PLUG_PCI;
                break;
        case DEVICE_INPUT:
                plug = device->input->bus == INPUT_BUS_VIRTIO ? PCI_PLUG_PCIE : PCI_PLUG_NONE;
                break;
        case DEVICE_SOUND:
                plug = PCI_PLUG_PCI;
                break;
        case DEVICE_VIDEO:
                plug = device->video->model == VIDEO_MODEL_NONE ? PCI_PLUG_NONE :
                       device->video->model == VIDEO_MODEL_VIRTIO ? PCI_PLUG_PCIE : PCI_PLUG_PCI;
                break;
        case DEVICE_WATCHDOG:
                plug = device->watchdog->model == WATCHDOG_MODEL_I6300ESB ? PCI_PLUG_PCI : PCI_PLUG_NONE;
                break;
        case DEVICE_BALLOON:
                plug = device->balloon->model == BALLOON_MODEL_VIRTIO ? PCI_PLUG_PCIE : PCI_PLUG_NONE;
                break;
        case DEVICE_RNG:
                plug = PCI_PLUG_PCIE;
                break;
        default:
                break;
        }
        return plug == PCI_PLUG_PCIE && !map->q35 ? PCI_PLUG_PCI : plug;
}

static bool is_pci_controller(const Device *device) {
        return device->kind == DEVICE_CONTROLLER && device->controller->type == CONTROLLER_TYPE_PCI;
}

static void map_use(PciMap *map, unsigned bus, unsigned slot, unsigned function) {
        map->buses[bus].used[slot] |= (uint8_t) (1u << function);
}

static DeviceAddress pci_address(unsigned bus, unsigned slot, unsigned function) {
        return (DeviceAddress) { .type = ADDRESS_TYPE_PCI, .bus = bus, .slot = slot, .function = function };
}

/* Takes the place for the device. */
static void map_place(PciMap *map, const Device *device, unsigned bus, unsigned slot, unsigned function) {
        map_use(map, bus, slot, function);
        if (is_pci_controller(device) && device->controller->model == CONTROLLER_MODEL_PCIE_ROOT_PORT && function == 0)
                map->buses[bus].root_ports[slot] = true;
        device->info->address = pci_address(bus, slot, function);
}

static int map_add_bus(PciMap *map, ControllerModel model, GError **reterr) {
        if (map->n_buses == PCI_BUSES)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the guest would need more than %u PCI buses"),
                                 PCI_BUSES);
        map->buses[map->n_buses++].model = model;
        return 0;
}

/* Finds a place without adding a bus. Controllers go to buses before their own. */
static bool map_find(const PciMap *map, PciPlug plug, unsigned below, unsigned *ret_bus, unsigned *ret_slot,
                     unsigned *ret_function) {
        for (unsigned b = 0; b < MIN(map->n_buses, below); b++) {
                const PciBus *bus = &map->buses[b];
                unsigned first, last;

                if (bus_offers(bus->model) != (plug == PCI_PLUG_ROOT_ALONE ? PCI_PLUG_ROOT : plug))
                        continue;
                bus_slots(bus->model, &first, &last);
                for (unsigned slot = first; slot <= last; slot++) {
                        unsigned function = 0;

                        if (bus->root_ports[slot] && plug == PCI_PLUG_ROOT)
                                while (function < 8 && bus->used[slot] & (1u << function))
                                        function++;
                        else if (bus->used[slot])
                                continue;
                        if (function == 8)
                                continue;
                        *ret_bus = b;
                        *ret_slot = slot;
                        *ret_function = function;
                        return true;
                }
        }
        return false;
}

/* Adds what is needed to plug a PCI or PCIE device in. */
static int map_grow(PciMap *map, PciPlug plug, GError **reterr) {
        unsigned bus, slot, function;
        int r;

        if (!map->q35)
                return map_add_bus(map, CONTROLLER_MODEL_PCI_BRIDGE, reterr);
        if (plug == PCI_PLUG_PCIE)
                return map_add_bus(map, CONTROLLER_MODEL_PCIE_ROOT_PORT, reterr);
        if (!map_find(map, PCI_PLUG_PCIE, PCI_BUSES, &bus, &slot, &function)) {
                r = map_add_bus(map, CONTROLLER_MODEL_PCIE_ROOT_PORT, reterr);
                if (r < 0)
                        return r;
                bus = map->n_buses - 1;
        }
        map_use(map, bus, 0, 0);
        return map_add_bus(map, CONTROLLER_MODEL_PCIE_TO_PCI_BRIDGE, reterr);
}

static int map_assign(PciMap *map, const Device *device, PciPlug plug, GError **reterr) {
        unsigned below = is_pci_controller(device) ? (unsigned) device->controller->index : PCI_BUSES;
        unsigned bus, slot, function;
        int r;

        if (!map_find(map, plug, below, &bus, &slot, &function)) {
                if (is_pci_controller(device) || (plug != PCI_PLUG_PCI && plug != PCI_PLUG_PCIE)) {
                        g_autofree char *name = device_describe(device);

                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("no PCI bus with a smaller index has a place for %s: give it an <address>"),
                                         name);
                }
                r = map_grow(map, plug, reterr);
                if (r < 0)
                        return r;
                if (!map_find(map, plug, below, &bus, &slot, &function))
                        return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("a new PCI bus has no place"));
        }
        map_place(map, device, bus, slot, function);
        return 0;
}

static bool map_is_free(const PciMap *map, unsigned slot, unsigned function) {
        return !(map->buses[0].used[slot] & (1u << function));
}

static int check_controller(PciMap *map, const ControllerDef *controller, GError **reterr) {
        ControllerModel root = map->q35 ? CONTROLLER_MODEL_PCIE_ROOT : CONTROLLER_MODEL_PCI_ROOT;
        bool is_root =
                controller->model == CONTROLLER_MODEL_PCIE_ROOT || controller->model == CONTROLLER_MODEL_PCI_ROOT;

        if (bus_offers(controller->model) == PCI_PLUG_NONE)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("pci controller %d needs a model such as 'pcie-root-port'"), controller->index);
        if (controller->index == 0 ? controller->model != root : is_root)
                return error_set(
                        reterr, VIR_ERR_XML_ERROR,
                        _("pci controller %d has the model '%s', but number 0, and only that, is '%s' in machine '%s'"),
                        controller->index, controller_model_to_string(controller->model),
                        controller_model_to_string(root), map->def->os.machine);
        if (map->buses[controller->index].model)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("two pci controllers have the index %d"),
                                 controller->index);
        return 0;
}

/* The buses that the XML has, and those that its addresses presume. */
static int map_load_buses(PciMap *map, const GArray *devices, GError **reterr) {
        int r;

        for (unsigned i = 0; i < devices->len; i++) {
                const Device *device = &g_array_index(devices, Device, i);
                const ControllerDef *controller = device->controller;

                if (device->info->address.type == ADDRESS_TYPE_PCI && device_plug(map, device))
                        map->n_buses = MAX(map->n_buses, device->info->address.bus + 1);
                if (!is_pci_controller(device))
                        continue;
                r = check_controller(map, controller, reterr);
                if (r < 0)
                        return r;
                map->buses[controller->index].model = controller->model;
                map->n_buses = MAX(map->n_buses, (unsigned) controller->index + 1);
        }
        for (unsigned b = 0; b < map->n_buses; b++)
                if (!map->buses[b].model)
                        map->buses[b].model = map->q35 ? CONTROLLER_MODEL_PCIE_ROOT_PORT : CONTROLLER_MODEL_PCI_BRIDGE;
        return 0;
}

/* What the XML has placed. */
static int map_load_address(PciMap *map, const Device *device, GError **reterr) {
        const DeviceAddress *address = &device->info->address;
        g_autofree char *name = device_describe(device);
        unsigned first, last;

        if (address->type != ADDRESS_TYPE_PCI)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s needs an address of type 'pci'"), name);
        if (address->domain != 0)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("the PCI address of %s is in domain %u, but there is only domain 0"), name,
                                 address->domain);
        bus_slots(map->buses[address->bus].model, &first, &last);
        if (address->slot < first || address->slot > last)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("the PCI address of %s has slot %u, but bus %u has slots %u to %u"), name,
                                 address->slot, address->bus, first, last);
        if (is_pci_controller(device) && address->bus >= (unsigned) device->controller->index)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("%s is on bus %u, but must be on a bus with a smaller index"), name, address->bus);
        if (map->buses[address->bus].used[address->slot] & (1u << address->function))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the PCI address %02x:%02x.%x of %s is already in use"),
                                 address->bus, address->slot, address->function, name);
        map_use(map, address->bus, address->slot, address->function);
        if (is_pci_controller(device) && device->controller->model == CONTROLLER_MODEL_PCIE_ROOT_PORT &&
            address->function == 0 && address->multifunction != TRI_NO)
                map->buses[address->bus].root_ports[address->slot] = true;
        return 0;
}

/* The functions of the chipset that are no devices of the definition. */
static void map_load_chipset(PciMap *map) {
        if (map->q35) {
                map_use(map, 0, 0x1f, 0);
                map_use(map, 0, 0x1f, 3);
        } else {
                map_use(map, 0, 1, 0);
                map_use(map, 0, 1, 3);
        }
}

/* Whether the device has a place of its own, by tradition or by being soldered on. */
static bool fixed_place(const PciMap *map, const Device *device, unsigned *ret_slot, unsigned *ret_function) {
        const ControllerDef *controller = device->kind == DEVICE_CONTROLLER ? device->controller : NULL;
        bool first_sound = device->kind == DEVICE_SOUND && device->sound->model == SOUND_MODEL_ICH9;

        *ret_function = 0;
        if (device->kind == DEVICE_VIDEO && device->number == 0) {
                *ret_slot = map->q35 ? 1 : 2;
        } else if (map->q35 && first_sound) {
                *ret_slot = 0x1b;
        } else if (map->q35 && controller && controller->type == CONTROLLER_TYPE_SATA && controller->index == 0) {
                *ret_slot = 0x1f;
                *ret_function = 2;
        } else if (!map->q35 && controller && controller->type == CONTROLLER_TYPE_IDE && controller->index == 0) {
                *ret_slot = 1;
                *ret_function = 1;
        } else if (!map->q35 && controller && controller->model == CONTROLLER_MODEL_PIIX3_UHCI) {
                *ret_slot = 1;
                *ret_function = 2;
        } else {
                return false;
        }
        return true;
}

/* ich9-ehci1 is function 7 of a slot, its companions are 0 to 2. *ret_function is -1 for other controllers. */
static void ich9_function(const Device *device, int *ret_function) {
        const ControllerDef *controller = device->controller;

        *ret_function = -1;
        if (device->kind != DEVICE_CONTROLLER || controller->type != CONTROLLER_TYPE_USB)
                return;
        if (controller->model == CONTROLLER_MODEL_ICH9_EHCI1)
                *ret_function = 7;
        else if (controller->model >= CONTROLLER_MODEL_ICH9_UHCI1 && controller->model <= CONTROLLER_MODEL_ICH9_UHCI3)
                *ret_function = (int) (controller->model - CONTROLLER_MODEL_ICH9_UHCI1);
}

/* Places an ICH9 USB controller beside the others with its index; the first two groups of a q35 go where a real one has
 * them. */
static int assign_ich9(PciMap *map, const GArray *devices, const Device *device, unsigned function, GError **reterr) {
        static const unsigned q35_slots[] = { 0x1d, 0x1a };

        for (unsigned i = 0; i < devices->len; i++) {
                const Device *other = &g_array_index(devices, Device, i);
                const DeviceAddress *address = &other->info->address;
                int other_function;

                ich9_function(other, &other_function);
                if (other_function < 0 || other->controller->index != device->controller->index ||
                    address->type != ADDRESS_TYPE_PCI ||
                    map->buses[address->bus].used[address->slot] & (1u << function))
                        continue;
                map_place(map, device, address->bus, address->slot, function);
                return 0;
        }
        for (unsigned i = 0; map->q35 && i < G_N_ELEMENTS(q35_slots); i++)
                if (map->buses[0].used[q35_slots[i]] == 0) {
                        map_place(map, device, 0, q35_slots[i], function);
                        return 0;
                }
        {
                int r = map_assign(map, device, PCI_PLUG_PCI, reterr);
                DeviceAddress *address = &device->info->address;

                if (r == 0 && function != 0) {
                        map->buses[address->bus].used[address->slot] = (uint8_t) (1u << function);
                        address->function = function;
                }
                return r;
        }
}

static int assign_device(PciMap *map, const GArray *devices, const Device *device, GError **reterr) {
        PciPlug plug = device_plug(map, device);
        int function;

        if (plug == PCI_PLUG_NONE || device->info->address.type)
                return 0;
        ich9_function(device, &function);
        if (function >= 0)
                return assign_ich9(map, devices, device, (unsigned) function, reterr);
        return map_assign(map, device, plug, reterr);
}

/* libvirt's order of kinds; pci controllers were placed before. */
static int assign_all(PciMap *map, const GArray *devices, GError **reterr) {
        static const DeviceKind order[] = {
                DEVICE_NET, DEVICE_SOUND,    DEVICE_CONTROLLER, DEVICE_DISK,  DEVICE_BALLOON,
                DEVICE_RNG, DEVICE_WATCHDOG, DEVICE_VIDEO,      DEVICE_INPUT,
        };
        int r = 0;

        for (unsigned i = 0; i < devices->len && r == 0; i++)
                if (is_pci_controller(&g_array_index(devices, Device, i)))
                        r = assign_device(map, devices, &g_array_index(devices, Device, i), reterr);
        for (unsigned k = 0; k < G_N_ELEMENTS(order); k++)
                for (unsigned i = 0; i < devices->len && r == 0; i++)
                        if (g_array_index(devices, Device, i).kind == order[k])
                                r = assign_device(map, devices, &g_array_index(devices, Device, i), reterr);
        return r;
}

static int assign_fixed(PciMap *map, const GArray *devices, GError **reterr) {
        for (unsigned i = 0; i < devices->len; i++) {
                const Device *device = &g_array_index(devices, Device, i);
                bool soldered = device->kind == DEVICE_CONTROLLER;
                unsigned slot, function;

                if (device->info->address.type || !fixed_place(map, device, &slot, &function) ||
                    (device->kind == DEVICE_VIDEO && device_plug(map, device) == PCI_PLUG_NONE))
                        continue;
                if (map_is_free(map, slot, function) && (soldered || map->buses[0].used[slot] == 0)) {
                        map_place(map, device, 0, slot, function);
                } else if (soldered) {
                        g_autofree char *name = device_describe(device);

                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("the PCI address 00:%02x.%x is in use, but %s has no other place"), slot,
                                         function, name);
                }
        }
        return 0;
}

/* One attempt: fills the map and places every device; *ret_added tells how many buses were added. */
static int map_fill(PciMap *map, const GArray *devices, bool spare, GError **reterr) {
        unsigned bus, slot, function;
        int r;

        r = map_load_buses(map, devices, reterr);
        if (r < 0)
                return r;
        map_load_chipset(map);
        for (unsigned i = 0; i < devices->len && r == 0; i++) {
                const Device *device = &g_array_index(devices, Device, i);

                if (device->info->address.type &&
                    (device_plug(map, device) || fixed_place(map, device, &slot, &function)))
                        r = map_load_address(map, device, reterr);
        }
        if (r == 0)
                r = assign_fixed(map, devices, reterr);
        if (r == 0)
                r = assign_all(map, devices, reterr);
        if (r == 0 && spare && !map_find(map, PCI_PLUG_PCIE, PCI_BUSES, &bus, &slot, &function))
                r = map_add_bus(map, CONTROLLER_MODEL_PCIE_ROOT_PORT, reterr);
        return r;
}

/* The buses that the map has and the definition has not become controllers; returns their number. */
static unsigned map_store_buses(const PciMap *map) {
        unsigned added = 0;

        for (unsigned b = 1; b < map->n_buses; b++)
                if (!controller_find(map->def, CONTROLLER_TYPE_PCI, (int) b)) {
                        ControllerDef *controller =
                                controller_add(map->def, CONTROLLER_TYPE_PCI, (int) b, map->buses[b].model);

                        controller->model_name = g_strdup(map->buses[b].model == CONTROLLER_MODEL_PCIE_TO_PCI_BRIDGE
                                                                  ? "pcie-pci-bridge"
                                                                  : controller_model_to_string(map->buses[b].model));
                        added++;
                }
        return added;
}

static void complete_target(ControllerDef *controller) {
        const DeviceAddress *address = &controller->info.address;

        switch (controller->model) {
        case CONTROLLER_MODEL_PCI_BRIDGE:
                if (controller->chassis_nr == -1)
                        controller->chassis_nr = controller->index;
                break;
        case CONTROLLER_MODEL_PCIE_ROOT_PORT:
                if (controller->chassis == -1)
                        controller->chassis = controller->index;
                if (controller->port == -1)
                        controller->port = (int) (address->slot << 3 | address->function);
                break;
        case CONTROLLER_MODEL_PCIE_SWITCH_DOWNSTREAM_PORT:
                if (controller->chassis == -1)
                        controller->chassis = controller->index;
                if (controller->port == -1)
                        controller->port = (int) address->slot;
                break;
        default:
                break;
        }
}

/* Function 0 announces that its slot has others. */
static void complete_multifunction(const PciMap *map, const GArray *devices) {
        for (unsigned i = 0; i < devices->len; i++) {
                DeviceAddress *address = &g_array_index(devices, Device, i).info->address;

                if (address->type == ADDRESS_TYPE_PCI && address->function == 0 && !address->multifunction &&
                    map->buses[address->bus].used[address->slot] & ~1u)
                        address->multifunction = TRI_YES;
        }
}

static bool has_pci_controllers(const DomainDef *def) {
        for (unsigned i = 0; i < def->controllers->len; i++) {
                const ControllerDef *controller = g_ptr_array_index(def->controllers, i);

                if (controller->type == CONTROLLER_TYPE_PCI && controller->index > 0)
                        return true;
        }
        return false;
}

int complete_pci(DomainDef *def, GError **reterr) {
        bool spare = domain_def_is_q35(def) && !has_pci_controllers(def);

        for (;;) {
                g_autoptr(GArray) devices = device_list(def);
                g_autofree PciMap *map = g_new0(PciMap, 1);
                g_autofree DeviceAddress *before = g_new(DeviceAddress, devices->len + 1);
                int r;

                for (unsigned i = 0; i < devices->len; i++)
                        before[i] = g_array_index(devices, Device, i).info->address;
                map->def = def;
                map->q35 = domain_def_is_q35(def);
                map->n_buses = 1;
                r = map_fill(map, devices, spare, reterr);
                if (r < 0)
                        return r;
                if (map_store_buses(map) == 0) {
                        complete_multifunction(map, devices);
                        for (unsigned i = 0; i < def->controllers->len; i++)
                                complete_target(g_ptr_array_index(def->controllers, i));
                        return 0;
                }
                /* once more, with the new controllers going first */
                for (unsigned i = 0; i < devices->len; i++)
                        g_array_index(devices, Device, i).info->address = before[i];
        }
}
