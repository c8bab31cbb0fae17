/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/private_ram.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/units.h"

/* Sizes that no other mapping of this program has. */
#define VIDEO_BYTES (3 * MIB + 20 * KIB)
#define ROM_BYTES (260 * KIB)

static char *map_alone(size_t length) {
        /* A gap on either side, so that the kernel does not merge it with a neighbour. */
        char *place = mmap(NULL, length + 64 * KIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        assert_true(place != MAP_FAILED);
        assert_int_equal(mprotect(place + 32 * KIB, length, PROT_READ | PROT_WRITE), 0);
        return place + 32 * KIB;
}

static void test_present(void **state) {
        uint64_t sizes[] = { VIDEO_BYTES, ROM_BYTES }, bytes;
        char *video = map_alone(VIDEO_BYTES);

        madvise(video, VIDEO_BYTES, MADV_NOHUGEPAGE);
        assert_int_equal(private_ram_resident(getpid(), sizes, 1, &bytes), 0);
        assert_int_equal(bytes, 0);
        memset(video + 100 * KIB, 1, 40 * KIB);
        assert_int_equal(private_ram_resident(getpid(), sizes, 1, &bytes), 0);
        assert_in_range(bytes, 40 * KIB, 48 * KIB);
        /* A block that is nowhere counts as a whole. */
        assert_int_equal(private_ram_resident(getpid(), sizes, 2, &bytes), 0);
        assert_in_range(bytes, 40 * KIB + ROM_BYTES, 48 * KIB + ROM_BYTES);
}

static void test_errors(void **state) {
        uint64_t sizes[PRIVATE_RAM_BLOCKS_MAX + 1] = { 0 }, bytes;

        assert_true(private_ram_resident(0x3ffffff, sizes, 1, &bytes) < 0);
        assert_int_equal(private_ram_resident(getpid(), sizes, PRIVATE_RAM_BLOCKS_MAX + 1, &bytes), -EINVAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_present),
                cmocka_unit_test(test_errors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
