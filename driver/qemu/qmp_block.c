/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/qemu/qmp_block.h"

#include <errno.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/qemu/qmp.h"

int qmp_query_block_stats(Monitor *monitor, QmpBlockStats **ret_stats, unsigned *ret_n, GError **reterr) {
        g_autoptr(json_object) array = NULL;
        size_t n = 0;

        int r = qmp_query_array(monitor, "query-blockstats", NULL, &array, &n, reterr);
        if (r < 0)
                return r;

        QmpBlockStats *stats = g_new0(QmpBlockStats, n + 1);
        for (size_t i = 0; i < n; i++) {
                json_object *entry = json_object_array_get_idx(array, i);
                json_object *values = json_get(entry, "stats");
                json_object *parent = json_get(json_get(entry, "parent"), "stats");
                stats[i] = (QmpBlockStats){
                        .qdev = g_strdup(json_get_string(entry, "qdev")),
                        .node = g_strdup(json_get_string(entry, "node-name")),
                        .rd_bytes = json_get_uint64(values, "rd_bytes", 0),
                        .rd_operations = json_get_uint64(values, "rd_operations", 0),
                        .rd_total_nsec = json_get_uint64(values, "rd_total_time_ns", 0),
                        .wr_bytes = json_get_uint64(values, "wr_bytes", 0),
                        .wr_operations = json_get_uint64(values, "wr_operations", 0),
                        .wr_total_nsec = json_get_uint64(values, "wr_total_time_ns", 0),
                        .flush_operations = json_get_uint64(values, "flush_operations", 0),
                        .flush_total_nsec = json_get_uint64(values, "flush_total_time_ns", 0),
                        .wr_highest_offset = json_get_uint64(parent ?: values, "wr_highest_offset", 0),
                };
        }
        *ret_stats = stats;
        *ret_n = (unsigned) n;
        return 0;
}

void qmp_block_stats_free(QmpBlockStats *stats, unsigned n) {
        for (unsigned i = 0; stats && i < n; i++) {
                g_free(stats[i].qdev);
                g_free(stats[i].node);
        }
        g_free(stats);
}

bool qmp_block_is_device(const char *qdev, const char *alias) {
        if (!qdev)
                return false;
        if (g_str_equal(qdev, alias))
                return true;

        g_auto(GStrv) parts = g_strsplit(qdev, "/", -1);
        return g_strv_contains((const char *const *) parts, alias);
}

const QmpBlockStats *qmp_block_stats_find(const QmpBlockStats *stats, unsigned n, const char *alias) {
        for (unsigned i = 0; i < n; i++)
                if (qmp_block_is_device(stats[i].qdev, alias))
                        return &stats[i];
        return NULL;
}

int qmp_query_named_block_nodes(Monitor *monitor, QmpBlockNode **ret_nodes, unsigned *ret_n, GError **reterr) {
        g_autoptr(json_object) array = NULL;
        json_object *arguments = json_add_bool(json_object_new_object(), "flat", true);
        size_t n = 0;

        int r = qmp_query_array(monitor, "query-named-block-nodes", arguments, &array, &n, reterr);
        if (r < 0)
                return r;

        QmpBlockNode *nodes = g_new0(QmpBlockNode, n + 1);
        for (size_t i = 0; i < n; i++) {
                json_object *entry = json_object_array_get_idx(array, i);
                json_object *cache = json_get(entry, "cache");
                json_object *image = json_get(entry, "image");
                nodes[i] = (QmpBlockNode){
                        .node = g_strdup(json_get_string(entry, "node-name")),
                        .driver = g_strdup(json_get_string(entry, "drv")),
                        .filename = g_strdup(json_get_string(entry, "file")),
                        .read_only = json_get_bool(entry, "ro", false),
                        .direct = json_get_bool(cache, "direct", false),
                        .no_flush = json_get_bool(cache, "no-flush", false),
                        .virtual_bytes = json_get_uint64(image, "virtual-size", 0),
                        .actual_bytes = json_get_uint64(image, "actual-size", 0),
                };
        }
        *ret_nodes = nodes;
        *ret_n = (unsigned) n;
        return 0;
}

void qmp_block_nodes_free(QmpBlockNode *nodes, unsigned n) {
        for (unsigned i = 0; nodes && i < n; i++) {
                g_free(nodes[i].node);
                g_free(nodes[i].driver);
                g_free(nodes[i].filename);
        }
        g_free(nodes);
}

const QmpBlockNode *qmp_block_nodes_find(const QmpBlockNode *nodes, unsigned n, const char *node) {
        for (unsigned i = 0; i < n; i++)
                if (g_strcmp0(nodes[i].node, node) == 0)
                        return &nodes[i];
        return NULL;
}

int qmp_blockdev_reopen(Monitor *monitor, json_object *options, GError **reterr) {
        json_object *arguments = json_add(json_object_new_object(), "options", options);
        return monitor_call(monitor, "blockdev-reopen", arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL, reterr);
}
