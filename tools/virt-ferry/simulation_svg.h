/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The rounds of simulated migrations as a drawing: one strip for each policy, time to the right, what is left
 * upward. */

#include <glib.h>

#include "tools/virt-ferry/simulation.h"

typedef struct SimulationSvg SimulationSvg;

SimulationSvg *simulation_svg_new(void);
SimulationSvg *simulation_svg_free(SimulationSvg *svg);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SimulationSvg, simulation_svg_free)
/* rounds: of SimulationRound. */
void simulation_svg_add(SimulationSvg *svg, const char *name, const SimulationResult *result, const GArray *rounds);
/* The whole document; owned by the caller. */
char *simulation_svg_format(const SimulationSvg *svg);
int simulation_svg_write(const SimulationSvg *svg, const char *path, GError **reterr);
