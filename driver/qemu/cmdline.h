/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * QEMU's command line from a completed definition (addresses, aliases and MACs assigned). Pure: reads its arguments,
 * touches nothing; the golden tests compare its result with tests/qemu/data/NAME.args (FERRY_REGENERATE=1 rewrites
 * them).
 */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/qemu/caps.h"
#include "driver/qemu/ram.h"
#include "xml/def.h"

/* How one <interface> gets its tap: descriptors in QEMU's numbering, one per queue. */
typedef struct QemuCmdlineNet {
        const int *tap_fds;
        const int *vhost_fds; /* NULL: no vhost-net */
        unsigned n_queues;    /* 0: no tap (user networking) */
} QemuCmdlineNet;

typedef struct QemuCmdlineArgs {
        const DomainDef *def; /* with all that qemu_prepare() fills in */
        const QemuCaps *caps;
        const QemuRam *ram;
        const QemuCmdlineNet *nets; /* one per interface of def */
        unsigned n_nets;
        int monitor_fd;  /* a listening unix socket, in QEMU's numbering */
        bool incoming;   /* -incoming defer */
        int64_t now_sec; /* wall clock, for <clock offset='variable'> */
} QemuCmdlineArgs;

/* argv (strv; [0] is the emulator) and the additional environment ("NAME=value" strv: time zone, <qemu:commandline>).
 * Both owned by the caller. CONFIG_UNSUPPORTED names what this QEMU cannot do. */
int qemu_cmdline_build(const QemuCmdlineArgs *args, char ***ret_argv, char ***ret_env, GError **reterr);

/* -cpu's argument, NULL for the machine's default. Owned by the caller. */
int qemu_cmdline_cpu(const DomainDef *def, const QemuCaps *caps, char **ret_cpu, GError **reterr);

/* One string for the log: words quoted for a shell, an option and its value per line. Owned by the caller. */
char *qemu_cmdline_format(const char *const *argv, const char *const *env);

/* Node names of an image: "libvirt-N-storage" and "libvirt-N-format", N = the image's index (DiskDef.source_index).
 * Owned by the caller. */
char *qemu_cmdline_storage_node(unsigned index);
char *qemu_cmdline_format_node(unsigned index);
/* What -blockdev says about the top image of a disk, storage node and format node; direct_allowed false: the same
 * through the page cache, whatever the definition says. A JSON array of two, owned by the caller; blockdev-reopen takes
 * it. */
json_object *qemu_cmdline_disk_nodes(const DiskDef *disk, bool direct_allowed);
/* The id of a device's chardev ("charserial0" for "serial0"). Owned by the caller. */
char *qemu_cmdline_chardev_id(const char *alias);
