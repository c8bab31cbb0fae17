/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * A migration may stop the guest once the expected downtime is below the limit, and does when another round would not
 * make it much shorter: a limit is not a goal. Above the limit, everything hangs on one question: do rounds still help?
 * A round *stalls* when it leaves no less than the best of the rounds that ended at least a window ago; rounds in
 * between may go up and down as the guest's work does. While rounds stall, what the policy allows is tried, cheapest
 * first: a higher limit, slower writers, postcopy, and at last stopping the guest above the limit. The two last are not
 * done in just any round: what is pending swings, so they wait for a round as good as the best one since the stall
 * began. If it does not come back within a time (patience), the next best will do, and patience gets shorter.
 */

#include "driver/policy/policy.h"

#include <string.h>

/* A round that leaves more than this share of the best earlier one was not worth its traffic. */
#define SHRINK_PERCENT 75
/* So many rounds in a row that were not worth it end the attempts below the limit. */
#define SHRINK_PATIENCE 2
/* A throttle that leaves more than this share of what was pending before needs to be stronger. */
#define THROTTLE_GAIN_PERCENT 75
#define DEADLINE_MARGIN_PERCENT 25
#define DEADLINE_MARGIN_USEC UINT64_C(500000)

static uint64_t min_u64(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

static uint64_t percent_of(uint64_t value, unsigned percent) {
        return (uint64_t) ((double) value * percent / 100);
}

static uint64_t sending_usec(uint64_t bytes, uint64_t bytes_per_sec) {
        return (uint64_t) ((double) bytes * 1e6 / (double) bytes_per_sec);
}

uint64_t policy_remaining_usec(const PolicyRound *round) {
        uint64_t bytes = round->pending_bytes + round->stopcopy_bytes;

        if (bytes == 0)
                return 0;
        return round->bandwidth_bytes_per_sec == 0 ? UINT64_MAX : sending_usec(bytes, round->bandwidth_bytes_per_sec);
}

uint64_t policy_expected_downtime(const PolicyConfig *config, const PolicyRound *round) {
        uint64_t remaining = policy_remaining_usec(round);

        return remaining == UINT64_MAX ? UINT64_MAX : config->overhead_usec + round->scan_usec + remaining;
}

/* ---- folding ---- */

/* Old records are halved: of two neighbours the better stays, with the later time, so that no record looks older than
 * it is. */
static void records_thin(PolicyHistory *history) {
        unsigned n = 0, old = POLICY_HISTORY_MAX / 2;

        for (unsigned i = 0; i + 1 < old; i += 2) {
                PolicyRecord a = history->records[i], b = history->records[i + 1];

                history->records[n++] = (PolicyRecord){ .elapsed_usec = b.elapsed_usec,
                                                        .pending_bytes = min_u64(a.pending_bytes, b.pending_bytes) };
        }
        memmove(&history->records[n], &history->records[old], (history->n - old) * sizeof(history->records[0]));
        history->n -= old - n;
}

/* The best record of [from, until]; false: there is none. */
static bool records_best(const PolicyHistory *history, uint64_t from_usec, uint64_t until_usec, uint64_t above_bytes,
                         PolicyRecord *ret_best) {
        bool found = false;

        for (unsigned i = 0; i < history->n; i++) {
                const PolicyRecord *record = &history->records[i];

                if (record->elapsed_usec < from_usec || record->elapsed_usec > until_usec ||
                    record->pending_bytes < above_bytes)
                        continue;
                if (!found || record->pending_bytes < ret_best->pending_bytes)
                        *ret_best = *record;
                found = true;
        }
        return found;
}

static void fold_gain(PolicyHistory *history, const PolicyRound *round) {
        PolicyRecord best;

        if (!records_best(history, 0, UINT64_MAX, 0, &best) ||
            round->pending_bytes < percent_of(best.pending_bytes, SHRINK_PERCENT))
                history->without_gain = 0;
        else
                history->without_gain++;
}

/* Before the round is among the records. */
static void fold_stall(const PolicyConfig *config, PolicyHistory *history, const PolicyRound *round) {
        uint64_t now = round->elapsed_usec, margin = 100 - config->stall_margin_percent;
        PolicyRecord old = { 0 }, best;
        bool stalled = now >= config->stall_window_usec &&
                       records_best(history, 0, now - config->stall_window_usec, 0, &old) &&
                       round->pending_bytes >= percent_of(old.pending_bytes, (unsigned) margin);

        if (!stalled) {
                history->stalled = false;
                history->stalls = 0;
                return;
        }
        history->stalls++;
        if (!history->stalled) {
                history->stalled = true;
                history->stall_from_usec = old.elapsed_usec;
                history->target_bytes = round->pending_bytes;
                if (records_best(history, old.elapsed_usec, UINT64_MAX, 0, &best))
                        history->target_bytes = min_u64(history->target_bytes, best.pending_bytes);
                history->patience_usec = config->stall_window_usec;
                history->patience_until_usec = now + history->patience_usec;
        } else if (now >= history->patience_until_usec) {
                /* The best did not come again: the next best will do. */
                if (records_best(history, history->stall_from_usec, UINT64_MAX, history->target_bytes + 1, &best))
                        history->target_bytes = best.pending_bytes;
                else
                        history->target_bytes = round->pending_bytes;
                history->patience_usec = percent_of(history->patience_usec, config->stall_decay_percent);
                history->patience_until_usec = now + history->patience_usec;
        }
}

void policy_add(const PolicyConfig *config, PolicyHistory *history, const PolicyRound *round) {
        history->last = *round;
        if (history->limit_usec == 0)
                history->limit_usec = config->downtime_usec;
        if (round->sample != POLICY_SAMPLE_ROUND)
                return;
        history->rounds++;
        fold_gain(history, round);
        fold_stall(config, history, round);
        if (history->n == POLICY_HISTORY_MAX)
                records_thin(history);
        history->records[history->n++] =
                (PolicyRecord){ .elapsed_usec = round->elapsed_usec, .pending_bytes = round->pending_bytes };
}

void policy_cannot(PolicyHistory *history, PolicyAction action) {
        if (action == POLICY_THROTTLE) {
                history->no_throttle = true;
                history->throttle_percent = 0;
        } else if (action == POLICY_SWITCH_TO_POSTCOPY)
                history->no_postcopy = true;
}

void policy_reconfigured(PolicyHistory *history) {
        history->limit_usec = 0;
}

/* ---- deciding ---- */

/* What a decision is made from. */
typedef struct Case {
        const PolicyConfig *config;
        PolicyHistory *history;
        const PolicyRound *round;
        uint64_t expected_usec;
        bool can_postcopy, at_minimum, short_enough, within_limit;
} Case;

static PolicyDecision decision_new(const Case *the, PolicyAction action, PolicyReason reason) {
        return (PolicyDecision) {
                .action = action,
                .reason = reason,
                .expected_downtime_usec = the->expected_usec,
                .limit_usec = the->history->limit_usec,
                .throttle_percent = the->history->throttle_percent,
        };
}

static PolicyDecision go_on(const Case *the, PolicyReason reason) {
        return decision_new(the, POLICY_CONTINUE, reason);
}

/* A configured last action; postcopy that is not possible becomes a stop. */
static PolicyAction last_action(const Case *the, PolicyAction action) {
        return action == POLICY_SWITCH_TO_POSTCOPY && !the->can_postcopy ? POLICY_STOP_AND_COPY : action;
}

/* Nothing stops the guest above a limit that the user has named. */
static bool may_finish(const Case *the, PolicyAction action) {
        return last_action(the, action) != POLICY_STOP_AND_COPY || !the->config->downtime_fixed || the->within_limit;
}

static PolicyDecision finish(const Case *the, PolicyAction action, PolicyReason reason) {
        return decision_new(the, last_action(the, action), reason);
}

static PolicyDecision below_limit(const Case *the) {
        const PolicyHistory *history = the->history;

        if (the->short_enough)
                return decision_new(the, POLICY_STOP_AND_COPY, POLICY_REASON_SHORT_ENOUGH);
        /* A guest whose writers are held back has waited long enough. */
        if (history->throttle_percent > 0)
                return decision_new(the, POLICY_STOP_AND_COPY, POLICY_REASON_THROTTLED);
        if (history->without_gain >= SHRINK_PATIENCE || (history->stalled && the->at_minimum))
                return decision_new(the, POLICY_STOP_AND_COPY, POLICY_REASON_NOT_SHRINKING);
        return go_on(the, POLICY_REASON_STILL_SHRINKING);
}

static uint64_t schedule_limit(const Case *the) {
        const PolicyConfig *config = the->config;
        uint64_t limit = 0;

        for (unsigned i = 0; i < config->n_schedule; i++) {
                const PolicyScheduleStep *step = &config->schedule[i];
                bool reached = step->stalls > 0 ? the->history->stalls >= step->stalls
                                                : the->round->elapsed_usec >= step->after_usec;

                if (reached && step->limit_usec > limit)
                        limit = step->limit_usec;
        }
        return limit;
}

static uint64_t ramp_limit(const Case *the) {
        const PolicyConfig *config = the->config;
        const PolicyHistory *history = the->history;
        unsigned steps = config->downtime_steps > 0 ? config->downtime_steps : 1;

        if (config->downtime_max_usec <= config->downtime_usec)
                return 0;
        if (history->rounds < config->downtime_after_round || (!config->downtime_always && !history->stalled))
                return 0;
        if (the->round->elapsed_usec - history->limit_changed_usec < config->downtime_interval_usec)
                return 0;
        if (!config->downtime_always &&
            the->expected_usec > percent_of(config->downtime_max_usec, config->downtime_reach_percent))
                return 0;
        return min_u64(config->downtime_max_usec,
                       history->limit_usec + (config->downtime_max_usec - config->downtime_usec) / steps);
}

/* The next step of the limit, if it is time for one. */
static bool raise_limit(const Case *the) {
        PolicyHistory *history = the->history;
        uint64_t limit;

        if (the->config->downtime_fixed || the->round->sample != POLICY_SAMPLE_ROUND ||
            history->limit_round == history->rounds)
                return false;
        limit = the->config->n_schedule > 0 ? schedule_limit(the) : ramp_limit(the);
        if (limit <= history->limit_usec)
                return false;
        history->limit_usec = limit;
        history->limit_changed_usec = the->round->elapsed_usec;
        history->limit_round = history->rounds;
        return true;
}

static bool can_throttle(const Case *the) {
        return the->config->throttle_max > 0 && !the->history->no_throttle;
}

static PolicyDecision throttle(const Case *the, unsigned percent, PolicyReason reason) {
        PolicyHistory *history = the->history;

        history->throttle_percent = percent < the->config->throttle_max ? percent : the->config->throttle_max;
        history->throttle_round = history->rounds;
        history->throttle_pending_bytes = the->round->pending_bytes;
        return decision_new(the, POLICY_THROTTLE, reason);
}

/* Writers are slow already: is it enough? Returns false once nothing is left to try. */
static bool throttle_more(const Case *the, PolicyDecision *ret_decision) {
        PolicyHistory *history = the->history;
        bool helped = the->round->pending_bytes <= percent_of(history->throttle_pending_bytes, THROTTLE_GAIN_PERCENT);

        if (helped || history->rounds == history->throttle_round) {
                if (helped) {
                        history->throttle_round = history->rounds;
                        history->throttle_pending_bytes = the->round->pending_bytes;
                }
                *ret_decision = go_on(the, POLICY_REASON_THROTTLED);
                return true;
        }
        if (history->throttle_percent >= the->config->throttle_max)
                return false;
        *ret_decision =
                throttle(the, history->throttle_percent + the->config->throttle_increment, POLICY_REASON_THROTTLE_MORE);
        return true;
}

/* Whether rounds alone get below the limit before the deadline: what is pending shrinks by the same factor each
 * round. */
static bool rounds_in_time(const Case *the) {
        const PolicyHistory *history = the->history;
        const PolicyRound *round = the->round;
        double bandwidth = (double) round->bandwidth_bytes_per_sec, pending = (double) round->pending_bytes;
        double factor = bandwidth > 0 ? (double) round->dirty_bytes_per_sec / bandwidth : 1;
        double usec = (double) round->elapsed_usec,
               limit = (double) history->limit_usec - (double) the->config->overhead_usec - (double) round->scan_usec;

        if (history->n > 1 && history->records[history->n - 2].pending_bytes > 0)
                factor = pending / (double) history->records[history->n - 2].pending_bytes;
        if (bandwidth <= 0 || factor >= 1 || limit <= 0)
                return false;
        for (unsigned i = 0; i < 1000 && pending * 1e6 / bandwidth > limit; i++) {
                usec += pending * 1e6 / bandwidth;
                pending *= factor;
                if (usec > (double) the->config->deadline_usec)
                        return false;
        }
        return usec + limit <= (double) percent_of(the->config->deadline_usec, 100 - DEADLINE_MARGIN_PERCENT / 2);
}

/* Finish in time, by the cheapest means that makes it. */
static PolicyDecision decide_deadline(const Case *the) {
        const PolicyHistory *history = the->history;
        const PolicyRound *round = the->round;
        PolicyAction action = the->config->deadline_action;
        uint64_t deadline = the->config->deadline_usec;
        uint64_t left = round->elapsed_usec < deadline ? deadline - round->elapsed_usec : 0;
        uint64_t need = percent_of(the->expected_usec, 100 + DEADLINE_MARGIN_PERCENT) + DEADLINE_MARGIN_USEC;
        PolicyDecision decision;

        /* Another round takes its time as well, and may leave as much. */
        if (round->sample == POLICY_SAMPLE_ROUND)
                need += policy_remaining_usec(round);

        /* In the first pass nothing has converged yet: stopping then would be the longest blackout of all. Giving up
         * takes no time: that waits for the deadline itself. */
        if (need >= left && (round->number > 1 || the->can_postcopy) && action != POLICY_ABORT &&
            may_finish(the, action))
                return finish(the, action, POLICY_REASON_DEADLINE_NEAR);
        if (round->sample != POLICY_SAMPLE_ROUND || rounds_in_time(the))
                return go_on(the, POLICY_REASON_IN_TIME);
        if (history->without_gain > 0 && raise_limit(the))
                return decision_new(the, POLICY_RAISE_DOWNTIME, POLICY_REASON_LATE);
        if (can_throttle(the)) {
                if (history->throttle_percent == 0)
                        return throttle(the, the->config->throttle_initial, POLICY_REASON_LATE);
                if (throttle_more(the, &decision))
                        return decision;
        }
        return go_on(the, POLICY_REASON_LATE);
}

/* Rounds do not help any more, and neither limit nor throttle is left. */
static PolicyDecision last_resort(const Case *the) {
        const PolicyConfig *config = the->config;
        PolicyAction action = config->stall_action;

        if (the->can_postcopy && config->postcopy_after_round == 0)
                action = POLICY_SWITCH_TO_POSTCOPY;
        if (action == POLICY_CONTINUE || !may_finish(the, action))
                return go_on(the, POLICY_REASON_ABOVE_LIMIT);
        if (config->stall_limit > 0) {
                if (the->history->stalls < config->stall_limit)
                        return go_on(the, POLICY_REASON_ABOVE_LIMIT);
                if (action == POLICY_ABORT)
                        return decision_new(the, action, POLICY_REASON_GIVEN_UP);
        }
        if (!the->at_minimum && action != POLICY_ABORT)
                return go_on(the, POLICY_REASON_WAIT_MINIMUM);
        return finish(the, action, config->stall_limit > 0 ? POLICY_REASON_GIVEN_UP : POLICY_REASON_STALLED);
}

static PolicyDecision above_limit(const Case *the) {
        const PolicyConfig *config = the->config;
        PolicyHistory *history = the->history;
        PolicyDecision decision;

        if (config->kind == POLICY_DEADLINE)
                return decide_deadline(the);
        if (the->round->sample != POLICY_SAMPLE_ROUND)
                return go_on(the, POLICY_REASON_ABOVE_LIMIT);
        if (raise_limit(the))
                return decision_new(the, POLICY_RAISE_DOWNTIME, POLICY_REASON_RAMP);
        if (can_throttle(the) && history->throttle_percent > 0 && throttle_more(the, &decision))
                return decision;
        if (!history->stalled)
                return go_on(the, POLICY_REASON_ABOVE_LIMIT);
        /* The ramp goes on while it can reach what is needed; then comes the next means. */
        if (!config->downtime_fixed && config->n_schedule == 0 && history->limit_usec < config->downtime_max_usec &&
            the->expected_usec <= percent_of(config->downtime_max_usec, config->downtime_reach_percent))
                return go_on(the, POLICY_REASON_ABOVE_LIMIT);
        if (can_throttle(the) && history->throttle_percent == 0)
                return throttle(the, config->throttle_initial, POLICY_REASON_THROTTLE_BEGIN);
        return last_resort(the);
}

/* More rounds bring nothing: that ends it, unless even so the limit is one that must be kept. Where nothing was ever
 * sent, nothing better will be known later. */
static bool idle_ends(const Case *the) {
        bool strict = the->config->downtime_fixed || the->config->kind == POLICY_MINIMAL_DOWNTIME;

        return !strict || the->within_limit || the->expected_usec == UINT64_MAX;
}

PolicyDecision policy_decide(const PolicyConfig *config, PolicyHistory *history) {
        const PolicyRound *round = &history->last;
        Case the = {
                .config = config,
                .history = history,
                .round = round,
                .expected_usec = policy_expected_downtime(config, round),
                .can_postcopy = config->postcopy && !history->no_postcopy,
                .at_minimum =
                        !history->stalled ||
                        round->pending_bytes <= percent_of(history->target_bytes, 100 + config->stall_margin_percent),
        };
        uint64_t fixed_usec = config->overhead_usec + round->scan_usec;
        bool round_ended = round->sample == POLICY_SAMPLE_ROUND;

        if (history->limit_usec == 0)
                history->limit_usec = config->downtime_usec;
        if (history->throttle_percent > config->throttle_max)
                return throttle(&the, config->throttle_max, POLICY_REASON_THROTTLE_EASED);
        the.short_enough = the.expected_usec - fixed_usec <= fixed_usec / 4;
        /* A limit below the fixed part cannot be met; what can be done is to add nothing to it. */
        the.within_limit = the.expected_usec <= history->limit_usec ||
                           (the.short_enough && config->kind != POLICY_MINIMAL_DOWNTIME);
        if (round->sample == POLICY_SAMPLE_IDLE && idle_ends(&the))
                return decision_new(&the, POLICY_STOP_AND_COPY, POLICY_REASON_IDLE);
        if (round_ended && the.within_limit)
                return below_limit(&the);
        if (config->deadline_usec > 0 && round->elapsed_usec >= config->deadline_usec &&
            may_finish(&the, config->deadline_action))
                return finish(&the, config->deadline_action, POLICY_REASON_DEADLINE);
        if (the.expected_usec == UINT64_MAX)
                return go_on(&the, POLICY_REASON_NO_BANDWIDTH);
        if (round_ended && the.can_postcopy && config->postcopy_after_round > 0 &&
            history->rounds >= config->postcopy_after_round)
                return decision_new(&the, POLICY_SWITCH_TO_POSTCOPY, POLICY_REASON_ONE_ROUND);
        return above_limit(&the);
}
