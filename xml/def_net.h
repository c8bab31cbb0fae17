/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Network interfaces. */

#include "xml/def_device.h"

typedef enum NetType {
        NET_TYPE_UNSET,
        NET_TYPE_USER,
        NET_TYPE_BRIDGE,
        NET_TYPE_ETHERNET,
        NET_TYPE_NETWORK, /* a virtual network of this host's libvirt: the bridge that it names */
        NET_TYPE_LAST,
} NetType;
DEF_ENUM_DECLARE(NetType, net_type)

typedef enum NetModel {
        NET_MODEL_UNSET,
        NET_MODEL_VIRTIO,
        NET_MODEL_E1000E,
        NET_MODEL_E1000,
        NET_MODEL_RTL8139, /* what libvirt takes where no model is named */
        NET_MODEL_LAST,
} NetModel;
DEF_ENUM_DECLARE(NetModel, net_model)

typedef enum NetBackend {
        NET_BACKEND_UNSET, /* vhost where /dev/vhost-net opens (not user; virtio), else qemu */
        NET_BACKEND_QEMU,
        NET_BACKEND_VHOST,
        NET_BACKEND_LAST,
} NetBackend;
DEF_ENUM_DECLARE(NetBackend, net_backend)

typedef enum NetLink {
        NET_LINK_UNSET, /* up */
        NET_LINK_UP,
        NET_LINK_DOWN,
        NET_LINK_LAST,
} NetLink;
DEF_ENUM_DECLARE(NetLink, net_link)

/* <interface> */
typedef struct NetDef {
        NetType type;
        char *mac;    /* "52:54:00:xx:xx:xx", lower case; set after completion */
        char *network; /* type network */
        char *bridge; /* type bridge; type network: what the network's bridge was when the domain started (live) */
        char *port_id; /* type network, live: libvirt's own record of the port; we keep none */
        char *target; /* tap device; NULL: made up when the domain starts ("vnet0" ..., live) */
        TriState managed; /* type ethernet: NO means that the tap device exists already */
        NetModel model;
        NetBackend backend;
        unsigned queues, rx_queue_size, tx_queue_size; /* virtio; 0: not said */
        unsigned mtu; /* 0: not said */
        NetLink link;
        DeviceInfo info;
} NetDef;
