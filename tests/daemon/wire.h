/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The client's end of a connection to an RpcServer in the same process, for tests. All calls in a fiber. */

#include "daemon/rpc/frame.h"
#include "daemon/rpc/proto/net_protocol.h"
#include "daemon/rpc/proto/qemu_protocol.h"
#include "daemon/rpc/proto/remote_protocol.h"
#include "daemon/rpc/server.h"

#define WIRE_TIMEOUT_USEC (5 * 1000 * 1000)

typedef struct Wire {
        RpcServer *server;
        int fd;
        uint32_t serial;
        FrameReader reader;
} Wire;

extern const ServerLimits wire_limits;

/* A server with one client on a socket pair. limits NULL: wire_limits. */
void wire_begin(Wire *wire, const ServerLimits *limits, bool read_only);
/* The same, and CONNECT_OPEN. */
void wire_begin_open(Wire *wire, const ServerLimits *limits, bool read_only);
/* Another client of the same server. */
void wire_join(Wire *wire, RpcServer *server, bool read_only);
void wire_open(Wire *wire);
/* Closes the client's end. */
void wire_leave(Wire *wire);
/* Shuts the server down, too. */
void wire_end(Wire *wire);

void wire_send_bytes(Wire *wire, const void *bytes, size_t length);
void wire_send(Wire *wire, const FrameHeader *header, xdrproc_t filter, const void *payload);
/* Sends a call; its serial. */
uint32_t wire_send_call(Wire *wire, uint32_t prog, int32_t proc, xdrproc_t filter, const void *args);
/* The next frame, or NULL when the server has hung up. Fails after WIRE_TIMEOUT_USEC. */
Frame *wire_receive(Wire *wire);
/* Sends a call and takes its reply, which must be the next frame. */
Frame *wire_call(Wire *wire, uint32_t prog, int32_t proc, xdrproc_t filter, const void *args);
/* The same; the result must be good and is decoded into ret. */
void wire_call_ok(Wire *wire, int32_t proc, xdrproc_t filter, const void *args, xdrproc_t ret_filter, void *ret);
/* The same; the reply must be an error. Free with wire_error_clear(). */
virNetMessageError wire_call_error(Wire *wire, uint32_t prog, int32_t proc, xdrproc_t filter, const void *args);
virNetMessageError wire_error(const Frame *frame);
void wire_error_clear(virNetMessageError *error);

/* The domain of driver_double.h on the wire; borrowed strings. */
remote_nonnull_domain wire_domain(void);

#define WIRE_XDR(type) ((xdrproc_t) xdr_##type)
