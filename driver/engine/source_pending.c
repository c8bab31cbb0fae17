/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is left to move, module by module. A module tells its own numbers; the core adds them up. A new kind of state is
 * one row of the table: see docs/engine.md. */

#include "driver/engine/source_internal.h"

#include <inttypes.h>

#include "driver/base/clock.h"
#include "driver/base/json.h"
#include "driver/base/units.h"
#include "driver/engine/private_ram.h"
#include "driver/engine/stats.h"

#define DEVICE_STATE_ESTIMATE_BYTES (512 * KIB)

typedef struct Module {
        const char *name;
        /* How many parts of it are counted for themselves; NULL: one, with the module's name. */
        unsigned (*n_parts)(const Source *source);
        const char *(*part_name)(const Source *source, unsigned part);
        /* exact: look again (and make the result part of what will be sent); else what is known already. final: the
         * guest is stopped. */
        int (*query)(Source *source, unsigned part, bool exact, bool final, Pending *pending, GError **reterr);
} Module;

static unsigned ram_parts(const Source *source) {
        return source->n_blocks;
}

static const char *ram_part_name(const Source *source, unsigned part) {
        return source->blocks[part].id;
}

static int ram_query(Source *source, unsigned part, bool exact, bool final, Pending *pending, GError **reterr) {
        /* One scan finds the dirty pages of all blocks. */
        if (exact && part == 0) {
                int r = dirty_sync(source->dirty, final, source->next, reterr);
                if (r < 0)
                        return r;
        }
        pending->precopy_bytes =
                (source->current[part].n_set + source->next[part].n_set) * source->blocks[part].page_bytes;
        return 0;
}

/* QEMU sends what it keeps to itself only once the guest is stopped; then it is on its way already. */
static int private_query(Source *source, unsigned part, bool exact, bool final, Pending *pending, GError **reterr) {
        if (exact && !final && source->n_private > 0 &&
            private_ram_resident(source->args.qemu_pid, source->private_sizes, source->n_private,
                                 &source->private_bytes) < 0)
                source->private_bytes = 0;
        pending->stopcopy_bytes = final ? 0 : source->private_bytes;
        return 0;
}

/* QEMU's device state exists only once the guest is stopped; until then it is an estimate. */
static int device_query(Source *source, unsigned part, bool exact, bool final, Pending *pending, GError **reterr) {
        if (!final)
                pending->stopcopy_bytes = source->args.device_state_estimate_bytes ?: DEVICE_STATE_ESTIMATE_BYTES;
        return 0;
}

static const Module modules[] = {
        { "ram", ram_parts, ram_part_name, ram_query },
        { "qemu-private", NULL, NULL, private_query },
        { "device-state", NULL, NULL, device_query },
};

static int query_module(Source *source, const Module *module, bool exact, bool final, Pending *total, GString *text,
                        GError **reterr) {
        unsigned n = module->n_parts ? module->n_parts(source) : 1;
        for (unsigned i = 0; i < n; i++) {
                Pending pending = { 0 };
                int r = module->query(source, i, exact, final, &pending, reterr);
                if (r < 0)
                        return r;
                total->precopy_bytes += pending.precopy_bytes;
                total->postcopy_bytes += pending.postcopy_bytes;
                total->stopcopy_bytes += pending.stopcopy_bytes;
                g_string_append_printf(text, "%s%s=%" PRIu64 "/%" PRIu64 "/%" PRIu64, text->len > 0 ? " " : "",
                                       module->part_name ? module->part_name(source, i) : module->name,
                                       pending.precopy_bytes, pending.postcopy_bytes, pending.stopcopy_bytes);
        }
        return 0;
}

int source_pending(Source *source, bool exact, bool final, EngineStats *stats, GError **reterr) {
        uint64_t start = clock_monotonic_usec();
        Pending pending = { 0 };
        g_string_truncate(source->modules, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(modules); i++) {
                int r = query_module(source, &modules[i], exact, final, &pending, source->modules, reterr);
                if (r < 0)
                        return r;
        }
        if (exact)
                stats->scan_usec = clock_monotonic_usec() - start;
        stats->precopy_bytes = pending.precopy_bytes;
        stats->postcopy_bytes = pending.postcopy_bytes;
        stats->stopcopy_bytes = pending.stopcopy_bytes;
        stats->pending_bytes = pending.precopy_bytes + pending.postcopy_bytes + pending.stopcopy_bytes;
        return 0;
}

json_object *source_numbers(const Source *source, const EngineStats *stats) {
        return json_add_string(stats_to_json(stats), "modules", source->modules->str);
}
