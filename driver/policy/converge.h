/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * When to stop the guest: a pure decision over the history of rounds. No clock, no I/O, no allocation.
 *
 * The expected downtime is what is pending over the bandwidth, plus the fixed cost of stopping, moving the device state
 * and resuming. Below the limit the guest may stop; it is stopped when another round would not make the blackout much
 * shorter.
 */

#include <stdbool.h>
#include <stdint.h>

#define CONVERGE_HISTORY_MAX 64

typedef struct ConvergeConfig {
        uint64_t downtime_limit_usec; /* migrate-setmaxdowntime */
        uint64_t overhead_usec;       /* stop, device state, resume */
} ConvergeConfig;

/* One round, as it was when its exact sync had been done. */
typedef struct ConvergeRound {
        uint64_t pending_bytes;
        uint64_t bandwidth_bytes_per_sec; /* over sending time; 0: not known */
        bool idle;                        /* the guest has written nothing since the last sync */
} ConvergeRound;

typedef struct ConvergeHistory {
        ConvergeRound rounds[CONVERGE_HISTORY_MAX]; /* the newest is rounds[n - 1] */
        unsigned n;
} ConvergeHistory;

typedef enum ConvergeAction {
        CONVERGE_CONTINUE,
        CONVERGE_STOP_AND_COPY,
} ConvergeAction;

typedef enum ConvergeReason {
        CONVERGE_NO_BANDWIDTH,   /* nothing has been sent yet: nothing can be expected */
        CONVERGE_ABOVE_LIMIT,    /* expected downtime above the limit */
        CONVERGE_STILL_SHRINKING, /* below the limit, but another round pays */
        CONVERGE_SHORT_ENOUGH,   /* the pending data costs less than the fixed overhead */
        CONVERGE_NOT_SHRINKING,  /* below the limit, and rounds have stopped to help */
        CONVERGE_IDLE,           /* nothing is written any more */
        _CONVERGE_REASON_MAX,
} ConvergeReason;

typedef struct ConvergeDecision {
        ConvergeAction action;
        ConvergeReason reason;
        uint64_t expected_downtime_usec; /* UINT64_MAX: not known */
} ConvergeDecision;

/* A sentence in English for logs and job statistics. */
const char *converge_reason_to_string(ConvergeReason reason);

/* Forgets the oldest round when there is no room. An idle entry replaces an idle one. */
void converge_add(ConvergeHistory *history, const ConvergeRound *round);
/* Overhead plus pending over bandwidth, microseconds; UINT64_MAX without a bandwidth. */
uint64_t converge_expected_downtime(const ConvergeConfig *config, const ConvergeRound *round);
/* history->n must not be 0. */
ConvergeDecision converge_decide(const ConvergeConfig *config, const ConvergeHistory *history);
