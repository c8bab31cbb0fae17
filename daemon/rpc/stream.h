/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * RpcStream: bytes both ways between a descriptor of ours and a stream of a client (libvirt:
 * docs/kbase/internals/rpc.rst).
 *
 * After the reply to the call that opened it, frames of type STREAM with the call's procedure and serial: CONTINUE
 * carries data (from us: no data means the end), OK ends it (the other side answers OK), ERROR breaks it off.
 */

#include <glib.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "daemon/rpc/client.h"

/* The stream is over; fd is still open and is closed after the call. */
typedef void (*StreamClosedFunc)(int fd, void *userdata);

/* @call: header of the call that opens it. @fd: non-blocking, taken over. closed is called once, in stream_free();
 * userdata is then freed with g_free(). */
RpcStream *stream_new(RpcClient *client, const FrameHeader *call, int fd, StreamClosedFunc closed, void *userdata);
/* Ends it without a word to the client. */
RpcStream *stream_free(RpcStream *stream);
/* What stream_new() was given, if it was given this function; NULL otherwise. Borrowed. */
void *stream_userdata(const RpcStream *stream, StreamClosedFunc closed);
/* Ends it with an error for the client. Frees it. */
void stream_break(RpcStream *stream, const GError *reason);
/* Data may flow: the reply is on its way. */
void stream_start(RpcStream *stream);

bool stream_matches(const RpcStream *stream, const FrameHeader *header);
/* A frame of this stream has come in; borrowed. May end (and free) the stream. */
void stream_receive(RpcStream *stream, const Frame *frame);
/* So much input is waiting for the descriptor that nothing more should be read from the client. */
bool stream_blocked(const RpcStream *stream);
/* The client's send queue has room again, or has none. */
void stream_update(RpcStream *stream);
