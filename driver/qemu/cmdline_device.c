/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Addresses, controllers, network interfaces and character devices on the command line. */

#include <errno.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/units.h"
#include "driver/qemu/cmdline_internal.h"

/* ---- devices ---- */

json_object *cmdline_device(const char *driver, const DeviceInfo *info) {
        json_object *device = json_add_string(json_object_new_object(), "driver", driver);

        return info ? json_add_string(device, "id", info->alias) : device;
}

const ControllerDef *cmdline_controller(const Cmdline *cmdline, ControllerType type, unsigned index) {
        for (unsigned i = 0; i < cmdline->def->controllers->len; i++) {
                const ControllerDef *controller = cmdline->def->controllers->pdata[i];
                if (controller->type == type && controller->index == (int) index)
                        return controller;
        }
        return NULL;
}

/* The name of a PCI bus in QEMU: the machine's own is called by the machine, others by the device that makes them. */
static char *pci_bus_name(const Cmdline *cmdline, unsigned index) {
        const ControllerDef *controller = cmdline_controller(cmdline, CONTROLLER_TYPE_PCI, index);

        if (index == 0 || !controller)
                return index == 0 ? g_strdup(domain_def_is_q35(cmdline->def) ? "pcie.0" : "pci.0") : NULL;
        return g_strdup(controller->info.alias);
}

int cmdline_device_pci(Cmdline *cmdline, json_object *device, const DeviceInfo *info, GError **reterr) {
        const DeviceAddress *address = &info->address;

        if (address->type != ADDRESS_TYPE_PCI)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("device '%s' has no PCI address"),
                                 info->alias ?: json_get_string(device, "driver"));
        g_autofree char *bus = pci_bus_name(cmdline, address->bus);
        if (!bus)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("device '%s' is on PCI bus %u, which the domain does not have"), info->alias ?: "?",
                                 address->bus);

        g_autofree char *slot = address->function > 0 ? g_strdup_printf("0x%x.0x%x", address->slot, address->function)
                                                      : g_strdup_printf("0x%x", address->slot);
        json_add_string(device, "bus", bus);
        if (address->multifunction == TRI_YES)
                json_add_bool(device, "multifunction", true);
        json_add_string(device, "addr", slot);
        return 0;
}

void cmdline_device_boot(json_object *device, unsigned order) {
        if (order > 0)
                json_add_uint64(device, "bootindex", order);
}

int cmdline_add_device(Cmdline *cmdline, json_object *device, GError **reterr) {
        const char *driver = json_get_string(device, "driver");

        if (!qemu_caps_has_type(cmdline->caps, driver)) {
                int r = error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("'%s' has no device '%s', which '%s' needs"),
                                  qemu_caps_binary(cmdline->caps), driver,
                                  json_get_string(device, "id") ?: _("the domain"));
                json_object_put(device);
                return r;
        }
        cmdline_add_json(cmdline, "-device", device);
        return 0;
}

int cmdline_add_pci_device(Cmdline *cmdline, json_object *device, const DeviceInfo *info, GError **reterr) {
        int r = cmdline_device_pci(cmdline, device, info, reterr);
        if (r < 0) {
                json_object_put(device);
                return r;
        }
        return cmdline_add_device(cmdline, device, reterr);
}

/* ---- controllers ---- */

static const char *pci_driver(const ControllerDef *controller) {
        if (controller->model_name)
                return controller->model_name;
        switch (controller->model) {
        case CONTROLLER_MODEL_PCI_BRIDGE:
                return "pci-bridge";
        case CONTROLLER_MODEL_DMI_TO_PCI_BRIDGE:
                return "i82801b11-bridge";
        case CONTROLLER_MODEL_PCIE_TO_PCI_BRIDGE:
                return "pcie-pci-bridge";
        case CONTROLLER_MODEL_PCIE_ROOT_PORT:
                return "pcie-root-port";
        case CONTROLLER_MODEL_PCIE_SWITCH_UPSTREAM_PORT:
                return "x3130-upstream";
        case CONTROLLER_MODEL_PCIE_SWITCH_DOWNSTREAM_PORT:
                return "xio3130-downstream";
        default:
                return NULL; /* the machine's own */
        }
}

static int add_pci_controller(Cmdline *cmdline, const ControllerDef *controller, GError **reterr) {
        const char *driver = pci_driver(controller);

        if (!driver) {
                if (controller->pcihole64_kib > 0)
                        cmdline_add_printf(cmdline, "-global", "%s.pci-hole64-size=%" G_GUINT64_FORMAT "K",
                                           controller->model == CONTROLLER_MODEL_PCIE_ROOT ? "q35-pcihost"
                                                                                           : "i440FX-pcihost",
                                           controller->pcihole64_kib);
                return 0;
        }

        json_object *device = json_add_string(json_object_new_object(), "driver", driver);
        if (controller->port >= 0)
                json_add_uint64(device, "port", (unsigned) controller->port);
        if (controller->chassis >= 0)
                json_add_uint64(device, "chassis", (unsigned) controller->chassis);
        if (controller->chassis_nr >= 0)
                json_add_uint64(device, "chassis_nr", (unsigned) controller->chassis_nr);
        json_add_string(device, "id", controller->info.alias);
        if (controller->hotplug == TRI_NO)
                json_add_bool(device, "hotplug", false);
        return cmdline_add_pci_device(cmdline, device, &controller->info, reterr);
}

/* Bridges in an order in which each one's bus exists before it. */
static int add_pci_controllers(Cmdline *cmdline, GError **reterr) {
        const GPtrArray *controllers = cmdline->def->controllers;
        g_autofree bool *done = g_new0(bool, controllers->len + 1);

        for (bool progress = true; progress;) {
                progress = false;
                for (unsigned i = 0; i < controllers->len; i++) {
                        const ControllerDef *controller = controllers->pdata[i];
                        if (done[i] || controller->type != CONTROLLER_TYPE_PCI)
                                continue;
                        bool ready = controller->index == 0 || controller->info.address.bus == 0;
                        for (unsigned j = 0; j < controllers->len && !ready; j++) {
                                const ControllerDef *parent = controllers->pdata[j];
                                ready = done[j] && parent->type == CONTROLLER_TYPE_PCI &&
                                        parent->index == (int) controller->info.address.bus;
                        }
                        if (!ready)
                                continue;
                        int r = add_pci_controller(cmdline, controller, reterr);
                        if (r < 0)
                                return r;
                        done[i] = true;
                        progress = true;
                }
        }
        for (unsigned i = 0; i < controllers->len; i++) {
                const ControllerDef *controller = controllers->pdata[i];
                if (controller->type == CONTROLLER_TYPE_PCI && !done[i])
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("PCI controller %d is on bus %u, which the domain does not have"),
                                         controller->index, controller->info.address.bus);
        }
        return 0;
}

static const char *usb_driver(ControllerModel model) {
        static const char *const drivers[] = {
                [CONTROLLER_MODEL_PIIX3_UHCI] = "piix3-usb-uhci",
                [CONTROLLER_MODEL_PIIX4_UHCI] = "piix4-usb-uhci",
                [CONTROLLER_MODEL_EHCI] = "usb-ehci",
                [CONTROLLER_MODEL_ICH9_EHCI1] = "ich9-usb-ehci1",
                [CONTROLLER_MODEL_ICH9_UHCI1] = "ich9-usb-uhci1",
                [CONTROLLER_MODEL_ICH9_UHCI2] = "ich9-usb-uhci2",
                [CONTROLLER_MODEL_ICH9_UHCI3] = "ich9-usb-uhci3",
                [CONTROLLER_MODEL_NEC_XHCI] = "nec-usb-xhci",
                [CONTROLLER_MODEL_QEMU_XHCI] = "qemu-xhci",
        };
        return (unsigned) model < G_N_ELEMENTS(drivers) ? drivers[model] : NULL;
}

static int add_usb_controller(Cmdline *cmdline, const ControllerDef *controller, GError **reterr) {
        if (controller->model == CONTROLLER_MODEL_NONE)
                return 0;

        const char *driver = usb_driver(controller->model);
        if (!driver)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("USB controller %d has no model"),
                                 controller->index);
        json_object *device = json_add_string(json_object_new_object(), "driver", driver);
        if (controller->usb_ports >= 0) {
                json_add_uint64(device, "p2", (unsigned) controller->usb_ports);
                json_add_uint64(device, "p3", (unsigned) controller->usb_ports);
        }
        if (controller->usb_master_startport >= 0) {
                /* A companion serves the ports of the EHCI with the same index and has no name of its own. */
                g_autofree char *master = g_strdup_printf("%s.0", controller->info.alias);
                json_add_string(device, "masterbus", master);
                json_add_uint64(device, "firstport", (unsigned) controller->usb_master_startport);
        } else {
                json_add_string(device, "id", controller->info.alias);
        }
        return cmdline_add_pci_device(cmdline, device, &controller->info, reterr);
}

static int add_scsi_controller(Cmdline *cmdline, const ControllerDef *controller, GError **reterr) {
        json_object *device = cmdline_device("virtio-scsi-pci", &controller->info);

        if (controller->queues > 0)
                json_add_uint64(device, "num_queues", controller->queues);
        if (controller->cmd_per_lun > 0)
                json_add_uint64(device, "cmd_per_lun", controller->cmd_per_lun);
        if (controller->max_sectors > 0)
                json_add_uint64(device, "max_sectors", controller->max_sectors);
        return cmdline_add_pci_device(cmdline, device, &controller->info, reterr);
}

static int add_serial_controller(Cmdline *cmdline, const ControllerDef *controller, GError **reterr) {
        json_object *device = cmdline_device("virtio-serial-pci", &controller->info);

        if (controller->serial_ports >= 0)
                json_add_uint64(device, "max_ports", (unsigned) controller->serial_ports);
        if (controller->serial_vectors >= 0)
                json_add_uint64(device, "vectors", (unsigned) controller->serial_vectors);
        return cmdline_add_pci_device(cmdline, device, &controller->info, reterr);
}

static int add_controller(Cmdline *cmdline, const ControllerDef *controller, GError **reterr) {
        switch (controller->type) {
        case CONTROLLER_TYPE_USB:
                return add_usb_controller(cmdline, controller, reterr);
        case CONTROLLER_TYPE_SCSI:
                return add_scsi_controller(cmdline, controller, reterr);
        case CONTROLLER_TYPE_VIRTIO_SERIAL:
                return add_serial_controller(cmdline, controller, reterr);
        case CONTROLLER_TYPE_SATA:
                /* q35 has the first one built in. */
                if (controller->index == 0 && domain_def_is_q35(cmdline->def))
                        return 0;
                return cmdline_add_pci_device(cmdline, cmdline_device("ich9-ahci", &controller->info),
                                              &controller->info, reterr);
        case CONTROLLER_TYPE_IDE:
                if (controller->index == 0 && domain_def_is_i440fx(cmdline->def))
                        return 0;
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("machine '%s' has no IDE controller %d: use bus 'sata'"), cmdline->def->os.machine,
                                 controller->index);
        case CONTROLLER_TYPE_PCI:
        case CONTROLLER_TYPE_UNSET:
        default:
                return 0;
        }
}

int cmdline_add_controllers(Cmdline *cmdline, GError **reterr) {
        int r = add_pci_controllers(cmdline, reterr);

        /* An EHCI comes before its companions. */
        for (int companions = 0; companions <= 1; companions++)
                for (unsigned i = 0; i < cmdline->def->controllers->len && r >= 0; i++) {
                        const ControllerDef *controller = cmdline->def->controllers->pdata[i];
                        bool companion =
                                controller->type == CONTROLLER_TYPE_USB && controller->usb_master_startport >= 0;
                        if (companion == (companions == 1))
                                r = add_controller(cmdline, controller, reterr);
                }
        return r;
}

/* ---- network ---- */

static const char *net_driver(NetModel model) {
        static const char *const drivers[] = {
                [NET_MODEL_VIRTIO] = "virtio-net-pci",
                [NET_MODEL_E1000E] = "e1000e",
                [NET_MODEL_E1000] = "e1000",
                [NET_MODEL_RTL8139] = "rtl8139",
        };
        return (unsigned) model < G_N_ELEMENTS(drivers) ? drivers[model] : NULL;
}

static void append_fds(GString *text, const char *one, const char *many, const int *fds, unsigned n) {
        g_string_append_printf(text, ",%s=", n > 1 ? many : one);
        for (unsigned i = 0; i < n; i++)
                g_string_append_printf(text, "%s%d", i > 0 ? ":" : "", fds[i]);
}

static void add_netdev(Cmdline *cmdline, const NetDef *net, const QemuCmdlineNet *host) {
        g_autoptr(GString) text = g_string_new(NULL);

        if (net->type == NET_TYPE_USER) {
                g_string_append(text, "user");
        } else {
                g_string_append(text, "tap");
                append_fds(text, "fd", "fds", host->tap_fds, host->n_queues);
                if (host->vhost_fds) {
                        g_string_append(text, ",vhost=on");
                        append_fds(text, "vhostfd", "vhostfds", host->vhost_fds, host->n_queues);
                }
        }
        g_string_append_printf(text, ",id=host%s", net->info.alias);
        cmdline_add_value(cmdline, "-netdev", text->str);
}

static int add_net(Cmdline *cmdline, unsigned index, GError **reterr) {
        static const QemuCmdlineNet nothing = {};
        const NetDef *net = cmdline->def->nets->pdata[index];
        const QemuCmdlineNet *host = index < cmdline->args->n_nets ? &cmdline->args->nets[index] : &nothing;
        const char *driver = net_driver(net->model);

        if (!driver)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("interface '%s' has no model"), net->mac);
        if (net->type != NET_TYPE_USER && host->n_queues == 0)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("interface '%s' has no tap device"), net->mac);
        add_netdev(cmdline, net, host);

        g_autofree char *netdev = g_strdup_printf("host%s", net->info.alias);
        json_object *device = json_add_string(json_object_new_object(), "driver", driver);
        if (net->model == NET_MODEL_VIRTIO && host->n_queues > 1) {
                json_add_bool(device, "mq", true);
                json_add_uint64(device, "vectors", 2 * host->n_queues + 2);
        }
        if (net->model == NET_MODEL_VIRTIO && net->rx_queue_size > 0)
                json_add_uint64(device, "rx_queue_size", net->rx_queue_size);
        if (net->model == NET_MODEL_VIRTIO && net->tx_queue_size > 0)
                json_add_uint64(device, "tx_queue_size", net->tx_queue_size);
        if (net->model == NET_MODEL_VIRTIO && net->mtu > 0)
                json_add_uint64(device, "host_mtu", net->mtu);
        json_add_string(device, "netdev", netdev);
        json_add_string(device, "id", net->info.alias);
        json_add_string(device, "mac", net->mac);
        unsigned order = net->info.boot_order > 0 ? net->info.boot_order : cmdline->boot_net;
        if (net->info.boot_order == 0)
                cmdline->boot_net = 0;
        cmdline_device_boot(device, order);
        return cmdline_add_pci_device(cmdline, device, &net->info, reterr);
}

int cmdline_add_nets(Cmdline *cmdline, GError **reterr) {
        int r = 0;

        for (unsigned i = 0; i < cmdline->def->nets->len && r >= 0; i++)
                r = add_net(cmdline, i, reterr);
        return r;
}

/* ---- character devices ---- */

char *qemu_cmdline_chardev_id(const char *alias) {
        return g_strconcat("char", alias, NULL);
}

/* -chardev; the device then names it. */
static int add_chardev(Cmdline *cmdline, const CharDef *character, GError **reterr) {
        g_autofree char *id = qemu_cmdline_chardev_id(character->info.alias);
        g_autofree char *path = cmdline_escape(character->source_path ?: "");
        g_autoptr(GString) text = g_string_new(NULL);

        if ((character->type == CHAR_TYPE_FILE || character->type == CHAR_TYPE_UNIX) && !character->source_path)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("character device '%s' of type '%s' needs a <source path=>"), character->info.alias,
                                 char_type_to_string(character->type));
        switch (character->type) {
        case CHAR_TYPE_PTY:
                g_string_append_printf(text, "pty,id=%s", id);
                break;
        case CHAR_TYPE_FILE:
                g_string_append_printf(text, "file,id=%s,path=%s", id, path);
                if (character->append != TRI_UNSET)
                        g_string_append_printf(text, ",append=%s", character->append == TRI_YES ? "on" : "off");
                break;
        case CHAR_TYPE_UNIX:
                g_string_append_printf(text, "socket,id=%s,path=%s", id, path);
                if (character->mode == CHAR_MODE_BIND)
                        g_string_append(text, ",server=on,wait=off");
                break;
        case CHAR_TYPE_NULL:
                g_string_append_printf(text, "null,id=%s", id);
                break;
        case CHAR_TYPE_UNSET:
        default:
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("character device '%s' has no type"),
                                 character->info.alias);
        }
        if (character->log_file) {
                g_autofree char *log = cmdline_escape(character->log_file);
                g_string_append_printf(text, ",logfile=%s,logappend=%s", log,
                                       character->log_append == TRI_NO ? "off" : "on");
        }
        cmdline_add_value(cmdline, "-chardev", text->str);
        return 0;
}

static int add_serial(Cmdline *cmdline, const CharDef *serial, GError **reterr) {
        g_autofree char *chardev = qemu_cmdline_chardev_id(serial->info.alias);

        int r = add_chardev(cmdline, serial, reterr);
        if (r < 0)
                return r;
        json_object *device = json_add_string(json_object_new_object(), "driver", "isa-serial");
        json_add_string(device, "chardev", chardev);
        json_add_string(device, "id", serial->info.alias);
        json_add_uint64(device, "index", (unsigned) MAX(serial->port, 0));
        if (serial->info.address.type == ADDRESS_TYPE_ISA && serial->info.address.iobase > 0)
                json_add_uint64(device, "iobase", serial->info.address.iobase);
        if (serial->info.address.type == ADDRESS_TYPE_ISA && serial->info.address.irq > 0)
                json_add_uint64(device, "irq", serial->info.address.irq);
        return cmdline_add_device(cmdline, device, reterr);
}

/* A port of a virtio-serial controller: console or channel. */
static int add_virtio_port(Cmdline *cmdline, const CharDef *port, const char *driver, GError **reterr) {
        const DeviceAddress *address = &port->info.address;
        const ControllerDef *controller =
                cmdline_controller(cmdline, CONTROLLER_TYPE_VIRTIO_SERIAL, address->controller);
        g_autofree char *chardev = qemu_cmdline_chardev_id(port->info.alias);

        if (!controller)
                return error_set(
                        reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                        _("character device '%s' is on virtio-serial controller %u, which the domain does not have"),
                        port->info.alias, address->controller);
        int r = add_chardev(cmdline, port, reterr);
        if (r < 0)
                return r;
        g_autofree char *bus = g_strdup_printf("%s.%u", controller->info.alias, address->bus);
        json_object *device = json_add_string(json_object_new_object(), "driver", driver);
        json_add_string(device, "bus", bus);
        if (address->port > 0)
                json_add_uint64(device, "nr", address->port);
        json_add_string(device, "chardev", chardev);
        json_add_string(device, "id", port->info.alias);
        json_add_string(device, "name", port->name);
        return cmdline_add_device(cmdline, device, reterr);
}

int cmdline_add_chars(Cmdline *cmdline, GError **reterr) {
        const DomainDef *def = cmdline->def;
        int r = 0;

        for (unsigned i = 0; i < def->serials->len && r >= 0; i++)
                r = add_serial(cmdline, def->serials->pdata[i], reterr);
        for (unsigned i = 0; i < def->consoles->len && r >= 0; i++) {
                const CharDef *console = def->consoles->pdata[i];
                if (console->target == CHAR_TARGET_VIRTIO)
                        r = add_virtio_port(cmdline, console, "virtconsole", reterr);
        }
        for (unsigned i = 0; i < def->channels->len && r >= 0; i++)
                r = add_virtio_port(cmdline, def->channels->pdata[i], "virtserialport", reterr);
        return r;
}
