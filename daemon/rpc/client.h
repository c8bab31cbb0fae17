/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * RpcClient: one connection of a libvirt client.
 *
 * Reference-counted: the server holds one reference while the connection lives, each call that is being served another,
 * so a client can go away while its calls are waiting. On the loop's thread only.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/rpc/frame.h"
#include "driver/driver.h"

typedef struct RpcClient RpcClient;
typedef struct RpcServer RpcServer;
typedef struct RpcStream RpcStream;
typedef struct SubscriptionList SubscriptionList;

typedef enum ClientState {
        CLIENT_NEW,     /* may ask for authentication and features, and open */
        CLIENT_OPEN,    /* has a DriverClient; everything is allowed */
        CLIENT_CLOSING, /* has sent CONNECT_CLOSE: nothing more is read, what is queued is still sent */
        CLIENT_CLOSED,  /* the socket is gone; calls that are still waiting end in their own time */
        CLIENT_STATE_MAX_,
        CLIENT_STATE_INVALID = -EINVAL,
} ClientState;

/* Takes over the connected socket fd. @read_only: it came in on the read-only socket. NULL if the loop refuses it. */
RpcClient *client_new(RpcServer *server, int fd, bool read_only, GError **reterr);
RpcClient *client_ref(RpcClient *client);
RpcClient *client_unref(RpcClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RpcClient, client_unref)

/* Ends the connection at once. reason is for the log; NULL: nothing to say. Idempotent. */
void client_disconnect(RpcClient *client, const char *reason);

/* Queues a frame (consumed; NULL is ignored). A client that has more waiting than it may, or is gone, is disconnected
 * on a later turn of the loop: never inside this call, so callers need not fear for what they hold. */
void client_send(RpcClient *client, Frame *frame);
/* Whether more stream data should wait until what is queued has gone out. */
bool client_send_full(const RpcClient *client);

ClientState client_state(const RpcClient *client);
const char *client_state_name(ClientState state);
RpcServer *client_server(RpcClient *client);
/* NULL before CONNECT_OPEN. */
DriverClient *client_driver(RpcClient *client);
bool client_read_only(const RpcClient *client);
/* Whether the socket it came in on is for looking only; client_read_only() can also be its own wish. */
bool client_on_read_only_socket(const RpcClient *client);
uid_t client_uid(const RpcClient *client);
/* The name it was opened under; NULL before. */
const char *client_uri(const RpcClient *client);
SubscriptionList *client_subscriptions(RpcClient *client);

/* CONNECT_OPEN, with a name that was found good. */
int client_open(RpcClient *client, const char *uri, bool read_only, GError **reterr);
/* CONNECT_CLOSE: the connection ends when its reply has been sent. */
void client_close(RpcClient *client);
/* The peer answers pings: start to send them. */
void client_start_keepalive(RpcClient *client);
/* It wants to be told of the connection's end, or no more. -EALREADY or -ENOENT when it is so already. */
int client_set_close_callback(RpcClient *client, bool on);
/* Says so, if it wanted to be told. reason: VIR_CONNECT_CLOSE_REASON_*. */
void client_notify_closed(RpcClient *client, int reason);

/* Streams, see stream.h. The client owns them and ends them with the connection, which must still be there. */
void client_add_stream(RpcClient *client, RpcStream *stream);
void client_remove_stream(RpcClient *client, RpcStream *stream);
/* Those it has now; borrowed. */
const GPtrArray *client_streams(const RpcClient *client);
/* A stream has become able or unable to take more input. */
void client_stream_changed(RpcClient *client);
