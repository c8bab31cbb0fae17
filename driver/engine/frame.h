/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small frames over a channel. PAGES and DEVICE are put together where they are made (source_send.c) and taken apart
 * where they are used (dest_recv.c). */

#include <glib.h>
#include <stdint.h>

#include "driver/engine/channel.h"
#include "driver/engine/wire.h"

/* Sends a frame. Channel's errors. */
int frame_send(Channel *channel, WireType type, uint32_t count, const void *payload, size_t length);
/* Sends ERROR or ABORT with a sentence (cut to what the wire allows). */
int frame_send_text(Channel *channel, WireType type, uint32_t code, const char *text);
/* Sends KEEPALIVE unless somebody is sending anyway. */
int frame_send_keepalive(Channel *channel);

/* Receives and checks a header, skipping KEEPALIVE. */
int frame_recv_header(Channel *channel, WireHeader *ret_header);
/* Receives the payload of an ERROR or ABORT frame, as clean UTF-8. */
int frame_recv_text(Channel *channel, const WireHeader *header, char **ret_text);

/* Receives one frame that must be of this type and length. An ERROR or ABORT instead becomes *reterr with the peer's
 * code and text. doing: see channel_error(). */
int frame_expect(Channel *channel, WireType type, void *payload, size_t length, const char *doing, GError **reterr);
/* Turns a received ERROR or ABORT into *reterr. Returns -EREMOTEIO, or the channel's error. */
int frame_take_error(Channel *channel, const WireHeader *header, const char *doing, GError **reterr);
