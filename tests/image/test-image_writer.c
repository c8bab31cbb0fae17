/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/image/image_writer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/image/image_reader.h"
#include "tests/image/sample.h"

/* Nobody takes what an interrupted save has left for an image. */
static void test_unfinished(void **state) {
        Sample sample;
        g_autoptr(ImageWriter) writer = NULL;
        ImageReader *reader = NULL;
        g_autoptr(GError) error = NULL;

        sample_make(&sample, IMAGE_RAW, 0);
        assert_int_equal(ftruncate(sample.fd, 0), 0);
        ImageWriterArgs args = {
                .fd = sample.fd, .xml = SAMPLE_XML, .blocks = sample.blocks, .n_blocks = SAMPLE_BLOCKS
        };
        assert_int_equal(image_writer_new(&args, &writer, NULL), 0);
        assert_int_equal(image_writer_device(writer, sample.device, SAMPLE_DEVICE_BYTES), 0);
        assert_true(image_reader_new(sample_reopen(&sample, O_RDONLY), &reader, &error) < 0);
        assert_non_null(strstr(error->message, "never finished"));
        sample_clear(&sample);
}

static char *read_xml(const Sample *sample, bool *ret_running) {
        g_autoptr(ImageReader) reader = NULL;

        assert_int_equal(image_reader_new(sample_reopen(sample, O_RDONLY), &reader, NULL), 0);
        *ret_running = image_reader_header(reader)->running;
        return g_strdup(image_reader_xml(reader));
}

static void test_set_xml(void **state) {
        Sample sample;

        sample_make(&sample, IMAGE_ZSTD, 0);
        for (int i = 0; i < 4; i++) {
                g_autofree char *text = g_strdup_printf("<domain><name>%d</name></domain>", i);
                bool running = false;
                assert_int_equal(image_writer_set_xml(sample.fd, text, i - 1, NULL), 0);
                g_autofree char *back = read_xml(&sample, &running);
                assert_string_equal(back, text);
                assert_int_equal(running, i != 1);
        }
        g_autofree char *huge = g_strnfill(100000, 'x');
        assert_true(image_writer_set_xml(sample.fd, huge, -1, NULL) < 0);
        bool running;
        g_autofree char *back = read_xml(&sample, &running);
        assert_non_null(strstr(back, "<name>3<"));
        sample_clear(&sample);
}

static void test_set_order(void **state) {
        Sample sample;
        g_autoptr(ImageReader) reader = NULL;
        g_autofree ImageOrder *order = g_new0(ImageOrder, 1), *back = g_new0(ImageOrder, 1);

        sample_make(&sample, IMAGE_RAW, 0);
        assert_int_equal(image_reader_new(sample_reopen(&sample, O_RDONLY), &reader, NULL), 0);
        image_reader_order(reader, back);
        assert_int_equal(back->n, 0);
        order->n = 2;
        order->entries[1] = 77;
        assert_int_equal(image_writer_set_order(sample.fd, image_reader_header(reader), order), 0);
        image_reader_order(reader, back);
        assert_int_equal(back->n, 2);
        assert_int_equal(back->entries[1], 77);
        sample_clear(&sample);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_unfinished), cmocka_unit_test(test_set_xml),
                                            cmocka_unit_test(test_set_order) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
