/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of driver/ share: the manager and small checks that nearly every call begins with. */

#include "driver/driver.h"
#include "driver/guest/guest.h"
#include "driver/migration/migration.h"
#include "driver/snapshot/snapshot.h"

struct Driver {
        sd_event *event;
        GuestManager guests;
        MigrationContext migrations;
        SnapshotContext snapshots;
        QemuCapsCache *caps;
        DomainList *list;
        EventBus *bus;
        ScopeManager *scopes;      /* NULL: not under a service manager */
        char *hostname, *schema_dir, *lib_dir;
        char *instance;            /* random: names this daemon in migration cookies */
        unsigned char host_uuid[VIR_UUID_BUFLEN];
        GPtrArray *strings;        /* copies of the configuration's strings that others borrow */
        GPtrArray *clients;        /* DriverClient, borrowed */
        GPtrArray *attempts;       /* Attempt (api_migration_job.c): migrations that nobody waits for */
        bool quiescing;            /* no new jobs */
        bool probing;              /* driver_probe() waits for QEMU */
};

struct DriverClient {
        Driver *driver;
        bool read_only;
        uid_t uid;
        pid_t pid;
        bool gone;
};

/* api_console.c: ends every use of a console. */
void driver_console_release(Driver *driver);
/* api_migration_job.c: gives up what has not come to an end; each then ends in its own time. */
void driver_attempts_cancel(Driver *driver);

/* api_save.c: the domain's managed save. Whether there is one; removing it; starting the (inactive) domain from it,
 * flags: VIR_DOMAIN_START_*. */
bool driver_managed_save_exists(const Driver *driver, const Domain *domain);
int driver_managed_save_remove(const Driver *driver, const Domain *domain, GError **reterr);
int driver_managed_save_start(Driver *driver, Domain *domain, unsigned flags, GError **reterr);

/* VIR_ERR_OPERATION_DENIED for a read-only client. what names the call ("start"). */
int driver_check_write(const DriverClient *client, const char *what, GError **reterr);
/* VIR_ERR_INVALID_ARG for flags that are not among the allowed ones. */
int driver_check_flags(unsigned flags, unsigned allowed, const char *what, GError **reterr);
/* A reference to the domain; VIR_ERR_NO_DOMAIN. */
int driver_find(const DriverClient *client, const unsigned char *uuid, Domain **ret_domain, GError **reterr);
/* As driver_find(); OPERATION_INVALID if it does not run. */
int driver_find_active(const DriverClient *client, const unsigned char *uuid, Domain **ret_domain, GError **reterr);
/* OPERATION_INVALID if it does not run (any more). */
int driver_check_active(const Domain *domain, GError **reterr);
