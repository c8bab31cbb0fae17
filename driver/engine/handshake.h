/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The first bytes of a data channel: hello both ways, then each side proves that it knows the job's token without
 * sending it.
 *
 * proof = HMAC-SHA256(token, "ferry data channel 1" role source-hello destination-hello), where role is one byte: whose
 * proof it is. The hellos hold the nonces, so a proof fits one connection and one direction only. The source proves
 * first: a stranger learns nothing from a destination.
 */

#include <glib.h>

#include "driver/engine/channel.h"
#include "driver/engine/engine.h"
#include "driver/engine/wire.h"

/* Source: sends hello and proof, checks the destination's. Blocks, bounded by the channel's idle timeout. -EACCES: the
 * token is wrong. */
int handshake_source(Channel *channel, const unsigned char *token, unsigned index, GError **reterr);
/* Destination: the other side of it. *ret_channel is the index of the channel. */
int handshake_destination(Channel *channel, const unsigned char *token, unsigned *ret_index, GError **reterr);

/* The proof itself, pure. hellos are WIRE_HELLO_BYTES each. */
void handshake_proof(const unsigned char *token, WireRole role, const unsigned char *source_hello,
                     const unsigned char *destination_hello, unsigned char *ret_proof);
