/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/stats.h"

#include <stddef.h>

#include "driver/base/json.h"

#define FIELD(name) { #name, offsetof(EngineStats, name) }

static const struct {
        const char *key;
        size_t offset;
} fields[] = {
        FIELD(round),
        FIELD(total_bytes),
        FIELD(resident_bytes),
        FIELD(transferred_bytes),
        FIELD(normal_pages),
        FIELD(zero_pages),
        FIELD(precopy_bytes),
        FIELD(postcopy_bytes),
        FIELD(stopcopy_bytes),
        FIELD(pending_bytes),
        FIELD(dirty_bytes_per_sec),
        FIELD(bandwidth_bytes_per_sec),
        FIELD(round_bytes),
        FIELD(round_usec),
        FIELD(setup_usec),
        FIELD(scan_usec),
        FIELD(final_scan_usec),
        FIELD(device_state_bytes),
        FIELD(received_bytes),
        FIELD(punched_bytes),
        FIELD(written_zero_bytes),
};
_Static_assert(sizeof(EngineStats) == G_N_ELEMENTS(fields) * sizeof(uint64_t),
               "each number of EngineStats is on the control socket");

json_object *stats_to_json(const EngineStats *stats) {
        json_object *object = json_object_new_object();
        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
                json_add_uint64(object, fields[i].key, *(const uint64_t *) ((const char *) stats + fields[i].offset));
        return object;
}

void stats_from_json(json_object *object, EngineStats *ret_stats) {
        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
                *(uint64_t *) ((char *) ret_stats + fields[i].offset) = json_get_uint64(object, fields[i].key, 0);
}
