/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Commands about QEMU's own migration: Ferry uses it for the device state. See qmp.h for what is common to all. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/base/monitor.h"

/* QAPI MigrationStatus; 7.2 knows all but postcopy-recover-setup (9.1), postcopy-device and failing (11). */
typedef enum QmpMigrateState {
        QMP_MIGRATE_NONE,
        QMP_MIGRATE_SETUP,
        QMP_MIGRATE_CANCELLING,
        QMP_MIGRATE_CANCELLED,
        QMP_MIGRATE_ACTIVE,
        QMP_MIGRATE_POSTCOPY_DEVICE,
        QMP_MIGRATE_POSTCOPY_ACTIVE,
        QMP_MIGRATE_POSTCOPY_PAUSED,
        QMP_MIGRATE_POSTCOPY_RECOVER_SETUP,
        QMP_MIGRATE_POSTCOPY_RECOVER,
        QMP_MIGRATE_COMPLETED,
        QMP_MIGRATE_FAILING,
        QMP_MIGRATE_FAILED,
        QMP_MIGRATE_COLO,
        QMP_MIGRATE_PRE_SWITCHOVER,
        QMP_MIGRATE_DEVICE,
        QMP_MIGRATE_WAIT_UNPLUG,
        _QMP_MIGRATE_MAX,
        _QMP_MIGRATE_INVALID = -22,
} QmpMigrateState;

const char *qmp_migrate_state_to_string(QmpMigrateState state);
QmpMigrateState qmp_migrate_state_from_string(const char *name);
/* completed, failed or cancelled: nothing more will happen. */
bool qmp_migrate_state_is_final(QmpMigrateState state);

typedef struct QmpMigrateInfo {
        QmpMigrateState state;
        uint64_t total_msec, downtime_msec, setup_msec;
        uint64_t transferred_bytes, remaining_bytes, total_bytes;
        uint64_t normal_pages, duplicate_pages, page_bytes;
        uint64_t dirty_sync_count, dirty_pages_per_sec;
        double mbps; /* megabit per second */
        char *error; /* "error-desc", or NULL */
} QmpMigrateInfo;
void qmp_migrate_info_clear(QmpMigrateInfo *info);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(QmpMigrateInfo, qmp_migrate_info_clear)

/* Asks for the state and the numbers; *ret_info is the caller's to clear. Fiber. */
int qmp_query_migrate(Monitor *monitor, QmpMigrateInfo *ret_info, GError **reterr);

typedef struct QmpMigrateCapability {
        const char *name;
        bool on;
} QmpMigrateCapability;
/* Sets the named capabilities and leaves the others. */
int qmp_migrate_set_capabilities(Monitor *monitor, const QmpMigrateCapability *capabilities, unsigned n,
                                 GError **reterr);

/* UINT64_MAX leaves a parameter as it is. */
typedef struct QmpMigrateParameters {
        uint64_t max_bandwidth_bytes_per_sec;
        uint64_t downtime_limit_msec;
} QmpMigrateParameters;
int qmp_migrate_set_parameters(Monitor *monitor, const QmpMigrateParameters *parameters, GError **reterr);

/* Source: QEMU writes its migration stream into fd (a socket or pipe; not consumed). Returns when it has started; the
 * MIGRATION event or qmp_query_migrate() tells the end. */
int qmp_migrate_fd(Monitor *monitor, int fd, GError **reterr);
/* Destination, QEMU started with -incoming defer: reads the stream from fd (not consumed). */
int qmp_migrate_incoming_fd(Monitor *monitor, int fd, GError **reterr);
int qmp_migrate_cancel(Monitor *monitor, GError **reterr);
/* What the device-state transfer needs on either side: events, x-ignore-shared, no bandwidth limit. */
int qmp_migrate_prepare_device_state(Monitor *monitor, GError **reterr);
/* Sizes of the RAM blocks that QEMU keeps to itself (video memory, ROMs), at most max of them; ours: ids of the memory
 * backends, NULL at the end. */
int qmp_private_ram_sizes(Monitor *monitor, const char *const *ours, unsigned max, uint64_t *ret_sizes, unsigned *ret_n,
                          GError **reterr);
/* Polls every few ms until the migration is final. 0 if completed; else the error holds QEMU's reason. */
int qmp_migrate_wait(Monitor *monitor, uint64_t timeout_usec, QmpMigrateInfo *ret_info, GError **reterr);
