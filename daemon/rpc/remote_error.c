/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/remote_error.h"

#include "daemon/wording.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"

/* An optional string of the protocol is a pointer to a string. */
static char **optional_string(char *text) {
        char **p = g_new(char *, 1);
        *p = text;
        return p;
}

void remote_error_fill(const GError *error, virNetMessageError *ret_message) {
        virErrorNumber code = error ? error_code(error) : VIR_ERR_INTERNAL_ERROR;
        const Wording *wording = wording_find(code);
        char *detail = wording_detail(error);

        *ret_message = (virNetMessageError) {
                .code = (int) code,
                .domain = (int) wording->domain,
                .message = optional_string(wording_apply(wording, detail)),
                .level = VIR_ERR_ERROR,
                .str1 = optional_string(g_strdup(wording->format)),
                .str2 = optional_string(detail),
                .int1 = -1,
                .int2 = -1,
        };
}

Frame *remote_error_frame(const FrameHeader *call, const GError *error) {
        virNetMessageError message = { 0 };
        FrameHeader header = *call;

        header.type = call->type == VIR_NET_STREAM || call->type == VIR_NET_STREAM_HOLE
                ? VIR_NET_STREAM : VIR_NET_REPLY;
        header.status = VIR_NET_ERROR;
        remote_error_fill(error, &message);
        Frame *frame = frame_new(&header, (xdrproc_t) xdr_virNetMessageError, &message);
        frame_payload_clear((xdrproc_t) xdr_virNetMessageError, &message);
        return frame;
}

int remote_error_unknown_program(uint32_t prog, uint32_t vers, GError **reterr) {
        return error_set(reterr, VIR_ERR_RPC, _("cannot find program %u version %u"), prog, vers);
}

int remote_error_unknown_procedure(int32_t proc, GError **reterr) {
        /* Not translated: clients compare the beginning. */
        return error_set(reterr, VIR_ERR_RPC, "unknown procedure: %d", proc);
}
