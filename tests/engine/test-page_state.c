/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The destination's table against real memory: every history of a page, over every kind of memory file that this
 * machine has. */

#include "driver/engine/page_state.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "driver/base/uapi.h"
#include "driver/base/units.h"

#define SIZE (8 * MIB)

static void test_decision(void **state) {
        for (PageState s = PAGE_NEVER; s < PAGE_STATE_MAX_; s++)
                for (EngineRamPolicy policy = ENGINE_RAM_SPARSE; policy <= ENGINE_RAM_POPULATED; policy++)
                        for (int partial = 0; partial < 2; partial++) {
                                ZeroAction expected = s == PAGE_NEVER                                    ? ZERO_NOTHING
                                                      : policy == ENGINE_RAM_SPARSE && !partial ? ZERO_PUNCH
                                                                                                         : ZERO_WRITE;
                                assert_int_equal(page_state_zero_action(s, policy, partial), expected);
                        }
        assert_string_equal(page_state_name(PAGE_STALE), "stale");
        assert_null(page_state_name(PAGE_STATE_MAX_));
}

/* ---- histories ---- */

typedef struct Target {
        RamBlock block;
        PageStates states;
        ZeroCounts counts;
        unsigned char seed;
} Target;

static void open_target(Target *target, int fd, uint64_t page_bytes, EngineRamPolicy policy) {
        *target = (Target) { .seed = 1 };
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, SIZE), 0);
        EngineRamBlock config = { .id = "ram0", .size_bytes = SIZE, .page_bytes = page_bytes, .policy = policy };
        g_autoptr(GError) error = NULL;
        assert_int_equal(ram_block_init(&target->block, &config, fd, RAM_BLOCK_WRITE, &error), 0);
        assert_int_equal(page_states_init(&target->states, target->block.n_pages), 0);
        if (policy == ENGINE_RAM_POPULATED)
                assert_int_equal(madvise(target->block.map, SIZE, MADV_POPULATE_WRITE), 0);
}

static void close_target(Target *target) {
        page_states_deinit(&target->states);
        ram_block_deinit(&target->block);
}

static void data(Target *target, uint64_t offset, uint64_t length) {
        page_states_claim(&target->states, &target->block, offset, length);
        assert_int_equal(page_states_get(&target->states, offset / target->block.page_bytes), PAGE_INFLIGHT);
        memset(target->block.map + offset, target->seed++, length);
        page_states_done(&target->states, &target->block, offset, length);
}

static void zero(Target *target, uint64_t offset, uint64_t length) {
        assert_int_equal(page_states_zero(&target->states, &target->block, offset, length, &target->counts), 0);
        assert_int_equal(page_states_get(&target->states, offset / target->block.page_bytes), PAGE_VALID);
}

/* Read through the file, as another process would. */
static void check(const Target *target, uint64_t offset, uint64_t length, unsigned char value) {
        /* hugetlbfs reads too, but not all versions; the mapping is the same page cache. */
        for (uint64_t i = 0; i < length; i++)
                if (target->block.map[offset + i] != value)
                        fail_msg("byte %lu is %u and not %u", (unsigned long) (offset + i),
                                 target->block.map[offset + i], value);
}

static uint64_t allocated(const Target *target) {
        return ram_block_allocated(&target->block);
}

static void histories(int (*make)(void), uint64_t page, EngineRamPolicy policy) {
        Target target;
        open_target(&target, make(), page, policy);
        uint64_t before = allocated(&target);

        /* Zero into fresh memory: nothing is touched. */
        zero(&target, 0, SIZE / 2);
        assert_int_equal(allocated(&target), before);
        assert_int_equal(target.counts.punched_bytes + target.counts.written_bytes, 0);
        assert_int_equal(target.counts.punches + target.counts.writes, 0);

        /* data -> zero */
        data(&target, 0, 2 * page);
        check(&target, 0, 2 * page, 1);
        zero(&target, 0, 2 * page);
        /* zero -> data -> zero */
        zero(&target, 2 * page, page);
        data(&target, 2 * page, page);
        zero(&target, 2 * page, page);
        /* data -> zero -> data */
        data(&target, 3 * page, page);
        zero(&target, 3 * page, page);
        data(&target, 3 * page, page);
        unsigned char last = (unsigned char) (target.seed - 1);

        uint64_t after = allocated(&target);
        check(&target, 0, 3 * page, 0);
        check(&target, 3 * page, page, last);
        if (policy == ENGINE_RAM_SPARSE) {
                assert_true(after <= before + 2 * page); /* one page, and what a file system needs for itself */
                assert_true(target.counts.punched_bytes >= 4 * page);
                assert_int_equal(target.counts.written_bytes, 0);
        } else {
                assert_int_equal(after, before);
                assert_true(after >= SIZE);
                assert_int_equal(target.counts.punched_bytes, 0);
        }
        /* A run over neighbours in different states is still right. */
        zero(&target, 0, SIZE);
        check(&target, 0, SIZE, 0);
        /* And batched: one operation for a whole run, none for one that was never touched. */
        data(&target, 0, SIZE);
        ZeroCounts counts = target.counts;
        zero(&target, 0, SIZE);
        assert_int_equal(target.counts.punches + target.counts.writes, counts.punches + counts.writes + 1);
        check(&target, 0, SIZE, 0);
        close_target(&target);
}

static int make_memfd(void) {
        return memfd_create("pages", MFD_CLOEXEC);
}

static void test_memfd(void **state) {
        histories(make_memfd, 4096, ENGINE_RAM_SPARSE);
        histories(make_memfd, 4096, ENGINE_RAM_POPULATED);
}

static int make_file(void) {
        char path[] = "/var/tmp/ferry-pages-XXXXXX";
        int fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
                unlink(path);
        return fd;
}

static void test_plain_file(void **state) {
        histories(make_file, 4096, ENGINE_RAM_SPARSE);
}

static char mount_point[] = "/tmp/ferry-pages-XXXXXX";

static int make_on_mount(void) {
        char path[sizeof(mount_point) + 16];
        snprintf(path, sizeof(path), "%s/ram", mount_point);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
                unlink(path);
        return fd;
}

static bool mount_at(const char *type, const char *options) {
        if (!mkdtemp(strcpy(mount_point, "/tmp/ferry-pages-XXXXXX")))
                return false;
        if (mount(type, mount_point, type, MS_NOSUID | MS_NODEV, options) == 0)
                return true;
        print_message("%s with %s cannot be mounted here: %s\n", type, options, strerror(errno));
        rmdir(mount_point);
        return false;
}

static void unmount(void) {
        umount2(mount_point, MNT_DETACH);
        rmdir(mount_point);
}

static void test_tmpfs(void **state) {
        static const char *const options[] = { "huge=never", "huge=advise", "huge=within_size", "huge=always" };
        for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
                if (!mount_at("tmpfs", options[i]))
                        skip();
                histories(make_on_mount, 4096, ENGINE_RAM_SPARSE);
                histories(make_on_mount, 4096, ENGINE_RAM_POPULATED);
                unmount();
        }
}

/* A run that covers only a part of a huge page writes zeros; a whole one is punched. */
static void hugetlb_parts(void) {
        Target target;
        open_target(&target, make_on_mount(), 2 * MIB, ENGINE_RAM_SPARSE);
        data(&target, 0, 2 * MIB);
        uint64_t one = allocated(&target);
        zero(&target, 4096, 8192);
        assert_int_equal(target.counts.written_bytes, 8192);
        check(&target, 0, 4096, 1);
        check(&target, 4096, 8192, 0);
        check(&target, 12288, 2 * MIB - 12288, 1);
        assert_int_equal(allocated(&target), one);
        zero(&target, 0, 2 * MIB);
        assert_int_equal(target.counts.punched_bytes, 2 * MIB);
        assert_true(allocated(&target) < one);
        close_target(&target);
}

static void test_hugetlbfs(void **state) {
        static const char pool[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
        g_autofree char *old = NULL;
        size_t length = 0;
        if (file_read(pool, 64, &old, &length, NULL) < 0)
                skip();
        _cleanup_fd_ int fd = open(pool, O_WRONLY | O_CLOEXEC);
        g_autofree char *wanted = g_strdup_printf("%d", atoi(old) + 16);
        if (fd < 0 || write(fd, wanted, strlen(wanted)) < 0) {
                print_message("no huge pages can be reserved here\n");
                skip();
        }
        if (mount_at("hugetlbfs", "pagesize=2M")) {
                histories(make_on_mount, 2 * MIB, ENGINE_RAM_SPARSE);
                histories(make_on_mount, 2 * MIB, ENGINE_RAM_POPULATED);
                hugetlb_parts();
                unmount();
        }
        assert_true(pwrite(fd, old, strlen(old), 0) > 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_decision), cmocka_unit_test(test_memfd),    cmocka_unit_test(test_plain_file),
                cmocka_unit_test(test_tmpfs),    cmocka_unit_test(test_hugetlbfs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
