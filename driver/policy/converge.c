/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/policy/converge.h"

#include <stddef.h>
#include <string.h>

/* A round that leaves more than this share of the best earlier one was not worth its traffic. */
#define SHRINK_PERCENT 75
/* So many rounds in a row that were not worth it end the attempts. */
#define SHRINK_PATIENCE 2

const char *converge_reason_to_string(ConvergeReason reason) {
        static const char *const names[_CONVERGE_REASON_MAX] = {
                [CONVERGE_NO_BANDWIDTH] = "no bandwidth has been measured yet",
                [CONVERGE_ABOVE_LIMIT] = "the expected downtime is above the limit",
                [CONVERGE_STILL_SHRINKING] = "another round makes the downtime shorter",
                [CONVERGE_SHORT_ENOUGH] = "what is pending costs less than stopping the guest",
                [CONVERGE_NOT_SHRINKING] = "below the limit, and more rounds do not help",
                [CONVERGE_IDLE] = "the guest writes nothing",
        };

        return reason < _CONVERGE_REASON_MAX ? names[reason] : "invalid";
}

void converge_add(ConvergeHistory *history, const ConvergeRound *round) {
        if (history->n > 0 && round->idle && history->rounds[history->n - 1].idle) {
                history->rounds[history->n - 1] = *round;
                return;
        }
        if (history->n == CONVERGE_HISTORY_MAX) {
                memmove(&history->rounds[0], &history->rounds[1],
                        sizeof(history->rounds[0]) * (CONVERGE_HISTORY_MAX - 1));
                history->n--;
        }
        history->rounds[history->n++] = *round;
}

static uint64_t sending_usec(const ConvergeRound *round) {
        return (uint64_t) ((double) round->pending_bytes * 1e6 / (double) round->bandwidth_bytes_per_sec);
}

uint64_t converge_expected_downtime(const ConvergeConfig *config, const ConvergeRound *round) {
        if (round->pending_bytes == 0)
                return config->overhead_usec;
        if (round->bandwidth_bytes_per_sec == 0)
                return UINT64_MAX;
        return config->overhead_usec + sending_usec(round);
}

/* How many of the newest rounds did not leave clearly less than the best one before them. */
static unsigned rounds_without_gain(const ConvergeHistory *history) {
        unsigned without_gain = 0;
        uint64_t best = UINT64_MAX;

        for (unsigned i = 0; i < history->n; i++) {
                uint64_t pending = history->rounds[i].pending_bytes;

                if (best == UINT64_MAX || pending < best / 100 * SHRINK_PERCENT)
                        without_gain = 0;
                else
                        without_gain++;
                if (pending < best)
                        best = pending;
        }
        return without_gain;
}

ConvergeDecision converge_decide(const ConvergeConfig *config, const ConvergeHistory *history) {
        const ConvergeRound *last = &history->rounds[history->n - 1];
        ConvergeDecision decision = {
                .action = CONVERGE_CONTINUE,
                .expected_downtime_usec = converge_expected_downtime(config, last),
        };

        if (last->idle) {
                decision.action = CONVERGE_STOP_AND_COPY;
                decision.reason = CONVERGE_IDLE;
        } else if (decision.expected_downtime_usec == UINT64_MAX) {
                decision.reason = CONVERGE_NO_BANDWIDTH;
        } else if (decision.expected_downtime_usec > config->downtime_limit_usec && last->pending_bytes > 0 &&
                   sending_usec(last) > config->overhead_usec / 4) {
                decision.reason = CONVERGE_ABOVE_LIMIT;
        } else if (decision.expected_downtime_usec - config->overhead_usec <= config->overhead_usec / 4) {
                decision.action = CONVERGE_STOP_AND_COPY;
                decision.reason = CONVERGE_SHORT_ENOUGH;
        } else if (rounds_without_gain(history) >= SHRINK_PATIENCE) {
                decision.action = CONVERGE_STOP_AND_COPY;
                decision.reason = CONVERGE_NOT_SHRINKING;
        } else {
                decision.reason = CONVERGE_STILL_SHRINKING;
        }
        return decision;
}
