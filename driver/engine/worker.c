/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/worker.h"

#include <glib.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

typedef struct WorkerStart {
        void (*func)(void *userdata);
        void *userdata;
        char name[16];
} WorkerStart;

static void *worker_main(void *userdata) {
        WorkerStart start = *(WorkerStart *) userdata;
        g_free(userdata);
        pthread_setname_np(pthread_self(), start.name);
        start.func(start.userdata);
        return NULL;
}

int worker_start(Worker *worker, const char *name, void (*func)(void *userdata), void *userdata) {
        WorkerStart *start = g_new0(WorkerStart, 1);
        start->func = func;
        start->userdata = userdata;
        g_strlcpy(start->name, name, sizeof(start->name));

        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int r = pthread_create(&worker->thread, NULL, worker_main, start);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (r != 0) {
                g_free(start);
                return -r;
        }
        worker->started = true;
        return 0;
}

void worker_yield(void) {
        /* Of a thread, on Linux. */
        (void) setpriority(PRIO_PROCESS, 0, 19);
}

void worker_urgent(void) {
        struct sched_param param = { .sched_priority = 1 };
        if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param) < 0)
                (void) setpriority(PRIO_PROCESS, 0, -15);
}

void worker_join(Worker *worker) {
        if (!worker->started)
                return;
        pthread_join(worker->thread, NULL);
        worker->started = false;
}
