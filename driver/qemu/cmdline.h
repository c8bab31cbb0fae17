/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * QEMU's command line from a completed definition (addresses, aliases and MACs assigned). Pure: reads its arguments, touches nothing; the golden tests
 * compare its result with tests/qemu/data/NAME.args (FERRY_REGENERATE=1 rewrites them).
 */

#include <glib.h>
#include <stdbool.h>

#include "driver/qemu/caps.h"
#include "driver/qemu/ram.h"
#include "xml/def.h"

/* How one <interface> gets its tap: descriptors in QEMU's numbering. */
typedef struct QemuCmdlineNet {
        int tap_fd;   /* -1: none (user networking) */
        int vhost_fd; /* -1: no vhost-net */
} QemuCmdlineNet;

typedef struct QemuCmdlineArgs {
        const DomainDef *def;
        const QemuCaps *caps;
        const QemuRam *ram;
        const QemuCmdlineNet *nets;   /* one per interface of def, or NULL */
        unsigned n_nets;
        const char *dir;              /* the domain's folder for sockets, exists */
        const char *monitor_path;     /* unix socket; QEMU listens */
        const char *nvram_path;       /* the variable store if def names none; may be NULL */
        bool incoming;                /* -incoming defer */
} QemuCmdlineArgs;

/* argv (strv; [0] is the emulator) and the additional environment ("NAME=value" strv, from <qemu:commandline>). Both owned by the caller.
 * CONFIG_UNSUPPORTED names what this QEMU cannot do. */
int qemu_cmdline_build(const QemuCmdlineArgs *args, char ***ret_argv, char ***ret_env, GError **reterr);

/* One string for the log: words quoted for a shell, an option and its value per line. Owned by the caller. */
char *qemu_cmdline_format(const char *const *argv, const char *const *env);

/* Node names of a disk: "libvirt-N-storage" and "libvirt-N-format", N = disk index + 1. Owned by the caller. */
char *qemu_cmdline_storage_node(unsigned disk);
char *qemu_cmdline_format_node(unsigned disk);
/* The QOM id ("qdev") of a device: its alias. And the id of its chardev ("charserial0"). */
char *qemu_cmdline_chardev_id(const char *alias);
