/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* RpcCall: one request of a client, served in a fiber of its own and answered by exactly one reply. */

#include "daemon/rpc/client.h"
#include "daemon/rpc/frame.h"
#include "daemon/rpc/program.h"

struct RpcCall {
        RpcClient *client; /* a reference */
        DriverClient *driver; /* NULL before CONNECT_OPEN */
        const Procedure *procedure;
        Frame *frame;
        RpcStream *stream; /* set by the procedure: starts after the reply; owned by the client */
};

/* Serves the call in frame (consumed): finds its procedure and starts the fiber, or answers with an error. */
void call_start(RpcClient *client, Frame *frame);
