/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/volume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/error.h"

static char dir[] = "/tmp/ferry-test-XXXXXX";

static void test_raw_and_qcow2(void **state) {
        g_autofree char *path = g_build_filename(dir, "image", NULL);
        char head[64] = "QFI\xfb\0\0\0\3";
        Volume volume = { 0 };

        assert_true(g_file_set_contents(path, "raw content", 11, NULL));
        assert_int_equal(volume_probe(path, &volume, NULL), 0);
        assert_string_equal(volume.format, "raw");
        assert_int_equal(volume.capacity_bytes, 11);
        assert_false(volume.block);

        head[27] = 1; /* virtual size 2^32 + 0 */
        assert_true(g_file_set_contents(path, head, sizeof(head), NULL));
        assert_int_equal(volume_probe(path, &volume, NULL), 0);
        assert_string_equal(volume.format, "qcow2");
        assert_true(volume.capacity_bytes == UINT64_C(1) << 32);

        /* Cut off in the header: then it is as raw as anything. */
        assert_true(g_file_set_contents(path, head, 20, NULL));
        assert_int_equal(volume_probe(path, &volume, NULL), 0);
        assert_string_equal(volume.format, "raw");
        unlink(path);
}

static void test_not_an_image(void **state) {
        g_autofree char *fifo = g_build_filename(dir, "fifo", NULL);
        const char *const paths[] = { fifo, dir, "/nonexistent", "relative", "", "/dev/null" };
        Volume volume = { 0 };

        assert_int_equal(mkfifo(fifo, 0600), 0);
        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                g_autoptr(GError) error = NULL;
                assert_true(volume_probe(paths[i], &volume, &error) < 0);
                assert_true(error_is(error, VIR_ERR_NO_STORAGE_VOL));
        }
        unlink(fifo);
}

static void test_xml(void **state) {
        Volume volume = { .format = "qcow2", .capacity_bytes = 5, .allocation_bytes = 6 };
        unsigned char uuid[16], again[16], other[16];
        g_autofree char *xml = volume_xml("/a/<b>&'c", &volume);

        assert_non_null(strstr(xml, "<path>/a/&lt;b&gt;&amp;&apos;c</path>"));
        assert_non_null(strstr(xml, "<format type='qcow2'/>"));
        assert_non_null(strstr(xml, "<capacity unit='bytes'>5</capacity>"));
        volume_pool_uuid("/a", uuid);
        volume_pool_uuid("/a", again);
        volume_pool_uuid("/b", other);
        assert_memory_equal(uuid, again, 16);
        assert_memory_not_equal(uuid, other, 16);
        g_autofree char *pool = volume_pool_xml("/a", uuid);
        assert_non_null(strstr(pool, "<path>/a</path>"));
}

int main(void) {
        if (!mkdtemp(dir))
                return 1;
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_raw_and_qcow2),
                cmocka_unit_test(test_not_an_image),
                cmocka_unit_test(test_xml),
        };
        int r = cmocka_run_group_tests(tests, NULL, NULL);
        rmdir(dir);
        return r;
}
