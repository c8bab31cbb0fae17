/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include "daemon/rpc/proto/qemu_protocol.h"
#include "daemon/rpc/subscription.h"

/* The qemu program: a way around the driver, to QEMU itself. */

HANDLER(monitor_command) {
        const qemu_domain_monitor_command_args *args = argp;
        qemu_domain_monitor_command_ret *ret = retp;
        return driver_domain_monitor_command(call->driver, dispatch_uuid(&args->dom), args->cmd, args->flags,
                                             &ret->result, reterr);
}

HANDLER(monitor_event_register) {
        const qemu_connect_domain_monitor_event_register_args *args = argp;
        qemu_connect_domain_monitor_event_register_ret *ret = retp;
        int r = dispatch_require_write(call, reterr);
        if (r < 0)
                return r;
        return subscription_add_monitor(client_subscriptions(call->client), dispatch_optional(args->event),
                                        args->dom ? dispatch_uuid(args->dom) : NULL, args->flags, &ret->callbackID,
                                        reterr);
}

HANDLER(monitor_event_deregister) {
        const qemu_connect_domain_monitor_event_deregister_args *args = argp;
        return subscription_remove(client_subscriptions(call->client), args->callbackID, true, reterr);
}

static const Procedure procedures[] = {
        { PROCEDURE_QEMU(DOMAIN_MONITOR_COMMAND), ARGS(qemu_domain_monitor_command_args),
          RET(qemu_domain_monitor_command_ret),
          .func = monitor_command },
        { PROCEDURE_QEMU(CONNECT_DOMAIN_MONITOR_EVENT_REGISTER), ARGS(qemu_connect_domain_monitor_event_register_args),
          RET(qemu_connect_domain_monitor_event_register_ret), .func = monitor_event_register },
        { PROCEDURE_QEMU(CONNECT_DOMAIN_MONITOR_EVENT_DEREGISTER),
          ARGS(qemu_connect_domain_monitor_event_deregister_args),
          .func = monitor_event_deregister },
};
const ProcedureTable qemu_procedures = { procedures, G_N_ELEMENTS(procedures) };
