/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/qemu/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "driver/base/error.h"
#include "driver/base/io.h"

typedef struct Header {
        unsigned char bytes[512];
        size_t length;
} Header;

static void put32(Header *header, size_t at, uint32_t value) {
        for (int i = 0; i < 4; i++)
                header->bytes[at + (size_t) i] = (unsigned char) (value >> (24 - 8 * i));
}

/* A version 3 header with a backing file and the name of its format; NULL: none. */
static Header qcow2(const char *backing, const char *format) {
        Header header = {.length = 104};

        memcpy(header.bytes, "QFI\xfb", 4);
        put32(&header, 4, 3);
        put32(&header, 100, 104);
        if (format) {
                put32(&header, header.length, 0xe2792aca);
                put32(&header, header.length + 4, (uint32_t) strlen(format));
                memcpy(header.bytes + header.length + 8, format, strlen(format));
                header.length += 8 + (strlen(format) + 7) / 8 * 8;
        }
        header.length += 8; /* end of the extensions */
        if (backing) {
                put32(&header, 12, (uint32_t) header.length);
                put32(&header, 16, (uint32_t) strlen(backing));
                memcpy(header.bytes + header.length, backing, strlen(backing));
                header.length += strlen(backing);
        }
        return header;
}

static void parses(void **state) {
        g_auto(ImageBacking) raw = {}, none = {}, unsaid = {};

        Header header = qcow2("/srv/base.img", "raw");
        assert_int_equal(image_parse_qcow2(header.bytes, header.length, "a", &raw, NULL), 0);
        assert_string_equal(raw.path, "/srv/base.img");
        assert_int_equal(raw.format, DISK_FORMAT_RAW);
        header = qcow2(NULL, NULL);
        assert_int_equal(image_parse_qcow2(header.bytes, header.length, "a", &none, NULL), 0);
        assert_null(none.path);
        header = qcow2("b", NULL);
        assert_int_equal(image_parse_qcow2(header.bytes, header.length, "a", &unsaid, NULL), 0);
        assert_int_equal(unsaid.format, DISK_FORMAT_UNSET);
}

static void damaged(Header header, const char *text) {
        g_auto(ImageBacking) backing = {};
        g_autoptr(GError) error = NULL;

        assert_true(image_parse_qcow2(header.bytes, header.length, "/srv/x.qcow2", &backing, &error) < 0);
        assert_non_null(strstr(error->message, "/srv/x.qcow2"));
        if (!strstr(error->message, text))
                fail_msg("'%s' does not hold '%s'", error->message, text);
}

static void refuses_damage(void **state) {
        Header header = qcow2("/srv/base.img", "raw");

        header.bytes[0] = 'X';
        damaged(header, "is not a qcow2 image");
        header = qcow2("/srv/base.img", "raw");
        put32(&header, 4, 9);
        damaged(header, "damaged");
        header = qcow2("/srv/base.img", "raw");
        put32(&header, 100, 0xffffffff);
        damaged(header, "damaged");
        header = qcow2("/srv/base.img", "raw");
        put32(&header, 16, 0xffffffff);
        damaged(header, "damaged");
        header = qcow2("/srv/base.img", "raw");
        put32(&header, 8, 0xffffffff); /* the name's offset has 64 bits */
        damaged(header, "damaged");
        header = qcow2("/srv/base.img", "raw");
        put32(&header, 108, 0xfffffff0); /* an extension that never ends */
        damaged(header, "damaged");
        header = qcow2("/srv/base.img", "vmdk");
        damaged(header, "vmdk");
        header.length = 20;
        damaged(header, "is not a qcow2 image");
}

/* ---- chains on disk ---- */

typedef struct Folder {
        char *path;
} Folder;

static int setup(void **state) {
        Folder *folder = g_new0(Folder, 1);

        folder->path = g_dir_make_tmp("ferry-image-XXXXXX", NULL);
        *state = folder;
        return folder->path ? 0 : -1;
}

static int teardown(void **state) {
        Folder *folder = *state;
        g_autoptr(GDir) dir = g_dir_open(folder->path, 0, NULL);
        const char *entry;

        while ((entry = g_dir_read_name(dir))) {
                g_autofree char *path = g_build_filename(folder->path, entry, NULL);
                unlink(path);
        }
        rmdir(folder->path);
        g_free(folder->path);
        g_free(folder);
        return 0;
}

static void write_image(Folder *folder, const char *name, Header header) {
        g_autofree char *path = g_build_filename(folder->path, name, NULL);

        assert_int_equal(file_write_atomic(path, (const char *) header.bytes, header.length, 0600, NULL), 0);
}

/* A definition with one qcow2 disk; owned by the caller. */
static DomainDef *with_disk(Folder *folder, const char *name) {
        g_autofree char *xml = g_strdup_printf(
                "<domain type='qemu'><name>a</name><memory>1024</memory><os><type>hvm</type></os><devices><disk "
                "type='file' device='disk'>"
                "<driver name='qemu' type='qcow2'/><source file='%s/%s'/><target dev='vda' "
                "bus='virtio'/></disk></devices></domain>",
                folder->path, name);
        DomainDef *def = NULL;

        assert_int_equal(domain_def_parse(xml, strlen(xml), 0, NULL, &def, NULL), 0);
        return def;
}

static void chain(void **state) {
        Folder *folder = *state;

        write_image(folder, "top.qcow2", qcow2("middle.qcow2", "qcow2"));
        g_autofree char *absolute = g_build_filename(folder->path, "base.img", NULL);
        write_image(folder, "middle.qcow2", qcow2(absolute, "raw"));
        write_image(folder, "base.img", qcow2("/etc/shadow", "raw")); /* raw: what it looks like does not matter */
        g_autoptr(DomainDef) def = with_disk(folder, "top.qcow2");
        DiskDef *disk = def->disks->pdata[0];

        for (int i = 0; i < 2; i++) {
                assert_int_equal(image_load_chain(disk, NULL), 0);
                assert_true(g_str_has_suffix(image_below(disk, 1)->source, "/middle.qcow2"));
                assert_int_equal(image_below(disk, 1)->format, DISK_FORMAT_QCOW2);
                assert_string_equal(image_below(disk, 2)->source, absolute);
                assert_int_equal(image_below(disk, 2)->format, DISK_FORMAT_RAW);
                assert_null(image_below(disk, 3));
                assert_null(image_below(disk, 77));
        }
}

static void chain_fails(Folder *folder, const char *name, virErrorNumber code, const char *text) {
        g_autoptr(DomainDef) def = with_disk(folder, name);
        g_autoptr(GError) error = NULL;

        assert_true(image_load_chain(def->disks->pdata[0], &error) < 0);
        if (error_code(error) != code || !strstr(error->message, text))
                fail_msg("code %d: '%s' does not hold '%s'", error_code(error), error->message, text);
}

static void chain_refusals(void **state) {
        Folder *folder = *state;

        write_image(folder, "lost.qcow2", qcow2("gone.img", "raw"));
        chain_fails(folder, "lost.qcow2", VIR_ERR_SYSTEM_ERROR, "gone.img");
        write_image(folder, "nbd.qcow2", qcow2("nbd://host/export", "raw"));
        chain_fails(folder, "nbd.qcow2", VIR_ERR_CONFIG_UNSUPPORTED, "nbd://host/export");
        write_image(folder, "json.qcow2", qcow2("json:{\"driver\":\"ssh\"}", "raw"));
        chain_fails(folder, "json.qcow2", VIR_ERR_CONFIG_UNSUPPORTED, "json:");
        write_image(folder, "guess.qcow2", qcow2("nbd.qcow2", NULL));
        chain_fails(folder, "guess.qcow2", VIR_ERR_CONFIG_UNSUPPORTED, "qemu-img rebase");
        write_image(folder, "self.qcow2", qcow2("self.qcow2", "qcow2"));
        chain_fails(folder, "self.qcow2", VIR_ERR_CONFIG_UNSUPPORTED, "below itself");
        write_image(folder, "folder.qcow2", qcow2("/tmp", "raw"));
        chain_fails(folder, "folder.qcow2", VIR_ERR_CONFIG_UNSUPPORTED, "neither a file nor a block device");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(parses),
                cmocka_unit_test(refuses_damage),
                cmocka_unit_test_setup_teardown(chain, setup, teardown),
                cmocka_unit_test_setup_teardown(chain_refusals, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
