/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <libvirt/libvirt.h>
#include <string.h>
#include <unistd.h>

#include "daemon/rpc/params.h"
#include "driver/base/log.h"

/* The connection itself: authentication, features, opening, closing. */

/* What clients ask about before they use it (numbers: libvirt's src/libvirt_internal.h, VIR_DRV_FEATURE_*). All others
 * are 0: 1-3 and 5 are forms of migration that version 3 replaced, 8 is passing descriptors, 12 migration of domains
 * that are not running, 16 the order of arguments of a network call. */
typedef enum Feature {
        FEATURE_MIGRATION_P2P = 4,
        FEATURE_MIGRATION_V3 = 6,
        FEATURE_MIGRATE_CHANGE_PROTECTION = 7,
        FEATURE_TYPED_PARAM_STRING = 9,
        FEATURE_KEEPALIVE = 10,
        FEATURE_XML_MIGRATABLE = 11,
        FEATURE_MIGRATION_PARAMS = 13,
        FEATURE_EVENT_CALLBACK = 14,
        FEATURE_CLOSE_CALLBACK = 15,
} Feature;

/* Our own names, and those of the driver that tools know: virt-install and virt-manager look at the scheme. */
static const char *const open_names[] = { "ferry:///system", "ferry:///session", "qemu:///system", "qemu:///session" };

/* Session clients leak internal bits into the flags of CONNECT_OPEN (measured: 6 and 7): only this one is looked at. */
#define OPEN_FLAG_READ_ONLY 1u

HANDLER(auth_list) {
        remote_auth_list_ret *ret = retp;

        /* Who may connect is decided by the permissions of the socket. */
        ret->types.types_val = g_new0(remote_auth_type, 1);
        ret->types.types_val[0] = REMOTE_AUTH_NONE;
        ret->types.types_len = 1;
        return 0;
}

HANDLER(supports_feature) {
        const remote_connect_supports_feature_args *args = argp;
        remote_connect_supports_feature_ret *ret = retp;

        switch (args->feature) {
        case FEATURE_KEEPALIVE:
                client_start_keepalive(call->client);
                ret->supported = 1;
                break;
        case FEATURE_MIGRATION_P2P:
        case FEATURE_MIGRATION_V3:
        case FEATURE_MIGRATE_CHANGE_PROTECTION:
        case FEATURE_TYPED_PARAM_STRING:
        case FEATURE_XML_MIGRATABLE:
        case FEATURE_MIGRATION_PARAMS:
        case FEATURE_EVENT_CALLBACK:
        case FEATURE_CLOSE_CALLBACK:
                ret->supported = 1;
                break;
        default:
                ret->supported = 0;
        }
        return 0;
}

HANDLER(connect_open) {
        const remote_connect_open_args *args = argp;
        const char *name = dispatch_optional(args->name);

        if (!name)
                name = open_names[geteuid() == 0 ? 0 : 1];
        for (size_t i = 0; i < G_N_ELEMENTS(open_names); i++)
                if (strcmp(name, open_names[i]) == 0)
                        return client_open(call->client, name, args->flags & OPEN_FLAG_READ_ONLY, reterr);
        return error_set(reterr, VIR_ERR_NO_CONNECT, _("%s: this daemon serves ferry:///system and ferry:///session"),
                         name);
}

HANDLER(connect_close) {
        client_close(call->client);
        return 0;
}

HANDLER(get_uri) {
        remote_connect_get_uri_ret *ret = retp;
        ret->uri = g_strdup(client_uri(call->client));
        return 0;
}

HANDLER(is_secure) {
        remote_connect_is_secure_ret *ret = retp;
        ret->secure = 1; /* a unix socket */
        return 0;
}

HANDLER(register_close_callback) {
        if (client_set_close_callback(call->client, true) < 0)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("a close callback is already registered"));
        return 0;
}

HANDLER(unregister_close_callback) {
        if (client_set_close_callback(call->client, false) < 0)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("no close callback is registered"));
        return 0;
}

/* A proxy tells who is behind it. It decides nothing here, but the log shows whom a call came from. */
HANDLER(set_identity) {
        const remote_connect_set_identity_args *args = argp;
        virTypedParameterPtr params = NULL;
        const char *user = NULL;
        int n = 0;

        if (client_uid(call->client) != 0 && client_uid(call->client) != geteuid())
                return error_set(reterr, VIR_ERR_ACCESS_DENIED, _("only a proxy may speak for somebody else"));
        if (args->flags != 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported flags 0x%x for an identity"), args->flags);
        int r = params_from_wire(args->params.params_val, args->params.params_len, &params, &n, reterr);
        if (r < 0)
                return r;
        if (virTypedParamsGetString(params, n, VIR_CONNECT_IDENTITY_USER_NAME, &user) == 1)
                log_debug("a client speaks for user '%s'", user);
        virTypedParamsFree(params, n);
        return 0;
}

static const Procedure procedures[] = {
        { PROCEDURE(CONNECT_OPEN), ARGS(remote_connect_open_args), .func = connect_open, .before_open = true },
        { PROCEDURE(CONNECT_CLOSE), .func = connect_close, .before_open = true },
        { PROCEDURE(CONNECT_SUPPORTS_FEATURE), ARGS(remote_connect_supports_feature_args),
          RET(remote_connect_supports_feature_ret), .func = supports_feature, .before_open = true },
        { PROCEDURE(AUTH_LIST), RET(remote_auth_list_ret), .func = auth_list, .before_open = true },
        { PROCEDURE(CONNECT_GET_URI), RET(remote_connect_get_uri_ret), .func = get_uri },
        { PROCEDURE(CONNECT_IS_SECURE), RET(remote_connect_is_secure_ret), .func = is_secure },
        { PROCEDURE(CONNECT_REGISTER_CLOSE_CALLBACK), .func = register_close_callback },
        { PROCEDURE(CONNECT_UNREGISTER_CLOSE_CALLBACK), .func = unregister_close_callback },
        { PROCEDURE(CONNECT_SET_IDENTITY), ARGS(remote_connect_set_identity_args), .func = set_identity },
};
const ProcedureTable connect_procedures = { procedures, G_N_ELEMENTS(procedures) };
