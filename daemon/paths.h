/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where everything is.
 *
 *                     system, or --root DIR (DIR in front)       a user's session
 *   config_file       /etc/libvirt/virtferryd.conf               $XDG_CONFIG_HOME/libvirt/virtferryd.conf
 *   config_dir        /etc/libvirt/ferry                         $XDG_CONFIG_HOME/libvirt/ferry
 *   run_dir           /run/libvirt                               $XDG_RUNTIME_DIR/libvirt
 *   state_dir         /run/libvirt/ferry                         $XDG_RUNTIME_DIR/libvirt/ferry
 *   log_dir           /var/log/libvirt/ferry                     $XDG_CACHE_HOME/libvirt/ferry/log
 *   lib_dir           /var/lib/libvirt/ferry                     $XDG_DATA_HOME/libvirt/ferry
 *
 * Sockets (virtferryd-sock, virtferryd-sock-ro) and virtferryd.pid are in run_dir. libvirt's clients derive the names
 * of the sockets from the driver's name; a session has no read-only one.
 */

#include <glib.h>
#include <stdbool.h>

typedef struct DaemonPaths {
        char *config_file, *config_dir, *run_dir, *state_dir, *log_dir, *lib_dir;
        char *socket, *socket_ro; /* socket_ro NULL: none */
        char *pid_file;
        char *helper_dir; /* virt-ferry-engine and its like */
        char *schema_dir;
} DaemonPaths;

/* @root: "" or NULL for the machine's own. @session: without root, a user's directories. */
void paths_init(DaemonPaths *paths, const char *root, bool session);
void paths_clear(DaemonPaths *paths);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DaemonPaths, paths_clear)

/* Makes the directories. */
int paths_make(const DaemonPaths *paths, bool session, GError **reterr);
