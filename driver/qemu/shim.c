/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * A userfaultfd acts on the address space of the process that created it. This object is preloaded into QEMU, makes two
 * of them before main() and hands them to the process on the other end of an inherited socket (driver/qemu/shim.h has
 * the contract). It interposes nothing, needs libc only, and runs once. QEMU must not start without them, because
 * nobody could then tell which pages the guest writes: every failure ends the process with a sentence on stderr.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver/qemu/shim.h"

#ifndef USERFAULTFD_IOC_NEW /* Linux 6.1 */
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

_Noreturn static void shim_die(const char *what, int errnum) {
        (void) dprintf(STDERR_FILENO, "ferry-uffd-shim: %s: %s\n", what, strerror(errnum));
        _exit(SHIM_EXIT_STATUS);
}

/* The number of an inherited descriptor, or -1 if the variable is not set. */
static int shim_fd_from_env(const char *name) {
        const char *text = getenv(name);
        if (!text)
                return -1;

        char *end = NULL;
        errno = 0;
        long value = strtol(text, &end, 10);
        if (errno != 0 || end == text || *end != '\0' || value < 0 || value > 0xfffff ||
            fcntl((int) value, F_GETFD) < 0)
                shim_die(name, EBADF);

        return (int) value;
}

static int shim_new_uffd(int device_fd) {
        int fd = device_fd >= 0 ? ioctl(device_fd, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK)
                                : (int) syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                shim_die(device_fd >= 0 ? "cannot make a userfaultfd from /dev/userfaultfd"
                                        : "cannot make a userfaultfd (needs CAP_SYS_PTRACE, "
                                          "vm.unprivileged_userfaultfd=1 or /dev/userfaultfd)",
                         errno);
        return fd;
}

static void shim_send(int socket_fd, const int uffds[2]) {
        ShimHello hello = {
                .magic = SHIM_MAGIC,
                .uffd = {uffds[0], uffds[1]},
        };
        struct iovec iov = {.iov_base = &hello, .iov_len = sizeof(hello)};
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(2 * sizeof(int))];
        } control;
        memset(&control, 0, sizeof(control));
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(2 * sizeof(int));
        memcpy(CMSG_DATA(cmsg), uffds, 2 * sizeof(int));

        ssize_t n;
        do
                n = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n != (ssize_t) sizeof(hello))
                shim_die("cannot hand the userfaultfds over", n < 0 ? errno : EIO);
}

__attribute__((constructor)) static void shim_run(void) {
        int socket_fd = shim_fd_from_env(SHIM_ENV_SOCKET);
        if (socket_fd < 0)
                return; /* Preloaded into something that nobody waits for: not ours to stop. */
        int device_fd = shim_fd_from_env(SHIM_ENV_DEVICE);

        int uffds[2];
        uffds[0] = shim_new_uffd(device_fd);
        uffds[1] = shim_new_uffd(device_fd);
        shim_send(socket_fd, uffds);

        close(socket_fd);
        if (device_fd >= 0)
                close(device_fd);
        unsetenv(SHIM_ENV_SOCKET);
        unsetenv(SHIM_ENV_DEVICE);
        unsetenv("LD_PRELOAD");
}
