/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/qemu/ram.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/json.h"
#include "driver/base/units.h"

/* A domain of 64 MiB with this beside it; owned by the caller. */
static DomainDef *parse(const char *more) {
        g_autofree char *xml = g_strdup_printf(
                "<domain type='qemu'><name>ram</name><uuid>8a35c1de-53bb-47d3-9fd2-9d8d04f2a001</uuid><memory "
                "unit='MiB'>64</memory><vcpu>2</vcpu>%s"
                "<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>",
                more);
        DomainDefaults defaults = {.emulator = "/usr/bin/qemu-system-x86_64", .machine = "pc-q35-7.2"};
        g_autoptr(GError) error = NULL;
        DomainDef *def = NULL;

        if (domain_def_parse(xml, strlen(xml), 0, NULL, &def, &error) < 0 ||
            domain_def_complete(def, &defaults, &error) < 0)
                fail_msg("%s: %s", more, error->message);
        return def;
}

static QemuRam *plan(const char *more, bool privileged) {
        QemuSettings settings = {.privileged = privileged, .state_dir = "/nonexistent"};
        g_autoptr(DomainDef) def = parse(more);
        g_autoptr(GError) error = NULL;
        QemuRam *ram = NULL;

        if (qemu_ram_plan(&settings, def, &ram, &error) < 0)
                fail_msg("%s: %s", more, error->message);
        return ram;
}

/* docs/memory.md, line by line. */
static void kinds(void **state) {
        static const struct {
                const char *more;
                bool privileged;
                QemuRamKind kind;
                uint64_t page_bytes;
                bool populated, discard, locked, merge;
        } cases[] = {
                {"", true, QEMU_RAM_TMPFS, 4096, false, false, false, true},
                {"", false, QEMU_RAM_MEMFD, 4096, false, false, false, true},
                {"<memoryBacking><source type='file'/><access mode='private'/></memoryBacking>", true, QEMU_RAM_TMPFS,
                 4096, false, false, false, true},
                {"<memoryBacking><source type='anonymous'/></memoryBacking>", true, QEMU_RAM_TMPFS, 4096, false, false,
                 false, true},
                {"<memoryBacking><source type='memfd'/><discard/></memoryBacking>", true, QEMU_RAM_MEMFD, 4096, false,
                 true, false, true},
                {"<memoryBacking><nosharepages/><locked/></memoryBacking>", true, QEMU_RAM_TMPFS, 4096, true, false,
                 true, false},
                {"<memoryBacking><allocation mode='immediate'/></memoryBacking>", true, QEMU_RAM_TMPFS, 4096, true,
                 false, false, true},
                {"<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>", true,
                 QEMU_RAM_HUGETLBFS, 2 * MIB, true, false, false, true},
                {"<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>", false,
                 QEMU_RAM_HUGEMEMFD, 2 * MIB, true, false, false, true},
                {"<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages><source "
                 "type='memfd'/></memoryBacking>",
                 true, QEMU_RAM_HUGEMEMFD, 2 * MIB, true, false, false, true},
                {"<memoryBacking><hugepages><page size='4' unit='KiB'/></hugepages></memoryBacking>", true,
                 QEMU_RAM_TMPFS, 4096, false, false, false, true},
        };
        for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(QemuRam) ram = plan(cases[i].more, cases[i].privileged);
                const QemuRamBlock *block = &ram->blocks[0];
                assert_int_equal(ram->n_blocks, 1);
                assert_string_equal(block->id, "ram0");
                assert_int_equal(block->size_bytes, 64 * MIB);
                assert_int_equal(block->kind, cases[i].kind);
                assert_int_equal(block->page_bytes, cases[i].page_bytes);
                assert_int_equal(block->populated, cases[i].populated);
                assert_int_equal(block->discard, cases[i].discard);
                assert_int_equal(ram->locked, cases[i].locked);
                assert_int_equal(ram->merge, cases[i].merge);
                assert_int_equal(block->policy, QEMU_RAM_POLICY_DEFAULT);
        }
}

#define CELLS                                                                                                          \
        "<cpu><numa><cell id='0' cpus='0' memory='32' unit='MiB' discard='yes'/><cell id='1' cpus='1' memory='32' "    \
        "unit='MiB'/></numa></cpu>"

static void cells(void **state) {
        g_autoptr(QemuRam) ram =
                plan("<memoryBacking><hugepages><page size='2' unit='MiB' nodeset='1'/></hugepages></memoryBacking>"
                     "<numatune><memory mode='interleave' nodeset='0-1'/><memnode cellid='1' mode='preferred' "
                     "nodeset='0'/></numatune>" CELLS,
                     true);

        assert_int_equal(ram->n_blocks, 2);
        assert_string_equal(ram->blocks[0].id, "ram-node0");
        assert_string_equal(ram->blocks[1].id, "ram-node1");
        assert_int_equal(ram->blocks[0].size_bytes, 32 * MIB);
        assert_int_equal(ram->blocks[0].kind, QEMU_RAM_TMPFS);
        assert_int_equal(ram->blocks[1].kind, QEMU_RAM_HUGETLBFS);
        assert_true(ram->blocks[0].discard && !ram->blocks[1].discard);
        assert_int_equal(ram->blocks[0].policy, QEMU_RAM_POLICY_INTERLEAVE);
        assert_int_equal(ram->blocks[1].policy, QEMU_RAM_POLICY_PREFERRED);
        assert_int_equal(bitset_count(ram->blocks[0].nodes), 2);
        assert_int_equal(bitset_count(ram->blocks[1].nodes), 1);
}

static void policies(void **state) {
        static const struct {
                const char *mode;
                QemuRamPolicy policy;
                bool in_qemu;
        } cases[] = {
                {"strict", QEMU_RAM_POLICY_BIND, true},
                {"preferred", QEMU_RAM_POLICY_PREFERRED, true},
                {"interleave", QEMU_RAM_POLICY_INTERLEAVE, true},
                {"restrictive", QEMU_RAM_POLICY_BIND, false},
        };
        for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *more =
                        g_strdup_printf("<numatune><memory mode='%s' nodeset='0'/></numatune>", cases[i].mode);
                g_autoptr(QemuRam) ram = plan(more, true);
                assert_int_equal(ram->blocks[0].policy, cases[i].policy);
                assert_int_equal(ram->blocks[0].policy_in_qemu, cases[i].in_qemu);
        }
}

/* What the host lacks is named, with what to do. */
static void refusals(void **state) {
        static const struct {
                const char *more, *text;
                virErrorNumber code;
        } cases[] = {
                {"<numatune><memory mode='strict' nodeset='77'/></numatune>", "77", VIR_ERR_CONFIG_UNSUPPORTED},
                {"<memoryBacking><hugepages><page size='8' unit='MiB'/></hugepages></memoryBacking>", "8192 KiB",
                 VIR_ERR_CONFIG_UNSUPPORTED},
        };
        for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(QemuRam) ram = plan(cases[i].more, true);
                g_autoptr(GError) error = NULL;
                assert_true(qemu_ram_check(ram, &error) < 0);
                assert_int_equal(error_code(error), cases[i].code);
                if (!strstr(error->message, cases[i].text))
                        fail_msg("'%s' does not hold '%s'", error->message, cases[i].text);
        }

        /* A size that does not fit the pages. */
        QemuSettings settings = {.privileged = true, .state_dir = "/nonexistent"};
        g_autoptr(DomainDef) def =
                parse("<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>");
        g_autoptr(GError) error = NULL;
        QemuRam *ram = NULL;
        def->memory.total_bytes += 4096;
        assert_true(qemu_ram_plan(&settings, def, &ram, &error) < 0);
        assert_non_null(strstr(error->message, "multiple"));
}

/* ---- memfds need no root ---- */

static void makes_memfd(void *userdata) {
        QemuSettings settings = {.privileged = false,
                                 .state_dir = "/nonexistent",
                                 .prealloc_helper = FERRY_BUILD_DIR "/driver/qemu/virt-ferry-prealloc"};
        g_autoptr(DomainDef) def = parse("<memoryBacking><allocation mode='immediate' threads='3'/></memoryBacking>");
        g_autoptr(QemuRam) ram = NULL, again = NULL;
        g_autoptr(GError) error = NULL;
        struct stat st;

        if (qemu_ram_new(&settings, def, &ram, &error) < 0)
                fail_msg("%s", error->message);
        assert_int_equal(fstat(ram->blocks[0].fd, &st), 0);
        assert_int_equal(st.st_size, 64 * MIB);
        assert_true(qemu_ram_allocated(ram) >= 64 * MIB);
        assert_int_equal(ram->prealloc_processes, 3);

        /* Without a process to take it from, the description alone comes back. */
        g_autoptr(json_object) saved = qemu_ram_save(ram);
        assert_int_equal(qemu_ram_load(saved, -1, &again, NULL), 0);
        assert_string_equal(again->blocks[0].id, "ram0");
        assert_int_equal(again->blocks[0].size_bytes, 64 * MIB);
        assert_true(again->blocks[0].populated);
        qemu_ram_remove(ram);
}

static void memfd(void **state) {
        assert_int_equal(fiber_run("test", makes_memfd, NULL), 0);
}

static void damaged_state(void **state) {
        static const char *const texts[] = {"{}",
                                            "{\"blocks\":[]}",
                                            "{\"blocks\":[{}]}",
                                            "{\"blocks\":[{\"id\":\"a\",\"kind\":\"tape\"}]}",
                                            "{\"blocks\":7}",
                                            "{\"blocks\":[{\"id\":\"a\",\"kind\":\"tmpfs\"}]}"};
        for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(json_object) saved = json_parse(texts[i], strlen(texts[i]), NULL);
                g_autoptr(GError) error = NULL;
                QemuRam *ram = NULL;
                assert_true(qemu_ram_load(saved, -1, &ram, &error) < 0);
                assert_non_null(error);
                assert_null(ram);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(kinds),    cmocka_unit_test(cells), cmocka_unit_test(policies),
                cmocka_unit_test(refusals), cmocka_unit_test(memfd), cmocka_unit_test(damaged_state),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
