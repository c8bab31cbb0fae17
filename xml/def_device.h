/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What all devices share: alias, address, boot order; and controllers, the devices that others plug into. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "xml/def_enum.h"

typedef enum AddressType {
        ADDRESS_TYPE_UNSET,
        ADDRESS_TYPE_PCI,           /* domain, bus, slot, function, multifunction */
        ADDRESS_TYPE_DRIVE,         /* controller, bus, target, unit */
        ADDRESS_TYPE_VIRTIO_SERIAL, /* controller, bus, port */
        ADDRESS_TYPE_USB,           /* bus, port */
        ADDRESS_TYPE_ISA,           /* iobase, irq */
        ADDRESS_TYPE_LAST,
} AddressType;
DEF_ENUM_DECLARE(AddressType, address_type)

/* <address>. Fields that the type does not have are 0. */
typedef struct DeviceAddress {
        AddressType type;
        unsigned domain, bus, slot, function; /* pci: slot 0..31, function 0..7; bus is the index of the pci controller.
                                               * drive, usb and virtio-serial use bus too */
        TriState multifunction;
        unsigned controller, target, unit; /* drive: unit is the LUN for scsi, the port for sata */
        unsigned port;                     /* virtio-serial: 0 is for a console only, a channel's 0 means not said */
        char *usb_port;                    /* usb: "1", "2.1"; NULL: not said */
        unsigned iobase, irq;              /* isa; 0: not said */
} DeviceAddress;

typedef struct DeviceInfo {
        char *alias; /* QEMU's id of the device; set by domain_def_assign_aliases(), or "ua-..." by the user */
        DeviceAddress address;
        unsigned boot_order; /* 1..; 0: none */
} DeviceInfo;

typedef enum ControllerType {
        CONTROLLER_TYPE_UNSET,
        CONTROLLER_TYPE_PCI,
        CONTROLLER_TYPE_USB,
        CONTROLLER_TYPE_SCSI,
        CONTROLLER_TYPE_SATA,
        CONTROLLER_TYPE_IDE,
        CONTROLLER_TYPE_VIRTIO_SERIAL,
        CONTROLLER_TYPE_LAST,
} ControllerType;
DEF_ENUM_DECLARE(ControllerType, controller_type)

typedef enum ControllerModel {
        CONTROLLER_MODEL_UNSET,
        /* pci */
        CONTROLLER_MODEL_PCI_ROOT,
        CONTROLLER_MODEL_PCIE_ROOT,
        CONTROLLER_MODEL_PCI_BRIDGE,
        CONTROLLER_MODEL_DMI_TO_PCI_BRIDGE,
        CONTROLLER_MODEL_PCIE_TO_PCI_BRIDGE,
        CONTROLLER_MODEL_PCIE_ROOT_PORT,
        CONTROLLER_MODEL_PCIE_SWITCH_UPSTREAM_PORT,
        CONTROLLER_MODEL_PCIE_SWITCH_DOWNSTREAM_PORT,
        /* usb */
        CONTROLLER_MODEL_PIIX3_UHCI,
        CONTROLLER_MODEL_PIIX4_UHCI,
        CONTROLLER_MODEL_EHCI,
        CONTROLLER_MODEL_ICH9_EHCI1,
        CONTROLLER_MODEL_ICH9_UHCI1,
        CONTROLLER_MODEL_ICH9_UHCI2,
        CONTROLLER_MODEL_ICH9_UHCI3,
        CONTROLLER_MODEL_NEC_XHCI,
        CONTROLLER_MODEL_QEMU_XHCI,
        CONTROLLER_MODEL_NONE,
        /* scsi */
        CONTROLLER_MODEL_VIRTIO_SCSI,
        /* ide */
        CONTROLLER_MODEL_PIIX3,
        CONTROLLER_MODEL_LAST,
} ControllerModel;
DEF_ENUM_DECLARE(ControllerModel, controller_model)

/* <controller> */
typedef struct ControllerDef {
        ControllerType type;
        int index; /* -1 before completion: next free */
        ControllerModel model;
        /* pci: <model name=/>, QEMU's device ("pcie-root-port", "ioh3420", "pci-bridge", "i82801b11-bridge") */
        char *model_name;
        int chassis;      /* pcie-root-port, pcie-switch-downstream-port; -1: not said */
        int port;         /* pcie-root-port; -1: not said (written in hex) */
        int chassis_nr;   /* pci-bridge; -1 */
        TriState hotplug;
        uint64_t pcihole64_kib; /* pci(e)-root; 0: not said */
        int usb_ports;          /* usb xhci; -1 */
        int usb_master_startport; /* usb companion (uhci) of the ehci1 with the same index; -1 */
        unsigned queues, cmd_per_lun, max_sectors; /* scsi <driver>; 0: not said */
        int serial_ports, serial_vectors;          /* virtio-serial; -1 */
        DeviceInfo info;
} ControllerDef;
