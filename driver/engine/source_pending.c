/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is left to move, module by module. A module adds its own numbers; the core adds them up. */

#include "driver/engine/source_internal.h"

#include "driver/base/clock.h"
#include "driver/base/units.h"

#define DEVICE_STATE_ESTIMATE_BYTES (512 * KIB)

typedef struct Module {
        const char *name;
        /* exact: look again (and make the result part of what will be sent); else what is known already. */
        int (*query)(Source *source, bool exact, bool final, Pending *pending, GError **reterr);
} Module;

static int ram_query(Source *source, bool exact, bool final, Pending *pending, GError **reterr) {
        if (exact) {
                int r = dirty_sync(source->dirty, final, source->next, reterr);
                if (r < 0)
                        return r;
        }
        for (unsigned i = 0; i < source->n_blocks; i++)
                pending->precopy_bytes += (source->current[i].n_set + source->next[i].n_set) * source->blocks[i].page_bytes;
        return 0;
}

/* QEMU's device state exists only once the guest is stopped; until then it is an estimate. */
static int device_query(Source *source, bool exact, bool final, Pending *pending, GError **reterr) {
        if (!final)
                pending->stopcopy_bytes += source->args.device_state_estimate_bytes ?: DEVICE_STATE_ESTIMATE_BYTES;
        return 0;
}

static const Module modules[] = {
        { "ram", ram_query },
        { "device-state", device_query },
};

int source_pending(Source *source, bool exact, bool final, EngineStats *stats, GError **reterr) {
        uint64_t start = clock_monotonic_usec();
        Pending pending = { 0 };
        for (size_t i = 0; i < G_N_ELEMENTS(modules); i++) {
                int r = modules[i].query(source, exact, final, &pending, reterr);
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
