/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Virtual networks (<interface type='network'>) belong to this host's libvirt network daemon; it is asked for a
 * network's bridge, over libvirt's public client library. That library blocks, so a helper process asks:
 * virt-ferry-network URI NAME prints the name of the bridge.
 */

#include <glib.h>

#include "driver/qemu/settings.h"
#include "xml/def.h"

/* Sets the bridge of each interface of type network. Fiber (some seconds at most). VIR_ERR_NO_NETWORK,
 * VIR_ERR_OPERATION_INVALID if the network is not active, VIR_ERR_CONFIG_UNSUPPORTED if it has no bridge,
 * VIR_ERR_OPERATION_FAILED if nobody answers. */
int qemu_network_resolve(const QemuSettings *settings, DomainDef *def, GError **reterr);
