/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/pace.h"

#include <glib.h>

#include "driver/base/clock.h"

#define PACE_FRAME_MIN UINT64_C(65536)
#define PACE_FRAMES_PER_SEC 50

#define RATE_BUFFERS_BYTES UINT64_C(8388608) /* what the socket buffers of both ends may hold */
#define RATE_WINDOW_BYTES UINT64_C(4194304)
#define RATE_WINDOW_USEC UINT64_C(100000)

void pace_set(Pace *pace, uint64_t bytes_per_sec, uint64_t now_usec) {
        *pace = (Pace) { .bytes_per_sec = bytes_per_sec, .next_usec = now_usec };
}

void pace_sent(Pace *pace, uint64_t bytes, uint64_t now_usec) {
        if (pace->bytes_per_sec == 0)
                return;
        if (pace->next_usec + PACE_BURST_USEC < now_usec)
                pace->next_usec = now_usec - PACE_BURST_USEC;
        pace->next_usec += (uint64_t) ((double) bytes * USEC_PER_SEC / (double) pace->bytes_per_sec);
}

uint64_t pace_wait_usec(const Pace *pace, uint64_t now_usec) {
        return pace->bytes_per_sec == 0 || pace->next_usec <= now_usec ? 0 : pace->next_usec - now_usec;
}

uint64_t pace_frame_bytes(const Pace *pace, uint64_t max) {
        if (pace->bytes_per_sec == 0)
                return max;
        return CLAMP(pace->bytes_per_sec / PACE_FRAMES_PER_SEC / 4096 * 4096, MIN(PACE_FRAME_MIN, max), max);
}

static void add(Rate *rate, uint64_t bytes, uint64_t usec) {
        rate->bytes += bytes;
        rate->usec += usec;
        if ((rate->bytes < RATE_WINDOW_BYTES && rate->usec < RATE_WINDOW_USEC) || rate->usec == 0)
                return;
        uint64_t now = (uint64_t) ((double) rate->bytes * USEC_PER_SEC / (double) rate->usec);
        rate->bytes_per_sec = rate->bytes_per_sec == 0 ? now : (rate->bytes_per_sec * 7 + now) / 8;
        rate->bytes = rate->usec = 0;
}

void rate_sent(Rate *rate, uint64_t bytes, uint64_t usec) {
        rate->round_bytes += bytes;
        if (rate->round_bytes > RATE_BUFFERS_BYTES)
                add(rate, bytes, usec);
        else {
                rate->buffered_bytes += bytes;
                rate->buffered_usec += usec;
        }
}

void rate_round(Rate *rate, uint64_t usec) {
        if (rate->round_bytes > RATE_BUFFERS_BYTES || rate->buffered_usec + usec >= RATE_WINDOW_USEC)
                add(rate, rate->buffered_bytes, rate->buffered_usec + usec);
        else if (rate->bytes_per_sec == 0 && rate->buffered_usec + usec > 0)
                rate->bytes_per_sec = (uint64_t) ((double) rate->buffered_bytes * USEC_PER_SEC /
                                                  (double) (rate->buffered_usec + usec));
        rate->round_bytes = rate->buffered_bytes = rate->buffered_usec = 0;
}
