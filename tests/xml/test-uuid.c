/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/xml/sample.h"
#include "xml/uuid.h"

static void test_parse(void **state) {
        static const char *const good[] = {
                "00112233-4455-6677-8899-aabbccddeeff",
                "00112233445566778899AABBCCDDEEFF",
                " 0011-2233-4455-6677-8899-aabb-ccdd-eeff\n",
        };
        static const char *const bad[] = {
                "",
                "00112233-4455-6677-8899-aabbccddeef",
                "00112233-4455-6677-8899-aabbccddeeff0",
                "-00112233445566778899aabbccddeeff",
                "0-0112233445566778899aabbccddeeff",
                "g0112233-4455-6677-8899-aabbccddeeff",
                "00112233--4455-6677-8899-aabbccddeeff",
        };
        unsigned char uuid[UUID_BYTES];
        char text[UUID_TEXT_SIZE];

        for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
                assert_int_equal(uuid_parse(good[i], uuid), 0);
                assert_string_equal(uuid_format(uuid, text), good[0]);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
                assert_int_equal(uuid_parse(bad[i], uuid), -EINVAL);
}

static void test_generate(void **state) {
        unsigned char a[UUID_BYTES], b[UUID_BYTES], same[UUID_BYTES] = {};

        assert_int_equal(uuid_generate(a), 0);
        assert_int_equal(uuid_generate(b), 0);
        assert_memory_not_equal(a, b, UUID_BYTES);
        assert_int_equal(a[8] >> 6, 2);
        assert_true(uuid_is_valid(a));
        assert_false(uuid_is_valid(same));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_generate),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
