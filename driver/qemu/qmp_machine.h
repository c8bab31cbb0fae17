/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Commands about the machine as a whole. See qmp.h for what is common to all. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "driver/base/monitor.h"

/* QAPI RunState. */
typedef enum QmpRunState {
        QMP_RUN_STATE_DEBUG,
        QMP_RUN_STATE_FINISH_MIGRATE,
        QMP_RUN_STATE_INMIGRATE,
        QMP_RUN_STATE_INTERNAL_ERROR,
        QMP_RUN_STATE_IO_ERROR,
        QMP_RUN_STATE_PAUSED,
        QMP_RUN_STATE_POSTMIGRATE,
        QMP_RUN_STATE_PRELAUNCH,
        QMP_RUN_STATE_RESTORE_VM,
        QMP_RUN_STATE_RUNNING,
        QMP_RUN_STATE_SAVE_VM,
        QMP_RUN_STATE_SHUTDOWN,
        QMP_RUN_STATE_SUSPENDED,
        QMP_RUN_STATE_WATCHDOG,
        QMP_RUN_STATE_GUEST_PANICKED,
        QMP_RUN_STATE_COLO,
        _QMP_RUN_STATE_MAX,
        _QMP_RUN_STATE_INVALID = -22, /* one that we do not know */
} QmpRunState;

/* QEMU's words for the states; NULL and _INVALID for what is none. */
const char *qmp_run_state_to_string(QmpRunState state);
QmpRunState qmp_run_state_from_string(const char *name);

typedef struct QmpStatus {
        bool running;
        QmpRunState state;
} QmpStatus;

/* Any command whose result is an array: *ret_array is the caller's, *ret_n bounded. arguments is consumed and may be
 * NULL. */
int qmp_query_array(Monitor *monitor, const char *command, json_object *arguments, json_object **ret_array,
                    size_t *ret_n, GError **reterr);

int qmp_stop(Monitor *monitor, GError **reterr);
/* QEMU activates the disks' locks here, so it can fail with the disk's name. */
int qmp_cont(Monitor *monitor, GError **reterr);
int qmp_system_powerdown(Monitor *monitor, GError **reterr);
int qmp_system_reset(Monitor *monitor, GError **reterr);
int qmp_query_status(Monitor *monitor, QmpStatus *ret_status, GError **reterr);
/* What the guest's power-off and reset do from now on: "poweroff"/"pause" and "reset"/"shutdown" (set-action, QEMU
 * >= 6.0). NULL leaves one. */
int qmp_set_action(Monitor *monitor, const char *reboot, const char *shutdown, GError **reterr);

typedef struct QmpCpu {
        unsigned index;
        pid_t thread_id;
        char *qom_path;
} QmpCpu;
/* Array of n; qmp_cpus_free(). */
int qmp_query_cpus(Monitor *monitor, QmpCpu **ret_cpus, unsigned *ret_n, GError **reterr);
void qmp_cpus_free(QmpCpu *cpus, unsigned n);

/* Bytes the guest has now; OPERATION_INVALID if it has no balloon device. */
int qmp_query_balloon(Monitor *monitor, uint64_t *ret_actual_bytes, GError **reterr);
/* Asks the guest to go to this size; returns at once. */
int qmp_balloon(Monitor *monitor, uint64_t bytes, GError **reterr);

/* virtio-balloon's guest statistics, bytes; UINT64_MAX where the guest does not say. */
typedef struct QmpBalloonStats {
        uint64_t swap_in, swap_out, major_faults, minor_faults; /* faults are counts */
        uint64_t free, total, available, disk_caches, hugetlb_alloc, hugetlb_fail;
        uint64_t last_update_sec; /* guest's last answer, seconds since the epoch; 0: never */
} QmpBalloonStats;
/* alias: the balloon device's id ("balloon0"). */
int qmp_balloon_stats(Monitor *monitor, const char *alias, QmpBalloonStats *ret_stats, GError **reterr);
/* How often the guest is asked, in seconds; 0: never. */
int qmp_balloon_set_period(Monitor *monitor, const char *alias, unsigned seconds, GError **reterr);

typedef struct QmpChardev {
        char *id;
        char *pty;          /* path of the slave, or NULL */
        bool frontend_open; /* the guest has the port open: its agent is there */
} QmpChardev;
/* Array of n; qmp_chardevs_free(). */
int qmp_query_chardevs(Monitor *monitor, QmpChardev **ret_chardevs, unsigned *ret_n, GError **reterr);
void qmp_chardevs_free(QmpChardev *chardevs, unsigned n);

/* expires: "now", "never" or seconds since the epoch; NULL: never. */
int qmp_set_vnc_password(Monitor *monitor, const char *password, const char *expires, GError **reterr);
/* TCP port that VNC listens on, 0 if none. */
int qmp_query_vnc_port(Monitor *monitor, unsigned *ret_port, GError **reterr);

/* Gives QEMU a descriptor under a name (fd is not consumed), and takes it back. */
int qmp_getfd(Monitor *monitor, const char *name, int fd, GError **reterr);
int qmp_closefd(Monitor *monitor, const char *name, GError **reterr);

/* A line for the human monitor; text owned by the caller. */
int qmp_human_monitor_command(Monitor *monitor, const char *line, char **ret_text, GError **reterr);
