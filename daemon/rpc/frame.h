/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Frames of libvirt's RPC (libvirt: docs/kbase/internals/rpc.rst, src/rpc/virnetprotocol.x).
 *
 *     0       4      8      12     16     20       24       28
 *     +-------+------+------+------+------+--------+--------+-----------------------+
 *     | bytes | prog | vers | proc | type | serial | status | payload, XDR or opaque |
 *     +-------+------+------+------+------+--------+--------+-----------------------+
 *
 * All words big endian; "bytes" counts the whole frame, itself included. Pure: no descriptor, no clock, no state but
 * its own.
 */

#include <glib.h>
#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_BYTES 28u
#define FRAME_BYTES_MAX (4u + 33554432u)
/* What a stock client of any age accepts as the payload of one stream frame. */
#define FRAME_STREAM_BYTES_MAX 262120u

typedef struct FrameHeader {
        uint32_t prog, vers;
        int32_t proc;
        uint32_t type;   /* virNetMessageType */
        uint32_t serial; /* chosen by the caller; a reply carries the call's */
        uint32_t status; /* virNetMessageStatus */
} FrameHeader;

/* One whole frame, header included, as it is on the wire. */
typedef struct Frame {
        FrameHeader header;
        size_t length; /* of data */
        uint8_t *data;
} Frame;

/* Encodes header and the payload that filter describes (filter NULL: none). NULL if it does not encode or does not fit
 * into a frame. */
Frame *frame_new(const FrameHeader *header, xdrproc_t filter, const void *payload);
/* The same with plain bytes. length at most FRAME_STREAM_BYTES_MAX. */
Frame *frame_new_bytes(const FrameHeader *header, const void *bytes, size_t length);
Frame *frame_free(Frame *frame);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Frame, frame_free)

/* The bytes behind the header. */
const uint8_t *frame_payload(const Frame *frame, size_t *ret_length);

/* Decodes the payload into *ret_payload, which must be zeroed memory of filter's type; bytes behind it are ignored, as
 * the stock server does. 0: the caller frees the contents with frame_payload_clear(). -EBADMSG: nothing is left
 * allocated. What is allocated is bounded by the payload's own length and the limits in the .x files. */
int frame_decode(const Frame *frame, xdrproc_t filter, void *ret_payload);
void frame_payload_clear(xdrproc_t filter, void *payload);

/*
 * Reads frames from a byte stream. Memory grows with the bytes that have arrived, not with what a length word promises.
 */
typedef struct FrameReader {
        uint8_t *buffer;
        size_t used, capacity;
        size_t max_bytes; /* longest frame to accept; may be changed between frames */
        size_t skip;      /* bytes to throw away before the next frame */
} FrameReader;

void frame_reader_init(FrameReader *reader, size_t max_bytes);
void frame_reader_deinit(FrameReader *reader);
/* Where the next bytes go and how many are wanted, at least 1. */
void *frame_reader_space(FrameReader *reader, size_t *ret_length);
/* length bytes have been put there. 0: go on; 1 and *ret_frame (owned by the caller): a frame is complete; -EMSGSIZE or
 * -EBADMSG: not this protocol, close the connection. */
int frame_reader_advance(FrameReader *reader, size_t length, Frame **ret_frame);
