/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* CPU use of a process or thread, from /proc/PID/stat (proc(5)). */

#include <stdint.h>
#include <sys/types.h>

typedef struct TaskStat {
        uint64_t cpu_nsec;                /* user and system */
        uint64_t user_nsec, system_nsec;
        int last_cpu;                     /* where it ran last */
} TaskStat;

/* thread 0: the whole process. 0, or negative errno. */
int task_stat_read(pid_t pid, pid_t thread, TaskStat *ret_stat);
