/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Commands that copy a running guest's disk to another host: the destination's NBD server, the source's client nodes,
 * the jobs that mirror a disk into one. See qmp.h for what is common to all. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/base/monitor.h"

/* Where an NBD server is: host and port, or a unix socket's path. */
typedef struct QmpNbdAddress {
        const char *host; /* numeric or a name; an IPv6 address without brackets */
        unsigned port;
        const char *unix_path; /* instead of TCP */
} QmpNbdAddress;

/* Destination: listens for at most max_connections clients at a time. VIR_ERR_INTERNAL_ERROR with QEMU's text, e.g.
 * when the port is in use. */
int qmp_nbd_server_start(Monitor *monitor, const QmpNbdAddress *address, unsigned max_connections, GError **reterr);
/* Destination: no client can write any more when it returns. Not an error if there was none. */
int qmp_nbd_server_stop(Monitor *monitor, GError **reterr);
/* Destination: lets a client write the node under the export name. */
int qmp_nbd_export(Monitor *monitor, const char *node, const char *name, GError **reterr);

typedef struct QmpMirrorArgs {
        const char *job;    /* the job's id; the client node gets the same name */
        const char *node;   /* what is copied */
        QmpNbdAddress address;
        const char *name;   /* the export */
        bool top_only;      /* what lies in the backing images is on the other host already */
        bool synchronous;   /* a guest's write ends when it is on both hosts */
        uint64_t speed_bytes_per_sec; /* 0: no limit */
} QmpMirrorArgs;

/* Source: connects and begins to copy. On failure nothing is left of it. */
int qmp_mirror_start(Monitor *monitor, const QmpMirrorArgs *args, GError **reterr);

typedef struct QmpMirror {
        char *job;
        char *error; /* why it failed, or NULL */
        bool ready;  /* all is copied; what is written goes to both */
        bool ended;  /* concluded: with error, or as it was told to */
        uint64_t total_bytes, done_bytes; /* total grows with what the guest writes */
} QmpMirror;

/* All mirror jobs there are, an array of n; qmp_mirrors_free(). */
int qmp_query_mirrors(Monitor *monitor, QmpMirror **ret_mirrors, unsigned *ret_n, GError **reterr);
void qmp_mirrors_free(QmpMirror *mirrors, unsigned n);
/* bytes_per_sec 0: no limit any more. */
int qmp_mirror_set_speed(Monitor *monitor, const char *job, uint64_t bytes_per_sec, GError **reterr);
/* Ends a job: with force at once; else, if it is ready, when both sides are equal. Returns before it has ended. */
int qmp_mirror_end(Monitor *monitor, const char *job, bool force, GError **reterr);
/* Breaks the connection of a job, so that it fails at once instead of waiting for an answer. */
int qmp_mirror_disconnect(Monitor *monitor, const char *job, GError **reterr);
/* Forgets an ended job and closes its client node. */
int qmp_mirror_dismiss(Monitor *monitor, const char *job, GError **reterr);
