/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/qemu/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PEER_TIMEOUT_USEC (5 * USEC_PER_SEC)

/* A QEMU gone mad: each line of the input answers one request, as the value of "return" if it is JSON, else as it is;
 * then the connection ends. */
typedef struct Peer {
        int fd;
        char **lines;
        bool done;
        FiberCond cond;
} Peer;

static void peer_answer(Peer *peer, const char *request, const char *line) {
        g_autoptr(json_object) call = json_parse(request, strlen(request), NULL);
        g_autoptr(json_object) value = json_parse(line, strlen(line), NULL);
        g_autoptr(json_object) reply = json_object_new_object();
        g_autofree char *text = NULL;

        json_add(reply, "return", g_steal_pointer(&value));
        json_add(reply, "id", json_object_get(json_get(call, "id")));
        text = g_strconcat(json_get(reply, "return") ? json_line(reply) : line, "\n", NULL);
        (void) fd_write_all(peer->fd, text, strlen(text));
}

static void peer_run(void *userdata) {
        Peer *peer = userdata;
        static const char greeting[] = "{\"QMP\":{}}\n";
        char buffer[8192];

        (void) fd_write_all(peer->fd, greeting, strlen(greeting));
        for (char **line = peer->lines; *line; line++) {
                if (fiber_wait_fd(peer->fd, EPOLLIN, PEER_TIMEOUT_USEC, NULL) < 0)
                        break;
                ssize_t n = recv(peer->fd, buffer, sizeof(buffer) - 1, 0);
                if (n <= 0)
                        break;
                buffer[n] = '\0';
                g_auto(GStrv) requests = g_strsplit(buffer, "\n", 2);
                bool json = strchr("{[\"-0123456789tf", (*line)[0]) && (*line)[0];
                peer_answer(peer, requests[0], *line);
                if (!json)
                        break;
        }
        peer->fd = fd_close(peer->fd);
        peer->done = true;
        fiber_cond_broadcast(&peer->cond);
}

static void ask_machine(Monitor *monitor) {
        QmpBalloonStats balloon = {};
        QmpChardev *chardevs = NULL;
        QmpStatus status = {};
        QmpCpu *cpus = NULL;
        uint64_t bytes = 0;
        unsigned n = 0;

        (void) qmp_query_status(monitor, &status, NULL);
        (void) qmp_run_state_to_string(status.state);
        if (qmp_query_cpus(monitor, &cpus, &n, NULL) >= 0)
                qmp_cpus_free(cpus, n);
        (void) qmp_query_balloon(monitor, &bytes, NULL);
        (void) qmp_balloon_stats(monitor, "balloon0", &balloon, NULL);
        if (qmp_query_chardevs(monitor, &chardevs, &n, NULL) >= 0)
                qmp_chardevs_free(chardevs, n);
        (void) qmp_query_vnc_port(monitor, &n, NULL);
}

static void ask_blocks(Monitor *monitor) {
        QmpBlockStats *stats = NULL;
        QmpBlockNode *nodes = NULL;
        unsigned n = 0;

        if (qmp_query_block_stats(monitor, &stats, &n, NULL) >= 0) {
                (void) qmp_block_stats_find(stats, n, "virtio-disk0");
                qmp_block_stats_free(stats, n);
        }
        if (qmp_query_named_block_nodes(monitor, &nodes, &n, NULL) >= 0) {
                (void) qmp_block_nodes_find(nodes, n, "libvirt-1-format");
                qmp_block_nodes_free(nodes, n);
        }
}

static void client_run(void *userdata) {
        Peer *peer = userdata;
        g_auto(QmpMigrateInfo) info = {};
        g_autofree char *text = NULL;
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                abort();
        peer->fd = pair[0];
        if (fiber_start(fiber_event(), "peer", peer_run, peer) < 0)
                abort();
        Monitor *monitor = monitor_new(fiber_event(), pair[1], "fuzz", NULL, NULL);
        if (monitor_handshake_qmp(monitor, PEER_TIMEOUT_USEC, NULL) >= 0) {
                ask_machine(monitor);
                ask_blocks(monitor);
                if (qmp_query_migrate(monitor, &info, NULL) >= 0)
                        (void) qmp_migrate_state_is_final(info.state);
                (void) qmp_human_monitor_command(monitor, "info", &text, NULL);
        }
        monitor_close(monitor);
        monitor_unref(monitor);
        while (!peer->done)
                if (fiber_cond_wait(&peer->cond, PEER_TIMEOUT_USEC) < 0)
                        abort();
}

/* Whatever QEMU answers, every call returns. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autofree char *text = g_strndup((const char *) data, size);
        g_autofree char *script = g_strconcat("{}\n", text, NULL);
        Peer peer = {.fd = -EBADF, .lines = g_strsplit(script, "\n", -1)};

        if (fiber_run("fuzz", client_run, &peer) < 0)
                abort();
        g_strfreev(peer.lines);
        return 0;
}
