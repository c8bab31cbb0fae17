/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"

#define SPAWN_FD_PARK 512 /* the child parks its descriptors from here on, out of the way of their targets */
#define SPAWN_KILL_USEC (10 * USEC_PER_SEC)
#define SPAWN_OUTPUT_MAX (4 * 1024 * 1024)

/* In the child: puts the wanted descriptors at their numbers and leaves everything else to close on exec. */
static int child_fds(const SpawnArgs *args) {
        int standard[3] = { args->stdin_fd, args->stdout_fd, args->stderr_fd };
        int parked[3 + 64];

        if (args->n_fds > 64)
                return -E2BIG;
        for (int i = 0; i < 3; i++) {
                _cleanup_fd_ int null = -EBADF;

                if (standard[i] < 0) {
                        null = open("/dev/null", O_RDWR | O_CLOEXEC);
                        if (null < 0)
                                return -errno;
                }
                parked[i] = fcntl(standard[i] < 0 ? null : standard[i], F_DUPFD_CLOEXEC, SPAWN_FD_PARK);
                if (parked[i] < 0)
                        return -errno;
        }
        for (size_t i = 0; i < args->n_fds; i++) {
                parked[3 + i] = fcntl(args->fds[i].fd, F_DUPFD_CLOEXEC, SPAWN_FD_PARK);
                if (parked[3 + i] < 0)
                        return -errno;
        }
        if (syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
                return -errno;
        for (int i = 0; i < 3; i++)
                if (dup2(parked[i], i) < 0)
                        return -errno;
        for (size_t i = 0; i < args->n_fds; i++) {
                int target = args->fds[i].target < 0 ? args->fds[i].fd : args->fds[i].target;

                if (dup2(parked[3 + i], target) < 0)
                        return -errno;
        }
        return 0;
}

static int child_limits(const SpawnArgs *args) {
        if (args->memlock_bytes > 0) {
                rlim_t bytes = args->memlock_bytes == UINT64_MAX ? RLIM_INFINITY : args->memlock_bytes;
                struct rlimit limit = { bytes, bytes };

                if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
                        return -errno;
        }
        if (args->die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return -errno;
        return 0;
}

static void child_exec(const SpawnArgs *args, int report_fd) {
        sigset_t none;
        int r;

        for (int i = 1; i < NSIG; i++)
                signal(i, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (args->new_session)
                setsid();
        report_fd = fcntl(report_fd, F_DUPFD_CLOEXEC, SPAWN_FD_PARK);
        r = child_limits(args);
        if (r >= 0)
                r = child_fds(args);
        if (r >= 0) {
                execve(args->argv[0], (char *const *) args->argv, args->env ? (char *const *) args->env : environ);
                r = -errno;
        }
        (void) !write(report_fd, &r, sizeof(r));
        _exit(127);
}

int spawn(const SpawnArgs *args, pid_t *ret_pid, int *ret_pidfd, GError **reterr) {
        _cleanup_fd_ int report_read = -EBADF, report_write = -EBADF;
        int report[2], failure = 0, pidfd, r;
        pid_t pid;

        if (pipe2(report, O_CLOEXEC) < 0)
                return error_set_errno(reterr, errno, _("cannot start '%s'"), args->argv[0]);
        report_read = report[0];
        report_write = report[1];
        pid = fork();
        if (pid < 0)
                return error_set_errno(reterr, errno, _("cannot start '%s'"), args->argv[0]);
        if (pid == 0)
                child_exec(args, report_write);
        report_write = fd_close(report_write);
        /* The child execs or fails at once, so this read is short. */
        r = fd_read_all(report_read, &failure, sizeof(failure));
        if (r >= 0) {
                waitpid(pid, NULL, 0);
                return error_set_errno(reterr, failure, _("cannot run '%s'"), args->argv[0]);
        }
        pidfd = pidfd_open(pid, 0);
        if (pidfd < 0) {
                r = error_set_errno(reterr, errno, _("cannot watch '%s'"), args->argv[0]);
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                return r;
        }
        fd_set_cloexec(pidfd, true);
        *ret_pid = pid;
        *ret_pidfd = pidfd;
        return 0;
}

int spawn_wait(int pidfd, uint64_t timeout_usec, int *ret_status) {
        siginfo_t info = { 0 };
        int r;

        r = fiber_wait_fd(pidfd, EPOLLIN, timeout_usec, NULL);
        if (r < 0)
                return r;
        r = waitid(P_PIDFD, (id_t) pidfd, &info, WEXITED | WNOHANG);
        if (ret_status) {
                if (r < 0 || info.si_pid == 0)
                        *ret_status = -1;
                else if (info.si_code == CLD_EXITED)
                        *ret_status = W_EXITCODE(info.si_status, 0);
                else
                        *ret_status = W_EXITCODE(0, info.si_status);
        }
        return 0;
}

int spawn_kill(int pidfd, int signal) {
        return pidfd_send_signal(pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int spawn_end(int pidfd, uint64_t grace_usec, int *ret_status) {
        if (grace_usec > 0 && spawn_kill(pidfd, SIGTERM) >= 0 && spawn_wait(pidfd, grace_usec, ret_status) >= 0)
                return 0;
        spawn_kill(pidfd, SIGKILL);
        return spawn_wait(pidfd, SPAWN_KILL_USEC, ret_status);
}

/* Reads until the end of file, or until deadline (monotonic). */
static int collect(int fd, uint64_t deadline, GString *text) {
        for (;;) {
                uint64_t now = clock_monotonic_usec();
                char chunk[4096];
                ssize_t n;
                int r;

                r = fiber_wait_fd(fd, EPOLLIN, deadline > now ? deadline - now : 0, NULL);
                if (r < 0)
                        return r;
                n = read(fd, chunk, sizeof(chunk));
                if (n < 0 && (errno == EINTR || errno == EAGAIN))
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
                if (text->len + (size_t) n > SPAWN_OUTPUT_MAX)
                        return -EFBIG;
                g_string_append_len(text, chunk, n);
        }
}

int spawn_run(const char *const *argv, uint64_t timeout_usec, char **ret_stdout, GError **reterr) {
        g_autoptr(GString) text = g_string_new(NULL);
        _cleanup_fd_ int out = -EBADF, out_write = -EBADF, errors = -EBADF, pidfd = -EBADF;
        uint64_t deadline = clock_monotonic_usec() + timeout_usec;
        int pipes[2], status = 0, r;
        pid_t pid;

        if (pipe2(pipes, O_CLOEXEC) < 0)
                return error_set_errno(reterr, errno, _("cannot run '%s'"), argv[0]);
        out = pipes[0];
        out_write = pipes[1];
        /* stderr goes to a file: it cannot block the child, and only its end matters. */
        errors = (int) syscall(SYS_memfd_create, "stderr", 1u /* MFD_CLOEXEC */);
        r = spawn(&(SpawnArgs){ .argv = argv, .stdin_fd = -1, .stdout_fd = out_write, .stderr_fd = errors }, &pid,
                  &pidfd, reterr);
        if (r < 0)
                return r;
        out_write = fd_close(out_write);
        r = collect(out, deadline, text);
        if (r >= 0) {
                uint64_t now = clock_monotonic_usec();

                r = spawn_wait(pidfd, deadline > now ? deadline - now : 0, &status);
        }
        if (r < 0) {
                spawn_end(pidfd, 0, NULL);
                return error_set_errno(reterr, r, _("'%s' did not finish"), argv[0]);
        }
        if (status != 0) {
                char last[512] = "";
                ssize_t n = pread(errors, last, sizeof(last) - 1, MAX(0, lseek(errors, 0, SEEK_END) - 500));

                last[MAX(n, 0)] = '\0';
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("'%s' failed with status %d: %s"), argv[0],
                                 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), g_strstrip(last));
        }
        if (ret_stdout)
                *ret_stdout = g_string_free(g_steal_pointer(&text), FALSE);
        return 0;
}
