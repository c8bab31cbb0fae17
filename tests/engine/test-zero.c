/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/zero.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE 4096u

/* Every method sees every byte. */
static void test_each_byte(void **state) {
        unsigned char *page = aligned_alloc(64, PAGE);
        memset(page, 0, PAGE);
        assert_true(zero_is(page, PAGE));
        for (ZeroMethod method = 0; method < ZERO_METHOD_MAX_; method++) {
                bool supported;
                bool zero = zero_is_by(method, page, PAGE, &supported);
                if (!supported) {
                        print_message("method %d is not supported by this processor\n", (int) method);
                        continue;
                }
                assert_true(zero);
                for (unsigned i = 0; i < PAGE; i++) {
                        page[i] = 0x80;
                        assert_false(zero_is_by(method, page, PAGE, &supported));
                        assert_false(zero_is(page, PAGE));
                        page[i] = 0;
                }
                for (unsigned length = 512; length <= PAGE; length += 512)
                        assert_true(zero_is_by(method, page, length, &supported));
        }
        free(page);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_each_byte) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
