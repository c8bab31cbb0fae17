/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writing a stopped guest into a save image. All calls on the helper's main thread. */

#include <stdbool.h>

#include "driver/engine/ctl.h"
#include "driver/engine/engine_image.h"

typedef struct Save Save;

/* Takes all descriptors in args over and begins; call is answered when the image is finished, or cannot be. */
Save *save_start(const EngineSaveArgs *args, Ctl *ctl, CtlCall *call);
/* Stops it where it is, waits for its threads, frees. */
Save *save_free(Save *save);
bool save_finished(Save *save);
void save_stats(Save *save, EngineStats *ret_stats);
