/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"

int listen_lock(const char *pid_file, int *ret_fd, GError **reterr) {
        _cleanup_fd_ int fd = open(pid_file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        g_autofree char *text = g_strdup_printf("%d\n", (int) getpid());

        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot open '%s'"), pid_file);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                         _("another virtferryd holds '%s': stop it first, or use --root"),
                                         pid_file);
                return error_set_errno(reterr, errno, _("cannot lock '%s'"), pid_file);
        }
        int r = ftruncate(fd, 0) < 0 ? -errno : fd_write_all(fd, text, strlen(text));
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot write '%s'"), pid_file);
        *ret_fd = FD_STEAL(fd);
        return 0;
}

static int find_group(const char *name, gid_t *ret_gid, GError **reterr) {
        struct group group = { 0 }, *found = NULL;
        g_autofree char *buffer = g_malloc(65536);

        int r = getgrnam_r(name, &group, buffer, 65536, &found);
        if (r != 0)
                return error_set_errno(reterr, r, _("cannot look up group '%s'"), name);
        if (!found)
                return error_set(reterr, VIR_ERR_CONF_SYNTAX, _("there is no group '%s' (unix_sock_group)"), name);
        *ret_gid = group.gr_gid;
        return 0;
}

int listen_unix(const char *path, mode_t mode, const char *group, int *ret_fd, GError **reterr) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        gid_t gid = (gid_t) -1;
        int r = 0;

        if (strlen(path) >= sizeof(address.sun_path))
                return error_set(reterr, VIR_ERR_CONF_SYNTAX,
                                 _("socket path '%s' is longer than %zu bytes: use a shorter --root"), path,
                                 sizeof(address.sun_path) - 1);
        strcpy(address.sun_path, path);
        if (group && (r = find_group(group, &gid, reterr)) < 0)
                return r;

        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot make a socket"));
        if (unlink(path) < 0 && errno != ENOENT)
                return error_set_errno(reterr, errno, _("cannot remove the stale socket '%s'"), path);

        /* Nobody may connect before the permissions are right. */
        mode_t mask = umask(0777);
        r = bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
        umask(mask);
        if (r >= 0 && gid != (gid_t) -1 && chown(path, (uid_t) -1, gid) < 0)
                r = -errno;
        if (r >= 0 && chmod(path, mode) < 0)
                r = -errno;
        if (r >= 0 && listen(fd, SOMAXCONN) < 0)
                r = -errno;
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot listen on '%s'"), path);
        *ret_fd = FD_STEAL(fd);
        return 0;
}

static bool socket_is_read_only(int fd) {
        struct sockaddr_un address = { 0 };
        socklen_t length = sizeof(address);

        if (getsockname(fd, (struct sockaddr *) &address, &length) < 0 || address.sun_family != AF_UNIX)
                return true; /* the careful guess */
        g_autofree char *path = g_strndup(address.sun_path, sizeof(address.sun_path));
        return g_str_has_suffix(path, "-ro");
}

int listen_activated(RpcServer *server, unsigned *ret_n, GError **reterr) {
        int n = sd_listen_fds(1);
        if (n < 0)
                return error_set_errno(reterr, n, _("cannot take the sockets of the service manager"));
        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;
                if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0)
                        return error_set(reterr, VIR_ERR_CONF_SYNTAX,
                                         _("descriptor %d from the service manager is not a listening unix socket"),
                                         fd);
                fd_set_nonblock(fd, true);
                int r = server_listen(server, fd, socket_is_read_only(fd), reterr);
                if (r < 0)
                        return r;
        }
        *ret_n = (unsigned) n;
        return 0;
}
