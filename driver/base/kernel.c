/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver/base/io.h"
#include "driver/base/uapi.h"

static const char *const feature_names[] = {
        [KERNEL_PAGEMAP_SCAN] = "pagemap-scan",
        [KERNEL_UFFD_WP_ASYNC] = "uffd-wp-async",
        [KERNEL_UFFD_WP_SHMEM] = "uffd-wp-shmem",
        [KERNEL_UFFD_MINOR] = "uffd-minor-shmem",
        [KERNEL_UFFD_MINOR_HUGETLB] = "uffd-minor-hugetlb",
        [KERNEL_POPULATE] = "populate",
        [KERNEL_SEEK_HOLE] = "seek-hole",
};
_Static_assert(G_N_ELEMENTS(feature_names) == KERNEL_FEATURE_MAX_, "each feature has a name");

/* The kernel-feature table: written once under the once-control, read-only afterwards. */
static bool features[KERNEL_FEATURE_MAX_];
static pthread_once_t features_once = PTHREAD_ONCE_INIT;

const char *kernel_feature_name(KernelFeature feature) {
        return (unsigned) feature < KERNEL_FEATURE_MAX_ ? feature_names[feature] : NULL;
}

int kernel_userfaultfd(bool user_mode_only) {
        int fd = (int) syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | (user_mode_only ? UFFD_USER_MODE_ONLY : 0));
        if (fd >= 0)
                return fd;
        int error = errno;

        _cleanup_fd_ int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
        if (device < 0)
                return -error;
        fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK | (user_mode_only ? UFFD_USER_MODE_ONLY : 0));
        return fd >= 0 ? fd : -errno;
}

/* Whether a context with these features can be made and registers shared memory in this mode. */
static bool probe_uffd(uint64_t wanted, uint64_t mode, void *memory, size_t length, int *ret_fd) {
        _cleanup_fd_ int fd = kernel_userfaultfd(true);
        if (fd < 0)
                return false;
        struct uffdio_api api = { .api = UFFD_API, .features = wanted };
        if (ioctl(fd, UFFDIO_API, &api) < 0)
                return false;
        struct uffdio_register reg = { .range = { (uintptr_t) memory, length }, .mode = mode };
        if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
                return false;
        if (ret_fd)
                *ret_fd = FD_STEAL(fd);
        return true;
}

static bool probe_pagemap_scan(char *memory, size_t page) {
        _cleanup_fd_ int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        if (pagemap < 0)
                return false;
        UapiPageRegion regions[2];
        UapiPmScanArg arg = {
                .size = sizeof(arg),
                .flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
                .start = (uintptr_t) memory,
                .end = (uintptr_t) memory + page,
                .vec = (uintptr_t) regions,
                .vec_len = G_N_ELEMENTS(regions),
                .category_mask = PAGE_IS_WRITTEN,
                .return_mask = PAGE_IS_WRITTEN,
        };
        if (ioctl(pagemap, PAGEMAP_SCAN, &arg) != 1)
                return false;
        /* Protected now: not reported until somebody writes. */
        arg.flags = 0;
        return ioctl(pagemap, PAGEMAP_SCAN, &arg) == 0;
}

/* Needs no huge page: the mapping reserves none. */
static bool probe_minor_hugetlb(void) {
        _cleanup_fd_ int memfd = memfd_create("ferry-probe", MFD_CLOEXEC | MFD_HUGETLB);
        size_t length = 2u << 20;
        bool works;
        char *memory;

        if (memfd < 0 || ftruncate(memfd, (off_t) length) < 0)
                return false;
        memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memfd, 0);
        if (memory == MAP_FAILED)
                return false;
        works = probe_uffd(UFFD_FEATURE_MINOR_HUGETLBFS, UFFDIO_REGISTER_MODE_MINOR, memory, length, NULL);
        munmap(memory, length);
        return works;
}

static bool disabled(KernelFeature feature) {
        const char *list = secure_getenv("FERRY_DISABLE_KERNEL");
        if (!list)
                return false;
        g_auto(GStrv) names = g_strsplit(list, ",", -1);
        return g_strv_contains((const char *const *) names, feature_names[feature]);
}

static void probe(void) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        _cleanup_fd_ int memfd = memfd_create("ferry-probe", MFD_CLOEXEC);
        if (memfd < 0 || ftruncate(memfd, (off_t) (2 * page)) < 0)
                return;
        char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
        if (memory == MAP_FAILED)
                return;

        features[KERNEL_SEEK_HOLE] = lseek(memfd, 0, SEEK_DATA) < 0 && errno == ENXIO;
        features[KERNEL_POPULATE] = madvise(memory, page, MADV_POPULATE_WRITE) == 0;
        memory[0] = 1;
        features[KERNEL_UFFD_MINOR] =
                probe_uffd(UFFD_FEATURE_MINOR_SHMEM, UFFDIO_REGISTER_MODE_MINOR, memory, page, NULL);
        features[KERNEL_UFFD_MINOR_HUGETLB] = probe_minor_hugetlb();
        features[KERNEL_UFFD_WP_SHMEM] = probe_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
                                                    UFFDIO_REGISTER_MODE_WP, memory, page, NULL);
        _cleanup_fd_ int async = -EBADF;
        features[KERNEL_UFFD_WP_ASYNC] =
                probe_uffd(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
                           UFFDIO_REGISTER_MODE_WP, memory, page, &async);
        features[KERNEL_PAGEMAP_SCAN] = async >= 0 && probe_pagemap_scan(memory, page);
        munmap(memory, 2 * page);

        for (unsigned i = 0; i < KERNEL_FEATURE_MAX_; i++)
                if (disabled(i))
                        features[i] = false;
}

bool kernel_has(KernelFeature feature) {
        pthread_once(&features_once, probe);
        return (unsigned) feature < KERNEL_FEATURE_MAX_ && features[feature];
}
