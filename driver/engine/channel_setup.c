/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How data channels come into being: connecting and listening over TCP and unix sockets. */

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/engine/channel.h"

#define CHANNEL_BACKLOG 64

static int unix_address(const char *path, struct sockaddr_un *ret_address, GError **reterr) {
        *ret_address = (struct sockaddr_un) { .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof(ret_address->sun_path))
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the socket path '%s' is too long"), path);
        strcpy(ret_address->sun_path, path);
        return 0;
}

static int connect_until(int fd, const struct sockaddr *address, socklen_t length, uint64_t until) {
        if (connect(fd, address, length) == 0)
                return 0;
        if (errno != EINPROGRESS && errno != EAGAIN)
                return -errno;
        struct pollfd pollfd = { .fd = fd, .events = POLLOUT };
        for (;;) {
                uint64_t now = clock_monotonic_usec();
                if (now >= until)
                        return -ETIMEDOUT;
                int n = poll(&pollfd, 1, (int) ((until - now) / USEC_PER_MSEC) + 1);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n > 0)
                        break;
        }
        int error = 0;
        socklen_t size = sizeof(error);
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                return -errno;
        return -error;
}

static int connect_tcp(const char *host, unsigned port, uint64_t until, int *ret_fd, GError **reterr) {
        char service[16];
        snprintf(service, sizeof(service), "%u", port);
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found = NULL;
        int r = getaddrinfo(host, service, &hints, &found);
        if (r != 0) { /* a host with nothing but loopback has no "configured" address */
                hints.ai_flags = 0;
                r = getaddrinfo(host, service, &hints, &found);
        }
        if (r != 0)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("cannot resolve the destination host '%s': %s"),
                                 host, gai_strerror(r));

        int error = -EHOSTUNREACH;
        for (const struct addrinfo *a = found; a; a = a->ai_next) {
                _cleanup_fd_ int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
                if (fd < 0) {
                        error = -errno;
                        continue;
                }
                error = connect_until(fd, a->ai_addr, a->ai_addrlen, until);
                if (error == 0) {
                        *ret_fd = FD_STEAL(fd);
                        break;
                }
        }
        freeaddrinfo(found);
        if (error < 0)
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("cannot connect to the destination's data port %s:%u: %s"), host, port, g_strerror(-error));
        return error;
}

int channel_connect(const char *host, unsigned port, const char *unix_path, uint64_t timeout_usec, int *ret_fd,
                    char **ret_peer, GError **reterr) {
        uint64_t until = clock_monotonic_usec() + timeout_usec;
        if (!unix_path) {
                if (!host)
                        return error_set(reterr, VIR_ERR_INVALID_ARG, _("no destination host is given"));
                int r = connect_tcp(host, port, until, ret_fd, reterr);
                if (r >= 0)
                        *ret_peer = g_strdup_printf("%s:%u", host, port);
                return r;
        }

        struct sockaddr_un address;
        int r = unix_address(unix_path, &address, reterr);
        if (r < 0)
                return r;
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot create a socket"));
        r = connect_until(fd, (struct sockaddr *) &address, sizeof(address), until);
        if (r < 0) {
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("cannot connect to the destination's data socket '%s': %s"), unix_path, g_strerror(-r));
                return r;
        }
        *ret_fd = FD_STEAL(fd);
        *ret_peer = g_strdup(unix_path);
        return 0;
}

static int listen_unix(const char *path, int *ret_fd, GError **reterr) {
        struct sockaddr_un address;
        int r = unix_address(path, &address, reterr);
        if (r < 0)
                return r;
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot create a socket"));
        (void) unlink(path);
        if (bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, CHANNEL_BACKLOG) < 0)
                return error_set_errno(reterr, errno, _("cannot listen on '%s'"), path);
        *ret_fd = FD_STEAL(fd);
        return 0;
}

/* Tries one port; the address family follows from the address. */
static int listen_port(const struct addrinfo *address, unsigned port, int *ret_fd) {
        _cleanup_fd_ int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        int one = 1, zero = 0;
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (address->ai_family == AF_INET6) {
                struct sockaddr_in6 v6 = *(struct sockaddr_in6 *) address->ai_addr;
                v6.sin6_port = htons((uint16_t) port);
                (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
                if (bind(fd, (struct sockaddr *) &v6, sizeof(v6)) < 0)
                        return -errno;
        } else {
                struct sockaddr_in v4 = *(struct sockaddr_in *) address->ai_addr;
                v4.sin_port = htons((uint16_t) port);
                if (bind(fd, (struct sockaddr *) &v4, sizeof(v4)) < 0)
                        return -errno;
        }
        if (listen(fd, CHANNEL_BACKLOG) < 0)
                return -errno;
        *ret_fd = FD_STEAL(fd);
        return 0;
}

static int listen_range(const char *address, unsigned port_min, unsigned port_max, int *ret_fd, unsigned *ret_port) {
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                  .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV },
                        *found = NULL;
        if (getaddrinfo(address, "0", &hints, &found) != 0)
                return -EINVAL;
        int r = -EADDRINUSE;
        for (unsigned port = port_min; port <= port_max; port++) {
                r = listen_port(found, port, ret_fd);
                if (r == 0)
                        *ret_port = port;
                if (r != -EADDRINUSE)
                        break;
        }
        freeaddrinfo(found);
        return r;
}

int channel_listen(const char *address, unsigned port_min, unsigned port_max, const char *unix_path, int *ret_fd,
                   unsigned *ret_port, GError **reterr) {
        if (unix_path) {
                *ret_port = 0;
                return listen_unix(unix_path, ret_fd, reterr);
        }
        if (port_min == 0 || port_max < port_min || port_max > 65535)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the port range %u to %u is not valid"), port_min,
                                 port_max);

        int r = listen_range(address ?: "::", port_min, port_max, ret_fd, ret_port);
        if (r < 0 && !address) /* a host without IPv6 */
                r = listen_range("0.0.0.0", port_min, port_max, ret_fd, ret_port);
        if (r == -EADDRINUSE)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("no port from %u to %u is free for the migration"),
                                 port_min, port_max);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot listen on '%s' for the migration"), address ?: "::");
        return 0;
}
