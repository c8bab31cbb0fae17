/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Threads of the helper. The only place where they are made. */

#include <pthread.h>
#include <stdbool.h>

typedef struct Worker {
        pthread_t thread;
        bool started;
} Worker;

/* Starts func on a thread of its own, with all signals blocked. 0 or negative errno. */
int worker_start(Worker *worker, const char *name, void (*func)(void *userdata), void *userdata);
/* From now on the calling thread only gets the processor time that nobody else wants much. For cleaning up. */
void worker_yield(void);
/* From now on the calling thread comes before others when it has something to do, as far as this process may say so.
 * For threads that a guest waits for and that never compute for long. */
void worker_urgent(void);
/* Waits for its end; does nothing if it was never started or was joined already. */
void worker_join(Worker *worker);
