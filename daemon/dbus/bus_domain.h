/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Methods of org.libvirt.Domain that are in bus_domain_job.c: BusMethodFunc each. */

#include "daemon/dbus/bus_interface.h"

/* AbortJob, GetJobInfo, GetJobStats. */
int bus_domain_abort_job(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr);
int bus_domain_get_job_info(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr);
int bus_domain_get_job_stats(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr);
/* MigrateGetMaxSpeed, MigrateSetMaxSpeed, MigrateSetMaxDowntime, MigrateStartPostCopy. */
int bus_domain_get_max_speed(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr);
int bus_domain_set_max_speed(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr);
int bus_domain_set_max_downtime(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr);
int bus_domain_start_postcopy(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr);
/* MigrateToURI3: returns when the migration has ended. */
int bus_domain_migrate_to_uri3(BusCall *call, sd_bus_message *message, sd_bus_message *reply, GError **reterr);
