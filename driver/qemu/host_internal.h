/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What host.c and host_xml.c share. */

#include <glib.h>
#include <stdint.h>

#include "driver/qemu/host.h"
#include "xml/bitset.h"

typedef struct HostCpu {
        unsigned id, node;
        int socket, die, core;
        char *siblings; /* "0-1" */
} HostCpu;

typedef struct HostTopology {
        unsigned sockets, dies, cores, threads; /* dies and cores per socket, threads per core */
} HostTopology;

/* A small file without its final newline; NULL if it cannot be read. Owned by the caller. */
char *host_read(const char *path);
/* A file with one number. */
int64_t host_read_number(int64_t fallback, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* A file with a list of numbers; empty if it cannot be read. Owned by the caller. */
Bitset *host_read_set(const char *path);
/* The CPUs that are online; host_cpu_list_free(). */
HostCpu *host_cpu_list(unsigned *ret_n);
void host_cpu_list_free(HostCpu *cpus, unsigned n);
/* How they are arranged. */
HostTopology host_topology(const HostCpu *cpus, unsigned n);
