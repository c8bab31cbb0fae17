/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asking somebody else on the bus without blocking the loop. */

#include <stdint.h>
#include <systemd/sd-bus.h>

/* Sends the call and waits for its reply. Fiber. *ret_reply may be an error reply; the caller frees it. 0, -ETIMEDOUT,
 * or another negative errno when it cannot be sent or the connection is lost. */
int bus_ask(sd_bus *bus, sd_bus_message *request, uint64_t timeout_usec, sd_bus_message **ret_reply);
