/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A guest out of a save image. All calls on the helper's main thread. */

#include <stdbool.h>

#include "driver/engine/ctl.h"
#include "driver/engine/engine_image.h"

typedef struct Load Load;

/* Takes all descriptors in args over and begins; call is answered when QEMU has been given everything, or cannot be. */
Load *load_start(const EngineLoadArgs *args, Ctl *ctl, CtlCall *call);
/* Stops it where it is, waits for its threads, frees. */
Load *load_free(Load *load);
/* The guest runs: loads the rest while it does. Answers call at once. */
void load_go(Load *load, CtlCall *call);
/* Called often: ends a lazy load whose memory is complete. */
void load_tick(Load *load);
/* Whether a guest depends on it, so that it goes on without a daemon. */
bool load_outlives_daemon(Load *load);
bool load_finished(Load *load);
void load_stats(Load *load, EngineStats *ret_stats);
