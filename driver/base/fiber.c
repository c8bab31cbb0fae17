/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * A fiber is a ucontext with a stack from mmap(). It runs when its defer source fires on the loop; a wait is a switch
 * back to the context that dispatched it. Whatever ends a wait (I/O, timer, broadcast) only notes the result and arms
 * the defer source, so a fiber is never entered from inside another fiber or from the middle of somebody's callback.
 *
 *      loop ──defer──► fiber_switch_in ──swapcontext──► fiber code ──wait──► swapcontext back ──► loop
 *
 * The stack is 1 MiB of address space (XML schema validation recurses), of which only what is touched costs memory,
 * with a guard page below.
 */

#include "driver/base/fiber.h"

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <fcntl.h>
#include <unistd.h>

#include "driver/base/io.h"

#if defined(__SANITIZE_ADDRESS__)
#  include <sanitizer/common_interface_defs.h>
#endif

#define FIBER_STACK_BYTES (1024 * 1024)
#define FIBER_GUARD_BYTES 4096
#define FIBER_TIMER_ACCURACY_USEC 500

typedef struct Fiber {
        ucontext_t context;
        ucontext_t *back; /* where the current dispatch came from */
        sd_event *event;
        sd_event_source *wake;
        char *name;
        FiberFunc func;
        void *userdata;
        void *stack;
        int result; /* of the wait that just ended */
        bool done;
        void *fake_stack, *back_fake_stack; /* AddressSanitizer's */
        const void *back_stack;
        size_t back_stack_bytes;
} Fiber;

typedef struct FiberWaiter {
        Fiber *fiber;
        struct FiberWaiter *next;
        FiberCond *cond; /* NULL once it was taken off the list */
} FiberWaiter;

/* The fiber that runs on this thread: as much a fact of the thread as its stack pointer. */
static __thread Fiber *fiber_current;

static void before_switch(void **fake_stack, const void *stack, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#endif
}

static void after_switch(void *fake_stack, const void **stack, size_t *bytes) {
#if defined(__SANITIZE_ADDRESS__)
        __sanitizer_finish_switch_fiber(fake_stack, stack, bytes);
#endif
}

static void fiber_free(Fiber *fiber) {
        sd_event_source_disable_unref(fiber->wake);
        sd_event_unref(fiber->event);
        munmap(fiber->stack, FIBER_STACK_BYTES);
        g_free(fiber->name);
        g_free(fiber);
}

static void fiber_main(void) {
        Fiber *fiber = fiber_current;

        after_switch(NULL, &fiber->back_stack, &fiber->back_stack_bytes);
        fiber->func(fiber->userdata);
        fiber->done = true;
        before_switch(NULL, fiber->back_stack, fiber->back_stack_bytes);
        setcontext(fiber->back);
        g_assert_not_reached();
}

static void fiber_switch_in(Fiber *fiber) {
        ucontext_t here;
        Fiber *outer = fiber_current;

        assert(!outer);
        fiber_current = fiber;
        fiber->back = &here;
        before_switch(&fiber->back_fake_stack, fiber->stack, FIBER_STACK_BYTES);
        swapcontext(&here, &fiber->context);
        after_switch(fiber->back_fake_stack, NULL, NULL);
        fiber_current = outer;
        if (fiber->done)
                fiber_free(fiber);
}

static void fiber_switch_out(Fiber *fiber) {
        before_switch(&fiber->fake_stack, fiber->back_stack, fiber->back_stack_bytes);
        swapcontext(&fiber->context, fiber->back);
        after_switch(fiber->fake_stack, &fiber->back_stack, &fiber->back_stack_bytes);
}

static int on_wake(sd_event_source *source, void *userdata) {
        fiber_switch_in(userdata);
        return 0;
}

static void fiber_wake(Fiber *fiber, int result) {
        fiber->result = result;
        sd_event_source_set_enabled(fiber->wake, SD_EVENT_ONESHOT);
}

int fiber_start(sd_event *event, const char *name, FiberFunc func, void *userdata) {
        Fiber *fiber = g_new0(Fiber, 1);

        fiber->stack = mmap(NULL, FIBER_STACK_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (fiber->stack == MAP_FAILED) {
                g_free(fiber);
                return -ENOMEM;
        }
        mprotect(fiber->stack, FIBER_GUARD_BYTES, PROT_NONE);
        fiber->event = sd_event_ref(event);
        fiber->name = g_strdup(name);
        fiber->func = func;
        fiber->userdata = userdata;
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = fiber->stack;
        fiber->context.uc_stack.ss_size = FIBER_STACK_BYTES;
        makecontext(&fiber->context, fiber_main, 0);
        if (sd_event_add_defer(event, &fiber->wake, on_wake, fiber) < 0) {
                fiber_free(fiber);
                return -ENOMEM;
        }
        sd_event_source_set_description(fiber->wake, fiber->name);
        return 0;
}

bool fiber_running(void) {
        return fiber_current;
}

sd_event *fiber_event(void) {
        assert(fiber_current);
        return fiber_current->event;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        fiber_wake(userdata, -ETIMEDOUT);
        return 0;
}

/* A timer that ends the wait of the running fiber; none for FIBER_FOREVER. */
static int fiber_arm_timer(Fiber *fiber, uint64_t usec, sd_event_time_handler_t handler, void *userdata,
                           sd_event_source **ret) {
        if (usec == FIBER_FOREVER)
                return 0;
        return sd_event_add_time_relative(fiber->event, ret, CLOCK_MONOTONIC, usec, FIBER_TIMER_ACCURACY_USEC, handler,
                                          userdata);
}

typedef struct FdWait {
        Fiber *fiber;
        uint32_t revents;
} FdWait;

static int on_fd(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FdWait *wait = userdata;

        wait->revents = revents;
        sd_event_source_set_enabled(source, SD_EVENT_OFF);
        fiber_wake(wait->fiber, 0);
        return 0;
}

int fiber_wait_fd(int fd, uint32_t events, uint64_t timeout_usec, uint32_t *ret_revents) {
        FdWait wait = { .fiber = fiber_current };
        sd_event_source *io = NULL, *timer = NULL;
        _cleanup_fd_ int copy = -EBADF;
        int r;

        assert(fiber_current);
        r = sd_event_add_io(wait.fiber->event, &io, fd, events, on_fd, &wait);
        if (r == -EEXIST) {
                /* epoll knows a descriptor once; somebody else watches this number. */
                copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
                if (copy < 0)
                        return -errno;
                r = sd_event_add_io(wait.fiber->event, &io, copy, events, on_fd, &wait);
        }
        if (r < 0)
                return r;
        r = fiber_arm_timer(wait.fiber, timeout_usec, on_timeout, wait.fiber, &timer);
        if (r >= 0) {
                fiber_switch_out(wait.fiber);
                r = wait.revents ? 0 : wait.fiber->result;
        }
        sd_event_source_disable_unref(timer);
        sd_event_source_disable_unref(io);
        if (r >= 0 && ret_revents)
                *ret_revents = wait.revents;
        return r;
}

int fiber_sleep(uint64_t usec) {
        sd_event_source *timer = NULL;
        Fiber *fiber = fiber_current;
        int r;

        assert(fiber);
        assert(usec != FIBER_FOREVER);
        r = fiber_arm_timer(fiber, usec, on_timeout, fiber, &timer);
        if (r < 0)
                return r;
        fiber_switch_out(fiber);
        sd_event_source_disable_unref(timer);
        return 0;
}

static void waiter_unlink(FiberWaiter *waiter) {
        if (!waiter->cond)
                return;
        for (FiberWaiter **p = &waiter->cond->waiters; *p; p = &(*p)->next)
                if (*p == waiter) {
                        *p = waiter->next;
                        break;
                }
        waiter->cond = NULL;
}

static int on_cond_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        FiberWaiter *waiter = userdata;

        if (waiter->cond) {
                waiter_unlink(waiter);
                fiber_wake(waiter->fiber, -ETIMEDOUT);
        }
        return 0;
}

int fiber_cond_wait(FiberCond *cond, uint64_t timeout_usec) {
        FiberWaiter waiter = { .fiber = fiber_current, .next = cond->waiters, .cond = cond };
        sd_event_source *timer = NULL;
        int r;

        assert(fiber_current);
        r = fiber_arm_timer(waiter.fiber, timeout_usec, on_cond_timeout, &waiter, &timer);
        if (r < 0)
                return r;
        cond->waiters = &waiter;
        fiber_switch_out(waiter.fiber);
        sd_event_source_disable_unref(timer);
        return waiter.fiber->result;
}

void fiber_cond_broadcast(FiberCond *cond) {
        while (cond->waiters) {
                FiberWaiter *waiter = cond->waiters;

                waiter_unlink(waiter);
                fiber_wake(waiter->fiber, 0);
        }
}

typedef struct RunArgs {
        FiberFunc func;
        void *userdata;
} RunArgs;

static void run_to_exit(void *userdata) {
        RunArgs *args = userdata;

        args->func(args->userdata);
        sd_event_exit(fiber_event(), 0);
}

int fiber_run(const char *name, FiberFunc func, void *userdata) {
        RunArgs args = { .func = func, .userdata = userdata };
        sd_event *event = NULL;
        int r;

        r = sd_event_new(&event);
        if (r < 0)
                return r;
        r = fiber_start(event, name, run_to_exit, &args);
        if (r >= 0)
                r = sd_event_loop(event);
        sd_event_unref(event);
        return r;
}
