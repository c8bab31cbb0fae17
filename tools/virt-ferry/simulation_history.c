/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/virt-ferry/simulation_history.h"

#include <math.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/base/units.h"

#define SET_SLACK 1.02 /* the set is a little larger than the most that was found of it */
#define FULL 0.98      /* a round that dirtied this much of it says only that it was enough */

typedef struct Recorded {
        uint64_t end_usec, round_usec, found_bytes, bandwidth;
        unsigned throttle;
} Recorded;

typedef struct History {
        Recorded rounds[SIMULATION_PHASES_MAX];
        unsigned n, throttle;
        uint64_t total_bytes, resident_bytes, overhead_usec, stopcopy_bytes, limit;
} History;

static void take_line(History *history, json_object *line) {
        if (json_get_string(line, "migration")) {
                history->total_bytes = json_get_uint64(line, "total", 0);
                history->resident_bytes = json_get_uint64(line, "resident", 0);
                history->overhead_usec = json_get_uint64(line, "overhead_usec", 0);
        } else if (json_get_string(line, "decision")) {
                history->throttle = (unsigned) MIN(json_get_uint64(line, "throttle", 0), 99);
        } else if (json_get_uint64(line, "round", 0) > 0 && history->n < SIMULATION_PHASES_MAX) {
                Recorded *round = &history->rounds[history->n++];

                round->end_usec = json_get_uint64(line, "elapsed_usec", 0);
                round->round_usec = json_get_uint64(line, "round_usec", 0);
                round->found_bytes = json_get_uint64(line, "pending", 0);
                round->bandwidth = json_get_uint64(line, "bandwidth", 0);
                round->throttle = history->throttle;
                history->stopcopy_bytes = json_get_uint64(line, "stopcopy", 0);
                if (history->resident_bytes == 0)
                        history->resident_bytes = json_get_uint64(line, "resident", 0);
        }
}

/* What a set of this size had to be written at to be found so dirty after so long. */
static double writes_per_sec(const Recorded *round, double set, uint64_t usec) {
        double share = MIN((double) round->found_bytes / set, FULL);

        return -set * log1p(-share) * 1e6 / (double) usec * 100 / (100 - round->throttle);
}

int simulation_history_read(const char *text, SimulationGuest *ret_guest, SimulationLink *ret_link,
                            uint64_t *ret_overhead_usec, GError **reterr) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        g_autofree History *history = g_new0(History, 1);
        SimulationGuest guest = { 0 };
        double set = 0, bandwidth = 0;
        uint64_t begin = 0;

        for (unsigned i = 0; lines[i]; i++) {
                g_autoptr(json_object) line = *lines[i] ? json_parse(lines[i], strlen(lines[i]), NULL) : NULL;

                if (*lines[i] && !json_object_is_type(line, json_type_object))
                        return error_set(reterr, VIR_ERR_INVALID_ARG, _("line %u is not a JSON object"), i + 1);
                if (line)
                        take_line(history, line);
        }
        if (history->n == 0 || history->resident_bytes == 0)
                return error_set(
                        reterr, VIR_ERR_INVALID_ARG,
                        _("there are no rounds in it: is it the rounds.log of a migration that began to copy?"));
        for (unsigned i = 0; i < history->n; i++) {
                set = MAX(set, (double) history->rounds[i].found_bytes * SET_SLACK);
                bandwidth = MAX(bandwidth, (double) history->rounds[i].bandwidth);
        }
        for (unsigned i = 0; i < history->n; i++) {
                const Recorded *round = &history->rounds[i];
                uint64_t usec = round->end_usec > begin ? round->end_usec - begin : 1;

                /* Rounds without a bandwidth of their own were too short to measure one. */
                guest.phases[guest.n_phases++] = (SimulationPhase) {
                        .usec = usec,
                        .writes_per_sec = set > 0 ? writes_per_sec(round, set, usec) : 0,
                        .bandwidth_bytes_per_sec = (double) round->bandwidth,
                };
                begin = round->end_usec;
        }
        guest.first_again = guest.n_phases > 1 ? 1 : 0;
        guest.size_bytes = history->total_bytes;
        guest.resident_bytes = history->resident_bytes;
        guest.stopcopy_bytes = history->stopcopy_bytes;
        guest.sets[0] = (SimulationSet) { .bytes = (uint64_t) MAX(set, 4096), .share = 1 };
        guest.n_sets = 1;
        guest.scan_threads = 1;
        if (bandwidth <= 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("its rounds were too short to measure a bandwidth"));
        *ret_guest = guest;
        *ret_link = (SimulationLink) { .bandwidth_bytes_per_sec = bandwidth };
        *ret_overhead_usec = history->overhead_usec;
        return 0;
}
