/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A migration job as D-Bus tells it (org.virtferry.Migration1), and as people and programs read it. */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

typedef struct WatchJob {
        uint64_t number;
        char *domain, *direction, *peer, *outcome, *phase, *policy, *decision, *reason, *error;
        bool paused;
        uint64_t round, total_bytes, transferred_bytes;
        uint64_t precopy_bytes, postcopy_bytes, stopcopy_bytes, pending_bytes;
        uint64_t bandwidth, dirty_rate;                 /* bytes per second */
        uint64_t expected_blackout_usec, blackout_usec; /* UINT64_MAX, 0: not known */
        uint64_t elapsed_usec, faults;
        unsigned throttle_percent;
} WatchJob;

void watch_job_free(WatchJob *job);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WatchJob, watch_job_free)

/* Reads a{sv}; properties that are not known, or have another type, are passed over. *ret_job is the caller's. 0 or
 * negative errno. */
int watch_job_read(sd_bus_message *message, WatchJob **ret_job);

bool watch_job_running(const WatchJob *job);
/* How much of the memory is there, 0 to 100. */
unsigned watch_job_percent(const WatchJob *job);
/* One line for a log. Owned by the caller, as are the next two. */
char *watch_job_line(const WatchJob *job);
/* Lines for a terminal of so many columns, each with its newline. */
char *watch_job_screen(const WatchJob *job, unsigned columns);
/* All that is known, for programs. */
json_object *watch_job_json(const WatchJob *job);
