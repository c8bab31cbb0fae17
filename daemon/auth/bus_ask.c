/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/auth/bus_ask.h"

#include <errno.h>

#include "driver/base/clock.h"
#include "driver/base/fiber.h"

/* The bus ends the wait by itself; this is for a connection that is closed under it. */
#define GRACE_USEC USEC_PER_SEC

typedef struct Ask {
        FiberCond answered;
        sd_bus_message *reply;
} Ask;

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Ask *ask = userdata;

        ask->reply = sd_bus_message_ref(reply);
        fiber_cond_broadcast(&ask->answered);
        return 0;
}

int bus_ask(sd_bus *bus, sd_bus_message *request, uint64_t timeout_usec, sd_bus_message **ret_reply) {
        sd_bus_slot *slot = NULL;
        Ask ask = { 0 };
        int r;

        r = sd_bus_call_async(bus, &slot, request, on_reply, &ask, timeout_usec);
        if (r < 0)
                return r;
        if (!ask.reply)
                fiber_cond_wait(&ask.answered, timeout_usec + GRACE_USEC);
        sd_bus_slot_unref(slot);
        if (!ask.reply)
                return -ETIMEDOUT;
        *ret_reply = ask.reply;
        return 0;
}
