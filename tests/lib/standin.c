/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/lib/standin.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "driver/base/io.h"
#include "driver/base/kernel.h"

#define WRITERS_MAX 4
#define PAGE 4096u

typedef struct Child {
        StandinArgs args;
        unsigned char *ram;
        uint32_t *stamps[WRITERS_MAX]; /* how often each writer has written to each page */
        atomic_uint_least64_t wrong;
        atomic_uint n_started;
        atomic_bool running, quit;
        atomic_uint parked; /* writers that hold still */
        pthread_mutex_t lock;
        pthread_cond_t changed;
} Child;

static uint64_t random_next(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

static void write_page(Child *child, uint64_t *random) {
        uint64_t page = random_next(random) % (child->args.work_bytes / PAGE);
        unsigned char *at = child->ram + child->args.work_offset_bytes + page * PAGE;
        uint64_t what = random_next(random);
        if (child->args.punch && what % 16 == 0)
                (void) madvise(at, PAGE, MADV_REMOVE);
        else if (child->args.punch && what % 16 == 1)
                memset(at, 0, PAGE);
        else
                memcpy(at + what % (PAGE - 64) / 8 * 8, &what, sizeof(what));
}

/* Whether a page is what the reference says, but for the stamps of writers other than this one (WRITERS_MAX: nobody
 * writes now). */
static bool page_right(Child *child, uint64_t page, unsigned self) {
        unsigned char wanted[PAGE];
        const unsigned char *at = child->ram + page * PAGE;
        size_t plain = PAGE - WRITERS_MAX * sizeof(uint64_t);
        if (pread(child->args.reference_fd, wanted, PAGE, (off_t) (page * PAGE)) != PAGE)
                return false;
        if (memcmp(wanted, at, plain) != 0)
                return false;
        for (unsigned i = 0; i < WRITERS_MAX; i++) {
                uint64_t before, now;
                memcpy(&before, wanted + plain + i * sizeof(before), sizeof(before));
                memcpy(&now, at + plain + i * sizeof(now), sizeof(now));
                uint32_t added = child->stamps[i] ? child->stamps[i][page] : 0;
                if ((self == WRITERS_MAX || i == self) && now != before + added)
                        return false;
        }
        return true;
}

static void stamp_page(Child *child, unsigned self, uint64_t *random) {
        uint64_t page = (child->args.work_offset_bytes / PAGE) + random_next(random) % (child->args.work_bytes / PAGE);
        if (!page_right(child, page, self))
                atomic_fetch_add(&child->wrong, 1);
        ++*(volatile uint64_t *) (child->ram + (page + 1) * PAGE - (WRITERS_MAX - self) * sizeof(uint64_t));
        child->stamps[self][page]++;
}

static uint64_t verify_all(Child *child) {
        uint64_t wrong = atomic_load(&child->wrong);
        for (uint64_t page = 0; page < child->args.size_bytes / PAGE; page++)
                wrong += !page_right(child, page, WRITERS_MAX);
        return wrong;
}

static void *writer(void *userdata) {
        Child *child = userdata;
        unsigned self = atomic_fetch_add(&child->n_started, 1);
        uint64_t random = (uint64_t) (uintptr_t) &random ^ 88172645463325252u;
        struct timespec next;
        clock_gettime(CLOCK_MONOTONIC, &next);

        for (;;) {
                pthread_mutex_lock(&child->lock);
                if (!atomic_load(&child->running)) {
                        atomic_fetch_add(&child->parked, 1);
                        pthread_cond_broadcast(&child->changed);
                        while (!atomic_load(&child->running))
                                pthread_cond_wait(&child->changed, &child->lock);
                        atomic_fetch_sub(&child->parked, 1);
                        clock_gettime(CLOCK_MONOTONIC, &next);
                }
                pthread_mutex_unlock(&child->lock);
                unsigned burst = child->args.pages_per_msec ?: 64;
                for (unsigned i = 0; i < burst; i++)
                        if (child->args.reference_fd > 0)
                                stamp_page(child, self, &random);
                        else
                                write_page(child, &random);
                if (child->args.pages_per_msec > 0) {
                        next.tv_nsec += 1000000;
                        if (next.tv_nsec >= 1000000000) {
                                next.tv_nsec -= 1000000000;
                                next.tv_sec++;
                        }
                        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
                }
        }
        return NULL;
}

typedef struct Command {
        char what; /* 'r'un, 's'top, 'p'oke, 'g'et, 'd'iscard */
        unsigned char value;
        uint64_t offset, length;
} Command;

static uint64_t obey(Child *child, const Command *command) {
        uint64_t answer = 0;
        pthread_mutex_lock(&child->lock);
        if (command->what == 'r') {
                atomic_store(&child->running, true);
                pthread_cond_broadcast(&child->changed);
        } else if (command->what == 's') {
                atomic_store(&child->running, false);
                while (atomic_load(&child->parked) < child->args.n_writers)
                        pthread_cond_wait(&child->changed, &child->lock);
        } else if (command->what == 'g')
                answer = *(volatile uint64_t *) (child->ram + command->offset);
        else if (command->what == 'd')
                (void) madvise(child->ram + command->offset, command->length, MADV_REMOVE);
        else if (command->what == 'v')
                answer = verify_all(child);
        else
                child->ram[command->offset] = command->value;
        pthread_mutex_unlock(&child->lock);
        return answer;
}

static _Noreturn void child_main(const StandinArgs *args, int control) {
        Child child = {.args = *args, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child.ram = mmap(NULL, args->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, args->ram_fd, 0);
        if (child.ram == MAP_FAILED)
                _exit(1);
        int uffds[2] = {-1, -1};
        char hello = 'h';
        if (!args->no_uffd)
                for (int i = 0; i < 2; i++) {
                        uffds[i] = kernel_userfaultfd(false);
                        if (uffds[i] < 0)
                                hello = 'n';
                }
        bool pass = hello == 'h' && !args->no_uffd;
        if (fd_send_with_fds(control, &hello, 1, uffds, pass ? 2 : 0) != 1)
                _exit(1);
        for (unsigned i = 0; i < args->n_writers; i++) {
                pthread_t thread;
                child.stamps[i] = calloc(args->size_bytes / PAGE, sizeof(uint32_t));
                if (pthread_create(&thread, NULL, writer, &child) != 0)
                        _exit(1);
        }
        Command command;
        while (fd_read_all(control, &command, sizeof(command)) >= 0) {
                uint64_t answer = obey(&child, &command);
                if (fd_write_all(control, &answer, sizeof(answer)) < 0)
                        break;
        }
        _exit(0);
}

int standin_start(Standin *standin, const StandinArgs *args) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        *standin = (Standin){.control = pair[0], .uffd_async = -1, .uffd_sync = -1};
        standin->pid = fork();
        if (standin->pid < 0)
                return -errno;
        if (standin->pid == 0) {
                close(pair[0]);
                child_main(args, pair[1]);
        }
        close(pair[1]);
        char hello;
        int fds[2];
        size_t n_fds = 0;
        if (fd_recv_with_fds(standin->control, &hello, 1, fds, 2, &n_fds) != 1 || hello != 'h') {
                standin_end(standin);
                return -ENOTSUP;
        }
        if (n_fds == 2) {
                standin->uffd_async = fds[0];
                standin->uffd_sync = fds[1];
        }
        return 0;
}

static bool take(Standin *standin, int timeout_msec, uint64_t *ret_answer) {
        struct pollfd pollfd = {.fd = standin->control, .events = POLLIN};
        return poll(&pollfd, 1, timeout_msec) == 1 &&
               fd_read_all(standin->control, ret_answer, sizeof(*ret_answer)) >= 0;
}

static bool tell(Standin *standin, Command command, int timeout_msec) {
        uint64_t ignored;
        return fd_write_all(standin->control, &command, sizeof(command)) >= 0 && take(standin, timeout_msec, &ignored);
}

void standin_run(Standin *standin) {
        if (!tell(standin, (Command){.what = 'r'}, 10000))
                abort();
}

void standin_stop(Standin *standin) {
        if (!tell(standin, (Command){.what = 's'}, 10000))
                abort();
}

bool standin_poke(Standin *standin, uint64_t offset_bytes, unsigned char value) {
        return tell(standin, (Command){.what = 'p', .value = value, .offset = offset_bytes}, 1000);
}

void standin_read_begin(Standin *standin, uint64_t offset_bytes) {
        Command command = {.what = 'g', .offset = offset_bytes};
        if (fd_write_all(standin->control, &command, sizeof(command)) < 0)
                abort();
}

bool standin_read_end(Standin *standin, int timeout_msec, uint64_t *ret_value) {
        return take(standin, timeout_msec, ret_value);
}

void standin_discard(Standin *standin, uint64_t offset_bytes, uint64_t length_bytes) {
        if (!tell(standin, (Command){.what = 'd', .offset = offset_bytes, .length = length_bytes}, 10000))
                abort();
}

uint64_t standin_verify(Standin *standin) {
        Command command = {.what = 'v'};
        uint64_t wrong = UINT64_MAX;
        if (fd_write_all(standin->control, &command, sizeof(command)) < 0 || !take(standin, 60000, &wrong))
                return UINT64_MAX;
        return wrong;
}

void standin_end(Standin *standin) {
        if (standin->pid > 0) {
                kill(standin->pid, SIGKILL);
                waitpid(standin->pid, NULL, 0);
        }
        standin->pid = 0;
        standin->control = fd_close(standin->control);
        standin->uffd_async = fd_close(standin->uffd_async);
        standin->uffd_sync = fd_close(standin->uffd_sync);
}
