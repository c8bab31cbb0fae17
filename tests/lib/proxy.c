/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/lib/proxy.h"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver/base/io.h"

typedef struct Direction {
        int from, to;
        bool counted;
        uint64_t bytes;
} Direction;

/* False at the end of the connection. */
static bool forward(Direction *direction, ProxyFault fault, uint64_t after_bytes) {
        static unsigned char buffer[65536];
        size_t want = sizeof(buffer);
        if (direction->counted && direction->bytes < after_bytes && after_bytes - direction->bytes < want)
                want = (size_t) (after_bytes - direction->bytes);
        ssize_t n = read(direction->from, buffer, want);
        if (n <= 0)
                return false;
        if (direction->counted && fault == PROXY_FLIP && direction->bytes == after_bytes)
                buffer[0] ^= 1;
        direction->bytes += (uint64_t) n;
        return fd_write_all(direction->to, buffer, (size_t) n) >= 0;
}

static int connect_to(unsigned port) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons((uint16_t) port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                _exit(1);
        return fd;
}

/* Two connections that are cut together. */
static _Noreturn void serve_both(int listen_fd, unsigned target_port, uint64_t after_bytes) {
        struct pollfd fds[5] = { { .fd = listen_fd, .events = POLLIN } };
        unsigned n = 1;
        uint64_t bytes = 0;
        while (bytes < after_bytes && poll(fds, n, -1) >= 0) {
                for (unsigned i = 1; i < n; i++) {
                        if (!fds[i].revents)
                                continue;
                        Direction direction = { .from = fds[i].fd, .to = fds[((i - 1) ^ 1) + 1].fd, .counted = true };
                        if (!forward(&direction, PROXY_CUT, after_bytes - bytes))
                                _exit(0);
                        bytes += direction.bytes;
                        if (bytes >= after_bytes)
                                _exit(0);
                }
                if (fds[0].revents && n < 5) {
                        fds[n++] = (struct pollfd) { .fd = accept(listen_fd, NULL, NULL), .events = POLLIN };
                        fds[n++] = (struct pollfd) { .fd = connect_to(target_port), .events = POLLIN };
                        if (n == 5)
                                fds[0].fd = -1;
                }
        }
        _exit(0);
}

static _Noreturn void child_main(int listen_fd, unsigned target_port, ProxyFault fault, uint64_t after_bytes) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fault == PROXY_CUT_BOTH)
                serve_both(listen_fd, target_port, after_bytes);
        int client = accept(listen_fd, NULL, NULL), server = connect_to(target_port);
        if (client < 0)
                _exit(1);
        Direction directions[] = {
                { .from = client, .to = server, .counted = fault != PROXY_CUT_BACK },
                { .from = server, .to = client, .counted = fault == PROXY_CUT_BACK },
        };
        for (;;) {
                for (int i = 0; i < 2; i++)
                        if (directions[i].counted && directions[i].bytes >= after_bytes) {
                                if (fault == PROXY_CUT || fault == PROXY_CUT_BACK)
                                        _exit(0);
                                if (fault == PROXY_STALL)
                                        for (;;)
                                                pause();
                        }
                struct pollfd fds[] = { { .fd = client, .events = POLLIN }, { .fd = server, .events = POLLIN } };
                if (poll(fds, 2, -1) < 0)
                        _exit(1);
                for (int i = 0; i < 2; i++)
                        if (fds[i].revents && !forward(&directions[i], fault, after_bytes))
                                _exit(0);
        }
}

void proxy_start(Proxy *proxy, unsigned target_port, ProxyFault fault, uint64_t after_bytes) {
        int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t length = sizeof(address);
        if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            listen(listen_fd, 1) < 0 || getsockname(listen_fd, (struct sockaddr *) &address, &length) < 0)
                abort();
        proxy->port = ntohs(address.sin_port);
        proxy->pid = fork();
        if (proxy->pid < 0)
                abort();
        if (proxy->pid == 0)
                child_main(listen_fd, target_port, fault, after_bytes);
        close(listen_fd);
}

void proxy_end(Proxy *proxy) {
        if (proxy->pid > 0) {
                kill(proxy->pid, SIGKILL);
                waitpid(proxy->pid, NULL, 0);
        }
        proxy->pid = 0;
}
