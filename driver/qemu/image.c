/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * A qcow2 image names the file below it. If QEMU followed that name by itself, a guest that can write its own image (a
 * raw image that it turns into a qcow2, say) could choose which file of the host is opened. So formats are never
 * guessed: the definition gives the top image's, a header extension gives the one below, and an image whose format
 * nobody gives is refused.
 */

#include "driver/qemu/image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"

#define QCOW2_MAGIC UINT32_C(0x514649fb)
#define QCOW2_V2_HEADER_BYTES 72
#define QCOW2_V3_HEADER_MIN_BYTES 104
#define QCOW2_EXT_END UINT32_C(0)
#define QCOW2_EXT_BACKING_FORMAT UINT32_C(0xe2792aca)
#define QCOW2_BACKING_NAME_MAX 1023

void image_backing_clear(ImageBacking *backing) {
        g_clear_pointer(&backing->path, g_free);
}

static uint32_t be32(const unsigned char *p) {
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static uint64_t be64(const unsigned char *p) {
        return (uint64_t) be32(p) << 32 | be32(p + 4);
}

static int image_damaged(const char *path, GError **reterr) {
        return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the header of qcow2 image '%s' is damaged"), path);
}

/* The format of the backing file from the header extensions: type, length, data padded to 8 bytes. */
static int qcow2_backing_format(const unsigned char *bytes, size_t length, size_t offset, const char *path,
                                DiskFormat *ret_format, GError **reterr) {
        while (offset + 8 <= length) {
                uint32_t type = be32(bytes + offset), size = be32(bytes + offset + 4);
                offset += 8;
                if (type == QCOW2_EXT_END)
                        return 0;
                if (size > length - offset)
                        return image_damaged(path, reterr);
                if (type == QCOW2_EXT_BACKING_FORMAT) {
                        g_autofree char *name = g_strndup((const char *) bytes + offset, MIN(size, 64u));
                        /* What QEMU calls the formats of plain files and devices. */
                        if (g_str_equal(name, "file") || g_str_equal(name, "host_device") || g_str_equal(name, "raw"))
                                *ret_format = DISK_FORMAT_RAW;
                        else if (g_str_equal(name, "qcow2"))
                                *ret_format = DISK_FORMAT_QCOW2;
                        else
                                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                                 _("image '%s' has a backing file of format '%s': only raw and qcow2 "
                                                   "are supported"),
                                                 path, name);
                        return 0;
                }
                offset += MIN(((size_t) size + 7) & ~(size_t) 7, length - offset);
        }
        return 0;
}

int image_parse_qcow2(const unsigned char *bytes, size_t length, const char *path, ImageBacking *ret_backing,
                      GError **reterr) {
        if (length < QCOW2_V2_HEADER_BYTES || be32(bytes) != QCOW2_MAGIC)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("'%s' is not a qcow2 image: correct <driver type=>"), path);

        uint32_t version = be32(bytes + 4);
        size_t header = version == 2                          ? QCOW2_V2_HEADER_BYTES
                        : length >= QCOW2_V3_HEADER_MIN_BYTES ? be32(bytes + 100)
                                                              : 0;
        if (version < 2 || version > 3 || header < QCOW2_V2_HEADER_BYTES || header > length)
                return image_damaged(path, reterr);

        uint64_t name_offset = be64(bytes + 8);
        uint32_t name_bytes = be32(bytes + 16);
        if (name_offset == 0) {
                *ret_backing = (ImageBacking){};
                return 0;
        }
        if (name_bytes == 0 || name_bytes > QCOW2_BACKING_NAME_MAX || name_offset > length ||
            name_bytes > length - name_offset)
                return image_damaged(path, reterr);

        DiskFormat format = DISK_FORMAT_UNSET;
        int r = qcow2_backing_format(bytes, length, header, path, &format, reterr);
        if (r < 0)
                return r;
        if (memchr(bytes + name_offset, '\0', name_bytes))
                return image_damaged(path, reterr);
        *ret_backing = (ImageBacking){
                .path = g_strndup((const char *) bytes + name_offset, name_bytes),
                .format = format,
        };
        return 0;
}

/* The backing file's name as a path: relative names count from the image's folder. NULL with an error for what is no
 * local file. */
static char *image_resolve(const char *image, const char *name, GError **reterr) {
        if (g_str_has_prefix(name, "file:"))
                name += strlen("file:");
        const char *colon = strchr(name, ':'), *slash = strchr(name, '/');
        if (colon && (!slash || colon < slash)) {
                error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                          _("image '%s' has the backing file '%s': only local files are supported"), image, name);
                return NULL;
        }
        if (g_path_is_absolute(name))
                return g_strdup(name);
        g_autofree char *folder = g_path_get_dirname(image);
        return g_build_filename(folder, name, NULL);
}

static int image_open(const char *path, struct stat *ret_st, GError **reterr) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || fstat(fd, ret_st) < 0) {
                int r = error_set_errno(reterr, errno, _("cannot open the image '%s'"), path);
                fd_close(fd);
                return r;
        }
        if (!S_ISREG(ret_st->st_mode) && !S_ISBLK(ret_st->st_mode)) {
                fd_close(fd);
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("the image '%s' is neither a file nor a block device"), path);
        }
        return fd;
}

/* Adds an image below the last one; returns where the next one goes. */
static GPtrArray *chain_append(GPtrArray *below, DiskType type, DiskFormat format, const char *source) {
        DiskBackingDef *entry = g_new0(DiskBackingDef, 1);

        entry->type = type;
        entry->format = format;
        entry->source = g_strdup(source);
        entry->below = g_ptr_array_new();
        g_ptr_array_add(below, entry);
        return entry->below;
}

static void chain_clear(GPtrArray *chain) {
        for (unsigned i = 0; i < chain->len; i++) {
                DiskBackingDef *entry = chain->pdata[i];
                chain_clear(entry->below);
                g_ptr_array_unref(entry->below);
                g_free(entry->source);
                g_free(entry);
        }
        g_ptr_array_set_size(chain, 0);
}

const DiskBackingDef *image_below(const DiskDef *disk, unsigned depth) {
        const GPtrArray *chain = disk->backing;
        const DiskBackingDef *entry = NULL;

        for (unsigned i = 0; i < depth; i++) {
                entry = chain->len > 0 ? chain->pdata[0] : NULL;
                if (!entry || entry->type == DISK_TYPE_UNSET || !entry->source)
                        return NULL;
                chain = entry->below;
        }
        return entry;
}

int image_load_chain(DiskDef *disk, GError **reterr) {
        g_autofree unsigned char *bytes = g_malloc(IMAGE_HEADER_BYTES);
        g_autofree char *path = g_strdup(disk->source);
        DiskFormat format = disk->format;
        GPtrArray *last = disk->backing;
        unsigned depth = 0;

        chain_clear(disk->backing);
        while (path && format == DISK_FORMAT_QCOW2) {
                _cleanup_fd_ int fd = -EBADF;
                g_auto(ImageBacking) backing = {};
                struct stat st;

                if (depth++ >= IMAGE_CHAIN_MAX)
                        return error_set(
                                reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                _("the image '%s' has more than %d images below it, or one of them is below itself"),
                                disk->source, IMAGE_CHAIN_MAX);
                fd = image_open(path, &st, reterr);
                if (fd < 0)
                        return fd;
                ssize_t n = pread(fd, bytes, IMAGE_HEADER_BYTES, 0);
                if (n < 0)
                        return error_set_errno(reterr, errno, _("cannot read the image '%s'"), path);
                int r = image_parse_qcow2(bytes, (size_t) n, path, &backing, reterr);
                if (r < 0)
                        return r;
                if (!backing.path)
                        break;
                if (backing.format == DISK_FORMAT_UNSET)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("the image '%s' does not say which format its backing file has: run "
                                           "'qemu-img rebase -u -F FORMAT -b %s %s'"),
                                         path, backing.path, path);

                g_autofree char *below = image_resolve(path, backing.path, reterr);
                if (!below)
                        return -EOPNOTSUPP;
                _cleanup_fd_ int below_fd = image_open(below, &st, reterr);
                if (below_fd < 0)
                        return below_fd;
                last = chain_append(last, S_ISBLK(st.st_mode) ? DISK_TYPE_BLOCK : DISK_TYPE_FILE, backing.format,
                                    below);
                g_free(path);
                path = g_steal_pointer(&below);
                format = backing.format;
        }
        (void) chain_append(last, DISK_TYPE_UNSET, DISK_FORMAT_UNSET, NULL);
        return 0;
}
