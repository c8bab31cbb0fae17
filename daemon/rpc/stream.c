/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/stream.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "daemon/rpc/proto/net_protocol.h"
#include "daemon/rpc/remote_error.h"
#include "daemon/rpc/server.h"
#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"

/*
 * Theory of operation
 *
 *      client ──STREAM frames──► input ──► fd          input above INPUT_HIGH_BYTES: the client's socket is not read
 *      client ◄──send queue────────────── fd          send queue full: the descriptor is not read
 *
 * Flow control towards the client is the socket itself, which also carries its other calls and pings. So a descriptor
 * that takes nothing may hold it up for STUCK_USEC only; then the stream is broken off. When the client finishes, input
 * that is still waiting gets FINISH_USEC to go out.
 */

#define INPUT_HIGH_BYTES (256u * 1024)
#define READ_BYTES (64u * 1024)
#define STUCK_USEC (15 * USEC_PER_SEC)
#define FINISH_USEC (2 * USEC_PER_SEC)

struct RpcStream {
        RpcClient *client; /* borrowed: it owns us */
        FrameHeader header;
        int fd;
        sd_event_source *io, *timer;
        GByteArray *input; /* from the client, not yet written */
        bool started;
        bool ended;     /* the descriptor has no more to say, and the client knows */
        bool finishing; /* the client has said OK: answer when input is out */
        StreamClosedFunc closed;
        void *userdata;
};

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata);
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

RpcStream *stream_new(RpcClient *client, const FrameHeader *call, int fd, StreamClosedFunc closed, void *userdata) {
        RpcStream *stream = g_new0(RpcStream, 1);
        *stream = (RpcStream) {
                .client = client,
                .header = *call,
                .fd = fd,
                .input = g_byte_array_new(),
                .closed = closed,
                .userdata = userdata,
        };
        stream->header.type = VIR_NET_STREAM;
        return stream;
}

RpcStream *stream_free(RpcStream *stream) {
        if (!stream)
                return NULL;
        stream->io = sd_event_source_disable_unref(stream->io);
        stream->timer = sd_event_source_disable_unref(stream->timer);
        if (stream->closed)
                stream->closed(stream->fd, stream->userdata);
        fd_close(stream->fd);
        g_byte_array_unref(stream->input);
        g_free(stream->userdata);
        g_free(stream);
        return NULL;
}

void *stream_userdata(const RpcStream *stream, StreamClosedFunc closed) {
        return stream->closed == closed ? stream->userdata : NULL;
}

static void stream_send(RpcStream *stream, uint32_t status, const void *data, size_t length) {
        FrameHeader header = stream->header;
        header.status = status;
        client_send(stream->client, frame_new_bytes(&header, data, length));
}

/* Takes the stream off its client; with an error, tells the client. Frees it. */
static void stream_end(RpcStream *stream, const GError *error) {
        RpcClient *client = stream->client;

        client_remove_stream(client, stream);
        if (error)
                client_send(client, remote_error_frame(&stream->header, error));
        stream_free(stream);
        client_stream_changed(client);
}

static void stream_fail(RpcStream *stream, int errnum) {
        g_autoptr(GError) error = NULL;
        error_set_errno(&error, errnum, _("the stream was broken off"));
        stream_end(stream, error);
}

void stream_break(RpcStream *stream, const GError *reason) {
        stream_end(stream, reason);
}

static int timer_set(RpcStream *stream, uint64_t usec) {
        stream->timer = sd_event_source_disable_unref(stream->timer);
        if (usec == 0)
                return 0;
        return sd_event_add_time_relative(server_event(client_server(stream->client)), &stream->timer, CLOCK_MONOTONIC,
                                          usec, 0,
                                          on_timer, stream);
}

static void stream_arm(RpcStream *stream) {
        uint32_t events = 0;

        if (!stream->io)
                return;
        if (!stream->ended && !stream->finishing && !client_send_full(stream->client))
                events |= EPOLLIN;
        if (stream->input->len > 0)
                events |= EPOLLOUT;
        /* Without interest the source goes off altogether: a hang-up would be reported again and again. */
        sd_event_source_set_io_events(stream->io, events);
        sd_event_source_set_enabled(stream->io, events ? SD_EVENT_ON : SD_EVENT_OFF);
}

void stream_start(RpcStream *stream) {
        stream->started = true;
        int r = sd_event_add_io(server_event(client_server(stream->client)), &stream->io, stream->fd, EPOLLIN, on_io,
                                stream);
        if (r < 0)
                stream_fail(stream, r);
        else
                stream_arm(stream);
}

bool stream_matches(const RpcStream *stream, const FrameHeader *header) {
        return stream->header.prog == header->prog && stream->header.proc == header->proc &&
                stream->header.serial == header->serial;
}

bool stream_blocked(const RpcStream *stream) {
        return stream->input->len > INPUT_HIGH_BYTES;
}

void stream_update(RpcStream *stream) {
        stream_arm(stream);
}

/* Writes what the descriptor takes. 1: something went out, 0: nothing to do or it is full, negative errno: it is
 * broken. */
static int stream_flush(RpcStream *stream) {
        if (stream->input->len == 0)
                return 0;
        ssize_t n = write(stream->fd, stream->input->data, stream->input->len);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        g_byte_array_remove_range(stream->input, 0, (guint) n);
        return n > 0;
}

/* After input has changed: writes, keeps the timer and the client's reading in step, ends a finished stream. */
static void stream_progress(RpcStream *stream) {
        bool was_blocked = stream_blocked(stream);
        int r = stream_flush(stream);
        if (r < 0) {
                stream_fail(stream, r);
                return;
        }
        if (stream->finishing && stream->input->len == 0) {
                stream_send(stream, VIR_NET_OK, NULL, 0);
                stream_end(stream, NULL);
                return;
        }
        if (!stream->finishing && (r > 0 || stream->input->len == 0))
                timer_set(stream, 0);
        if (!stream->timer && stream->input->len > 0)
                timer_set(stream, stream->finishing ? FINISH_USEC : STUCK_USEC);
        stream_arm(stream);
        if (was_blocked != stream_blocked(stream))
                client_stream_changed(stream->client);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        RpcStream *stream = userdata;
        g_autoptr(GError) error = NULL;

        if (stream->finishing) {
                stream_send(stream, VIR_NET_OK, NULL, 0);
                stream_end(stream, NULL);
                return 0;
        }
        if (!stream_blocked(stream)) {
                /* The guest does not read its console; that is its right as long as little is waiting. */
                stream->timer = sd_event_source_disable_unref(stream->timer);
                return 0;
        }
        error_set(&error, VIR_ERR_OPERATION_TIMEOUT, _("the other end of the stream takes no data"));
        stream_end(stream, error);
        return 0;
}

static void stream_read(RpcStream *stream) {
        g_autofree uint8_t *buffer = g_malloc(READ_BYTES);
        ssize_t n = read(stream->fd, buffer, READ_BYTES);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        /* A pty whose other side is closed says EIO: for the reader that is the end. */
        if (n < 0 && errno != EIO && errno != ECONNRESET) {
                stream_fail(stream, errno);
                return;
        }
        if (n <= 0) {
                n = 0;
                stream->ended = true;
        }
        stream_send(stream, VIR_NET_CONTINUE, buffer, (size_t) n);
        stream_arm(stream);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        RpcStream *stream = userdata;

        if (stream->input->len > 0 && (revents & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
                stream_progress(stream); /* may free the stream: reading waits for the next turn */
                return 0;
        }
        if (revents & (EPOLLIN | EPOLLERR | EPOLLHUP))
                stream_read(stream);
        return 0;
}

void stream_receive(RpcStream *stream, const Frame *frame) {
        size_t length = 0;
        const uint8_t *bytes = frame_payload(frame, &length);
        g_autoptr(GError) error = NULL;

        if (frame->header.type == VIR_NET_STREAM && frame->header.status == VIR_NET_CONTINUE && !stream->finishing) {
                /* Nobody listens any more: what is typed now is lost, as on a line that was hung up. */
                if (stream->ended || length == 0)
                        return;
                g_byte_array_append(stream->input, bytes, (guint) length);
                if (stream->started)
                        stream_progress(stream);
        } else if (frame->header.type == VIR_NET_STREAM && frame->header.status == VIR_NET_OK) {
                stream->finishing = true;
                if (stream->ended)
                        g_byte_array_set_size(stream->input, 0);
                stream_progress(stream);
        } else if (frame->header.type == VIR_NET_STREAM && frame->header.status == VIR_NET_ERROR) {
                /* The client breaks it off and waits for a word that we have understood. */
                stream_send(stream, VIR_NET_OK, NULL, 0);
                stream_end(stream, NULL);
        } else {
                error_set(&error, VIR_ERR_RPC, _("unexpected message type %u, status %u in a stream"),
                          frame->header.type,
                          frame->header.status);
                stream_end(stream, error);
        }
}
