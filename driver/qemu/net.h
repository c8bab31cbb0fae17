/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The host's side of network interfaces: tap devices and their bridges. Needs CAP_NET_ADMIN in the network namespace of
 * the daemon. */

#include <glib.h>
#include <stdbool.h>

#include "xml/def.h"

/* More queues than this a tap device does not have (MAX_TAP_QUEUES of Linux). */
#define QEMU_NET_QUEUES_MAX 256

/* One interface. A tap that we made lives as long as a descriptor of it is open: QEMU's end is its end. */
typedef struct QemuNet {
        char *tap;      /* host name, NULL: none (user networking) */
        int *tap_fds;   /* owned */
        int *vhost_fds; /* owned; NULL: none */
        unsigned n_queues;
} QemuNet;

/* Makes the tap, sets MTU and MAC, plugs it into the bridge and takes it up; opens vhost-net where it is of use (KVM,
 * virtio). Errors name the bridge or device that is missing. */
int qemu_net_open(const NetDef *net, bool kvm, QemuNet *ret_net, GError **reterr);
/* Closes our descriptors. */
void qemu_net_clear(QemuNet *net);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(QemuNet, qemu_net_clear)

/* Whether a network device of that name exists. */
bool qemu_net_exists(const char *name);
/* Whether it is a bridge. */
bool qemu_net_is_bridge(const char *name);
