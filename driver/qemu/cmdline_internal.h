/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of the command line share; for cmdline*.c only. */

#include "driver/base/json.h"
#include "driver/qemu/cmdline.h"

typedef struct Cmdline {
        const QemuCmdlineArgs *args;
        const DomainDef *def;
        const QemuCaps *caps;
        bool kvm;
        GPtrArray *argv;
        GPtrArray *env;
        /* Boot order by <os><boot/>: the next index for the first of each kind, 0 when it is used up. */
        unsigned boot_disk, boot_cdrom, boot_net;
} Cmdline;

/* One word; an option and its value. */
void cmdline_add(Cmdline *cmdline, const char *word);
void cmdline_add_value(Cmdline *cmdline, const char *option, const char *value);
void cmdline_add_printf(Cmdline *cmdline, const char *option, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* An option with a JSON value; consumes value. */
void cmdline_add_json(Cmdline *cmdline, const char *option, json_object *value);

/* A device to be completed and given to cmdline_add_device(): {"driver": driver}. */
json_object *cmdline_device(const char *driver, const DeviceInfo *info);
/* Adds "bus" and "addr" of a PCI address. */
int cmdline_device_pci(Cmdline *cmdline, json_object *device, const DeviceInfo *info, GError **reterr);
/* Adds bootindex if the device has a boot order. */
void cmdline_device_boot(json_object *device, unsigned order);
/* -device; refuses a type that this QEMU lacks. Consumes device. */
int cmdline_add_device(Cmdline *cmdline, json_object *device, GError **reterr);
/* The same for a device with a PCI address. Consumes device. */
int cmdline_add_pci_device(Cmdline *cmdline, json_object *device, const DeviceInfo *info, GError **reterr);
/* A controller by type and index; NULL if there is none. */
const ControllerDef *cmdline_controller(const Cmdline *cmdline, ControllerType type, unsigned index);

/* text with each comma doubled, as values inside option strings need. Owned by the caller. */
char *cmdline_escape(const char *text);

/* The options for one family of devices each; errors as qemu_cmdline_build(). */
int cmdline_add_disks(Cmdline *cmdline, GError **reterr);
int cmdline_add_controllers(Cmdline *cmdline, GError **reterr);
int cmdline_add_nets(Cmdline *cmdline, GError **reterr);
int cmdline_add_chars(Cmdline *cmdline, GError **reterr);
int cmdline_add_displays(Cmdline *cmdline, GError **reterr);
int cmdline_add_others(Cmdline *cmdline, GError **reterr);
void cmdline_add_smbios(Cmdline *cmdline);
