/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <libvirt/libvirt.h>
#include <string.h>

#include "daemon/rpc/server.h"
#include "daemon/rpc/stream.h"

/* What changes a domain: its life cycle, its memory, its console. */

HANDLER(create) {
        const remote_domain_create_args *args = argp;
        return driver_domain_create(call->driver, dispatch_uuid(&args->dom), 0, NULL, reterr);
}

HANDLER(create_with_flags) {
        const remote_domain_create_with_flags_args *args = argp;
        remote_domain_create_with_flags_ret *ret = retp;
        g_auto(DomainRef) ref = { 0 };
        int r = driver_domain_create(call->driver, dispatch_uuid(&args->dom), args->flags, &ref, reterr);
        if (r >= 0)
                dispatch_take_ref(&ref, &ret->dom);
        return r;
}

HANDLER(create_xml) {
        const remote_domain_create_xml_args *args = argp;
        remote_domain_create_xml_ret *ret = retp;
        g_auto(DomainRef) ref = { 0 };
        int r = driver_domain_create_xml(call->driver, args->xml_desc, args->flags, &ref, reterr);
        if (r >= 0)
                dispatch_take_ref(&ref, &ret->dom);
        return r;
}

HANDLER(define_xml) {
        const remote_domain_define_xml_args *args = argp;
        remote_domain_define_xml_ret *ret = retp;
        g_auto(DomainRef) ref = { 0 };
        int r = driver_domain_define(call->driver, args->xml, 0, &ref, reterr);
        if (r >= 0)
                dispatch_take_ref(&ref, &ret->dom);
        return r;
}

HANDLER(define_xml_flags) {
        const remote_domain_define_xml_flags_args *args = argp;
        remote_domain_define_xml_flags_ret *ret = retp;
        g_auto(DomainRef) ref = { 0 };
        int r = driver_domain_define(call->driver, args->xml, args->flags, &ref, reterr);
        if (r >= 0)
                dispatch_take_ref(&ref, &ret->dom);
        return r;
}

HANDLER(undefine) {
        const remote_domain_undefine_args *args = argp;
        return driver_domain_undefine(call->driver, dispatch_uuid(&args->dom), 0, reterr);
}

HANDLER(undefine_flags) {
        const remote_domain_undefine_flags_args *args = argp;
        return driver_domain_undefine(call->driver, dispatch_uuid(&args->dom), args->flags, reterr);
}

HANDLER(destroy) {
        const remote_domain_destroy_args *args = argp;
        return driver_domain_destroy(call->driver, dispatch_uuid(&args->dom), 0, reterr);
}

HANDLER(destroy_flags) {
        const remote_domain_destroy_flags_args *args = argp;
        return driver_domain_destroy(call->driver, dispatch_uuid(&args->dom), args->flags, reterr);
}

/* "shutdown" is the name of a function in the C library. */
HANDLER(domain_shutdown) {
        const remote_domain_shutdown_args *args = argp;
        return driver_domain_shutdown(call->driver, dispatch_uuid(&args->dom), 0, reterr);
}

HANDLER(shutdown_flags) {
        const remote_domain_shutdown_flags_args *args = argp;
        return driver_domain_shutdown(call->driver, dispatch_uuid(&args->dom), args->flags, reterr);
}

HANDLER(domain_reboot) {
        const remote_domain_reboot_args *args = argp;
        return driver_domain_reboot(call->driver, dispatch_uuid(&args->dom), args->flags, reterr);
}

HANDLER(reset) {
        const remote_domain_reset_args *args = argp;
        return driver_domain_reset(call->driver, dispatch_uuid(&args->dom), args->flags, reterr);
}

HANDLER(suspend) {
        const remote_domain_suspend_args *args = argp;
        return driver_domain_suspend(call->driver, dispatch_uuid(&args->dom), reterr);
}

HANDLER(resume) {
        const remote_domain_resume_args *args = argp;
        return driver_domain_resume(call->driver, dispatch_uuid(&args->dom), reterr);
}

HANDLER(set_autostart) {
        const remote_domain_set_autostart_args *args = argp;
        return driver_domain_set_autostart(call->driver, dispatch_uuid(&args->dom), args->autostart != 0, reterr);
}

HANDLER(set_memory) {
        const remote_domain_set_memory_args *args = argp;
        return driver_domain_set_memory(call->driver, dispatch_uuid(&args->dom), args->memory, VIR_DOMAIN_AFFECT_LIVE,
                                        reterr);
}

HANDLER(set_memory_flags) {
        const remote_domain_set_memory_flags_args *args = argp;
        return driver_domain_set_memory(call->driver, dispatch_uuid(&args->dom), args->memory, args->flags, reterr);
}

HANDLER(set_memory_stats_period) {
        const remote_domain_set_memory_stats_period_args *args = argp;
        return driver_domain_set_memory_stats_period(call->driver, dispatch_uuid(&args->dom), args->period, args->flags,
                                                     reterr);
}

typedef struct ConsoleUser {
        DriverClient *driver; /* outlives the client's streams */
        unsigned char uuid[VIR_UUID_BUFLEN];
} ConsoleUser;

static void console_closed(int fd, void *userdata) {
        ConsoleUser *user = userdata;
        driver_domain_close_console(user->driver, user->uuid, fd);
}

/* Who is on the domain's console makes room, whichever client it is. */
static void console_evict(RpcServer *server, const unsigned char *uuid) {
        const GPtrArray *clients = server_clients(server);
        g_autoptr(GError) reason = NULL;

        error_set(&reason, VIR_ERR_OPERATION_ABORTED, _("somebody else has taken over the console"));
        for (guint i = 0; i < clients->len; i++) {
                const GPtrArray *streams = client_streams(g_ptr_array_index(clients, i));
                for (guint k = streams->len; k > 0; k--) {
                        RpcStream *stream = g_ptr_array_index(streams, k - 1);
                        const ConsoleUser *user = stream_userdata(stream, console_closed);
                        if (user && memcmp(user->uuid, uuid, sizeof(user->uuid)) == 0)
                                stream_break(stream, reason);
                }
        }
}

HANDLER(open_console) {
        const remote_domain_open_console_args *args = argp;
        int fd = -EBADF;

        if ((args->flags & VIR_DOMAIN_CONSOLE_FORCE) && !client_read_only(call->client))
                console_evict(client_server(call->client), dispatch_uuid(&args->dom));
        int r = driver_domain_open_console(call->driver, dispatch_uuid(&args->dom), dispatch_optional(args->dev_name),
                                           args->flags,
                                           &fd, reterr);
        if (r < 0)
                return r;

        ConsoleUser *user = g_new0(ConsoleUser, 1);
        user->driver = call->driver;
        memcpy(user->uuid, args->dom.uuid, sizeof(user->uuid));
        RpcStream *stream = stream_new(call->client, &call->frame->header, fd, console_closed, user);
        if (client_state(call->client) == CLIENT_CLOSED) {
                stream_free(stream);
                return error_set(reterr, VIR_ERR_OPERATION_ABORTED, _("the connection has ended"));
        }
        client_add_stream(call->client, stream);
        call->stream = stream;
        return 0;
}

static const Procedure procedures[] = {
        { PROCEDURE(DOMAIN_CREATE), ARGS(remote_domain_create_args), .func = create },
        { PROCEDURE(DOMAIN_CREATE_XML), ARGS(remote_domain_create_xml_args), RET(remote_domain_create_xml_ret),
          .func = create_xml },
        { PROCEDURE(DOMAIN_DEFINE_XML), ARGS(remote_domain_define_xml_args), RET(remote_domain_define_xml_ret),
          .func = define_xml },
        { PROCEDURE(DOMAIN_DESTROY), ARGS(remote_domain_destroy_args), .func = destroy },
        { PROCEDURE(DOMAIN_REBOOT), ARGS(remote_domain_reboot_args), .func = domain_reboot },
        { PROCEDURE(DOMAIN_RESUME), ARGS(remote_domain_resume_args), .func = resume },
        { PROCEDURE(DOMAIN_SET_AUTOSTART), ARGS(remote_domain_set_autostart_args), .func = set_autostart },
        { PROCEDURE(DOMAIN_SET_MEMORY), ARGS(remote_domain_set_memory_args), .func = set_memory },
        { PROCEDURE(DOMAIN_SHUTDOWN), ARGS(remote_domain_shutdown_args), .func = domain_shutdown },
        { PROCEDURE(DOMAIN_SUSPEND), ARGS(remote_domain_suspend_args), .func = suspend },
        { PROCEDURE(DOMAIN_UNDEFINE), ARGS(remote_domain_undefine_args), .func = undefine },
        { PROCEDURE(DOMAIN_CREATE_WITH_FLAGS), ARGS(remote_domain_create_with_flags_args),
          RET(remote_domain_create_with_flags_ret), .func = create_with_flags },
        { PROCEDURE(DOMAIN_OPEN_CONSOLE), ARGS(remote_domain_open_console_args), .func = open_console },
        { PROCEDURE(DOMAIN_SET_MEMORY_FLAGS), ARGS(remote_domain_set_memory_flags_args), .func = set_memory_flags },
        { PROCEDURE(DOMAIN_UNDEFINE_FLAGS), ARGS(remote_domain_undefine_flags_args), .func = undefine_flags },
        { PROCEDURE(DOMAIN_DESTROY_FLAGS), ARGS(remote_domain_destroy_flags_args), .func = destroy_flags },
        { PROCEDURE(DOMAIN_RESET), ARGS(remote_domain_reset_args), .func = reset },
        { PROCEDURE(DOMAIN_SHUTDOWN_FLAGS), ARGS(remote_domain_shutdown_flags_args), .func = shutdown_flags },
        { PROCEDURE(DOMAIN_SET_MEMORY_STATS_PERIOD), ARGS(remote_domain_set_memory_stats_period_args),
          .func = set_memory_stats_period },
        { PROCEDURE(DOMAIN_DEFINE_XML_FLAGS), ARGS(remote_domain_define_xml_flags_args),
          RET(remote_domain_define_xml_flags_ret),
          .func = define_xml_flags },
};
const ProcedureTable domain_procedures = { procedures, G_N_ELEMENTS(procedures) };
