/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A model of a migration for the policies of driver/policy: a guest that writes, a link, and the engine's rounds
 * between them. Pure: times are computed, nothing waits. docs/simulate.md says what the model contains and how far it
 * can be trusted.
 */

#include <stdbool.h>
#include <stdint.h>

#include "driver/policy/policy.h"

#define SIMULATION_SETS_MAX 4
#define SIMULATION_PHASES_MAX 512

/* Memory that is written evenly: each page as likely as any other. */
typedef struct SimulationSet {
        uint64_t bytes;
        double share; /* of all writes */
} SimulationSet;

/* For so long the guest writes so much. Phases come again from first_again on. */
typedef struct SimulationPhase {
        uint64_t usec;
        double writes_per_sec; /* bytes: pages written, times their size, before throttling */
        double bandwidth_bytes_per_sec; /* 0: the link's */
} SimulationPhase;

typedef struct SimulationGuest {
        uint64_t size_bytes, resident_bytes;
        SimulationSet sets[SIMULATION_SETS_MAX];
        unsigned n_sets;
        SimulationPhase phases[SIMULATION_PHASES_MAX];
        unsigned n_phases, first_again;
        uint64_t stopcopy_bytes;
        unsigned scan_threads; /* of the source's engine; 0: 1 */
} SimulationGuest;

typedef struct SimulationLink {
        double bandwidth_bytes_per_sec;
        uint64_t latency_usec; /* one way */
        double jitter;         /* 0..1: each round gets the bandwidth times 1 - jitter .. 1 + jitter */
} SimulationLink;

typedef struct SimulationRound {
        uint64_t begin_usec, end_usec;
        uint64_t sent_bytes, pending_bytes; /* in the round; when it ended */
        PolicyDecision decision;
} SimulationRound;

typedef struct SimulationResult {
        PolicyDecision last;        /* what ended it */
        bool finished;              /* the guest runs at the destination */
        bool postcopy;
        uint64_t total_usec;        /* until all memory is there, or it was given up */
        uint64_t blackout_usec;
        uint64_t sent_bytes;
        uint64_t rounds;
        unsigned throttle_max_percent;
        double lost_usec;           /* work that the guest did not do: stopped, throttled, waiting for pages */
} SimulationResult;

/* Called for each round, for the switchover and for postcopy's end. */
typedef void (*SimulationFunc)(const SimulationRound *round, void *userdata);

/* Bytes of memory that are dirty after writing for usec from when on, with this throttle. */
double simulation_dirty_bytes(const SimulationGuest *guest, uint64_t when_usec, uint64_t usec,
                              unsigned throttle_percent);

/* Runs one migration. The same arguments give the same result. func may be NULL. */
SimulationResult simulation_run(const SimulationGuest *guest, const SimulationLink *link, const PolicyConfig *policy,
                                SimulationFunc func, void *userdata);
