/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The sending side of a job. All calls on the helper's main thread; answers go through the CtlCall when they are
 * known. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "driver/engine/ctl.h"
#include "driver/engine/engine.h"

typedef struct Source Source;

/* Connects, and so on, on a thread of its own; call is answered when round 1 has begun. The blocks' fds and the uffds
 * are taken over, strings copied. Never NULL. */
Source *source_start(const EngineSourceArgs *args, Ctl *ctl, CtlCall *call);
/* Ends all threads (cutting the connection if need be), takes off all write protection, frees. */
Source *source_free(Source *source);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Source, source_free)

/* Slows the guest's writers down by percent of what they wrote when that began; 0: no more. Answers call. */
void source_set_throttle(Source *source, unsigned percent, CtlCall *call);
void source_set_bandwidth(Source *source, uint64_t bytes_per_sec);
void source_query_pending(Source *source, bool exact, CtlCall *call);
/* device_state_fd is taken over. */
void source_stop_and_copy(Source *source, int device_state_fd, bool postcopy, CtlCall *call);
void source_commit(Source *source, CtlCall *call);
void source_cancel(Source *source, CtlCall *call);
/* In place of a source that has ended after COMMIT in postcopy: paused, then as source_recover(). Takes what
 * source_start() takes. */
Source *source_adopt(const EngineSourceArgs *args, Ctl *ctl, CtlCall *call);
/* In postcopy: connects again. Nothing of args is taken over, strings are copied. */
void source_recover(Source *source, const EngineSourceArgs *args, CtlCall *call);
/* In postcopy: cuts the link. call may be NULL. */
bool source_pause(Source *source, CtlCall *call);
void source_set_postcopy_bandwidth(Source *source, uint64_t bytes_per_sec);
void source_stats(Source *source, EngineStats *ret_stats);
EngineState source_engine_state(Source *source, bool *ret_postcopy);
/* Called about once a second. */
void source_tick(Source *source);
/* QEMU has exited. */
void source_guest_gone(Source *source);

/* Readable when the guest's process has ended; negative if there is none to watch. */
int source_guest_fd(const Source *source);
/* Nothing is left to do: the helper may end. Set after success (destination runs) and after a cancel. */
bool source_finished(Source *source);
/* The job has failed and the sender has cleaned up. */
bool source_failed(Source *source);
