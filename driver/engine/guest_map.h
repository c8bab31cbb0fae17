/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where another process has mapped a RAM file: from /proc/PID/maps, by device and inode. */

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Finds the one place where process pid maps bytes [0, size) of the file behind fd, shared and in one piece.
 * @name: the block's, for messages
 * Negative errno: -ESRCH when the process is gone, -ENOENT when it does not map the file, -ENOTUNIQ when it does so
 * several times.
 */
int guest_map_find(pid_t pid, int fd, uint64_t size_bytes, const char *name, uint64_t *ret_address, GError **reterr);

/*
 * Takes a range of a guest's memory off two userfaultfd contexts (negative: none) and wakes who waits in it. 2 MiB
 * pieces of it may belong to the one or to the other (throttle.h). 0 or negative errno.
 */
int guest_map_unregister(uint64_t address, uint64_t length, int uffd_a, int uffd_b);
