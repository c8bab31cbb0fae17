/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A bad link: a child process that forwards one TCP connection on 127.0.0.1 and misbehaves after a number of bytes from
 * the client. */

#include <stdint.h>
#include <sys/types.h>

typedef enum ProxyFault {
        PROXY_CUT,   /* closes both ends */
        PROXY_STALL, /* forwards nothing any more, keeps both ends open */
        PROXY_FLIP,  /* flips one bit, then goes on */
        PROXY_CUT_BACK, /* counts and cuts what comes back from the server */
        PROXY_CUT_BOTH, /* takes two connections, counts what goes either way on both, and closes all */
} ProxyFault;

typedef struct Proxy {
        pid_t pid;
        unsigned port;
} Proxy;

void proxy_start(Proxy *proxy, unsigned target_port, ProxyFault fault, uint64_t after_bytes);
void proxy_end(Proxy *proxy);
