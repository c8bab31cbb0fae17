/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/frame.h"

#include <errno.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"

int frame_send(Channel *channel, WireType type, uint32_t count, const void *payload, size_t length) {
        unsigned char bytes[WIRE_HEADER_BYTES];
        wire_header_encode(&(WireHeader) { .type = (uint16_t) type, .count = count, .length_bytes = length }, bytes);
        struct iovec iov[2] = { { bytes, sizeof(bytes) }, { (void *) payload, length } };
        return channel_send(channel, iov, length > 0 ? 2 : 1);
}

int frame_send_text(Channel *channel, WireType type, uint32_t code, const char *text) {
        return frame_send(channel, type, type == WIRE_ERROR ? code : 0, text, strnlen(text, WIRE_TEXT_MAX));
}

int frame_send_keepalive(Channel *channel) {
        unsigned char bytes[WIRE_HEADER_BYTES];
        wire_header_encode(&(WireHeader) { .type = WIRE_KEEPALIVE }, bytes);
        return channel_try_send(channel, bytes, sizeof(bytes));
}

int frame_recv_header(Channel *channel, WireHeader *ret_header) {
        unsigned char bytes[WIRE_HEADER_BYTES];
        do {
                int r = channel_recv_bytes(channel, bytes, sizeof(bytes));
                if (r < 0)
                        return r;
                r = wire_header_decode(bytes, ret_header);
                if (r < 0)
                        return r;
        } while (ret_header->type == WIRE_KEEPALIVE);
        return 0;
}

int frame_recv_text(Channel *channel, const WireHeader *header, char **ret_text) {
        char text[WIRE_TEXT_MAX]; /* the header's length was checked against it */
        int r = channel_recv_bytes(channel, text, header->length_bytes);
        if (r < 0)
                return r;
        *ret_text = g_utf8_make_valid(text, (gssize) header->length_bytes);
        for (char *c = *ret_text; *c; c++)
                if ((unsigned char) *c < ' ' || *c == 0x7f)
                        *c = ' ';
        return 0;
}

int frame_take_error(Channel *channel, const WireHeader *header, const char *doing, GError **reterr) {
        g_autofree char *text = NULL;
        int r = frame_recv_text(channel, header, &text);
        if (r < 0)
                return channel_error(channel, r, doing, reterr);
        if (header->type == WIRE_ABORT)
                error_set(reterr, VIR_ERR_OPERATION_ABORTED, _("the source cancelled the migration: %s"), text);
        else
                error_set(reterr,
                          header->count > 0 && header->count <= VIR_ERR_MULTIPLE_DOMAINS
                                  ? (virErrorNumber) header->count
                                  : VIR_ERR_OPERATION_FAILED,
                          _("'%s' gave up: %s"), channel_peer(channel), text);
        return -EREMOTEIO;
}

int frame_expect(Channel *channel, WireType type, void *payload, size_t length, const char *doing, GError **reterr) {
        WireHeader header;
        int r = frame_recv_header(channel, &header);
        if (r < 0)
                return channel_error(channel, r, doing, reterr);
        if (header.type == WIRE_ERROR || header.type == WIRE_ABORT)
                return frame_take_error(channel, &header, doing, reterr);
        if (header.type != type || header.length_bytes != length)
                return channel_error(channel, -EPROTO, doing, reterr);
        r = channel_recv_bytes(channel, payload, length);
        return r < 0 ? channel_error(channel, r, doing, reterr) : 0;
}
