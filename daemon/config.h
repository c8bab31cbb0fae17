/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The configuration file: lines of `key = value`, as in libvirt's own files. A value is a whole number or a string in
 * single or double quotes; # begins a comment. Every key is described in virtferryd.conf, the example that is
 * installed.
 */

#include <glib.h>
#include <sys/types.h>

#include "daemon/dbus/bus_service.h"
#include "daemon/rpc/server.h"

typedef struct DaemonConfig {
        char *unix_sock_group; /* NULL: the daemon's own */
        mode_t unix_sock_rw_perms, unix_sock_ro_perms;
        ServerLimits limits;
        char *dbus;            /* "none", "system", "session"; NULL: the one that fits */
        BusLimits bus_limits;
        char *hostname, *host_uuid;                 /* NULL: the machine's */
        unsigned migration_max_outgoing, migration_bandwidth; /* 0: no limit; the latter MiB/s */
        char *migration_policy; /* NULL: balanced */
        char *migration_address, *migration_host;   /* NULL: all addresses; the host name */
        unsigned migration_port_min, migration_port_max;
        unsigned migration_idle_timeout; /* seconds */
        char *network_uri;     /* NULL: network:///system */
        char *hugetlbfs_mount; /* NULL: found */
        char *restore_mode;      /* NULL: lazy */
        char *save_image_format; /* NULL: raw */
        char *ram_huge;        /* NULL: advise */
        char *ram_size;        /* NULL: no limit */
        char *guest_slice;     /* NULL: machine.slice; "none": no scopes */
        char *emulator;        /* NULL: found */
        int log_level;         /* LOG_* of syslog.h */
} DaemonConfig;

/* All defaults. */
void config_init(DaemonConfig *config);
void config_clear(DaemonConfig *config);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DaemonConfig, config_clear)

/* Applies text on top of what is there. Errors name file and line. On an error config may be partly changed. */
int config_parse(DaemonConfig *config, const char *file, const char *text, GError **reterr);
/* The same with a file. @required: that it does not exist is an error. */
int config_load(DaemonConfig *config, const char *file, bool required, GError **reterr);
