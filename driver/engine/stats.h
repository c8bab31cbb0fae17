/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* EngineStats on the control socket: both the helper and the daemon's side use these two. */

#include <json-c/json.h>

#include "driver/engine/engine.h"

json_object *stats_to_json(const EngineStats *stats);
/* Members that are missing become 0. */
void stats_from_json(json_object *object, EngineStats *ret_stats);
