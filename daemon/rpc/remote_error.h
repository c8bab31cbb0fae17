/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Errors on the wire: from our GError to libvirt's virNetMessageError, so that a stock client prints what its user
 * expects. */

#include <glib.h>

#include "daemon/rpc/frame.h"
#include "daemon/rpc/proto/net_protocol.h"

/*
 * The error reply to a call (or the end of a stream, if call is a stream frame). @call: the header of what is answered.
 * The message is libvirt's own wording for the code with the error's text in it; str1 is that wording with %s, str2 the
 * text; the domain is QEMU's unless the code says otherwise. NULL error: an internal error.
 */
Frame *remote_error_frame(const FrameHeader *call, const GError *error);

/* What remote_error_frame() sends, for tests. Free with frame_payload_clear(xdr_virNetMessageError, ...). */
void remote_error_fill(const GError *error, virNetMessageError *ret_message);

/* Codes of the RPC layer itself. All return a negative errno. */
int remote_error_unknown_program(uint32_t prog, uint32_t vers, GError **reterr);
/* Clients look for the text: it makes them say "not supported" (VIR_ERR_NO_SUPPORT) instead of failing. */
int remote_error_unknown_procedure(int32_t proc, GError **reterr);
