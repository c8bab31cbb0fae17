/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/server.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "daemon/rpc/subscription.h"
#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"

/* A listening socket that fails again and again (no descriptors left) must not eat the processor. */
#define ACCEPTS_PER_SECOND 2000

struct RpcServer {
        sd_event *event;
        Driver *driver;
        ServerLimits limits;
        GPtrArray *listeners; /* sd_event_source, each owns its descriptor; userdata tells read-only from read-write */
        GPtrArray *clients;   /* a reference each */
        struct {
                unsigned n_clients, n_anonymous;
        } count[2]; /* of the read-write and the read-only sockets: the many who may only look do not keep others out */
        unsigned n_alive;     /* clients whose memory is still in use */
        bool stopped;
        FiberCond freed;
        unsigned subscription;
        ServerIdleFunc on_change;
        void *userdata;
};

typedef struct Listener {
        RpcServer *server;
        sd_event_source *source;
        bool read_only;
} Listener;

static void listener_free(void *p) {
        Listener *listener = p;
        sd_event_source_disable_unref(listener->source);
        g_free(listener);
}

static void on_driver_event(const DriverEvent *event, void *userdata) {
        RpcServer *server = userdata;
        for (guint i = 0; i < server->clients->len; i++)
                subscription_deliver(g_ptr_array_index(server->clients, i), event);
}

RpcServer *server_new(sd_event *event, Driver *driver, const ServerLimits *limits, ServerIdleFunc on_change,
                      void *userdata) {
        RpcServer *server = g_new0(RpcServer, 1);
        *server = (RpcServer) {
                .event = sd_event_ref(event),
                .driver = driver,
                .limits = *limits,
                .listeners = g_ptr_array_new_with_free_func(listener_free),
                .clients = g_ptr_array_new(),
                .on_change = on_change,
                .userdata = userdata,
        };
        server->subscription = driver_subscribe(driver, on_driver_event, server);
        return server;
}

RpcServer *server_free(RpcServer *server) {
        if (!server)
                return NULL;
        g_assert(server->n_alive == 0);
        driver_unsubscribe(server->driver, server->subscription);
        g_ptr_array_unref(server->listeners);
        g_ptr_array_unref(server->clients);
        sd_event_unref(server->event);
        g_free(server);
        return NULL;
}

/* Listens only while there is room: who comes later waits in the backlog instead of being turned away. */
static void listeners_update(RpcServer *server) {
        for (guint i = 0; i < server->listeners->len; i++) {
                Listener *listener = g_ptr_array_index(server->listeners, i);
                bool room = !server->stopped &&
                            server->count[listener->read_only].n_clients < server->limits.max_clients &&
                            server->count[listener->read_only].n_anonymous < server->limits.max_anonymous_clients;
                sd_event_source_set_enabled(listener->source, room ? SD_EVENT_ON : SD_EVENT_OFF);
        }
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Listener *listener = userdata;
        g_autoptr(GError) error = NULL;

        int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client_fd < 0) {
                if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
                        log_warning("Cannot accept a client: %s, ignoring", g_strerror(errno));
                return 0;
        }
        if (server_add_client(listener->server, client_fd, listener->read_only, &error) < 0)
                log_warning("Cannot serve a client: %s, ignoring", error->message);
        return 0;
}

int server_listen(RpcServer *server, int fd, bool read_only, GError **reterr) {
        Listener *listener = g_new0(Listener, 1);
        *listener = (Listener) { .server = server, .read_only = read_only };

        int r = sd_event_add_io(server->event, &listener->source, fd, EPOLLIN, on_accept, listener);
        if (r < 0) {
                fd_close(fd);
                g_free(listener);
                return error_set_errno(reterr, r, _("cannot listen"));
        }
        sd_event_source_set_io_fd_own(listener->source, true);
        sd_event_source_set_ratelimit(listener->source, USEC_PER_SEC, ACCEPTS_PER_SECOND);
        g_ptr_array_add(server->listeners, listener);
        listeners_update(server);
        return 0;
}

int server_add_client(RpcServer *server, int fd, bool read_only, GError **reterr) {
        RpcClient *client = client_new(server, fd, read_only, reterr);
        if (!client)
                return -EIO;
        g_ptr_array_add(server->clients, client);
        server->count[read_only].n_clients++;
        server->count[read_only].n_anonymous++;
        server->n_alive++;
        listeners_update(server);
        if (server->on_change)
                server->on_change(server, server->userdata);
        return 0;
}

void server_set_limits(RpcServer *server, const ServerLimits *limits) {
        server->limits = *limits;
        listeners_update(server);
}

unsigned server_n_clients(const RpcServer *server) {
        return server->clients->len;
}

const GPtrArray *server_clients(const RpcServer *server) {
        return server->clients;
}

void server_client_opened(RpcServer *server, RpcClient *client) {
        server->count[client_on_read_only_socket(client)].n_anonymous--;
        listeners_update(server);
}

void server_client_gone(RpcServer *server, RpcClient *client) {
        bool read_only = client_on_read_only_socket(client);

        server->count[read_only].n_clients--;
        if (!client_driver(client))
                server->count[read_only].n_anonymous--;
        g_ptr_array_remove_fast(server->clients, client);
        listeners_update(server);
        if (server->on_change)
                server->on_change(server, server->userdata);
        client_unref(client);
}

void server_client_freed(RpcServer *server) {
        server->n_alive--;
        fiber_cond_broadcast(&server->freed);
}

int server_shutdown(RpcServer *server, uint64_t timeout_usec) {
        uint64_t deadline = clock_monotonic_usec() + timeout_usec;

        server->stopped = true;
        g_ptr_array_set_size(server->listeners, 0);
        while (server->clients->len > 0) {
                RpcClient *client = g_ptr_array_index(server->clients, server->clients->len - 1);
                client_notify_closed(client, VIR_CONNECT_CLOSE_REASON_EOF);
                client_disconnect(client, NULL);
        }
        while (server->n_alive > 0) {
                uint64_t now = clock_monotonic_usec();
                if (now >= deadline)
                        return -ETIMEDOUT;
                fiber_cond_wait(&server->freed, deadline - now);
        }
        return 0;
}

sd_event *server_event(RpcServer *server) {
        return server->event;
}

Driver *server_driver(RpcServer *server) {
        return server->driver;
}

const ServerLimits *server_limits(const RpcServer *server) {
        return &server->limits;
}
