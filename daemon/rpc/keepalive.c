/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/keepalive.h"

#include "driver/base/clock.h"

void keepalive_init(Keepalive *keepalive, int interval_sec, unsigned count, uint64_t now_usec) {
        *keepalive = (Keepalive) { .count = count };
        if (interval_sec > 0)
                keepalive->interval_usec = (uint64_t) interval_sec * USEC_PER_SEC;
        keepalive->deadline_usec = now_usec + keepalive->interval_usec;
}

bool keepalive_enabled(const Keepalive *keepalive) {
        return keepalive->interval_usec > 0;
}

void keepalive_heard(Keepalive *keepalive, uint64_t now_usec) {
        keepalive->missed = 0;
        keepalive->deadline_usec = now_usec + keepalive->interval_usec;
}

KeepaliveVerdict keepalive_tick(Keepalive *keepalive, uint64_t now_usec) {
        if (!keepalive_enabled(keepalive) || now_usec < keepalive->deadline_usec)
                return KEEPALIVE_WAIT;
        if (keepalive->missed >= keepalive->count)
                return KEEPALIVE_DEAD;
        keepalive->missed++;
        keepalive->deadline_usec = now_usec + keepalive->interval_usec;
        return KEEPALIVE_PING;
}
