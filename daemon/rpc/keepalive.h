/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * When to ping an idle peer and when to give it up (libvirt: src/rpc/virkeepalive.c). Pure: the caller has the clock
 * and the socket.
 *
 * After `interval` without a sign of life a ping is sent; after `count` unanswered ones and one more interval the peer
 * is dead.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct Keepalive {
        uint64_t interval_usec; /* 0: off */
        unsigned count;
        unsigned missed;
        uint64_t deadline_usec; /* when to call keepalive_tick() next */
} Keepalive;

typedef enum KeepaliveVerdict {
        KEEPALIVE_WAIT,
        KEEPALIVE_PING,
        KEEPALIVE_DEAD,
} KeepaliveVerdict;

/* interval_sec 0 or negative: off. */
void keepalive_init(Keepalive *keepalive, int interval_sec, unsigned count, uint64_t now_usec);
bool keepalive_enabled(const Keepalive *keepalive);
/* Something was received. */
void keepalive_heard(Keepalive *keepalive, uint64_t now_usec);
/* Time has passed. Sets the next deadline unless the peer is dead. */
KeepaliveVerdict keepalive_tick(Keepalive *keepalive, uint64_t now_usec);
