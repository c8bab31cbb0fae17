/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/qemu/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"

#define NET_MAC_BYTES 6

void qemu_net_clear(QemuNet *net) {
        for (unsigned i = 0; i < net->n_queues; i++) {
                if (net->tap_fds)
                        fd_close(net->tap_fds[i]);
                if (net->vhost_fds)
                        fd_close(net->vhost_fds[i]);
        }
        g_clear_pointer(&net->tap_fds, g_free);
        g_clear_pointer(&net->vhost_fds, g_free);
        g_clear_pointer(&net->tap, g_free);
        net->n_queues = 0;
}

static void ifreq_init(struct ifreq *request, const char *name) {
        memset(request, 0, sizeof(*request));
        g_strlcpy(request->ifr_name, name, IFNAMSIZ);
}

bool qemu_net_exists(const char *name) {
        return if_nametoindex(name) > 0;
}

bool qemu_net_is_bridge(const char *name) {
        _cleanup_fd_ int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq request;
        int indices[1024] = {};
        unsigned long args[4] = {7 /* BRCTL_GET_PORT_LIST: only a bridge answers */, (unsigned long) indices,
                                 G_N_ELEMENTS(indices)};

        if (!qemu_net_exists(name) || control < 0)
                return false;
        /* sysfs shows the network namespace of whoever mounted it; the device itself knows better. */
        ifreq_init(&request, name);
        request.ifr_data = (char *) args;
        return ioctl(control, SIOCDEVPRIVATE, &request) >= 0;
}

static int tap_open(const char *name, bool vnet_header, bool multi_queue, char *ret_name, GError **reterr) {
        struct ifreq request;

        int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot open /dev/net/tun to make a tap device"));
        ifreq_init(&request, name);
        request.ifr_flags =
                (short) (IFF_TAP | IFF_NO_PI | (vnet_header ? IFF_VNET_HDR : 0) | (multi_queue ? IFF_MULTI_QUEUE : 0));
        if (ioctl(fd, TUNSETIFF, &request) < 0) {
                int r = error_set_errno(reterr, errno, _("cannot make or open the tap device '%s'"), name);
                fd_close(fd);
                return r;
        }
        g_strlcpy(ret_name, request.ifr_name, IFNAMSIZ);
        return fd;
}

/* The bridge takes the smallest MAC of its ports for its own: a first byte of 0xfe is never that. */
static int tap_set_mac(int control, const char *tap, const char *mac) {
        unsigned bytes[NET_MAC_BYTES];
        struct ifreq request;

        if (!mac || sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4],
                           &bytes[5]) != NET_MAC_BYTES)
                return 0;
        ifreq_init(&request, tap);
        request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        bytes[0] = 0xfe;
        for (unsigned i = 0; i < NET_MAC_BYTES; i++)
                request.ifr_hwaddr.sa_data[i] = (char) bytes[i];
        return ioctl(control, SIOCSIFHWADDR, &request) < 0 ? -errno : 0;
}

static int tap_set_mtu(int control, const char *tap, const char *bridge, unsigned mtu) {
        struct ifreq request;

        if (mtu == 0 && bridge) {
                ifreq_init(&request, bridge);
                if (ioctl(control, SIOCGIFMTU, &request) >= 0)
                        mtu = (unsigned) request.ifr_mtu;
        }
        if (mtu == 0)
                return 0;
        ifreq_init(&request, tap);
        request.ifr_mtu = (int) mtu;
        return ioctl(control, SIOCSIFMTU, &request) < 0 ? -errno : 0;
}

static int tap_up(int control, const char *tap) {
        struct ifreq request;

        ifreq_init(&request, tap);
        if (ioctl(control, SIOCGIFFLAGS, &request) < 0)
                return -errno;
        request.ifr_flags |= IFF_UP;
        return ioctl(control, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

static int tap_join_bridge(int control, const char *tap, const char *bridge, GError **reterr) {
        struct ifreq request;

        ifreq_init(&request, bridge);
        request.ifr_ifindex = (int) if_nametoindex(tap);
        if (ioctl(control, SIOCBRADDIF, &request) >= 0 || errno == EBUSY)
                return 0;
        if (errno == ENODEV || errno == EOPNOTSUPP)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("there is no bridge '%s': make it with 'ip link add %s type bridge'"), bridge,
                                 bridge);
        return error_set_errno(reterr, errno, _("cannot add '%s' to bridge '%s'"), tap, bridge);
}

static int tap_configure(const NetDef *def, const char *tap, GError **reterr) {
        _cleanup_fd_ int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const char *bridge = def->type == NET_TYPE_BRIDGE || def->type == NET_TYPE_NETWORK ? def->bridge : NULL;

        if (control < 0)
                return error_set_errno(reterr, errno, _("cannot configure '%s'"), tap);
        int r = tap_set_mtu(control, tap, bridge, def->mtu);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot set the MTU of '%s'"), tap);
        r = tap_set_mac(control, tap, def->mac);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot set the MAC address of '%s'"), tap);
        r = bridge ? tap_join_bridge(control, tap, bridge, reterr) : 0;
        if (r < 0)
                return r;
        r = tap_up(control, tap);
        return r < 0 ? error_set_errno(reterr, r, _("cannot take '%s' up"), tap) : 0;
}

static int vhost_open(const NetDef *def, bool kvm, QemuNet *net, GError **reterr) {
        bool wanted = def->backend == NET_BACKEND_VHOST;

        if (def->backend == NET_BACKEND_QEMU || def->model != NET_MODEL_VIRTIO || !kvm) {
                if (wanted)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("interface '%s' cannot have driver 'vhost': it needs model 'virtio' and "
                                           "domain type 'kvm'"),
                                         def->mac);
                return 0;
        }
        g_autofree int *fds = g_new(int, net->n_queues);
        for (unsigned i = 0; i < net->n_queues; i++) {
                fds[i] = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
                if (fds[i] >= 0)
                        continue;
                int saved = errno;
                while (i-- > 0)
                        fd_close(fds[i]);
                return wanted ? error_set_errno(reterr, saved, _("cannot open /dev/vhost-net for interface '%s'"),
                                                def->mac)
                              : 0;
        }
        net->vhost_fds = g_steal_pointer(&fds);
        return 0;
}

int qemu_net_open(const NetDef *def, bool kvm, QemuNet *ret_net, GError **reterr) {
        g_auto(QemuNet) net = {};
        unsigned queues = def->model == NET_MODEL_VIRTIO && def->queues > 1 ? def->queues : 1;
        char name[IFNAMSIZ] = "";

        if (def->type == NET_TYPE_USER) {
                *ret_net = (QemuNet){};
                return 0;
        }
        if (queues > QEMU_NET_QUEUES_MAX)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("interface '%s' has more than %d queues"),
                                 def->mac, QEMU_NET_QUEUES_MAX);
        if (def->target && strlen(def->target) >= IFNAMSIZ)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("the interface name '%s' is longer than %d characters"), def->target, IFNAMSIZ - 1);
        bool existing = def->type == NET_TYPE_ETHERNET && def->managed == TRI_NO;
        if (existing && (!def->target || !qemu_net_exists(def->target)))
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("there is no tap device '%s': make it with 'ip tuntap add %s mode tap'"),
                                 def->target ?: "", def->target ?: "NAME");

        net.tap_fds = g_new(int, queues);
        for (; net.n_queues < queues; net.n_queues++) {
                const char *wanted = net.n_queues > 0 ? name : def->target ?: "vnet%d";
                int fd = tap_open(wanted, def->model == NET_MODEL_VIRTIO, queues > 1, name, reterr);

                if (fd < 0)
                        return fd;
                net.tap_fds[net.n_queues] = fd;
        }
        net.tap = g_strdup(name);
        int r = existing ? 0 : tap_configure(def, name, reterr);
        if (r >= 0)
                r = vhost_open(def, kvm, &net, reterr);
        if (r < 0)
                return r;
        *ret_net = net;
        net = (QemuNet){};
        return 0;
}
