/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where things are on this host: made once from the daemon's configuration, borrowed by all of driver/qemu. All paths
 * are absolute. */

#include <stdbool.h>

typedef struct ScopeManager ScopeManager; /* driver/base/scope.h */

typedef struct QemuSettings {
        bool privileged;       /* may mount, may make taps; RAM on our own tmpfs */
        const char *state_dir; /* monitors, RAM: one folder "domains/NAME" per running domain, and "ram" (our tmpfs) */
        const char *log_dir;   /* NAME.log */
        const char *lib_dir;   /* "nvram/NAME_VARS.fd", "channels" */
        const char *hugetlbfs; /* mount point to use, or NULL: the one in /proc/mounts with the right page size, else a
                                  hugetlb memfd */
        const char *ram_huge;  /* huge= of our tmpfs: "advise" (NULL), "within_size", "always", "never" */
        const char *ram_size;  /* size= of our tmpfs: "80%", "16G"; NULL: no limit */
        const char *uffd_shim; /* ferry-uffd-shim.so */
        const char *prealloc_helper; /* virt-ferry-prealloc */
        const char *network_helper;  /* virt-ferry-network */
        const char *network_uri;     /* libvirt's network daemon; NULL: network:///system */
        ScopeManager *scopes;        /* NULL: processes stay in the daemon's control group */
} QemuSettings;
