/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/task_stat.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/io.h"

#define NSEC_PER_SEC UINT64_C(1000000000)

int task_stat_read(pid_t pid, pid_t thread, TaskStat *ret_stat) {
        g_autofree char *path = NULL, *text = NULL;
        uint64_t user, system;
        const char *rest;
        int cpu, r;

        if (thread > 0)
                path = g_strdup_printf("/proc/%d/task/%d/stat", (int) pid, (int) thread);
        else
                path = g_strdup_printf("/proc/%d/stat", (int) pid);
        r = file_read(path, 4096, &text, NULL, NULL);
        if (r < 0)
                return r;
        /* The command name is in parentheses and may hold anything; fields count from after the last one. */
        rest = strrchr(text, ')');
        /* Fields 3..13 are skipped; 14 utime, 15 stime; 16..38 skipped; 39 processor. */
        if (!rest ||
            sscanf(rest + 1,
                   " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64
                   " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %d",
                   &user, &system, &cpu) != 3)
                return -EINVAL;
        ret_stat->user_nsec = user * (NSEC_PER_SEC / (uint64_t) sysconf(_SC_CLK_TCK));
        ret_stat->system_nsec = system * (NSEC_PER_SEC / (uint64_t) sysconf(_SC_CLK_TCK));
        ret_stat->cpu_nsec = ret_stat->user_nsec + ret_stat->system_nsec;
        ret_stat->last_cpu = cpu;
        return 0;
}
