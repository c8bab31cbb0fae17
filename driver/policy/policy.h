/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What to do next in a migration: a pure decision over the history of rounds. No clock, no I/O, no allocation; times
 * are the caller's, so the same code decides real migrations and simulated ones.
 *
 * Life: policy_config_init() with a built-in policy, changed by policy_config_set() (policy_config.h); a zeroed
 * PolicyHistory. For each round policy_add() folds it into the history, and policy_decide() says what to do, as often
 * as it answers RAISE_DOWNTIME, or THROTTLE because of THROTTLE_EASED. The caller does it, or says with policy_cannot()
 * that it cannot.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum PolicyKind {
        POLICY_BALANCED,         /* ramp of the downtime limit, then throttle, then postcopy where allowed, then stop */
        POLICY_MINIMAL_DOWNTIME, /* never above the limit; abort on the deadline */
        POLICY_POSTCOPY,         /* one round, then postcopy; as balanced where postcopy is not allowed */
        POLICY_DEADLINE,         /* finish in time, by the cheapest means that makes it */
        POLICY_NEVER_THROTTLE,   /* balanced, but writers keep their speed */
        _POLICY_KIND_MAX,
        _POLICY_KIND_INVALID = -22,
} PolicyKind;

/* "balanced", "minimal-downtime", "postcopy", "deadline", "never-throttle". */
const char *policy_kind_to_string(PolicyKind kind);
/* _POLICY_KIND_INVALID for no policy's name. */
PolicyKind policy_kind_from_string(const char *name);

typedef enum PolicyAction {
        POLICY_CONTINUE,
        POLICY_RAISE_DOWNTIME, /* the limit is limit_usec from now on */
        POLICY_THROTTLE,       /* writers are slowed down by throttle_percent from now on */
        POLICY_SWITCH_TO_POSTCOPY,
        POLICY_STOP_AND_COPY,
        POLICY_ABORT,
        _POLICY_ACTION_MAX,
        _POLICY_ACTION_INVALID = -22,
} PolicyAction;

/* "continue", "raise-downtime", "throttle", "postcopy", "stop-and-copy", "abort". */
const char *policy_action_to_string(PolicyAction action);
PolicyAction policy_action_from_string(const char *name);

#define POLICY_SCHEDULE_MAX 16

/* A step of a schedule: once so many rounds in a row have stalled, or so much time has passed, the limit is at least
 * this. */
typedef struct PolicyScheduleStep {
        unsigned stalls;     /* 0: counts time */
        uint64_t after_usec;
        uint64_t limit_usec;
} PolicyScheduleStep;

typedef struct PolicyConfig {
        PolicyKind kind;

        /* the downtime limit */
        uint64_t downtime_usec;          /* to begin with */
        uint64_t downtime_max_usec;      /* the ramp's end; at most downtime_usec: no ramp */
        unsigned downtime_steps;         /* equal steps from the one to the other */
        uint64_t downtime_interval_usec; /* at least so long between two steps */
        unsigned downtime_after_round;   /* no step before this round has ended */
        bool downtime_always;            /* steps come with time alone; false: only while rounds stall */
        /* a stalled migration that needs more than this share of the maximum skips the ramp */
        unsigned downtime_reach_percent;
        PolicyScheduleStep schedule[POLICY_SCHEDULE_MAX]; /* instead of the ramp, where n_schedule > 0 */
        unsigned n_schedule;
        bool downtime_fixed;             /* the user named the limit: no stop exceeds it, not at the deadline either */

        /* what a stall is */
        uint64_t stall_window_usec;      /* progress is measured against rounds that ended at least so long ago */
        /* less than this gained is no progress; nearer than this to the best is as good */
        unsigned stall_margin_percent;
        unsigned stall_decay_percent;    /* patience for the best after each time that it did not come again */
        /* so many stalled rounds, with everything else tried, end the attempts; 0: patience alone does */
        unsigned stall_limit;
        PolicyAction stall_action;       /* how: POSTCOPY, STOP_AND_COPY, ABORT; CONTINUE: never */

        /* throttling */
        unsigned throttle_initial, throttle_increment, throttle_max; /* percent; max 0: never */

        /* postcopy */
        bool postcopy;                   /* allowed */
        unsigned postcopy_after_round;   /* switch once this round has ended; 0: when all else has failed */

        /* the end of all patience */
        uint64_t deadline_usec;          /* since the start; 0: none */
        /* POSTCOPY, STOP_AND_COPY or ABORT; POSTCOPY means STOP_AND_COPY where it is not allowed */
        PolicyAction deadline_action;

        uint64_t overhead_usec;          /* stop, device state's loading, resume, without the last scan: as measured */
} PolicyConfig;

typedef enum PolicySample {
        POLICY_SAMPLE_ROUND,    /* a round has ended: exact numbers */
        POLICY_SAMPLE_IDLE,     /* nothing was left to send and the guest has written nothing */
        POLICY_SAMPLE_ESTIMATE, /* in the middle of a round */
} PolicySample;

/* What is known at a moment. */
typedef struct PolicyRound {
        PolicySample sample;
        uint64_t number;                  /* of the round that begins now; the first ends as 2 */
        uint64_t elapsed_usec;            /* since the first byte */
        uint64_t pending_bytes;           /* what may move while the guest runs, or after */
        uint64_t stopcopy_bytes;          /* what moves only while it is stopped */
        uint64_t scan_usec;               /* what the last exact sync took: the last one of all lies in the blackout */
        uint64_t bandwidth_bytes_per_sec; /* over sending time; 0: not known */
        uint64_t dirty_bytes_per_sec;     /* over the last round */
} PolicyRound;

typedef enum PolicyReason {
        POLICY_REASON_NONE,            /* nothing has been decided yet */
        POLICY_REASON_NO_BANDWIDTH,    /* nothing has been sent: nothing can be expected */
        POLICY_REASON_ABOVE_LIMIT,
        POLICY_REASON_STILL_SHRINKING, /* below the limit, but another round pays */
        POLICY_REASON_SHORT_ENOUGH,    /* what is pending costs less than the fixed part */
        POLICY_REASON_NOT_SHRINKING,   /* below the limit, and rounds have stopped to help */
        POLICY_REASON_IDLE,
        POLICY_REASON_RAMP,            /* stalled, or it is time: the next step of the limit */
        POLICY_REASON_THROTTLE_BEGIN,
        POLICY_REASON_THROTTLE_MORE,
        POLICY_REASON_THROTTLE_EASED,  /* the configuration has changed, and allows less, or no throttle (0 percent) */
        POLICY_REASON_THROTTLED,       /* waits for what throttling brings */
        POLICY_REASON_ONE_ROUND,       /* postcopy after so many rounds, as configured */
        POLICY_REASON_STALLED,         /* all else has failed */
        POLICY_REASON_WAIT_MINIMUM,    /* stalled; waits for a round as good as the best */
        POLICY_REASON_DEADLINE,        /* the time is up */
        POLICY_REASON_DEADLINE_NEAR,   /* what is left just fits into the time that is left */
        POLICY_REASON_IN_TIME,         /* rounds alone will make it in time */
        POLICY_REASON_LATE,            /* rounds alone will not make it in time */
        POLICY_REASON_GIVEN_UP,        /* too many stalled rounds */
        POLICY_REASON_USER,            /* the user asked for it: set by the caller */
        POLICY_REASON_PAUSED,          /* the guest does not run: set by the caller */
        _POLICY_REASON_MAX,
} PolicyReason;

typedef struct PolicyDecision {
        PolicyAction action;
        PolicyReason reason;
        uint64_t expected_downtime_usec; /* if it stopped now; UINT64_MAX: not known */
        uint64_t limit_usec;             /* in force from now on */
        unsigned throttle_percent;       /* in force from now on */
} PolicyDecision;

#define POLICY_HISTORY_MAX 64

/* A finished round, or several old ones of which the best was kept. */
typedef struct PolicyRecord {
        uint64_t elapsed_usec, pending_bytes;
} PolicyRecord;

/* The history of rounds, folded: bounded however long it gets. Zeroed to begin with; only policy.c changes it. */
typedef struct PolicyHistory {
        PolicyRecord records[POLICY_HISTORY_MAX]; /* the newest is records[n - 1] */
        unsigned n;
        uint64_t rounds;              /* that have ended */
        unsigned without_gain;        /* newest rounds in a row that left no less than the best before them */
        PolicyRound last;
        uint64_t limit_usec;          /* 0: not begun */
        uint64_t limit_changed_usec;
        uint64_t limit_round;         /* value of rounds when the limit was raised: once for each is enough */
        unsigned throttle_percent;
        uint64_t throttle_round, throttle_pending_bytes; /* when it was changed or last found to help */
        bool no_throttle, no_postcopy; /* policy_cannot() */
        bool stalled;
        unsigned stalls;              /* stalled rounds in a row */
        uint64_t stall_from_usec;     /* rounds from here on are samples */
        uint64_t target_bytes;        /* as good as this is good enough for a switch */
        uint64_t patience_usec, patience_until_usec;
} PolicyHistory;

/* Folds the moment into the history. */
void policy_add(const PolicyConfig *config, PolicyHistory *history, const PolicyRound *round);
/* Decides from the history, which must have a moment. Deterministic. The limit and the throttle that it decides count
 * as done, so it can be asked again for the same moment: after RAISE_DOWNTIME and THROTTLE_EASED it should be. */
PolicyDecision policy_decide(const PolicyConfig *config, PolicyHistory *history);

/* The caller could not do it (THROTTLE, SWITCH_TO_POSTCOPY): it will not be asked for again. No throttle is in force
 * from now on: one that was there must be lifted by the caller. */
void policy_cannot(PolicyHistory *history, PolicyAction action);
/* The configuration has changed in mid-job, e.g. migrate-setmaxdowntime: the limit begins anew. A throttle in force
 * stays as far as the new configuration allows it. */
void policy_reconfigured(PolicyHistory *history);

/* Overhead and scan, plus all that is pending over the bandwidth, microseconds; UINT64_MAX without a bandwidth. */
uint64_t policy_expected_downtime(const PolicyConfig *config, const PolicyRound *round);
/* What is pending over the bandwidth, with the guest running, microseconds; UINT64_MAX: not known. */
uint64_t policy_remaining_usec(const PolicyRound *round);

/* A sentence in English for logs and job statistics. */
const char *policy_reason_to_string(PolicyReason reason);
