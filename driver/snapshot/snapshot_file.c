/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"

static int open_error(const char *path, bool direct, int error, GError **reterr) {
        if (direct && error == EINVAL)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the file system of '%s' has no direct I/O: leave '--bypass-cache' out"), path);
        return error_set_errno(reterr, error, _("cannot open '%s'"), path);
}

int snapshot_file_open(const char *path, bool direct, ImageReader **ret_reader, GError **reterr) {
        /* A FIFO must not block us, and is refused later. Where it may be written, the order of first use is kept in
         * it. */
        int flags = O_CLOEXEC | O_NONBLOCK | (direct ? O_DIRECT : 0);
        int fd = open(path, flags | O_RDWR);

        if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM))
                fd = open(path, flags | O_RDONLY);
        if (fd < 0)
                return open_error(path, direct, errno, reterr);
        int r = image_reader_new(fd, ret_reader, reterr);
        if (r < 0 && reterr)
                g_prefix_error(reterr, _("cannot use '%s': "), path);
        return r;
}

static int check_target(const char *path, GError **reterr) {
        struct stat st;

        if (!g_path_is_absolute(path))
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("'%s' is not an absolute path"), path);
        if (stat(path, &st) < 0)
                return errno == ENOENT ? 0 : error_set_errno(reterr, errno, _("cannot look at '%s'"), path);
        if (!S_ISREG(st.st_mode))
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("'%s' is not a regular file: name one, or a new one"), path);
        return 0;
}

/* Whether fd is still what the name stands for. */
static bool is_same(int fd, const char *path) {
        struct stat ours, theirs;

        return fstat(fd, &ours) >= 0 && lstat(path, &theirs) >= 0 && ours.st_dev == theirs.st_dev &&
               ours.st_ino == theirs.st_ino;
}

int snapshot_file_create(const char *path, bool direct, int *ret_fd, char **ret_temporary, GError **reterr) {
        int r = check_target(path, reterr);
        if (r < 0)
                return r;

        g_autofree char *dir = g_path_get_dirname(path), *name = g_path_get_basename(path);
        g_autofree char *temporary = g_strdup_printf("%s/.%s.saving", dir, name);
        for (;;) {
                _cleanup_fd_ int fd =
                        open(temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (direct ? O_DIRECT : 0), 0600);

                if (fd < 0) {
                        int error = errno;
                        /* With O_DIRECT the file may have been made before it was refused. */
                        if (direct && error == EINVAL)
                                (void) unlink(temporary);
                        return open_error(temporary, direct, error, reterr);
                }
                if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                        return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                         _("another guest is just being saved to '%s'"), path);
                /* Its last owner may have finished between the two calls. */
                if (!is_same(fd, temporary))
                        continue;
                if (ftruncate(fd, 0) < 0)
                        return error_set_errno(reterr, errno, _("cannot empty '%s'"), temporary);
                *ret_fd = FD_STEAL(fd);
                *ret_temporary = g_steal_pointer(&temporary);
                return 0;
        }
}

int snapshot_file_publish(const char *temporary, const char *path) {
        g_autofree char *dir = g_path_get_dirname(path);
        _cleanup_fd_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || rename(temporary, path) < 0)
                return -errno;
        /* The name stands for the image now: the guest must not run on beside it. */
        if (fsync(fd) < 0)
                log_debug("the folder of save image '%s' cannot be synced, ignoring: %s", path, g_strerror(errno));
        return 0;
}

char *snapshot_managed_path(const SnapshotContext *context, const char *name) {
        return g_strdup_printf("%s/%s.save", context->dir, name);
}

bool snapshot_file_is(const char *path, const unsigned char *id) {
        g_autoptr(ImageReader) reader = NULL;

        return snapshot_file_open(path, false, &reader, NULL) >= 0 &&
               memcmp(image_reader_header(reader)->id, id, IMAGE_ID_BYTES) == 0;
}
