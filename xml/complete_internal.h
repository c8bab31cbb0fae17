/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The steps of domain_def_complete(), in their order. Each finds what the ones before it have made and changes nothing
 * the second time. */

#include "xml/def.h"

/* Arch, machine, boot device, firmware. */
int complete_os(DomainDef *def, const DomainDefaults *defaults, GError **reterr);
/* Guest cells, sizes, vcpus, CPU model. */
int complete_memory(DomainDef *def, GError **reterr);
void complete_cpu(DomainDef *def);
/* Implicit devices and defaults of all devices but controllers and addresses. */
int complete_devices(DomainDef *def, GError **reterr);
/* Serial ports, consoles, channels. */
int complete_chars(DomainDef *def, GError **reterr);
/* Drive addresses from target names, then virtio-serial ports and USB ports; makes the controllers that they name. */
int complete_controllers(DomainDef *def, GError **reterr);
int complete_drives(DomainDef *def, GError **reterr);
int complete_virtio_serial(DomainDef *def, GError **reterr);
int complete_usb(DomainDef *def, GError **reterr);
/* PCI topology and addresses. */
int complete_pci(DomainDef *def, GError **reterr);

/* The controller of this type and index; NULL if there is none. */
ControllerDef *controller_find(const DomainDef *def, ControllerType type, int index);
/* A new last controller; borrowed. */
ControllerDef *controller_add(DomainDef *def, ControllerType type, int index, ControllerModel model);
