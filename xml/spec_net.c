/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def_net.h"
#include "xml/spec.h"

DEF_ENUM_DEFINE(NetType, NET_TYPE_LAST, net_type, "user", "bridge", "ethernet", "network")
DEF_ENUM_DEFINE(NetModel, NET_MODEL_LAST, net_model, "virtio", "e1000e", "e1000", "rtl8139")
DEF_ENUM_DEFINE(NetBackend, NET_BACKEND_LAST, net_backend, "qemu", "vhost")
DEF_ENUM_DEFINE(NetLink, NET_LINK_LAST, net_link, "up", "down")

#define TAP (SPEC_BIT(NET_TYPE_BRIDGE) | SPEC_BIT(NET_TYPE_ETHERNET) | NETWORK)
#define NETWORK SPEC_BIT(NET_TYPE_NETWORK)

#define AT(member) .offset = offsetof(NetDef, member)
const BindSpec net_spec = {
        .name = "interface",
        .size = sizeof(NetDef),
        .fields = (const BindField[]) {
                { "@type", BIND_ENUM, AT(type), .names = net_type_names, .flags = BIND_REQUIRED | BIND_HOST },
                { "mac/@address", BIND_STRING, AT(mac) },
                { "source/@bridge", BIND_STRING, AT(bridge), .when = SPEC_BIT(NET_TYPE_BRIDGE), .flags = BIND_REQUIRED | BIND_HOST },
                { "source/@network", BIND_STRING, AT(network), .when = NETWORK, .flags = BIND_REQUIRED | BIND_HOST },
                { "source/@portid", BIND_STRING, AT(port_id), .when = NETWORK, .flags = BIND_HOST },
                { "source/@bridge", BIND_STRING, AT(bridge), .when = NETWORK, .flags = BIND_HOST },
                { "target/@dev", BIND_STRING, AT(target), .when = TAP, .flags = BIND_HOST },
                { "target/@managed", BIND_YESNO, AT(managed), .when = SPEC_BIT(NET_TYPE_ETHERNET), .flags = BIND_HOST },
                { "model/@type", BIND_ENUM, AT(model), .names = net_model_names },
                { "driver/@name", BIND_ENUM, AT(backend), .names = net_backend_names, .flags = BIND_HOST },
                { "driver/@queues", BIND_UINT, AT(queues), .min = 1, .max = 256 },
                { "driver/@rx_queue_size", BIND_UINT, AT(rx_queue_size), .min = 256, .max = 1024 },
                { "driver/@tx_queue_size", BIND_UINT, AT(tx_queue_size), .min = 256, .max = 1024 },
                { "link/@state", BIND_ENUM, AT(link), .names = net_link_names, .flags = BIND_HOST },
                { "mtu/@size", BIND_UINT, AT(mtu), .min = 68, .max = 65535 },
                { "", BIND_INLINE, AT(info), .spec = &device_info_spec },
                {},
        },
        .discriminator = "@type",
};
#undef AT
