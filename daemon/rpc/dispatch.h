/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the dispatch_*.c files share: small conversions between the wire's structs and driver.h's. */

#include <glib.h>
#include <stdbool.h>

#include "daemon/rpc/call.h"
#include "daemon/rpc/client.h"
#include "daemon/rpc/program.h"
#include "daemon/rpc/proto/remote_protocol.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/driver.h"

/* The form of every procedure: see ProcedureFunc. */
#define HANDLER(name) static int name(RpcCall *call, void *argp, void *retp, GError **reterr)

/* The uuid of a domain as driver.h takes it. */
static inline const unsigned char *dispatch_uuid(const remote_nonnull_domain *dom) {
        return (const unsigned char *) dom->uuid;
}

/* The text of an optional string; NULL if it is not there. */
static inline const char *dispatch_optional(const remote_string text) {
        return text ? *text : NULL;
}

/* A new optional string; takes text over; NULL stays NULL. */
static inline remote_string dispatch_optional_new(char *text) {
        if (!text)
                return NULL;
        remote_string p = g_new(char *, 1);
        *p = text;
        return p;
}

/* Moves what ref holds into wire; ref is empty afterwards. */
void dispatch_take_ref(DomainRef *ref, remote_nonnull_domain *ret_wire);

/* Whether there is such a domain: for procedures whose answer does not depend on it. */
int dispatch_require_domain(RpcCall *call, const remote_nonnull_domain *dom, GError **reterr);

/* Refuses a call on a read-only connection. For procedures that do not reach the driver, which refuses by itself. */
int dispatch_require_write(RpcCall *call, GError **reterr);

/* A count that a client gave: 0 <= value <= max. */
int dispatch_check_count(const char *what, int64_t value, int64_t max, GError **reterr);
