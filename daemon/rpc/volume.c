/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"

#define UUID_BYTES 16

/* The start of a qcow2 image (QEMU: docs/interop/qcow2.txt): magic, version, ..., its virtual size at byte 24, all big
 * endian. */
#define QCOW2_MAGIC "QFI\xfb"
#define QCOW2_SIZE_OFFSET 24
#define QCOW2_HEAD_BYTES 32

int volume_probe(const char *path, Volume *ret_volume, GError **reterr) {
        uint8_t head[QCOW2_HEAD_BYTES] = { 0 };
        uint64_t size = 0;
        struct stat st = { 0 };

        if (!g_path_is_absolute(path))
                return error_set(reterr, VIR_ERR_NO_STORAGE_VOL, _("'%s' is not an absolute path"), path);
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
                return error_set(reterr, VIR_ERR_NO_STORAGE_VOL, _("there is no image at '%s'"), path);

        Volume volume = {
                .block = S_ISBLK(st.st_mode),
                .format = "raw",
                .capacity_bytes = (uint64_t) st.st_size,
                .allocation_bytes = (uint64_t) st.st_blocks * 512,
        };
        if (volume.block) {
                off_t end = lseek(fd, 0, SEEK_END);
                volume.capacity_bytes = volume.allocation_bytes = end > 0 ? (uint64_t) end : 0;
        }
        if (pread(fd, head, sizeof(head), 0) == (ssize_t) sizeof(head) && memcmp(head, QCOW2_MAGIC, 4) == 0) {
                memcpy(&size, head + QCOW2_SIZE_OFFSET, sizeof(size));
                volume.format = "qcow2";
                volume.capacity_bytes = GUINT64_FROM_BE(size);
        }
        *ret_volume = volume;
        return 0;
}

char *volume_xml(const char *path, const Volume *volume) {
        g_autofree char *name = g_path_get_basename(path);

        return g_markup_printf_escaped("<volume type='%s'>\n"
                                       "  <name>%s</name>\n"
                                       "  <key>%s</key>\n"
                                       "  <capacity unit='bytes'>%" G_GUINT64_FORMAT "</capacity>\n"
                                       "  <allocation unit='bytes'>%" G_GUINT64_FORMAT "</allocation>\n"
                                       "  <target>\n"
                                       "    <path>%s</path>\n"
                                       "    <format type='%s'/>\n"
                                       "  </target>\n"
                                       "</volume>\n",
                                       volume->block ? "block" : "file", name, path, volume->capacity_bytes,
                                       volume->allocation_bytes, path, volume->format);
}

char *volume_pool_xml(const char *dir, const unsigned char *uuid) {
        GString *text = g_string_sized_new(37);

        for (unsigned i = 0; i < UUID_BYTES; i++)
                g_string_append_printf(text, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid[i]);
        g_autofree char *uuid_text = g_string_free(text, FALSE);
        return g_markup_printf_escaped("<pool type='dir'>\n"
                                       "  <name>%s</name>\n"
                                       "  <uuid>%s</uuid>\n"
                                       "  <target>\n"
                                       "    <path>%s</path>\n"
                                       "  </target>\n"
                                       "</pool>\n",
                                       dir, uuid_text, dir);
}

void volume_pool_uuid(const char *dir, unsigned char *ret_uuid) {
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        uint8_t digest[32];
        gsize length = sizeof(digest);

        g_checksum_update(sum, (const guchar *) "ferry-pool:", -1);
        g_checksum_update(sum, (const guchar *) dir, -1);
        g_checksum_get_digest(sum, digest, &length);
        memcpy(ret_uuid, digest, UUID_BYTES);
        ret_uuid[6] = (ret_uuid[6] & 0x0f) | 0x50; /* RFC 4122: made from a name */
        ret_uuid[8] = (ret_uuid[8] & 0x3f) | 0x80;
}
