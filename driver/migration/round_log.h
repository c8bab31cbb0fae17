/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The rounds of a domain's last outgoing migration, in a file beside its log (NAME.rounds.log): JSON lines, which
 * `virt-ferry simulate --history` reads. A log: whoever cannot write it migrates without.
 *
 *   {"migration":"vm1","format":1,"policy":"balanced","total":..,"resident":..,"overhead_usec":..}
 *   {"round":2,"elapsed_usec":..,"pending":..,"stopcopy":..,"bandwidth":..,"dirty":..,"sent":..,"scan_usec":..}
 *   {"decision":"stop-and-copy","reason":"..","round":..,"elapsed_usec":..,"limit_usec":..,"throttle":..}
 *   {"end":true,"success":true,"elapsed_usec":..,"blackout_usec":..,"transferred":..,"final_scan_usec":..}
 */

#include "driver/migration/migration.h"

#define ROUND_LOG_FORMAT 1

void round_log_begin(Migration *migration);
void round_log_add(Migration *migration, const EngineStats *stats, const PolicyRound *round);
void round_log_decision(Migration *migration, const PolicyDecision *decision);
/* The last line; the file is written. */
void round_log_end(Migration *migration, bool success);
