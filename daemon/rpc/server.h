/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* RpcServer: the listening sockets, the clients, and the driver's events on their way to them. On the loop's thread
 * only. */

#include <glib.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "daemon/rpc/client.h"
#include "driver/driver.h"

typedef struct ServerLimits {
        unsigned max_clients;           /* connections, for each kind of socket; more wait in its backlog */
        unsigned max_anonymous_clients; /* of them, those that have not opened a connection yet */
        unsigned max_client_requests;   /* calls of one client served at once; as many more wait, then it is not read */
        int keepalive_interval;         /* seconds; 0 or negative: no pings from us */
        unsigned keepalive_count;
} ServerLimits;

typedef void (*ServerIdleFunc)(RpcServer *server, void *userdata);

/* limits are copied. driver must outlive the server. on_change (may be NULL) is called when a client has come or
 * gone. */
RpcServer *server_new(sd_event *event, Driver *driver, const ServerLimits *limits, ServerIdleFunc on_change,
                      void *userdata);
/* All clients must be gone: server_shutdown(). */
RpcServer *server_free(RpcServer *server);

/* Takes over a listening socket. */
int server_listen(RpcServer *server, int fd, bool read_only, GError **reterr);
/* A client on a connected socket (taken over), as if it had been accepted. */
int server_add_client(RpcServer *server, int fd, bool read_only, GError **reterr);
void server_set_limits(RpcServer *server, const ServerLimits *limits);
/* Connections now. */
unsigned server_n_clients(const RpcServer *server);
/* Connections of now; borrowed, of RpcClient. */
const GPtrArray *server_clients(const RpcServer *server);
/* Stops listening, ends all connections and waits until their calls have ended. Fiber. 0 or -ETIMEDOUT. */
int server_shutdown(RpcServer *server, uint64_t timeout_usec);

/* What it was made of; borrowed. */
sd_event *server_event(RpcServer *server);
Driver *server_driver(RpcServer *server);
const ServerLimits *server_limits(const RpcServer *server);

/* For clients: one has been opened; its connection has ended (drops the server's reference); its memory goes. */
void server_client_opened(RpcServer *server, RpcClient *client);
void server_client_gone(RpcServer *server, RpcClient *client);
void server_client_freed(RpcServer *server);
