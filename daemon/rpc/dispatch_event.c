/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include "daemon/rpc/subscription.h"

/* Asking for events of domains. */

HANDLER(register_any) {
        const remote_connect_domain_event_callback_register_any_args *args = argp;
        remote_connect_domain_event_callback_register_any_ret *ret = retp;
        return subscription_add(client_subscriptions(call->client), args->eventID,
                                args->dom ? dispatch_uuid(args->dom) : NULL,
                                &ret->callbackID, reterr);
}

HANDLER(deregister_any) {
        const remote_connect_domain_event_callback_deregister_any_args *args = argp;
        return subscription_remove(client_subscriptions(call->client), args->callbackID, false, reterr);
}

static const Procedure procedures[] = {
        { PROCEDURE(CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY),
          ARGS(remote_connect_domain_event_callback_register_any_args),
          RET(remote_connect_domain_event_callback_register_any_ret), .func = register_any },
        { PROCEDURE(CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY),
          ARGS(remote_connect_domain_event_callback_deregister_any_args),
          .func = deregister_any },
};
const ProcedureTable event_procedures = { procedures, G_N_ELEMENTS(procedures) };
