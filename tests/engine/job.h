/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A whole job for tests: a stand-in guest, two helpers, and what their callbacks have said. All calls in a fiber. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/base/fiber.h"
#include "driver/engine/engine.h"
#include "tests/lib/standin.h"

typedef struct JobArgs {
        uint64_t size_bytes;
        int source_fd, dest_fd;    /* RAM files; made as memfds when 0 */
        unsigned n_writers;
        uint64_t work_offset_bytes, work_bytes;
        unsigned pages_per_msec;
        bool punch;
        uint64_t page_bytes;       /* 0: 4 KiB */
        bool use_unix;
        bool populated;
        bool wrong_token;
        uint64_t dest_size_bytes;  /* another layout; 0: the same */
        unsigned proxy_port;       /* the source connects here instead */
        uint64_t bandwidth_bytes_per_sec;
        uint64_t idle_timeout_usec;
        uint64_t device_max_bytes;
        bool postcopy;
        unsigned n_dest_writers;   /* of the destination's guest, which is there with postcopy */
        unsigned dest_pages_per_msec;
        uint64_t postcopy_bandwidth_bytes_per_sec;
} JobArgs;

typedef struct JobSide {
        Engine *engine;
        unsigned iterations, pendings;
        bool ready, committed, running, failed, gone;
        bool complete;
        unsigned paused, resumed;
        GError *error;
        EngineStats last; /* of the last iteration */
} JobSide;

typedef struct Job {
        JobArgs args;
        Standin guest;
        Standin dest_guest; /* with postcopy; knows what the source's memory holds */
        int states_fd;      /* with postcopy: the destination's page table */
        int source_fd, dest_fd;
        int device_in, device_out; /* memfds: what the source reads, what the destination has written */
        EngineRamBlock source_block, dest_block;
        unsigned char token[ENGINE_TOKEN_BYTES];
        char *unix_path;
        unsigned port;
        JobSide source, dest;
        FiberCond changed;
} Job;

/* Makes the files (empty), the guest (writers stopped) and both helpers; the destination listens. Skips the test
 * without a userfaultfd. */
void job_open(Job *job, const JobArgs *args);
void job_close(Job *job);

/* Fills pages of the source's file with data: every page of [offset, offset + length), or of each 2 MiB only a part
 * (percent). */
void job_fill(Job *job, uint64_t offset_bytes, uint64_t length_bytes, unsigned percent);

int job_start(Job *job, GError **reterr);
/* Waits until *flag, or until a side has failed, or for 20 s. Returns *flag. */
bool job_wait(Job *job, const bool *flag);
bool job_wait_count(Job *job, const unsigned *count, unsigned at_least);
/* Waits until this side has said that it failed; it must. */
void job_wait_failed(Job *job, JobSide *side);
/* stop the guest .. RUNNING; asserts that all goes well. */
void job_switch_over(Job *job);
/* With postcopy: to the running guest on the destination. */
void job_switch_postcopy(Job *job);
/* Waits until both ends have everything, and lets the destination's guest look at all of its memory. */
void job_finish_postcopy(Job *job);
/* A new helper for one end, in place of one that was ended; source: not connected yet. */
void job_replace_source(Job *job);
void job_replace_dest(Job *job);
/* The link again: the destination listens, the source connects. */
int job_recover(Job *job, GError **reterr);
/* Both sides hold the same, and the destination's file has no more than the source's by 2 %. */
void job_verify(Job *job);
/* Only the content. */
void job_verify_content(Job *job);
/* The guest still writes freely: no write protection blocks it. */
void job_assert_guest_free(Job *job);
/* What job_start() passes on. */
void job_fill_args(Job *job, EngineSourceArgs *ret_args);
uint64_t job_allocated(int fd);
/* What the job's engines are given. */
const EngineCallbacks *job_callbacks(void);
/* Reserves (or gives back) huge pages of 2 MiB. Negative: not possible here. */
int job_hugetlb_pages(int change);
