/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Kernel interfaces that are newer than the headers we may be built with (Debian 12: linux-libc-dev 6.1), redeclared
 * once. Names carry our own prefix only where the system header could define the same name with another type.
 *
 * PAGEMAP_SCAN, PM_SCAN_*, PAGE_IS_*: Linux 6.7, include/uapi/linux/fs.h.  UFFD_FEATURE_WP_UNPOPULATED: 6.4,
 * UFFD_FEATURE_WP_ASYNC: 6.7, include/uapi/linux/userfaultfd.h.  MADV_POPULATE_*: 5.14.
 */

#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* One run of pages with the same categories, addresses in the scanned process. */
typedef struct UapiPageRegion {
        uint64_t start;
        uint64_t end;
        uint64_t categories;
} UapiPageRegion;

typedef struct UapiPmScanArg {
        uint64_t size;
        uint64_t flags;
        uint64_t start;
        uint64_t end;
        uint64_t walk_end; /* out: where the walk stopped */
        uint64_t vec;      /* UapiPageRegion[vec_len] */
        uint64_t vec_len;
        uint64_t max_pages;
        uint64_t category_inverted;
        uint64_t category_mask;
        uint64_t category_anyof_mask;
        uint64_t return_mask;
} UapiPmScanArg;

_Static_assert(sizeof(UapiPageRegion) == 24, "struct page_region is 24 bytes");
_Static_assert(sizeof(UapiPmScanArg) == 96, "struct pm_scan_arg is 96 bytes");

#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN _IOWR('f', 16, UapiPmScanArg)
#define PM_SCAN_WP_MATCHING (1 << 0)
#define PM_SCAN_CHECK_WPASYNC (1 << 1)
#define PAGE_IS_WPALLOWED (1 << 0)
#define PAGE_IS_WRITTEN (1 << 1)
#define PAGE_IS_FILE (1 << 2)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#define PAGE_IS_PFNZERO (1 << 5)
#define PAGE_IS_HUGE (1 << 6)
#endif
