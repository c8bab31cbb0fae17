/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The receiving side of a job. All calls on the helper's main thread. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/engine/ctl.h"
#include "driver/engine/engine.h"

typedef struct Dest Dest;

/* Sets RAM up and listens; takes the blocks' fds and device_state_fd over (also on failure). */
int dest_new(const EngineDestArgs *args, Ctl *ctl, Dest **ret_dest, unsigned *ret_port, GError **reterr);
/* Cuts the connection, ends all threads, frees. */
Dest *dest_free(Dest *dest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Dest, dest_free)

/* Takes over from an engine that has ended after COMMIT in postcopy: paused. */
int dest_adopt(const EngineDestArgs *args, bool running, Ctl *ctl, Dest **ret_dest, GError **reterr);
/* In postcopy: listens again, or cuts the link. */
int dest_recover(Dest *dest, const EngineDestArgs *args, unsigned *ret_port, GError **reterr);
int dest_pause(Dest *dest, GError **reterr);
/* In each turn of the main thread's loop: finishes postcopy when everything is there. */
void dest_service(Dest *dest);
/* Readable when the guest's process has ended; negative if there is none to watch. */
int dest_guest_fd(const Dest *dest);
EngineState dest_engine_state(Dest *dest, bool *ret_postcopy);

/* QEMU has loaded the device state: READY goes out. */
int dest_loaded(Dest *dest, GError **reterr);
int dest_running(Dest *dest, uint64_t resume_usec, GError **reterr);
/* After COMMIT: the guest is gone and will never run here; the source is told. */
int dest_abandon(Dest *dest, const char *reason, GError **reterr);
/* Never start, unless COMMIT had arrived before: then *ret_committed and nothing else happens. The source is told the
 * reason, which may be NULL. */
void dest_refuse(Dest *dest, const char *reason, bool *ret_committed);
/* Nobody is there who could start the guest: COMMIT is not answered. For good: before COMMIT the job fails, and the
 * source is told. */
void dest_daemon_gone(Dest *dest, bool for_good);
void dest_daemon_back(Dest *dest);
/* Called about once a second: keeps the return path alive. */
void dest_tick(Dest *dest);
void dest_stats(Dest *dest, EngineStats *ret_stats);
bool dest_finished(Dest *dest);
/* It has failed, and nothing is left to say to the source. */
bool dest_failed(Dest *dest);
/* A source has proven the token. */
bool dest_connected(Dest *dest);
/* The guest belongs here and the source can neither hear nor say anything more. */
bool dest_link_lost(Dest *dest);
