/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * The engine's callbacks fold each round into the history (decide_note()), so none is lost however long the fiber
 * sleeps. The fiber that performs the migration asks the policy whenever something has changed, and once a second
 * besides: in the middle of a long round only deadlines count. What the user says during the job
 * (migrate-setmaxdowntime, migrate-postcopy, suspend) comes before any policy.
 */

#include "driver/migration/decide.h"

#include <inttypes.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"
#include "driver/base/units.h"
#include "driver/migration/job_record.h"
#include "driver/migration/policy_source.h"
#include "driver/migration/round_log.h"

#define OVERHEAD_USEC (12 * USEC_PER_MSEC) /* stop, load devices, resume, before anything was measured: 8-18 ms */
#define OVERHEAD_MIN_USEC (2 * USEC_PER_MSEC)
#define OVERHEAD_MAX_USEC (100 * USEC_PER_MSEC)
#define LEARN_SENDING_USEC (50 * USEC_PER_MSEC) /* a longer last copy hides what the rest took */
#define DEVICE_STATE_BYTES (512 * KIB) /* the engine's own estimate */
#define DEVICE_STATE_MIN_BYTES (64 * KIB)
#define WAKE_USEC (1 * USEC_PER_SEC)

char *decide_describe(const PolicyDecision *decision) {
        const char *reason = policy_reason_to_string(decision->reason);

        if (decision->action == POLICY_THROTTLE)
                return g_strdup_printf("%s: %s (%u %%)", policy_action_to_string(decision->action), reason,
                                       decision->throttle_percent);
        if (decision->reason == POLICY_REASON_NONE || decision->expected_downtime_usec == UINT64_MAX)
                return g_strdup_printf("%s: %s", policy_action_to_string(decision->action), reason);
        return g_strdup_printf("%s: %s (expected downtime %" PRIu64 " ms, limit %" PRIu64 " ms)",
                               policy_action_to_string(decision->action), reason,
                               decision->expected_downtime_usec / USEC_PER_MSEC, decision->limit_usec / USEC_PER_MSEC);
}

/* virsh's own flags come before what any policy says. */
static void apply_flags(Migration *migration) {
        const MigrationParams *params = &migration->params;
        PolicyConfig *config = &migration->policy;

        config->postcopy = params->flags & VIR_MIGRATE_POSTCOPY;
        if (params->flags & VIR_MIGRATE_AUTO_CONVERGE) {
                if (config->throttle_max == 0)
                        config->throttle_max = 99;
                if (params->throttle_initial > 0)
                        config->throttle_initial = params->throttle_initial;
                config->throttle_max = MAX(config->throttle_max, params->throttle_initial);
                if (params->throttle_increment > 0)
                        config->throttle_increment = params->throttle_increment;
        }
}

/* migrate-setmaxdowntime: what the user names is neither raised nor exceeded. */
static void follow_max_downtime(Migration *migration) {
        uint64_t usec = migration->domain->max_downtime_msec * USEC_PER_MSEC;
        PolicyConfig *config = &migration->policy;

        if (usec == 0 || (config->downtime_fixed && config->downtime_usec == usec))
                return;
        config->downtime_usec = usec;
        config->downtime_fixed = true;
        policy_reconfigured(&migration->history);
        migration->news = migration->history.rounds > 0;
}

int decide_configure(Migration *migration, GError **reterr) {
        const Domain *domain = migration->domain;
        PolicySource source = {
                .parameter = migration->params.policy,
                .metadata = domain->live ? domain->live->metadata : NULL,
                .fallback = migration->context->policy,
        };
        int r = policy_source_read(&source, &migration->policy, reterr);

        if (r < 0)
                return r;
        migration->policy.overhead_usec =
                migration->context->overhead_usec > 0 ? migration->context->overhead_usec : OVERHEAD_USEC;
        apply_flags(migration);
        follow_max_downtime(migration);
        return 0;
}

int decide_set_policy(Migration *migration, const char *text, GError **reterr) {
        g_autofree char *before = g_steal_pointer(&migration->params.policy);
        PolicyConfig config = migration->policy;
        int r;

        migration->params.policy = g_strdup(text);
        r = decide_configure(migration, reterr);
        if (r < 0) {
                g_free(migration->params.policy);
                migration->params.policy = g_steal_pointer(&before);
                migration->policy = config;
                return r;
        }
        policy_reconfigured(&migration->history);
        migration->news = migration->history.rounds > 0;
        fiber_cond_broadcast(&migration->changed);
        job_record_changed(migration->record, DRIVER_JOB_PHASE);
        return 0;
}

void decide_begin(Migration *migration) {
        migration->copying_usec = clock_monotonic_usec();
        round_log_begin(migration);
}

static PolicyRound round_of(const Migration *migration, const EngineStats *stats, PolicySample sample) {
        return (PolicyRound) {
                .sample = sample,
                .number = stats->round,
                .elapsed_usec = clock_monotonic_usec() - migration->copying_usec,
                .pending_bytes = stats->precopy_bytes + stats->postcopy_bytes,
                .stopcopy_bytes = stats->stopcopy_bytes,
                .scan_usec = stats->scan_usec,
                .bandwidth_bytes_per_sec = migration_bandwidth(migration, stats),
                .dirty_bytes_per_sec = stats->dirty_bytes_per_sec,
        };
}

void decide_note(Migration *migration, const EngineStats *stats, bool idle) {
        PolicyRound round;

        if (migration->copying_usec == 0)
                decide_begin(migration);
        round = round_of(migration, stats, idle ? POLICY_SAMPLE_IDLE : POLICY_SAMPLE_ROUND);
        policy_add(&migration->policy, &migration->history, &round);
        migration->stats = *stats;
        migration->news = true;
        if (!idle)
                round_log_add(migration, stats, &round);
}

static void decided(Migration *migration, const PolicyDecision *decision) {
        bool same = decision->action == migration->decision.action && decision->reason == migration->decision.reason;

        migration->decision = *decision;
        if (decision->action != POLICY_CONTINUE || !same) {
                g_autofree char *words = decide_describe(decision);

                log_debug("migration of '%s': round %" PRIu64 ": %s", migration->domain->name, migration->iterations,
                          words);
                round_log_decision(migration, decision);
        }
        job_record_changed(migration->record, DRIVER_JOB_DECISION);
}

/* What the user or the guest's state has decided already. */
static bool decided_by_user(Migration *migration, PolicyAction *ret_action) {
        const PolicyRound *last = &migration->history.last;
        PolicyDecision decision = {
                .expected_downtime_usec =
                        migration->history.n > 0 ? policy_expected_downtime(&migration->policy, last) : UINT64_MAX,
                .limit_usec = migration->history.limit_usec,
                .throttle_percent = migration->history.throttle_percent,
        };

        if (migration->postcopy_requested) {
                decision.action = POLICY_SWITCH_TO_POSTCOPY;
                decision.reason = POLICY_REASON_USER;
        } else if (migration->domain->state == VIR_DOMAIN_PAUSED && migration->history.rounds > 0) {
                /* It loses nothing by stopping now. */
                decision.action = POLICY_STOP_AND_COPY;
                decision.reason = POLICY_REASON_PAUSED;
        } else
                return false;
        decided(migration, &decision);
        *ret_action = decision.action;
        return true;
}

/* What could not be set must not leave an earlier throttle behind. */
static int set_throttle(Migration *migration, unsigned percent, unsigned before) {
        int r = migration_throttle(migration, percent);

        if (r < 0 && before > 0 && percent > 0)
                (void) migration_throttle(migration, 0);
        return r;
}

/* Asks the policy until it wants nothing more from this moment. 1: the guest shall be stopped. */
static int ask(Migration *migration, PolicyAction *ret_action, GError **reterr) {
        bool news = migration->news;

        migration->news = false;
        if (!news) {
                PolicyRound round = round_of(migration, engine_stats(migration->engine), POLICY_SAMPLE_ESTIMATE);

                policy_add(&migration->policy, &migration->history, &round);
        }
        for (;;) {
                unsigned throttle = migration->history.throttle_percent;
                PolicyDecision decision = policy_decide(&migration->policy, &migration->history);

                /* In the middle of a round only what ends it is news. */
                if (!news && decision.action == POLICY_CONTINUE)
                        return 0;
                if (decision.action == POLICY_THROTTLE &&
                    set_throttle(migration, decision.throttle_percent, throttle) < 0) {
                        policy_cannot(&migration->history, POLICY_THROTTLE);
                        continue;
                }
                decided(migration, &decision);
                switch (decision.action) {
                case POLICY_RAISE_DOWNTIME:
                        continue;
                case POLICY_THROTTLE:
                        if (decision.reason == POLICY_REASON_THROTTLE_EASED)
                                continue;
                        return 0;
                case POLICY_STOP_AND_COPY:
                case POLICY_SWITCH_TO_POSTCOPY:
                        *ret_action = decision.action;
                        return 1;
                case POLICY_ABORT: {
                        g_autofree char *words = decide_describe(&decision);

                        return error_set(reterr, VIR_ERR_OPERATION_ABORTED,
                                         _("migration of domain '%s' was given up by its policy '%s': %s"),
                                         migration->domain->name, policy_kind_to_string(migration->policy.kind), words);
                }
                default:
                        return 0;
                }
        }
}

int decide_precopy(Migration *migration, PolicyAction *ret_action, GError **reterr) {
        for (;;) {
                int r = migration_check(migration, reterr);

                if (r < 0)
                        return r;
                if (migration->paused) {
                        fiber_cond_wait(&migration->changed, WAKE_USEC);
                        continue;
                }
                follow_max_downtime(migration);
                if (decided_by_user(migration, ret_action))
                        return 0;
                if (migration->history.rounds > 0 || migration->news || migration->policy.deadline_usec > 0) {
                        r = ask(migration, ret_action, reterr);
                        if (r != 0)
                                return r < 0 ? r : 0;
                }
                if (!migration->news)
                        fiber_cond_wait(&migration->changed, WAKE_USEC);
        }
}

/* QEMU's stream is its devices and its own RAM; the engine counts the latter for itself. */
static void learn_device_state(Migration *migration) {
        uint64_t *estimate = &migration->context->device_state_bytes, was = *estimate ?: DEVICE_STATE_BYTES;
        uint64_t stopcopy = migration->history.last.stopcopy_bytes, stream, private;

        stream = migration->engine ? engine_stats(migration->engine)->device_state_bytes : 0;
        private = stopcopy > was ? stopcopy - was : 0;
        if (stream > 0)
                *estimate = MAX(stream > private ? stream - private : 0, DEVICE_STATE_MIN_BYTES);
}

void decide_learn(Migration *migration) {
        uint64_t *overhead = &migration->context->overhead_usec, was = *overhead ?: OVERHEAD_USEC;
        uint64_t expected = migration->decision.expected_downtime_usec, blackout = migration->blackout_usec;
        uint64_t scan = migration->history.last.scan_usec, rest, measured;

        learn_device_state(migration);
        if (blackout == 0 || migration->decision.action != POLICY_STOP_AND_COPY || expected == UINT64_MAX)
                return;
        /* A guest that was paused before has no switchover, and disks end their copy within the blackout. */
        if (migration->decision.reason == POLICY_REASON_PAUSED || migration->storage.n_disks > 0)
                return;
        rest = expected > migration->policy.overhead_usec ? expected - migration->policy.overhead_usec : 0;
        if (rest > scan && rest - scan >= LEARN_SENDING_USEC)
                return;
        measured = blackout > rest ? blackout - rest : 0;
        *overhead = (was * 3 + CLAMP(measured, OVERHEAD_MIN_USEC, OVERHEAD_MAX_USEC)) / 4;
}
