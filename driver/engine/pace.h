/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Bandwidth: how long to wait for the limit, and what the link can do. Pure; times are the caller's. */

#include <stdint.h>

/* The limit: a bucket that never holds more than PACE_BURST_USEC worth of bytes. */
#define PACE_BURST_USEC UINT64_C(50000)

typedef struct Pace {
        uint64_t bytes_per_sec; /* 0: no limit */
        uint64_t next_usec;     /* when the bytes sent so far are paid for */
} Pace;

void pace_set(Pace *pace, uint64_t bytes_per_sec, uint64_t now_usec);
/* Accounts for bytes that have just been sent. */
void pace_sent(Pace *pace, uint64_t bytes, uint64_t now_usec);
/* How long to wait before more may be sent; 0: not at all. */
uint64_t pace_wait_usec(const Pace *pace, uint64_t now_usec);
/* A good size for one frame under this limit, at most max. */
uint64_t pace_frame_bytes(const Pace *pace, uint64_t max);

/* The link's bandwidth: an exponentially weighted mean over sending time only; pauses, scans and waits do not count. */
typedef struct Rate {
        uint64_t bytes_per_sec; /* the estimate; 0: none yet */
        uint64_t bytes, usec;   /* of the window that is being filled */
        uint64_t round_bytes;   /* sent since the round began */
        uint64_t buffered_bytes, buffered_usec; /* the part of them that may only have filled socket buffers */
} Rate;

/* Accounts for bytes whose sending took usec. The first megabytes of a round may only fill buffers, so their time says
 * nothing: they are set aside. */
void rate_sent(Rate *rate, uint64_t bytes, uint64_t usec);
/* All of the round has arrived; waiting for that took usec. What was set aside counts now, unless the round was too
 * short to say anything and a better estimate exists. */
void rate_round(Rate *rate, uint64_t usec);
