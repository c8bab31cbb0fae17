/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Commands about disks. See qmp.h for what is common to all. */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/base/monitor.h"

typedef struct QmpBlockStats {
        char *qdev; /* the device's QOM path or id */
        char *node; /* top node's name */
        uint64_t rd_bytes, rd_operations, rd_total_nsec;
        uint64_t wr_bytes, wr_operations, wr_total_nsec;
        uint64_t flush_operations, flush_total_nsec;
        uint64_t wr_highest_offset;
} QmpBlockStats;
/* Array of n; qmp_block_stats_free(). */
int qmp_query_block_stats(Monitor *monitor, QmpBlockStats **ret_stats, unsigned *ret_n, GError **reterr);
void qmp_block_stats_free(QmpBlockStats *stats, unsigned n);
/* Whether qdev, an id ("scsi0-0-0-0") or a path ("/machine/peripheral/virtio-disk0/virtio-backend"; may be NULL), is
 * the device with this alias. */
bool qmp_block_is_device(const char *qdev, const char *alias);
/* The entry of a disk by its device alias ("virtio-disk0"), or NULL. */
const QmpBlockStats *qmp_block_stats_find(const QmpBlockStats *stats, unsigned n, const char *alias);

typedef struct QmpBlockNode {
        char *node;
        char *driver;
        char *filename;
        bool read_only;
        bool direct; /* cache.direct: O_DIRECT */
        bool no_flush;
        uint64_t virtual_bytes; /* what the guest sees */
        uint64_t actual_bytes;  /* allocated on the host */
} QmpBlockNode;
/* Array of n, qmp_block_nodes_free(); and the entry of a node by its name, or NULL. */
int qmp_query_named_block_nodes(Monitor *monitor, QmpBlockNode **ret_nodes, unsigned *ret_n, GError **reterr);
void qmp_block_nodes_free(QmpBlockNode *nodes, unsigned n);
const QmpBlockNode *qmp_block_nodes_find(const QmpBlockNode *nodes, unsigned n, const char *node);

/* Opens nodes again with other options: a JSON array of complete node descriptions as -blockdev has them, each with
 * "node-name". Consumes options. QEMU >= 6.1. */
int qmp_blockdev_reopen(Monitor *monitor, json_object *options, GError **reterr);
