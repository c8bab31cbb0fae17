/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's place: one instance per root, and its listening sockets. */

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "daemon/rpc/server.h"

/* Locks the pid file and writes our pid. The lock lasts as long as the descriptor. */
int listen_lock(const char *pid_file, int *ret_fd, GError **reterr);

/* Binds a unix socket at path with this mode and group (NULL: ours), in place of a stale one, and listens. */
int listen_unix(const char *path, mode_t mode, const char *group, int *ret_fd, GError **reterr);

/* Hands the sockets that the service manager has passed to the server: one whose path ends in "-ro" is read-only.
 * *ret_n is their number. */
int listen_activated(RpcServer *server, unsigned *ret_n, GError **reterr);
