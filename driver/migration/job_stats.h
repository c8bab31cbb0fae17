/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The numbers of a migration job in libvirt's terms (virDomainJobInfo, VIR_DOMAIN_JOB_* in
 * <libvirt/libvirt-domain.h>). */

#include <glib.h>
#include <libvirt/libvirt.h>

#include "driver/migration/migration.h"

/* Of the running job. */
void job_stats_info(const Migration *migration, virDomainJobInfo *ret_info);
/* *ret_params is libvirt's, freed with virTypedParamsFree(). */
int job_stats_params(const Migration *migration, virTypedParameterPtr *ret_params, int *ret_n, GError **reterr);
/* Keeps the numbers as those of the domain's last job, and emits job-completed on the source of a job that got beyond
 * Begin. */
void job_stats_complete(Migration *migration, bool success);
