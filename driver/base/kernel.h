/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What this kernel can do: probed once, by use, into a table that never changes afterwards.
 *
 * Each feature has a name; naming it in the environment variable FERRY_DISABLE_KERNEL (comma separated) makes the probe
 * report it as missing, which forces the fallback. Tests use that; it is ignored in programs that gained privilege by
 * exec.
 */

#include <stdbool.h>

typedef enum KernelFeature {
        KERNEL_PAGEMAP_SCAN,   /* PAGEMAP_SCAN on /proc/PID/pagemap with write protection (6.7) */
        KERNEL_UFFD_WP_ASYNC,  /* asynchronous write protection of shared memory (6.7) */
        KERNEL_UFFD_WP_SHMEM,  /* synchronous write protection of shared memory (5.19) */
        KERNEL_UFFD_MINOR,     /* minor faults on shared memory (5.14) */
        KERNEL_UFFD_MINOR_HUGETLB, /* minor faults on hugetlbfs (5.13) */
        KERNEL_POPULATE,       /* MADV_POPULATE_READ and _WRITE (5.14) */
        KERNEL_SEEK_HOLE,      /* SEEK_DATA/SEEK_HOLE on shared memory files */
        KERNEL_FEATURE_MAX_,
} KernelFeature;

/* The name used in FERRY_DISABLE_KERNEL and in messages. */
const char *kernel_feature_name(KernelFeature feature);

/* Whether the feature works here. The first call probes all of them; any thread. */
bool kernel_has(KernelFeature feature);

/* A userfaultfd of this process, from the system call or from /dev/userfaultfd; CLOEXEC and non-blocking, UFFDIO_API
 * not done. user_mode_only: what an unprivileged process gets at least. Negative errno if it is not allowed. */
int kernel_userfaultfd(bool user_mode_only);
