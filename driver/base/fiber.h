/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fibers: sequential code on top of one sd-event loop.
 *
 * A fiber is a function with a stack of its own that gives the loop back whenever it waits. All fibers of a loop
 * run on the loop's thread, one at a time, and lose control only inside the calls below that say "waits", so data
 * shared between fibers needs no lock; it can only change across such a call. Every wait has a timeout.
 *
 * Timeouts are in microseconds from now; FIBER_FOREVER is for waits that something else is known to end.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define FIBER_FOREVER UINT64_MAX

typedef void (*FiberFunc)(void *userdata);

/* Queues a new fiber; it first runs on a later turn of the loop, never inside this call. name is copied and shows in
 * debug logs. 0, or -ENOMEM. May be called from anywhere on the loop's thread. */
int fiber_start(sd_event *event, const char *name, FiberFunc func, void *userdata);

/* Whether the caller runs inside a fiber. All calls that wait assert it. */
bool fiber_running(void);

/* The loop of the running fiber. */
sd_event *fiber_event(void);

/* Waits until fd shows one of the epoll events. 0 (ret_revents may be NULL), -ETIMEDOUT, or another negative errno. */
int fiber_wait_fd(int fd, uint32_t events, uint64_t timeout_usec, uint32_t *ret_revents);

/* Waits for the given time. 0 or negative errno. */
int fiber_sleep(uint64_t usec);

/*
 * A condition that fibers wait for. Zero-initialised is ready for use. Its memory must outlive the wake-up of all
 * waiters: fiber_cond_broadcast() before it is freed and keep it until they have run (a reference count on the owner
 * does it).
 */
typedef struct FiberCond {
        struct FiberWaiter *waiters;
} FiberCond;

/* Waits for a broadcast. 0, or -ETIMEDOUT. As with any condition variable, check the predicate again afterwards. */
int fiber_cond_wait(FiberCond *cond, uint64_t timeout_usec);

/* Wakes all waiters; they run on later turns of the loop. May be called from anywhere on the loop's thread. */
void fiber_cond_broadcast(FiberCond *cond);

/* Runs func in a fiber on a loop of its own until it returns: for tests and for programs without a loop. 0 or negative
 * errno. */
int fiber_run(const char *name, FiberFunc func, void *userdata);
