/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A set of pages on the wire (STALE and LACKING frames): a piece of at most WIRE_SET_PAGES_MAX pages of a block, in
 * the shortest of three forms. Pure; docs/wire.md has the layout.
 */

#include <stddef.h>
#include <stdint.h>

#include "driver/engine/page_set.h"
#include "driver/engine/wire.h"

/* Writes the piece of set that begins at page first (a multiple of WIRE_SET_PAGES_MAX) into ret_bytes, which has room
 * for WIRE_SET_MAX. Returns the length; 0: no page of the piece is in the set, and nothing need be sent. */
size_t wire_set_encode(const PageSet *set, uint64_t first, unsigned char *ret_bytes);
/* Adds the pages of a piece to set. 0 or -EPROTO (then set may have got some of them). */
int wire_set_decode(const unsigned char *bytes, size_t length, PageSet *set);
