/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by engine.c and engine_image.c. */

#include <json-c/json.h>

#include "driver/engine/engine.h"

/* One command to the helper. arguments is consumed, and not NULL if there are descriptors; fds are not consumed.
 * Fiber. */
int engine_call(Engine *engine, const char *command, json_object *arguments, const int *fds, size_t n_fds,
                uint64_t timeout_usec, json_object **ret_result, GError **reterr);
/* What engine_stats() says from now on. */
void engine_set_stats(Engine *engine, json_object *stats);
