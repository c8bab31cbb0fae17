/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Starting child processes, and waiting for them by pidfd. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct SpawnFd {
        int fd;     /* ours; not consumed */
        int target; /* the number in the child; -1 keeps the same number */
} SpawnFd;

typedef struct SpawnArgs {
        const char *const *argv; /* NULL-terminated; argv[0] is the path */
        const char *const *env;  /* the whole environment, or NULL for ours */
        const SpawnFd *fds;      /* besides 0-2, only these stay open in the child */
        size_t n_fds;
        int stdin_fd, stdout_fd, stderr_fd; /* negative: /dev/null */
        bool new_session;                   /* setsid(): the child outlives the daemon and its terminal */
        uint64_t memlock_bytes;             /* RLIMIT_MEMLOCK; 0 leaves it; UINT64_MAX is unlimited */
        bool die_with_parent;               /* PR_SET_PDEATHSIG(SIGKILL) */
} SpawnArgs;

/* Starts the program. Returns its pid and a pidfd (CLOEXEC). A failed exec is reported here, with the path. */
int spawn(const SpawnArgs *args, pid_t *ret_pid, int *ret_pidfd, GError **reterr);

/* Waits for exit. Fiber. *ret_status is wait(2)'s status, or -1 if it was not our child (a daemon restart came
 * between). 0 or -ETIMEDOUT. Reaps. */
int spawn_wait(int pidfd, uint64_t timeout_usec, int *ret_status);

/* Sends a signal by pidfd. 0, -ESRCH when it is gone. */
int spawn_kill(int pidfd, int signal);

/* SIGTERM, then SIGKILL after grace_usec (0: SIGKILL at once), and waits until it is gone. Fiber. 0 or -ETIMEDOUT. */
int spawn_end(int pidfd, uint64_t grace_usec, int *ret_status);

/* Runs a program to its end and collects up to 4 MiB of stdout. Fiber. Non-zero exit is an error that carries stderr's
 * last line. */
int spawn_run(const char *const *argv, uint64_t timeout_usec, char **ret_stdout, GError **reterr);
