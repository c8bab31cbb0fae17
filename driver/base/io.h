/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small helpers over descriptors and files. Unless a comment says otherwise: 0 or a count, or negative errno. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Closes fd unless it is negative, keeps errno, returns -EBADF: `fd = fd_close(fd);` */
int fd_close(int fd);
void fd_closep(int *fd);
#define _cleanup_fd_ __attribute__((cleanup(fd_closep)))
/* Returns the descriptor and marks the variable empty. */
#define FD_STEAL(fd) ({ int fd_steal_ = (fd); (fd) = -EBADF; fd_steal_; })

/* Set or clear O_NONBLOCK, FD_CLOEXEC. */
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* Whole-buffer I/O on a blocking descriptor; read returns -ENODATA when the end comes too early. */
int fd_write_all(int fd, const void *data, size_t length);
int fd_read_all(int fd, void *data, size_t length);

/* Sends one message with up to 16 descriptors on a unix socket; returns bytes sent or negative errno. */
ssize_t fd_send_with_fds(int fd, const void *data, size_t length, const int *fds, size_t n_fds);
/* Receives; up to max_fds descriptors (CLOEXEC) are stored and *ret_n_fds set. Surplus descriptors are closed. */
ssize_t fd_recv_with_fds(int fd, void *data, size_t length, int *fds, size_t max_fds, size_t *ret_n_fds);

/* Makes the directory and its parents. */
int dir_make(const char *path, mode_t mode, GError **reterr);
/* Writes a file atomically: temporary beside it, fsync, rename. */
int file_write_atomic(const char *path, const char *text, size_t length, mode_t mode, GError **reterr);
/* As file_write_atomic(), without fsync: for run-time state, which has to survive us but not the host. */
int file_replace(const char *path, const char *text, size_t length, mode_t mode, GError **reterr);
/* Reads a whole file of at most max bytes; NUL-terminated. */
int file_read(const char *path, size_t max, char **ret_text, size_t *ret_length, GError **reterr);
