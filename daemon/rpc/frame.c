/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/frame.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/*
 * Theory of operation
 *
 * The reader asks for exactly the bytes that complete what it is about: first the length word, then the rest of that
 * frame. So no byte of a following frame is ever in its buffer, and descriptors that follow a frame (CALL_WITH_FDS) can
 * be dealt with by the caller through `skip` (`used` is 0 then). The buffer doubles up to the frame's length as bytes
 * come in: a peer that announces 32 MiB and sends nothing costs a few hundred bytes.
 */

#define READER_FIRST_BYTES 512u

static uint32_t get_u32(const uint8_t *p) {
        uint32_t v = 0;
        memcpy(&v, p, sizeof(v));
        return be32toh(v);
}

static void put_u32(uint8_t *p, uint32_t v) {
        v = htobe32(v);
        memcpy(p, &v, sizeof(v));
}

static void header_put(uint8_t *data, size_t length, const FrameHeader *header) {
        put_u32(data, (uint32_t) length);
        put_u32(data + 4, header->prog);
        put_u32(data + 8, header->vers);
        put_u32(data + 12, (uint32_t) header->proc);
        put_u32(data + 16, header->type);
        put_u32(data + 20, header->serial);
        put_u32(data + 24, header->status);
}

static FrameHeader header_get(const uint8_t *data) {
        return (FrameHeader) {
                .prog = get_u32(data + 4),
                .vers = get_u32(data + 8),
                .proc = (int32_t) get_u32(data + 12),
                .type = get_u32(data + 16),
                .serial = get_u32(data + 20),
                .status = get_u32(data + 24),
        };
}

static Frame *frame_alloc(const FrameHeader *header, size_t payload_length) {
        Frame *frame = g_new0(Frame, 1);
        frame->header = *header;
        frame->length = FRAME_HEADER_BYTES + payload_length;
        frame->data = g_malloc(frame->length);
        header_put(frame->data, frame->length, header);
        return frame;
}

Frame *frame_new(const FrameHeader *header, xdrproc_t filter, const void *payload) {
        if (!filter)
                return frame_alloc(header, 0);

        /* The filters take a pointer to non-const for the sake of decoding; encoding only reads. */
        size_t length = xdr_sizeof(filter, (void *) payload);
        if (length == 0 || length > FRAME_BYTES_MAX - FRAME_HEADER_BYTES)
                return NULL;

        g_autoptr(Frame) frame = frame_alloc(header, length);
        XDR xdr = { 0 };
        xdrmem_create(&xdr, (char *) frame->data + FRAME_HEADER_BYTES, (u_int) length, XDR_ENCODE);
        bool ok = filter(&xdr, (void *) payload);
        xdr_destroy(&xdr);
        return ok ? g_steal_pointer(&frame) : NULL;
}

Frame *frame_new_bytes(const FrameHeader *header, const void *bytes, size_t length) {
        g_assert(length <= FRAME_STREAM_BYTES_MAX);
        Frame *frame = frame_alloc(header, length);
        if (length > 0)
                memcpy(frame->data + FRAME_HEADER_BYTES, bytes, length);
        return frame;
}

Frame *frame_free(Frame *frame) {
        if (frame) {
                g_free(frame->data);
                g_free(frame);
        }
        return NULL;
}

const uint8_t *frame_payload(const Frame *frame, size_t *ret_length) {
        *ret_length = frame->length - FRAME_HEADER_BYTES;
        return frame->data + FRAME_HEADER_BYTES;
}

int frame_decode(const Frame *frame, xdrproc_t filter, void *ret_payload) {
        size_t length = 0;
        const uint8_t *bytes = frame_payload(frame, &length);
        XDR xdr = { 0 };

        xdrmem_create(&xdr, (char *) bytes, (u_int) length, XDR_DECODE);
        bool ok = filter(&xdr, ret_payload);
        xdr_destroy(&xdr);
        if (ok)
                return 0;
        frame_payload_clear(filter, ret_payload);
        return -EBADMSG;
}

void frame_payload_clear(xdrproc_t filter, void *payload) {
        XDR xdr = { .x_op = XDR_FREE };
        filter(&xdr, payload);
}

void frame_reader_init(FrameReader *reader, size_t max_bytes) {
        *reader = (FrameReader) { .max_bytes = max_bytes };
}

void frame_reader_deinit(FrameReader *reader) {
        g_free(reader->buffer);
        *reader = (FrameReader) { 0 };
}

static size_t reader_goal(const FrameReader *reader) {
        return reader->used < 4 ? 4 : get_u32(reader->buffer);
}

void *frame_reader_space(FrameReader *reader, size_t *ret_length) {
        size_t wanted = reader->skip > 0 ? reader->skip : reader_goal(reader);

        if (reader->capacity < wanted && reader->capacity <= reader->used) {
                reader->capacity = MAX(READER_FIRST_BYTES, MIN(wanted, reader->capacity * 2));
                reader->buffer = g_realloc(reader->buffer, reader->capacity);
        }
        *ret_length = MIN(wanted, reader->capacity) - reader->used;
        return reader->buffer + reader->used;
}

int frame_reader_advance(FrameReader *reader, size_t length, Frame **ret_frame) {
        if (reader->skip > 0) {
                g_assert(length <= reader->skip);
                reader->skip -= length;
                return 0;
        }

        bool had_length = reader->used >= 4;
        reader->used += length;
        if (reader->used < 4)
                return 0;
        size_t goal = reader_goal(reader);
        if (!had_length && goal < FRAME_HEADER_BYTES)
                return -EBADMSG;
        if (!had_length && goal > reader->max_bytes)
                return -EMSGSIZE;
        if (reader->used < goal)
                return 0;

        Frame *frame = g_new0(Frame, 1);
        frame->data = g_steal_pointer(&reader->buffer);
        frame->length = goal;
        frame->header = header_get(frame->data);
        reader->used = reader->capacity = 0;
        *ret_frame = frame;
        return 1;
}
