/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The contract between ferry-uffd-shim.so (preloaded into QEMU, driver/qemu/shim.c) and who starts QEMU.
 *
 * In:  SHIM_ENV_SOCKET=N  an inherited SOCK_SEQPACKET unix socket
 *      SHIM_ENV_DEVICE=M  optional: an inherited descriptor of /dev/userfaultfd; without it the syscall is used
 * Out: one ShimHello message with two descriptors, both userfaultfds of QEMU's address space, O_CLOEXEC|O_NONBLOCK,
 * able to handle faults from the kernel (not USER_MODE_ONLY), UFFDIO_API not done yet: hello.uffd[0] is for
 * asynchronous, [1] for synchronous write protection. Then the socket and the device are closed and SHIM_ENV_* and
 * LD_PRELOAD leave the environment. QEMU keeps its own copies open, so that faults block instead of reading zeros if
 * all outside copies go away, and a restarted daemon takes them back with pidfd_getfd(hello.uffd[i]). If anything
 * fails: a sentence on stderr and _exit(SHIM_EXIT_STATUS), before QEMU's main().
 */

#include <stdint.h>

#define SHIM_ENV_SOCKET "FERRY_UFFD_SOCKET"
#define SHIM_ENV_DEVICE "FERRY_UFFD_DEVICE"
#define SHIM_MAGIC UINT32_C(0x46555631) /* "FUV1" */
#define SHIM_EXIT_STATUS 119

typedef struct ShimHello {
        uint32_t magic;
        int32_t uffd[2]; /* numbers of the descriptors inside QEMU */
} ShimHello;
