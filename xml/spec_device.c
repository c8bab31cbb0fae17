/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def_device.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(AddressType, ADDRESS_TYPE_LAST, address_type, "pci", "drive", "virtio-serial", "usb", "isa")
DEF_ENUM_DEFINE(ControllerType, CONTROLLER_TYPE_LAST, controller_type, "pci", "usb", "scsi", "sata", "ide",
                "virtio-serial")
DEF_ENUM_DEFINE(ControllerModel, CONTROLLER_MODEL_LAST, controller_model, "pci-root", "pcie-root", "pci-bridge",
                "dmi-to-pci-bridge", "pcie-to-pci-bridge", "pcie-root-port", "pcie-switch-upstream-port",
                "pcie-switch-downstream-port", "piix3-uhci", "piix4-uhci", "ehci", "ich9-ehci1", "ich9-uhci1",
                "ich9-uhci2", "ich9-uhci3", "nec-xhci", "qemu-xhci", "none",
                "virtio-scsi", "piix3")

#define PCI SPEC_BIT(ADDRESS_TYPE_PCI)
#define DRIVE SPEC_BIT(ADDRESS_TYPE_DRIVE)
#define SERIAL SPEC_BIT(ADDRESS_TYPE_VIRTIO_SERIAL)
#define USB SPEC_BIT(ADDRESS_TYPE_USB)
#define ISA SPEC_BIT(ADDRESS_TYPE_ISA)

#define AT(member) .offset = offsetof(DeviceAddress, member)
static const BindSpec address_spec = {
        .name = "address",
        .size = sizeof(DeviceAddress),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(type), .names = address_type_names, .flags = BIND_REQUIRED },
                { "@domain", BIND_HEX, AT(domain), .when = PCI, .digits = 4, .max = 0xffff },
                { "@controller", BIND_UINT, AT(controller), .when = DRIVE | SERIAL, .flags = BIND_ALWAYS, .max = 255 },
                { "@bus", BIND_HEX, AT(bus), .when = PCI, .digits = 2, .max = 255 },
                { "@bus", BIND_UINT, AT(bus), .when = DRIVE | SERIAL | USB, .flags = BIND_ALWAYS, .max = 255 },
                { "@slot", BIND_HEX, AT(slot), .when = PCI, .digits = 2, .max = 31 },
                { "@function", BIND_HEX, AT(function), .when = PCI, .digits = 1, .max = 7 },
                { "@multifunction", BIND_ONOFF, AT(multifunction), .when = PCI },
                { "@target", BIND_UINT, AT(target), .when = DRIVE, .flags = BIND_ALWAYS, .max = 255 },
                { "@unit", BIND_UINT, AT(unit), .when = DRIVE, .flags = BIND_ALWAYS, .max = 16383 },
                { "@port", BIND_UINT, AT(port), .when = SERIAL, .flags = BIND_ALWAYS, .max = 511 },
                { "@port", BIND_STRING, AT(usb_port), .when = USB },
                { "@iobase", BIND_HEX, AT(iobase), .when = ISA, .digits = 1, .max = 0xffff },
                { "@irq", BIND_HEX, AT(irq), .when = ISA, .digits = 1, .max = 15 },
                {},
        },
        .discriminator = "@type",
};
#undef AT

#define AT(member) .offset = offsetof(DeviceInfo, member)
const BindSpec device_info_spec = {
        .name = "device",
        .size = sizeof(DeviceInfo),
        .fields = (const BindField[]) {
                { "boot/@order", BIND_UINT, AT(boot_order), .min = 1, .max = 1024, .flags = BIND_HOST },
                { "alias/@name", BIND_STRING, AT(alias), .flags = BIND_HOST },
                { "address", BIND_STRUCT, AT(address), .spec = &address_spec },
                {},
        },
};
#undef AT

#undef PCI
#undef USB
#define PCI SPEC_BIT(CONTROLLER_TYPE_PCI)
#define USB SPEC_BIT(CONTROLLER_TYPE_USB)
#define SCSI SPEC_BIT(CONTROLLER_TYPE_SCSI)
#define VIRTIO_SERIAL SPEC_BIT(CONTROLLER_TYPE_VIRTIO_SERIAL)

#define AT(member) .offset = offsetof(ControllerDef, member)
const BindSpec controller_spec = {
        .name = "controller",
        .size = sizeof(ControllerDef),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(type), .names = controller_type_names, .flags = BIND_REQUIRED },
                { "@index", BIND_INT, AT(index), .unset = -1, .max = 255 },
                { "@model", BIND_ENUM, AT(model), .names = controller_model_names },
                { "@ports", BIND_INT, AT(usb_ports), .unset = -1, .min = 1, .max = 15, .when = USB },
                { "@ports", BIND_INT, AT(serial_ports), .unset = -1, .min = 1, .max = 511, .when = VIRTIO_SERIAL },
                { "@vectors", BIND_INT, AT(serial_vectors), .unset = -1, .min = 0, .max = 2048, .when = VIRTIO_SERIAL },
                { "driver/@queues", BIND_UINT, AT(queues), .min = 1, .max = 1024, .when = SCSI },
                { "driver/@cmd_per_lun", BIND_UINT, AT(cmd_per_lun), .min = 1, .when = SCSI },
                { "driver/@max_sectors", BIND_UINT, AT(max_sectors), .min = 1, .when = SCSI },
                { "model/@name", BIND_STRING, AT(model_name), .when = PCI },
                { "target/@chassisNr", BIND_INT, AT(chassis_nr), .unset = -1, .min = 1, .max = 255, .when = PCI },
                { "target/@chassis", BIND_INT, AT(chassis), .unset = -1, .max = 255, .when = PCI },
                { "target/@port", BIND_HEXINT, AT(port), .unset = -1, .max = 255, .when = PCI },
                { "target/@hotplug", BIND_ONOFF, AT(hotplug), .when = PCI },
                { "pcihole64", BIND_KIB, AT(pcihole64_kib), .when = PCI },
                { "master/@startport", BIND_INT, AT(usb_master_startport), .unset = -1, .max = 15, .when = USB },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
        .discriminator = "@type",
};
#undef AT
