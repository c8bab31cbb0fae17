/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/qemu/network.h"

#include <libvirt/virterror.h>
#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/base/spawn.h"

#define ASK_USEC (20 * USEC_PER_SEC)

static int ask(const QemuSettings *settings, NetDef *net, GError **reterr) {
        const char *const argv[] = { settings->network_helper, settings->network_uri ?: "network:///system",
                                     net->network, NULL };
        g_autofree char *text = NULL;
        g_autoptr(json_object) reply = NULL;
        const char *bridge;
        int r;

        r = spawn_run(argv, ASK_USEC, &text, reterr);
        if (r < 0) {
                if (reterr && *reterr)
                        g_prefix_error(reterr, _("interface '%s': "), net->mac);
                return r;
        }
        reply = json_parse(text, strlen(text), NULL);
        bridge = reply ? json_get_string(reply, "bridge") : NULL;
        if (bridge) {
                g_free(net->bridge);
                net->bridge = g_strdup(bridge);
                return 0;
        }
        return error_set(reterr, (virErrorNumber) json_get_int64(reply, "code", VIR_ERR_INTERNAL_ERROR),
                         _("interface '%s': %s"), net->mac,
                         (reply ? json_get_string(reply, "message") : NULL) ?: _("the network daemon gave no answer"));
}

int qemu_network_resolve(const QemuSettings *settings, DomainDef *def, GError **reterr) {
        int r = 0;

        for (unsigned i = 0; i < def->nets->len && r >= 0; i++) {
                NetDef *net = def->nets->pdata[i];

                if (net->type != NET_TYPE_NETWORK)
                        continue;
                if (!settings->privileged)
                        return error_set(
                                reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                _("interface '%s': a session's guest cannot join network '%s': use type 'user'"),
                                net->mac, net->network);
                r = ask(settings, net, reterr);
        }
        return r;
}
