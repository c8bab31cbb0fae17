/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/populate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "driver/base/units.h"
#include "driver/engine/ram_block.h"

#define SIZE_BYTES (16 * RAM_BLOCK_LARGE_BYTES)

static RamBlock *new_block(void) {
        int fd = memfd_create("ram", MFD_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t) SIZE_BYTES), 0);
        RamBlock *block = g_new0(RamBlock, 1);
        EngineRamBlock config = {
                .id = "ram0", .size_bytes = SIZE_BYTES, .page_bytes = 4096, .policy = ENGINE_RAM_SPARSE
        };
        assert_int_equal(ram_block_init(block, &config, fd, RAM_BLOCK_WRITE, NULL), 0);
        assert_non_null(block->map_large);
        return block;
}

static void free_block(RamBlock *block) {
        ram_block_deinit(block);
        g_free(block);
}

/* What was announced is there when it is asked for, whoever did it; the rest was not touched. */
static void test_announced(void **state) {
        RamBlock *block = new_block();
        const RamBlock *blocks[] = { block };
        Populate *populate = populate_new(blocks, 1);

        for (uint64_t region = 0; region < 16; region += 2) {
                populate_announce(populate, 0, region);
                populate_announce(populate, 0, region);
        }
        /* From the end: threads come from the front. */
        for (uint64_t region = 16; region-- > 0;)
                assert_int_equal(populate_wait(populate, 0, region), region % 2 == 0);
        assert_int_equal(ram_block_allocated(block), SIZE_BYTES / 2);
        for (uint64_t at = 0; at < RAM_BLOCK_LARGE_BYTES; at += 4096)
                assert_int_equal(block->map[at], 0);
        populate_announce(populate, 0, 3);
        assert_int_equal(populate_wait(populate, 0, 3), 1);
        populate_free(populate);
        free_block(block);
}

/* It ends in the middle of its work. */
static void test_ends_early(void **state) {
        RamBlock *block = new_block();
        const RamBlock *blocks[] = { block };
        Populate *populate = populate_new(blocks, 1);
        for (uint64_t region = 0; region < 16; region++)
                populate_announce(populate, 0, region);
        populate_free(populate);
        populate_free(NULL);
        free_block(block);
}

/* A file that is shorter than was said, as one whose memory is full: an error, and no signal. */
static void test_no_memory(void **state) {
        RamBlock *block = new_block();
        const RamBlock *blocks[] = { block };
        assert_int_equal(ftruncate(block->fd, (off_t) RAM_BLOCK_LARGE_BYTES), 0);
        Populate *populate = populate_new(blocks, 1);
        populate_announce(populate, 0, 0);
        populate_announce(populate, 0, 9);
        assert_int_equal(populate_wait(populate, 0, 0), 1);
        assert_true(populate_wait(populate, 0, 9) < 0);
        assert_true(populate_wait(populate, 0, 9) < 0);
        populate_free(populate);
        free_block(block);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_announced),
                cmocka_unit_test(test_ends_early),
                cmocka_unit_test(test_no_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
