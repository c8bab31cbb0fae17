/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"

#define MESSAGE_FDS_MAX 16

int fd_close(int fd) {
        if (fd >= 0) {
                int saved = errno;

                close(fd);
                errno = saved;
        }
        return -EBADF;
}

void fd_closep(int *fd) {
        *fd = fd_close(*fd);
}

static int fd_change_flags(int fd, int get, int set, int flag, bool on) {
        int flags = fcntl(fd, get);

        if (flags < 0 || fcntl(fd, set, on ? flags | flag : flags & ~flag) < 0)
                return -errno;
        return 0;
}

int fd_set_nonblock(int fd, bool on) {
        return fd_change_flags(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_set_cloexec(int fd, bool on) {
        return fd_change_flags(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int fd_write_all(int fd, const void *data, size_t length) {
        const char *p = data;

        while (length > 0) {
                ssize_t n = write(fd, p, length);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += n;
                length -= (size_t) n;
        }
        return 0;
}

int fd_read_all(int fd, void *data, size_t length) {
        char *p = data;

        while (length > 0) {
                ssize_t n = read(fd, p, length);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        return -ENODATA;
                p += n;
                length -= (size_t) n;
        }
        return 0;
}

ssize_t fd_send_with_fds(int fd, const void *data, size_t length, const int *fds, size_t n_fds) {
        union {
                char space[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
                struct cmsghdr align;
        } control = { 0 };
        struct iovec iov = { .iov_base = (void *) data, .iov_len = length };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        if (n_fds > MESSAGE_FDS_MAX)
                return -E2BIG;
        if (n_fds > 0) {
                struct cmsghdr *header;

                message.msg_control = control.space;
                message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
        }
        do
                n = sendmsg(fd, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

ssize_t fd_recv_with_fds(int fd, void *data, size_t length, int *fds, size_t max_fds, size_t *ret_n_fds) {
        union {
                char space[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
                struct cmsghdr align;
        } control = { 0 };
        struct iovec iov = { .iov_base = data, .iov_len = length };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control.space,
                .msg_controllen = sizeof(control.space),
        };
        size_t n_fds = 0;
        ssize_t n;

        do
                n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
                size_t count;

                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < count; i++) {
                        int received;

                        memcpy(&received, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
                        if (n_fds < max_fds)
                                fds[n_fds++] = received;
                        else
                                fd_close(received);
                }
        }
        if (ret_n_fds)
                *ret_n_fds = n_fds;
        return n;
}

int dir_make(const char *path, mode_t mode, GError **reterr) {
        if (g_mkdir_with_parents(path, (int) mode) < 0)
                return error_set_errno(reterr, errno, _("cannot make directory '%s'"), path);
        return 0;
}

static int file_put(const char *path, const char *text, size_t length, mode_t mode, bool sync, GError **reterr) {
        g_autofree char *temporary = g_strdup_printf("%s.new", path);
        _cleanup_fd_ int fd = -EBADF;
        int r;

        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot create file '%s'"), temporary);
        r = fd_write_all(fd, text, length);
        if (r >= 0 && sync && fsync(fd) < 0)
                r = -errno;
        if (r >= 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0) {
                unlink(temporary);
                return error_set_errno(reterr, r, _("cannot write file '%s'"), path);
        }
        return 0;
}

int file_write_atomic(const char *path, const char *text, size_t length, mode_t mode, GError **reterr) {
        return file_put(path, text, length, mode, true, reterr);
}

int file_replace(const char *path, const char *text, size_t length, mode_t mode, GError **reterr) {
        return file_put(path, text, length, mode, false, reterr);
}

int file_read(const char *path, size_t max, char **ret_text, size_t *ret_length, GError **reterr) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        _cleanup_fd_ int fd = -EBADF;
        char chunk[16384];

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot open file '%s'"), path);
        for (;;) {
                ssize_t n = read(fd, chunk, sizeof(chunk));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_set_errno(reterr, errno, _("cannot read file '%s'"), path);
                if (n == 0)
                        break;
                if (bytes->len + (size_t) n > max)
                        return error_set_errno(reterr, EFBIG, _("file '%s' has more than %zu bytes"), path, max);
                g_byte_array_append(bytes, (guint8 *) chunk, (guint) n);
        }
        if (ret_length)
                *ret_length = bytes->len;
        g_byte_array_append(bytes, (const guint8 *) "", 1);
        *ret_text = (char *) g_byte_array_free(g_steal_pointer(&bytes), FALSE);
        return 0;
}
