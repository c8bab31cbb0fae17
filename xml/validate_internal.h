/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The parts of domain_def_validate(). */

#include "xml/def.h"

/* Sizes, backing, NUMA policy, guest cells; vcpus, pinning, topology. */
int validate_memory(const DomainDef *def, GError **reterr);
int validate_cpu(const DomainDef *def, GError **reterr);
int validate_disks(const DomainDef *def, GError **reterr);
/* Controllers and what is plugged into them. */
int validate_controllers(const DomainDef *def, GError **reterr);
int validate_nets(const DomainDef *def, GError **reterr);
int validate_chars(const DomainDef *def, GError **reterr);
/* Graphics, video, inputs, audio. */
int validate_display(const DomainDef *def, GError **reterr);
/* Watchdogs, rngs, panic notifiers. */
int validate_small(const DomainDef *def, GError **reterr);
/* Aliases, boot orders, types of addresses. */
int validate_infos(const DomainDef *def, GError **reterr);
