/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* virt-ferry-network URI NAME: asks libvirt's network daemon for the bridge of a network; see network.h. Prints
 * {"bridge": NAME} or
 * {"code": virErrorNumber, "message": TEXT}. */

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "driver/base/i18n.h"
#include "driver/base/json.h"

static int answer(const char *bridge, int code, const char *message) {
        g_autoptr(json_object) reply = json_object_new_object();

        if (bridge)
                json_add_string(reply, "bridge", bridge);
        else {
                json_add_int64(reply, "code", code);
                json_add_string(reply, "message", message);
        }
        puts(json_line(reply));
        return EXIT_SUCCESS;
}

static void ignore_error(void *userdata, virErrorPtr error) {
}

static int answer_connection(const char *uri, const char *name) {
        const char *detail = virGetLastErrorMessage();
        g_autofree char *text = g_strdup_printf(
                _("network '%s' cannot be looked up, '%s' does not answer: %s; start libvirt's network daemon, or use "
                  "type "
                  "'bridge'"),
                name, uri, detail);

        return answer(NULL, VIR_ERR_OPERATION_FAILED, text);
}

static int answer_network(virNetworkPtr network, const char *name) {
        g_autofree char *text = NULL;
        char *bridge;

        if (virNetworkIsActive(network) != 1) {
                text = g_strdup_printf(
                        _("network '%s' is not active: start it with 'virsh -c network:///system net-start %s'"), name,
                        name);
                return answer(NULL, VIR_ERR_OPERATION_INVALID, text);
        }
        bridge = virNetworkGetBridgeName(network);
        if (!bridge) {
                text = g_strdup_printf(_("network '%s' has no bridge; only networks with one can be joined"), name);
                return answer(NULL, VIR_ERR_CONFIG_UNSUPPORTED, text);
        }
        answer(bridge, 0, NULL);
        free(bridge);
        return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        setlocale(LC_ALL, "");
        bindtextdomain(FERRY_GETTEXT_DOMAIN, FERRY_LOCALE_DIR);
        if (argc != 3) {
                fprintf(stderr, "%s\n", _("virt-ferry-network is started by virtferryd, not by hand"));
                return EXIT_FAILURE;
        }
        virSetErrorFunc(NULL, ignore_error);

        virConnectPtr connection = virConnectOpenReadOnly(argv[1]);
        if (!connection)
                return answer_connection(argv[1], argv[2]);
        virNetworkPtr network = virNetworkLookupByName(connection, argv[2]);
        if (network) {
                answer_network(network, argv[2]);
                virNetworkFree(network);
        } else {
                g_autofree char *text = g_strdup_printf(_("there is no network '%s' on this host"), argv[2]);
                answer(NULL, VIR_ERR_NO_NETWORK, text);
        }
        virConnectClose(connection);
        return EXIT_SUCCESS;
}
