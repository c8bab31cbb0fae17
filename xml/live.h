/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "xml/def.h"

/* Drops what only a running domain has: id, aliases that are not the user's ("ua-..."), pty paths, made-up sockets,
 * automatic ports, vnetN names, bridges of networks, channel and tray states, labels, image indices. Made-up socket
 * paths are known by their form:
 * ".../ferry/domains/NAME-UUID8/FILE" (ours), ".../domain-ID-NAME/TARGET" or ".../channel/ID-NAME/TARGET" (libvirt's).
 */
void live_drop(DomainDef *def);
