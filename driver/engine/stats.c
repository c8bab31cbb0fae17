/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/stats.h"

#include <stddef.h>

#include <glib.h>

#include "driver/base/json.h"

#define FIELD(name) { #name, offsetof(EngineStats, name), 0 }
#define ARRAY(name) { #name, offsetof(EngineStats, name), G_N_ELEMENTS(((EngineStats *) NULL)->name) }

static const struct {
        const char *key;
        size_t offset;
        size_t n; /* of an array; 0: a number */
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
        FIELD(postcopy_requests),
        FIELD(postcopy_pushed_bytes),
        FIELD(postcopy_recoveries),
        FIELD(stale_pages),
        FIELD(valid_pages),
        FIELD(inflight_pages),
        FIELD(never_pages),
        FIELD(faults),
        FIELD(faults_requested),
        FIELD(faults_present),
        FIELD(faults_zero),
        FIELD(fault_block_usec),
        FIELD(fault_max_usec),
        ARRAY(fault_latency),
        FIELD(fault_threads),
        ARRAY(fault_thread_ids),
        ARRAY(fault_thread_usec),
        ARRAY(fault_thread_count),
};
#define ARRAYS 4
_Static_assert(sizeof(EngineStats) ==
                       (G_N_ELEMENTS(fields) - ARRAYS + ENGINE_LATENCY_BUCKETS + 3 * ENGINE_THREADS_MAX) *
                               sizeof(uint64_t),
               "each number of EngineStats is on the control socket");

/* Without the zeros at its end. */
static json_object *array_to_json(const uint64_t *numbers, size_t n) {
        while (n > 0 && numbers[n - 1] == 0)
                n--;
        json_object *array = json_object_new_array_ext((int) n);
        for (size_t i = 0; i < n; i++)
                json_object_array_add(array, json_object_new_uint64(numbers[i]));
        return array;
}

static void array_from_json(json_object *array, uint64_t *ret_numbers, size_t n) {
        size_t given = array && json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
        for (size_t i = 0; i < n; i++)
                ret_numbers[i] = i < given ? json_object_get_uint64(json_object_array_get_idx(array, i)) : 0;
}

json_object *stats_to_json(const EngineStats *stats) {
        json_object *object = json_object_new_object();
        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
                const uint64_t *numbers = (const uint64_t *) ((const char *) stats + fields[i].offset);
                if (fields[i].n == 0)
                        json_add_uint64(object, fields[i].key, *numbers);
                else
                        json_add(object, fields[i].key, array_to_json(numbers, fields[i].n));
        }
        return object;
}

void stats_from_json(json_object *object, EngineStats *ret_stats) {
        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
                uint64_t *numbers = (uint64_t *) ((char *) ret_stats + fields[i].offset);
                if (fields[i].n == 0)
                        *numbers = json_get_uint64(object, fields[i].key, 0);
                else
                        array_from_json(json_get(object, fields[i].key), numbers, fields[i].n);
        }
}

/* ---- states ---- */

static const char *const state_names[] = {
        [ENGINE_STATE_IDLE] = "idle",
        [ENGINE_STATE_SETUP] = "setup",
        [ENGINE_STATE_PRECOPY] = "precopy",
        [ENGINE_STATE_SWITCHING] = "switching",
        [ENGINE_STATE_LOADED] = "loaded",
        [ENGINE_STATE_READY] = "ready",
        [ENGINE_STATE_COMMITTING] = "committing",
        [ENGINE_STATE_COMMITTED] = "committed",
        [ENGINE_STATE_POSTCOPY] = "postcopy",
        [ENGINE_STATE_PAUSED] = "paused",
        [ENGINE_STATE_DONE] = "done",
        [ENGINE_STATE_CANCELLED] = "cancelled",
        [ENGINE_STATE_FAILED] = "failed",
};
_Static_assert(G_N_ELEMENTS(state_names) == ENGINE_STATE_MAX_, "each state has a name");

const char *engine_state_name(EngineState state) {
        return (unsigned) state < ENGINE_STATE_MAX_ ? state_names[state] : NULL;
}
