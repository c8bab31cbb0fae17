/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/qemu/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/fiber.h"
#include "driver/base/io.h"
#include "driver/base/spawn.h"

#define SHIM FERRY_BUILD_DIR "/driver/qemu/ferry-uffd-shim.so"
#define SOCKET_NUMBER 7

/* Runs a shell with the shim; returns its wait status and what it said. Owned by the caller. */
static char *run_shell(const char *command, const char *socket_number, int socket_fd, int *ret_status) {
        g_autofree char *env_socket = g_strdup_printf("%s=%s", SHIM_ENV_SOCKET, socket_number);
        const char *const argv[] = {"/bin/sh", "-c", command, NULL};
        const char *const env[] = {"LD_PRELOAD=" SHIM, env_socket, "PATH=/usr/bin:/bin", NULL};
        _cleanup_fd_ int output = memfd_create("output", MFD_CLOEXEC), pidfd = -EBADF;
        SpawnFd fd = {.fd = socket_fd, .target = SOCKET_NUMBER};
        SpawnArgs args = {.argv = argv,
                          .env = env,
                          .fds = &fd,
                          .n_fds = 1,
                          .stdin_fd = -1,
                          .stdout_fd = output,
                          .stderr_fd = output};
        char text[4096] = "";
        pid_t pid;

        assert_int_equal(spawn(&args, &pid, &pidfd, NULL), 0);
        assert_int_equal(spawn_wait(pidfd, 20 * USEC_PER_SEC, ret_status), 0);
        assert_true(pread(output, text, sizeof(text) - 1, 0) >= 0);
        return g_strdup(text);
}

static void hands_over(void *userdata) {
        int pair[2], fds[2] = {-EBADF, -EBADF}, status = -1;
        ShimHello hello = {};
        size_t n_fds = 0;

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        g_autofree char *text = run_shell("env; ls -l /proc/$$/fd", "7", pair[1], &status);
        close(pair[1]);
        assert_int_equal(status, 0);
        assert_int_equal(fd_recv_with_fds(pair[0], &hello, sizeof(hello), fds, 2, &n_fds), sizeof(hello));
        assert_int_equal(hello.magic, SHIM_MAGIC);
        assert_int_equal(n_fds, 2);
        assert_int_not_equal(hello.uffd[0], hello.uffd[1]);
        /* They are fresh: the handshake is still to be done. */
        struct uffdio_api api = {.api = UFFD_API};
        assert_int_equal(ioctl(fds[0], UFFDIO_API, &api), 0);
        assert_true((fcntl(fds[1], F_GETFL) & O_NONBLOCK) != 0);
        fd_close(fds[0]);
        fd_close(fds[1]);
        close(pair[0]);

        /* The shell's children see nothing of it, and have none of its descriptors. */
        assert_null(strstr(text, "LD_PRELOAD"));
        assert_null(strstr(text, "FERRY_"));
        assert_null(strstr(text, "socket:"));
        assert_non_null(strstr(text, "userfaultfd"));
}

static void fails_loudly(void *userdata) {
        int status = -1;

        g_autofree char *bad = run_shell("echo went on", "nonsense", STDERR_FILENO, &status);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == SHIM_EXIT_STATUS);
        assert_non_null(strstr(bad, "ferry-uffd-shim"));
        assert_null(strstr(bad, "went on"));

        /* A descriptor that is no socket. */
        g_autofree char *file = run_shell("echo went on", "7", STDERR_FILENO, &status);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == SHIM_EXIT_STATUS);
        assert_non_null(strstr(file, "hand the userfaultfds over"));
}

static void run_hands_over(void **state) {
        assert_int_equal(fiber_run("test", hands_over, NULL), 0);
}

static void run_fails_loudly(void **state) {
        assert_int_equal(fiber_run("test", fails_loudly, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(run_hands_over), cmocka_unit_test(run_fails_loudly)};
        _cleanup_fd_ int probe = (int) syscall(SYS_userfaultfd, O_CLOEXEC);

        if (probe < 0) {
                printf("skipped: userfaultfd is not allowed here (%s)\n", strerror(errno));
                return 77;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
