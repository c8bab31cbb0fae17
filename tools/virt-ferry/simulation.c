/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/virt-ferry/simulation.h"

#include <math.h>

#include "driver/base/clock.h"

#define PAGE_BYTES 4096.0
#define WIRE_OVERHEAD 1.002          /* headers */
#define SCAN_USEC_PER_BYTE (0.013 / PAGE_BYTES) /* 13 ns for each page table entry and thread, as measured */
#define FAULT_USEC 50.0              /* a fault that another thread answers, beside the network */
#define TICK_USEC USEC_PER_SEC       /* the daemon looks once a second in the middle of a round */
#define END_OF_TIME (UINT64_C(30) * 86400 * USEC_PER_SEC)

typedef struct Run {
        const SimulationGuest *guest;
        const SimulationLink *link;
        const PolicyConfig *policy;
        SimulationFunc func;
        void *userdata;
        PolicyHistory history;
        SimulationResult result;
        uint64_t now_usec, random;
} Run;

/* ---- the guest ---- */

static const SimulationPhase *phase_at(const SimulationGuest *guest, uint64_t when_usec, uint64_t *ret_left_usec) {
        uint64_t cycle = 0;
        unsigned i = 0;

        for (unsigned j = guest->first_again; j < guest->n_phases; j++)
                cycle += guest->phases[j].usec;
        for (; i < guest->n_phases && when_usec >= guest->phases[i].usec; i++)
                when_usec -= guest->phases[i].usec;
        if (i == guest->n_phases) {
                when_usec %= cycle;
                for (i = guest->first_again; when_usec >= guest->phases[i].usec; i++)
                        when_usec -= guest->phases[i].usec;
        }
        *ret_left_usec = guest->phases[i].usec - when_usec;
        return &guest->phases[i];
}

/* Takes as many whole cycles as there are out of a time that begins in the part that comes again. Returns what is
 * written in them. */
static double written_in_cycles(const SimulationGuest *guest, uint64_t when_usec, uint64_t *usec) {
        uint64_t before = 0, cycle = 0, times;
        double bytes = 0;

        for (unsigned i = 0; i < guest->n_phases; i++) {
                if (i < guest->first_again) {
                        before += guest->phases[i].usec;
                        continue;
                }
                cycle += guest->phases[i].usec;
                bytes += guest->phases[i].writes_per_sec * (double) guest->phases[i].usec / 1e6;
        }
        if (when_usec < before || cycle == 0)
                return 0;
        times = *usec / cycle;
        *usec %= cycle;
        return (double) times * bytes;
}

/* Bytes written, however often the same. A long time is not walked through phase by phase. */
static double written_bytes(const SimulationGuest *guest, uint64_t when_usec, uint64_t usec,
                            unsigned throttle_percent) {
        double bytes = 0;

        while (usec > 0) {
                const SimulationPhase *phase;
                uint64_t left;

                bytes += written_in_cycles(guest, when_usec, &usec);
                phase = phase_at(guest, when_usec, &left);
                if (left > usec)
                        left = usec;
                bytes += phase->writes_per_sec * (double) left / 1e6;
                when_usec += left;
                usec -= left;
        }
        return bytes * (100 - throttle_percent) / 100;
}

double simulation_dirty_bytes(const SimulationGuest *guest, uint64_t when_usec, uint64_t usec,
                              unsigned throttle_percent) {
        double written = written_bytes(guest, when_usec, usec, throttle_percent), dirty = 0;

        /* n pages of a set of N, each as likely as any other, leave N * (1 - e^(-n/N)) different ones. */
        for (unsigned i = 0; i < guest->n_sets; i++) {
                double set = (double) guest->sets[i].bytes;

                if (set > 0)
                        dirty += set * -expm1(-written * guest->sets[i].share / set);
        }
        return dirty;
}

/* ---- the link ---- */

/* Of the next round: the same sequence in each run. */
static double link_bandwidth(Run *run) {
        uint64_t left;
        double base = phase_at(run->guest, run->now_usec, &left)->bandwidth_bytes_per_sec;

        run->random = run->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (base > 0 ? base : run->link->bandwidth_bytes_per_sec) *
               (1 + run->link->jitter * (2 * (double) (run->random >> 11) / (double) (UINT64_C(1) << 53) - 1));
}

static uint64_t sending_usec(double bytes, double bandwidth) {
        double usec = bytes * WIRE_OVERHEAD * 1e6 / bandwidth;

        return usec > (double) END_OF_TIME ? END_OF_TIME : (uint64_t) usec;
}

static uint64_t scan_usec(const Run *run) {
        unsigned threads = run->guest->scan_threads > 0 ? run->guest->scan_threads : 1;

        return (uint64_t) ((double) run->guest->resident_bytes * SCAN_USEC_PER_BYTE / threads);
}

/* ---- the migration ---- */

static void tell(Run *run, uint64_t begin_usec, uint64_t sent_bytes, uint64_t pending_bytes,
                 const PolicyDecision *decision) {
        if (run->func)
                run->func(&(SimulationRound){ .begin_usec = begin_usec,
                                              .end_usec = run->now_usec,
                                              .sent_bytes = sent_bytes,
                                              .pending_bytes = pending_bytes,
                                              .decision = *decision },
                          run->userdata);
}

static bool ends(const PolicyDecision *decision) {
        return decision->action == POLICY_STOP_AND_COPY || decision->action == POLICY_SWITCH_TO_POSTCOPY ||
               decision->action == POLICY_ABORT;
}

static PolicyDecision decide(Run *run, const PolicyRound *round) {
        PolicyDecision decision;

        policy_add(run->policy, &run->history, round);
        do
                decision = policy_decide(run->policy, &run->history);
        while (decision.action == POLICY_RAISE_DOWNTIME);
        if (decision.throttle_percent > run->result.throttle_max_percent)
                run->result.throttle_max_percent = decision.throttle_percent;
        return decision;
}

/* In the middle of a round only a deadline counts. Returns how long the round may go on; *ret_decision is what ends it
 * then, if anything does. */
static uint64_t look_inside(Run *run, const PolicyRound *round, double bandwidth, uint64_t usec,
                            PolicyDecision *ret_decision) {
        uint64_t step = usec / 1000 > TICK_USEC ? usec / 1000 : TICK_USEC;

        for (uint64_t at = step; at < usec; at += step) {
                PolicyRound estimate = *round;
                double sent = (double) at * bandwidth / 1e6;

                estimate.sample = POLICY_SAMPLE_ESTIMATE;
                estimate.elapsed_usec = run->now_usec + at;
                estimate.pending_bytes =
                        sent < (double) round->pending_bytes ? round->pending_bytes - (uint64_t) sent : 0;
                estimate.bandwidth_bytes_per_sec = (uint64_t) bandwidth;
                *ret_decision = decide(run, &estimate);
                if (ends(ret_decision))
                        return at;
        }
        return usec;
}

/* One round. Returns false once it was the last. */
static bool run_round(Run *run, PolicyRound *round, PolicyDecision *ret_decision) {
        double bandwidth = link_bandwidth(run);
        uint64_t begin = run->now_usec,
                 full = sending_usec((double) round->pending_bytes, bandwidth) + 2 * run->link->latency_usec;
        unsigned throttle = run->history.throttle_percent;
        PolicyDecision inside = { 0 };
        uint64_t usec, sent;
        double dirty;

        /* With nothing to send the engine waits until there is something. */
        if (round->sample == POLICY_SAMPLE_IDLE && full < TICK_USEC)
                full = TICK_USEC;
        usec = look_inside(run, round, bandwidth, full, &inside);
        sent = usec < full ? (uint64_t) ((double) usec * bandwidth / 1e6) : round->pending_bytes;
        dirty = simulation_dirty_bytes(run->guest, begin, usec, throttle);
        run->now_usec += usec + scan_usec(run);
        run->result.sent_bytes += sent;
        run->result.lost_usec += (double) usec * throttle / 100;
        round->pending_bytes =
                round->pending_bytes - (sent < round->pending_bytes ? sent : round->pending_bytes) + (uint64_t) dirty;
        round->number++;
        round->elapsed_usec = run->now_usec;
        round->scan_usec = scan_usec(run);
        round->bandwidth_bytes_per_sec = (uint64_t) bandwidth;
        round->dirty_bytes_per_sec = usec > 0 ? (uint64_t) (dirty * 1e6 / (double) usec) : 0;
        round->sample = round->pending_bytes < (uint64_t) PAGE_BYTES ? POLICY_SAMPLE_IDLE : POLICY_SAMPLE_ROUND;
        *ret_decision = usec < full ? inside : decide(run, round);
        run->result.rounds++;
        tell(run, begin, sent, round->pending_bytes, ret_decision);
        return !ends(ret_decision);
}

/* Pages that the guest asks for before they were pushed: each is waited for. Pushing takes usec, at an even pace; a
 * page of a set is asked for with the set's writes over its size as rate. */
static double waiting_usec(const Run *run, double pending_bytes, uint64_t usec, double bandwidth) {
        double waits = 0, per_fault = FAULT_USEC + 2 * (double) run->link->latency_usec + PAGE_BYTES * 1e6 / bandwidth;
        double all = simulation_dirty_bytes(run->guest, 0, END_OF_TIME / 1000, 0);

        for (unsigned i = 0; i < run->guest->n_sets && all > 0 && usec > 0; i++) {
                double set = (double) run->guest->sets[i].bytes, pages = pending_bytes * set / all / PAGE_BYTES;
                double rate = written_bytes(run->guest, run->now_usec, usec, 0) * run->guest->sets[i].share / set;

                if (rate > 0)
                        waits += pages * (1 - -expm1(-rate) / rate);
        }
        return waits * per_fault < (double) usec ? waits * per_fault : (double) usec;
}

static void switch_over(Run *run, const PolicyRound *round, const PolicyDecision *decision) {
        double bandwidth = link_bandwidth(run);
        bool postcopy = decision->action == POLICY_SWITCH_TO_POSTCOPY;
        double pending = (double) round->pending_bytes, stopped = (double) round->stopcopy_bytes;
        uint64_t begin = run->now_usec, pushing = 0;

        run->result.postcopy = postcopy;
        /* In postcopy a set of pages goes over while the guest is stopped: a bit for each that is dirty. */
        stopped += postcopy ? pending / PAGE_BYTES / 8 : pending;
        run->result.blackout_usec = run->policy->overhead_usec + scan_usec(run) + sending_usec(stopped, bandwidth) +
                                    2 * run->link->latency_usec;
        run->result.sent_bytes += (uint64_t) stopped;
        run->result.lost_usec += (double) run->result.blackout_usec;
        run->now_usec += run->result.blackout_usec;
        tell(run, begin, (uint64_t) stopped, postcopy ? round->pending_bytes : 0, decision);
        if (postcopy) {
                begin = run->now_usec;
                pushing = sending_usec(pending, bandwidth);
                run->result.lost_usec += waiting_usec(run, pending, pushing, bandwidth);
                run->result.sent_bytes += round->pending_bytes;
                run->now_usec += pushing;
                tell(run, begin, round->pending_bytes, 0, decision);
        }
        run->result.finished = true;
}

SimulationResult simulation_run(const SimulationGuest *guest, const SimulationLink *link, const PolicyConfig *policy,
                                SimulationFunc func, void *userdata) {
        Run run = { .guest = guest, .link = link, .policy = policy, .func = func, .userdata = userdata, .random = 1 };
        PolicyRound round = { .number = 1,
                              .pending_bytes = guest->resident_bytes,
                              .stopcopy_bytes = guest->stopcopy_bytes };
        PolicyDecision decision = { 0 };

        while (run_round(&run, &round, &decision) && run.now_usec < END_OF_TIME)
                ;
        run.result.last = decision;
        if (ends(&decision) && decision.action != POLICY_ABORT)
                switch_over(&run, &round, &decision);
        run.result.total_usec = run.now_usec;
        return run.result;
}
