/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A folder shown again through FUSE, with slow reads:
 *         slowfs FOLDER MOUNT_POINT DELAY_MSEC
 * It runs in the foreground until it is unmounted or gets SIGTERM.
 *
 * What it is for: a direct read (O_DIRECT) pins its target pages when it begins and writes them when it ends. With a
 * delay in between, a scan of the page tables falls into that time and the write after it goes unseen. A migration that
 * does not know this loses the data.
 */

#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct SlowFs {
        int folder_fd;
        struct timespec delay;
} SlowFs;

static SlowFs *slowfs_get(void) {
        return fuse_get_context()->private_data;
}

/* FUSE's paths begin with a slash; the folder itself is ".". */
static const char *relative(const char *path) {
        return path[1] ? path + 1 : ".";
}

static void *slowfs_init(struct fuse_conn_info *connection, struct fuse_config *config) {
        config->nullpath_ok = 0;
        /* both hosts' QEMUs write, so sizes and times are never remembered */
        config->attr_timeout = config->entry_timeout = 0;
        return slowfs_get();
}

static int slowfs_getattr(const char *path, struct stat *ret_stat, struct fuse_file_info *file) {
        return fstatat(slowfs_get()->folder_fd, relative(path), ret_stat, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int slowfs_open(const char *path, struct fuse_file_info *file) {
        /* The file below is opened buffered: whether the one above is direct is what matters here. */
        int fd = openat(slowfs_get()->folder_fd, relative(path), (file->flags & ~(O_DIRECT | O_CREAT)) | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        file->fh = (uint64_t) fd;
        return 0;
}

static int slowfs_release(const char *path, struct fuse_file_info *file) {
        close((int) file->fh);
        return 0;
}

static int slowfs_read(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *file) {
        const SlowFs *slowfs = slowfs_get();
        ssize_t n;

        n = pread((int) file->fh, buffer, size, offset);
        nanosleep(&slowfs->delay, NULL);
        return n < 0 ? -errno : (int) n;
}

static int slowfs_write(const char *path, const char *buffer, size_t size, off_t offset, struct fuse_file_info *file) {
        ssize_t n = pwrite((int) file->fh, buffer, size, offset);

        return n < 0 ? -errno : (int) n;
}

static int slowfs_fsync(const char *path, int data_only, struct fuse_file_info *file) {
        return fdatasync((int) file->fh) < 0 ? -errno : 0;
}

static int slowfs_statfs(const char *path, struct statvfs *ret_statvfs) {
        return fstatvfs(slowfs_get()->folder_fd, ret_statvfs) < 0 ? -errno : 0;
}

static const struct fuse_operations operations = {
        .init = slowfs_init,
        .getattr = slowfs_getattr,
        .open = slowfs_open,
        .release = slowfs_release,
        .read = slowfs_read,
        .write = slowfs_write,
        .fsync = slowfs_fsync,
        .statfs = slowfs_statfs,
};

int main(int argc, char *argv[]) {
        char foreground[] = "-f", option[] = "-o", options[] = "allow_other,default_permissions,max_threads=16",
             *arguments[] = { argv[0], foreground, option, options, NULL, NULL };
        SlowFs slowfs = {};
        long delay_msec;

        if (argc != 4) {
                fprintf(stderr, "usage: %s FOLDER MOUNT_POINT DELAY_MSEC\n", argv[0]);
                return 2;
        }
        slowfs.folder_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (slowfs.folder_fd < 0) {
                fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
                return 1;
        }
        delay_msec = strtol(argv[3], NULL, 10);
        slowfs.delay = (struct timespec) { .tv_sec = delay_msec / 1000, .tv_nsec = delay_msec % 1000 * 1000000L };
        arguments[4] = argv[2];
        return fuse_main(5, arguments, &operations, &slowfs);
}
