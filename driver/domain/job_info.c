/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/job_info.h"

void driver_job_info_clear(DriverJobInfo *info) {
        g_free(info->domain);
        g_free(info->peer);
        g_free(info->policy);
        g_free(info->decision);
        g_free(info->reason);
        g_free(info->error);
        *info = (DriverJobInfo){ 0 };
}

void driver_job_info_copy(const DriverJobInfo *info, DriverJobInfo *ret_copy) {
        *ret_copy = *info;
        ret_copy->domain = g_strdup(info->domain);
        ret_copy->peer = g_strdup(info->peer);
        ret_copy->policy = g_strdup(info->policy);
        ret_copy->decision = g_strdup(info->decision);
        ret_copy->reason = g_strdup(info->reason);
        ret_copy->error = g_strdup(info->error);
}

const char *driver_job_outcome_to_string(DriverJobOutcome outcome) {
        static const char *const names[_DRIVER_JOB_OUTCOME_MAX] = {
                [DRIVER_JOB_RUNNING] = "running",
                [DRIVER_JOB_COMPLETED] = "completed",
                [DRIVER_JOB_FAILED] = "failed",
        };

        return outcome >= 0 && outcome < _DRIVER_JOB_OUTCOME_MAX ? names[outcome] : "invalid";
}
