/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/call.h"

#include "daemon/rpc/proto/net_protocol.h"
#include "daemon/rpc/remote_error.h"
#include "daemon/rpc/server.h"
#include "daemon/rpc/stream.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"

static RpcCall *call_free(RpcCall *call) {
        client_unref(call->client);
        frame_free(call->frame);
        g_free(call);
        return NULL;
}

static void reply_error(RpcClient *client, const FrameHeader *header, const GError *error) {
        log_debug("call %d #%u fails: %s", header->proc, header->serial, error ? error->message : "?");
        client_send(client, remote_error_frame(header, error));
}

static void reply_result(RpcCall *call, void *ret) {
        g_autoptr(GError) error = NULL;
        FrameHeader header = call->frame->header;

        header.type = VIR_NET_REPLY;
        header.status = VIR_NET_OK;
        Frame *reply = frame_new(&header, call->procedure->ret_filter, ret);
        if (!reply) {
                error_set(&error, VIR_ERR_RPC, _("the result of %s is too large for a reply"), call->procedure->name);
                reply_error(call->client, &header, error);
                return;
        }
        client_send(call->client, reply);
        if (call->stream)
                stream_start(call->stream);
}

static void call_run(void *userdata) {
        RpcCall *call = userdata;
        const Procedure *procedure = call->procedure;

        if (client_state(call->client) == CLIENT_CLOSED) {
                call_free(call);
                return;
        }
        g_autofree void *args = g_malloc0(MAX(procedure->args_size, (size_t) 1));
        g_autofree void *ret = g_malloc0(MAX(procedure->ret_size, (size_t) 1));
        g_autoptr(GError) error = NULL;
        int r = 0;

        if (procedure->args_filter)
                r = frame_decode(call->frame, procedure->args_filter, args);
        if (r < 0) {
                error_set(&error, VIR_ERR_RPC, _("unable to decode the arguments of %s"), procedure->name);
                reply_error(call->client, &call->frame->header, error);
                call_free(call);
                return;
        }

        r = procedure->func(call, procedure->args_filter ? args : NULL, ret, &error);
        if (r < 0)
                reply_error(call->client, &call->frame->header, error);
        else
                reply_result(call, ret);

        if (procedure->args_filter)
                frame_payload_clear(procedure->args_filter, args);
        if (procedure->ret_filter)
                frame_payload_clear(procedure->ret_filter, ret);
        call_free(call);
}

/* What can be refused without looking at the arguments. */
static int call_check(RpcClient *client, const FrameHeader *header, const Procedure **ret_procedure, GError **reterr) {
        const Program *program = program_find(header->prog, header->vers);
        if (!program)
                return remote_error_unknown_program(header->prog, header->vers, reterr);

        const Procedure *procedure = program_procedure(program, header->proc);
        if (!procedure)
                return remote_error_unknown_procedure(header->proc, reterr);

        if (header->status != VIR_NET_OK)
                return error_set(reterr, VIR_ERR_RPC, _("unexpected message status %u in a call"), header->status);
        if (!procedure->before_open && client_state(client) == CLIENT_NEW)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("the connection has not been opened"));

        *ret_procedure = procedure;
        return 0;
}

void call_start(RpcClient *client, Frame *frame) {
        g_autoptr(Frame) owned = frame;
        g_autoptr(GError) error = NULL;
        const Procedure *procedure = NULL;

        if (call_check(client, &frame->header, &procedure, &error) < 0) {
                reply_error(client, &frame->header, error);
                return;
        }

        RpcCall *call = g_new0(RpcCall, 1);
        *call = (RpcCall) {
                .client = client_ref(client),
                .driver = client_driver(client),
                .procedure = procedure,
                .frame = g_steal_pointer(&owned),
        };
        log_debug("call %s #%u", procedure->name, frame->header.serial);
        int r = fiber_start(server_event(client_server(client)), procedure->name, call_run, call);
        if (r < 0) {
                error_set_errno(&error, r, _("unable to serve %s"), procedure->name);
                reply_error(client, &frame->header, error);
                call_free(call);
        }
}
