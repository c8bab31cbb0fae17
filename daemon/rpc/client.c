/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/client.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "daemon/rpc/call.h"
#include "daemon/rpc/keepalive.h"
#include "daemon/rpc/proto/net_protocol.h"
#include "daemon/rpc/proto/remote_protocol.h"
#include "daemon/rpc/remote_error.h"
#include "daemon/rpc/server.h"
#include "daemon/rpc/stream.h"
#include "daemon/rpc/subscription.h"
#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"

/*
 * Theory of operation
 *
 *      socket ──► FrameReader ──┬─ call ──► pending ──► fiber (call.c) ──► reply ──┐
 *                               ├─ stream frame ──► RpcStream ──────────► frame ──┤
 *                               └─ ping ───────────────────────────────► pong ──┤
 *      driver event ──► subscription.c ──────────────────────────────► event ──┴─► send queue ──► socket
 *
 * A call counts as in flight until its reply has left the send queue, so a client that does not read its replies gets
 * no more calls served. Calls above the limit are queued, so that pings and stream frames behind them are still seen;
 * with as many queued as may be in flight, the socket is not read. Events and stream data have bounds of their own:
 * stream data waits at its source (client_send_full()), and a client that lets events pile up is disconnected. Nothing
 * disconnects from inside client_send(): a defer source does it.
 *
 * Limits on what an unknown peer can make us hold: before CONNECT_OPEN frames of NEW_FRAME_BYTES and OPEN_TIMEOUT_USEC
 * of patience; through the read-only socket frames of READ_ONLY_FRAME_BYTES.
 */

#define NEW_FRAME_BYTES (64u * 1024)
#define READ_ONLY_FRAME_BYTES (1024u * 1024)
#define OPEN_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define SEND_FULL_BYTES (512u * 1024)         /* stream data waits above this */
#define SEND_LIMIT_BYTES (16u * 1024 * 1024)  /* of everything but replies */
#define FRAMES_PER_WAKEUP 32

struct RpcClient {
        unsigned n_refs;
        RpcServer *server;
        int fd;
        ClientState state;
        sd_event_source *io;
        sd_event_source *timer; /* until it is open: patience; then: keepalive */
        sd_event_source *doom;  /* disconnects from the loop */
        const char *doom_reason;

        bool read_only_socket, read_only;
        uid_t uid;
        pid_t pid;
        char *uri;
        DriverClient *driver;

        FrameReader reader;
        GQueue pending; /* Frame: calls above the limit */
        unsigned n_in_flight;
        GQueue out; /* Frame */
        size_t out_offset; /* bytes of its head that are gone */
        size_t out_bytes, out_bytes_unasked; /* waiting; of them, what is not a reply */
        Keepalive keepalive;
        GPtrArray *streams;
        SubscriptionList *subscriptions;
        bool close_callback;
};

static const char *const state_names[] = {
        [CLIENT_NEW] = "new",
        [CLIENT_OPEN] = "open",
        [CLIENT_CLOSING] = "closing",
        [CLIENT_CLOSED] = "closed",
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == CLIENT_STATE_MAX_);

/* From where one may go where: forward only. */
static const bool state_moves[CLIENT_STATE_MAX_][CLIENT_STATE_MAX_] = {
        [CLIENT_NEW] = { [CLIENT_OPEN] = true, [CLIENT_CLOSING] = true, [CLIENT_CLOSED] = true },
        [CLIENT_OPEN] = { [CLIENT_CLOSING] = true, [CLIENT_CLOSED] = true },
        [CLIENT_CLOSING] = { [CLIENT_CLOSED] = true },
};

static void client_pump(RpcClient *client);

const char *client_state_name(ClientState state) {
        return state >= 0 && state < CLIENT_STATE_MAX_ ? state_names[state] : NULL;
}

static bool client_set_state(RpcClient *client, ClientState state) {
        if (!state_moves[client->state][state])
                return false;
        log_debug("client %d: %s -> %s", client->fd, state_names[client->state], state_names[state]);
        client->state = state;
        return true;
}

/* ---- life ---- */

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata);
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static int on_doom(sd_event_source *source, void *userdata) {
        RpcClient *client = userdata;
        client_disconnect(client, client->doom_reason);
        return 0;
}

/* Disconnects on a later turn of the loop. */
static void client_doom(RpcClient *client, const char *reason) {
        if (client->doom && !client->doom_reason) {
                client->doom_reason = reason;
                sd_event_source_set_enabled(client->doom, SD_EVENT_ONESHOT);
        }
}

static int client_attach(RpcClient *client) {
        sd_event *event = server_event(client->server);
        int r = sd_event_add_io(event, &client->io, client->fd, EPOLLIN, on_io, client);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &client->timer, CLOCK_MONOTONIC, OPEN_TIMEOUT_USEC,
                                               USEC_PER_SEC / 10,
                                               on_timer, client);
        if (r >= 0)
                r = sd_event_add_defer(event, &client->doom, on_doom, client);
        if (r >= 0)
                r = sd_event_source_set_enabled(client->doom, SD_EVENT_OFF);
        return r;
}

RpcClient *client_new(RpcServer *server, int fd, bool read_only, GError **reterr) {
        RpcClient *client = g_new0(RpcClient, 1);
        struct ucred peer = { .pid = 0, .uid = (uid_t) -1, .gid = (gid_t) -1 };
        socklen_t length = sizeof(peer);

        *client = (RpcClient) {
                .n_refs = 1,
                .server = server,
                .fd = fd,
                .read_only_socket = read_only,
                .read_only = read_only,
                .pending = G_QUEUE_INIT,
                .out = G_QUEUE_INIT,
                .streams = g_ptr_array_new(),
                .subscriptions = subscription_list_new(),
        };
        frame_reader_init(&client->reader, NEW_FRAME_BYTES);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0) {
                client->uid = peer.uid;
                client->pid = peer.pid;
        } else
                client->uid = (uid_t) -1;

        int r = client_attach(client);
        if (r < 0) {
                error_set_errno(reterr, r, _("cannot watch a connection"));
                client->server = NULL;
                client_unref(client);
                return NULL;
        }
        log_debug("client %d: from uid %u, pid %d%s", fd, client->uid, client->pid, read_only ? ", read-only" : "");
        return client;
}

RpcClient *client_ref(RpcClient *client) {
        client->n_refs++;
        return client;
}

static void queue_clear(GQueue *queue) {
        for (Frame *frame; (frame = g_queue_pop_head(queue));)
                frame_free(frame);
}

/* What goes with the connection, whoever still holds a reference. */
static void client_release(RpcClient *client) {
        client->io = sd_event_source_disable_unref(client->io);
        client->timer = sd_event_source_disable_unref(client->timer);
        client->doom = sd_event_source_disable_unref(client->doom);
        while (client->streams->len > 0)
                stream_free(g_ptr_array_steal_index_fast(client->streams, 0));
        queue_clear(&client->pending);
        queue_clear(&client->out);
        client->out_bytes = client->out_bytes_unasked = 0;
        frame_reader_deinit(&client->reader);
        client->fd = fd_close(client->fd);
}

RpcClient *client_unref(RpcClient *client) {
        if (!client || --client->n_refs > 0)
                return NULL;
        client_release(client);
        if (client->driver)
                driver_client_free(client->driver);
        if (client->server)
                server_client_freed(client->server);
        subscription_list_free(client->subscriptions);
        g_ptr_array_unref(client->streams);
        g_free(client->uri);
        g_free(client);
        return NULL;
}

void client_disconnect(RpcClient *client, const char *reason) {
        if (!client_set_state(client, CLIENT_CLOSED))
                return;
        if (reason)
                log_info("A client (uid %u, pid %d) is disconnected: %s", client->uid, client->pid, reason);
        client_release(client);
        if (client->driver)
                driver_client_disconnect(client->driver);
        server_client_gone(client->server, client);
}

/* ---- sending ---- */

static bool frame_is_reply(const Frame *frame) {
        return frame->header.type == VIR_NET_REPLY;
}

/* Whether to read on, and whether there is something to write. */
static void client_arm(RpcClient *client) {
        if (!client->io)
                return;
        uint32_t events = 0;
        bool read = client->state != CLIENT_CLOSING &&
                client->pending.length < server_limits(client->server)->max_client_requests;

        for (guint i = 0; i < client->streams->len && read; i++)
                read = !stream_blocked(g_ptr_array_index(client->streams, i));
        if (read)
                events |= EPOLLIN;
        if (client->out.length > 0)
                events |= EPOLLOUT;
        sd_event_source_set_io_events(client->io, events);
}

static void out_pop(RpcClient *client) {
        Frame *frame = g_queue_pop_head(&client->out);

        client->out_offset = 0;
        client->out_bytes -= frame->length;
        if (frame_is_reply(frame))
                client->n_in_flight--;
        else
                client->out_bytes_unasked -= frame->length;
        frame_free(frame);
}

static void client_flush(RpcClient *client) {
        bool was_full = client_send_full(client);

        while (client->out.length > 0) {
                Frame *frame = g_queue_peek_head(&client->out);
                ssize_t n = send(client->fd, frame->data + client->out_offset, frame->length - client->out_offset,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        break;
                if (n < 0) {
                        /* That it has left is nothing to report. */
                        client_doom(client, errno == EPIPE || errno == ECONNRESET ? NULL : g_strerror(errno));
                        break;
                }
                client->out_offset += (size_t) n;
                if (client->out_offset == frame->length)
                        out_pop(client);
        }
        if (client->out.length == 0 && client->state == CLIENT_CLOSING)
                client_doom(client, NULL);
        client_pump(client);
        client_arm(client);
        if (was_full != client_send_full(client))
                for (guint i = 0; i < client->streams->len; i++)
                        stream_update(g_ptr_array_index(client->streams, i));
}

bool client_send_full(const RpcClient *client) {
        return client->out_bytes > SEND_FULL_BYTES;
}

void client_send(RpcClient *client, Frame *frame) {
        g_autoptr(Frame) owned = frame;

        if (!frame || client->state == CLIENT_CLOSED)
                return;
        client->out_bytes += frame->length;
        if (!frame_is_reply(frame))
                client->out_bytes_unasked += frame->length;
        g_queue_push_tail(&client->out, g_steal_pointer(&owned));
        if (client->out_bytes_unasked > SEND_LIMIT_BYTES)
                client_doom(client, "it does not read what it is sent");
        else if (client->out.length == 1)
                client_flush(client);
        else
                client_arm(client);
}

/* ---- receiving ---- */

/* Serves calls as far as the limit allows. */
static void client_pump(RpcClient *client) {
        unsigned max = server_limits(client->server)->max_client_requests;

        while (client->pending.length > 0 && client->n_in_flight < max && client->state < CLIENT_CLOSING) {
                client->n_in_flight++;
                call_start(client, g_queue_pop_head(&client->pending));
        }
}

static void receive_keepalive(RpcClient *client, const FrameHeader *header) {
        if (header->vers != KEEPALIVE_PROTOCOL_VERSION || header->proc != KEEPALIVE_PROC_PING)
                return; /* a pong has done its work by arriving */
        FrameHeader pong = *header;
        pong.proc = KEEPALIVE_PROC_PONG;
        client_send(client, frame_new(&pong, NULL, NULL));
}

static void receive_stream(RpcClient *client, const Frame *frame) {
        for (guint i = 0; i < client->streams->len; i++) {
                RpcStream *stream = g_ptr_array_index(client->streams, i);
                if (stream_matches(stream, &frame->header)) {
                        stream_receive(stream, frame);
                        return;
                }
        }
        /* Stream frames are not acknowledged, so some may come for a stream that has just ended. */
}

/* A call with descriptors: they follow the frame, each with one byte. We know no procedure that takes any. */
static bool receive_fds(RpcClient *client, const Frame *frame) {
        size_t length = 0;
        const uint8_t *bytes = frame_payload(frame, &length);
        uint32_t n = 0;

        if (length < sizeof(n))
                return false;
        memcpy(&n, bytes, sizeof(n));
        n = GUINT32_FROM_BE(n);
        client->reader.skip = n;
        return n <= VIR_NET_MESSAGE_NUM_FDS_MAX;
}

/* Takes the frame. False: this is not how a client talks. */
static bool client_receive(RpcClient *client, Frame *frame) {
        g_autoptr(Frame) owned = frame;

        switch (frame->header.type) {
        case VIR_NET_CALL_WITH_FDS: {
                g_autoptr(GError) error = NULL;
                if (!receive_fds(client, frame))
                        return false;
                error_set(&error, VIR_ERR_OPERATION_UNSUPPORTED, _("passing file descriptors is not supported"));
                frame->header.type = VIR_NET_CALL;
                client->n_in_flight++;
                client_send(client, remote_error_frame(&frame->header, error));
                return true;
        }
        case VIR_NET_CALL:
                g_queue_push_tail(&client->pending, g_steal_pointer(&owned));
                client_pump(client);
                return true;
        case VIR_NET_MESSAGE:
                if (frame->header.prog != KEEPALIVE_PROGRAM)
                        return false;
                receive_keepalive(client, &frame->header);
                return true;
        case VIR_NET_STREAM:
        case VIR_NET_STREAM_HOLE:
                receive_stream(client, frame);
                return true;
        default:
                return false;
        }
}

/* One recv(), and at most one frame. 1: go on, 0: nothing more now, -1: disconnected. */
static int client_read(RpcClient *client) {
        size_t wanted = 0;
        void *space = frame_reader_space(&client->reader, &wanted);
        ssize_t n = recv(client->fd, space, wanted, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                client_disconnect(client, n < 0 ? g_strerror(errno) : NULL);
                return -1;
        }
        keepalive_heard(&client->keepalive, clock_monotonic_usec());

        Frame *frame = NULL;
        int r = frame_reader_advance(&client->reader, (size_t) n, &frame);
        if (r > 0 && !client_receive(client, frame))
                r = -EBADMSG;
        if (r < 0) {
                client_disconnect(client, r == -EMSGSIZE ? "its message is longer than it may send"
                                                         : "it does not speak the protocol");
                return -1;
        }
        return 1;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        g_autoptr(RpcClient) client = client_ref(userdata);

        if (revents & EPOLLIN)
                for (unsigned i = 0; i < FRAMES_PER_WAKEUP; i++) {
                        int r = client_read(client);
                        if (r < 0)
                                return 0;
                        uint32_t events = 0;
                        if (r == 0)
                                break;
                        client_arm(client);
                        sd_event_source_get_io_events(client->io, &events);
                        if (!(events & EPOLLIN))
                                break;
                }
        else if (revents & (EPOLLHUP | EPOLLERR)) {
                client_disconnect(client, NULL);
                return 0;
        }
        if (revents & EPOLLOUT)
                client_flush(client);
        client_arm(client);
        return 0;
}

/* ---- keepalive ---- */

static void timer_arm(RpcClient *client) {
        sd_event_source_set_time(client->timer, client->keepalive.deadline_usec);
        sd_event_source_set_enabled(client->timer, keepalive_enabled(&client->keepalive)
                                    ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        RpcClient *client = userdata;
        uint32_t events = 0;

        if (client->state == CLIENT_NEW) {
                client_disconnect(client, "it has not opened the connection");
                return 0;
        }
        /* Who is not being read cannot be blamed for silence. */
        sd_event_source_get_io_events(client->io, &events);
        if (!(events & EPOLLIN))
                keepalive_heard(&client->keepalive, clock_monotonic_usec());

        switch (keepalive_tick(&client->keepalive, clock_monotonic_usec())) {
        case KEEPALIVE_DEAD:
                client_disconnect(client, "it does not answer");
                return 0;
        case KEEPALIVE_PING:
                client_send(client, frame_new(&(FrameHeader) {
                        .prog = KEEPALIVE_PROGRAM,
                        .vers = KEEPALIVE_PROTOCOL_VERSION,
                        .proc = KEEPALIVE_PROC_PING,
                        .type = VIR_NET_MESSAGE,
                }, NULL, NULL));
                break;
        case KEEPALIVE_WAIT:
                break;
        }
        timer_arm(client);
        return 0;
}

void client_start_keepalive(RpcClient *client) {
        const ServerLimits *limits = server_limits(client->server);

        if (client->state == CLIENT_CLOSED || keepalive_enabled(&client->keepalive))
                return;
        keepalive_init(&client->keepalive, limits->keepalive_interval, limits->keepalive_count, clock_monotonic_usec());
        if (client->state != CLIENT_NEW)
                timer_arm(client);
}

/* ---- what procedures ask ---- */

ClientState client_state(const RpcClient *client) {
        return client->state;
}

RpcServer *client_server(RpcClient *client) {
        return client->server;
}

DriverClient *client_driver(RpcClient *client) {
        return client->driver;
}

bool client_read_only(const RpcClient *client) {
        return client->read_only;
}

bool client_on_read_only_socket(const RpcClient *client) {
        return client->read_only_socket;
}

uid_t client_uid(const RpcClient *client) {
        return client->uid;
}

const char *client_uri(const RpcClient *client) {
        return client->uri;
}

SubscriptionList *client_subscriptions(RpcClient *client) {
        return client->subscriptions;
}

int client_open(RpcClient *client, const char *uri, bool read_only, GError **reterr) {
        if (client->state != CLIENT_NEW)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("the connection is already open"));

        client->read_only = client->read_only_socket || read_only;
        client->driver = driver_client_new(server_driver(client->server), client->read_only, client->uid, client->pid);
        client->uri = g_strdup(uri);
        client->reader.max_bytes = client->read_only_socket ? READ_ONLY_FRAME_BYTES : FRAME_BYTES_MAX;
        client_set_state(client, CLIENT_OPEN);
        server_client_opened(client->server, client);
        timer_arm(client);
        return 0;
}

void client_close(RpcClient *client) {
        client_set_state(client, CLIENT_CLOSING);
}

int client_set_close_callback(RpcClient *client, bool on) {
        if (client->close_callback == on)
                return on ? -EALREADY : -ENOENT;
        client->close_callback = on;
        return 0;
}

void client_notify_closed(RpcClient *client, int reason) {
        remote_connect_event_connection_closed_msg msg = { .reason = reason };

        if (client->close_callback)
                client_send(client, frame_new(&(FrameHeader) {
                        .prog = REMOTE_PROGRAM,
                        .vers = REMOTE_PROTOCOL_VERSION,
                        .proc = REMOTE_PROC_CONNECT_EVENT_CONNECTION_CLOSED,
                        .type = VIR_NET_MESSAGE,
                        .serial = 1,
                }, (xdrproc_t) xdr_remote_connect_event_connection_closed_msg, &msg));
}

void client_add_stream(RpcClient *client, RpcStream *stream) {
        g_assert(client->state != CLIENT_CLOSED);
        g_ptr_array_add(client->streams, stream);
}

void client_remove_stream(RpcClient *client, RpcStream *stream) {
        g_ptr_array_remove_fast(client->streams, stream);
}

const GPtrArray *client_streams(const RpcClient *client) {
        return client->streams;
}

void client_stream_changed(RpcClient *client) {
        client_arm(client);
}
