/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* data/NAME.xml -> data/NAME.args. FERRY_REGENERATE=1 writes the .args files anew: read the difference before it is
 * committed. */

#include "driver/qemu/cmdline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/error.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/units.h"
#include "driver/qemu/image.h"

#define DATA FERRY_SOURCE_DIR "/tests/qemu/data/"
#define NOW_SEC 1750000000

static QemuCaps *load_caps(void) {
        g_autofree char *text = NULL;
        g_autoptr(GError) error = NULL;
        size_t length = 0;
        QemuCaps *caps = NULL;

        assert_int_equal(file_read(DATA "caps.json", 1 * MIB, &text, &length, NULL), 0);
        g_autoptr(json_object) document = json_parse(text, length, NULL);
        assert_non_null(document);
        if (qemu_caps_from_json(document, &caps, &error) < 0)
                fail_msg("%s", error->message);
        return caps;
}

static const char *machine_resolve(const char *name, void *userdata) {
        const QemuMachine *machine = qemu_caps_machine(userdata, name);

        return machine ? machine->name : NULL;
}

static DomainDef *load_def(const char *name, QemuCaps *caps) {
        g_autofree char *path = g_strconcat(DATA, name, ".xml", NULL), *text = NULL;
        DomainDefaults defaults = {
                .emulator = "/usr/bin/qemu-system-x86_64",
                .machine = "pc-q35-7.2",
                .machine_resolve = machine_resolve,
                .userdata = caps,
        };
        g_autoptr(GError) error = NULL;
        DomainDef *def = NULL;
        size_t length = 0;

        assert_int_equal(file_read(path, 1 * MIB, &text, &length, NULL), 0);
        /* With live data: image chains stand in the XML here. */
        int r = domain_def_parse(text, length, DOMAIN_PARSE_STATUS, NULL, &def, &error);
        if (r >= 0)
                r = domain_def_complete(def, &defaults, &error);
        if (r >= 0)
                r = domain_def_validate(def, &error);
        if (r < 0)
                fail_msg("%s: %s", name, error->message);
        assert_int_equal(domain_def_assign_aliases(def), 0);
        return def;
}

/* What a start would have chosen. */
static void number_images(DomainDef *def) {
        unsigned next = 1;

        for (unsigned i = 0; i < def->disks->len; i++) {
                DiskDef *disk = def->disks->pdata[i];
                disk->source_index = disk->source ? next++ : 0;
                for (unsigned depth = 1; image_below(disk, depth); depth++)
                        ((DiskBackingDef *) image_below(disk, depth))->index = next++;
        }
}

static QemuRam *plan_ram(const DomainDef *def) {
        QemuSettings settings = {.privileged = true, .state_dir = "/run/ferry"};
        g_autoptr(GError) error = NULL;
        QemuRam *ram = NULL;

        if (qemu_ram_plan(&settings, def, &ram, &error) < 0)
                fail_msg("%s: %s", def->name, error->message);
        for (unsigned i = 0; i < ram->n_blocks; i++) {
                QemuRamBlock *block = &ram->blocks[i];
                if (block->kind == QEMU_RAM_MEMFD || block->kind == QEMU_RAM_HUGEMEMFD)
                        block->qemu_fd = 10 + (int) i;
                else
                        block->path = g_strdup_printf(
                                "%s/%s/%s", block->kind == QEMU_RAM_TMPFS ? "/run/ferry/ram" : "/dev/hugepages/ferry",
                                def->name, block->id);
        }
        return ram;
}

static int build(const DomainDef *def, QemuCaps *caps, bool incoming, char ***ret_argv, char ***ret_env,
                 GError **reterr) {
        static const int taps[] = {20, 21}, vhosts[] = {22, 23}, tap[] = {24};
        const QemuCmdlineNet nets[] = {{taps, vhosts, 2}, {tap, NULL, 1}, {NULL, NULL, 0}};
        g_autoptr(QemuRam) ram = plan_ram(def);
        QemuCmdlineArgs args = {
                .def = def,
                .caps = caps,
                .ram = ram,
                .nets = nets,
                .n_nets = def->nets->len == 3 ? 3 : 0,
                .monitor_fd = 3,
                .incoming = incoming,
                .now_sec = NOW_SEC,
        };

        return qemu_cmdline_build(&args, ret_argv, ret_env, reterr);
}

static void golden(void **state) {
        const char *name = *state;
        g_autofree char *path = g_strconcat(DATA, name, ".args", NULL), *wanted = NULL;
        g_autoptr(QemuCaps) caps = load_caps();
        g_autoptr(DomainDef) def = load_def(name, caps);
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) argv = NULL, env = NULL;

        number_images(def);
        if (build(def, caps, g_str_equal(name, "memfd"), &argv, &env, &error) < 0)
                fail_msg("%s: %s", name, error->message);
        g_autofree char *text = qemu_cmdline_format((const char *const *) argv, (const char *const *) env);
        if (getenv("FERRY_REGENERATE"))
                assert_int_equal(file_write_atomic(path, text, strlen(text), 0644, NULL), 0);
        assert_int_equal(file_read(path, 1 * MIB, &wanted, NULL, NULL), 0);
        assert_string_equal(text, wanted);
}

/* ---- what is refused ---- */

static void refused(const char *name, void (*change)(DomainDef *def), const char *text) {
        g_autoptr(QemuCaps) caps = load_caps();
        g_autoptr(DomainDef) def = load_def(name, caps);
        g_auto(GStrv) argv = NULL, env = NULL;
        g_autoptr(GError) error = NULL;

        number_images(def);
        change(def);
        assert_true(build(def, caps, false, &argv, &env, &error) < 0);
        assert_int_equal(error_code(error), VIR_ERR_CONFIG_UNSUPPORTED);
        if (!strstr(error->message, text))
                fail_msg("'%s' does not hold '%s'", error->message, text);
}

static void set_passthrough(DomainDef *def) {
        def->cpu.mode = CPU_MODE_HOST_PASSTHROUGH;
}

static void set_unknown_model(DomainDef *def) {
        def->cpu.mode = CPU_MODE_CUSTOM;
        def->cpu.model = g_strdup("Pentium17");
}

static void set_partial_check(DomainDef *def) {
        ((CpuFeatureDef *) def->cpu.features->pdata[0])->policy = CPU_POLICY_REQUIRE; /* hle */
        def->cpu.check = CPU_CHECK_PARTIAL;
}

static void set_missing_bus(DomainDef *def) {
        ((DiskDef *) def->disks->pdata[0])->info.address.bus = 77;
}

static void refusals(void **state) {
        refused("minimal-q35", set_passthrough, "host-passthrough");
        refused("minimal-q35", set_unknown_model, "Pentium17");
        refused("cpu", set_partial_check, "hle");
        refused("minimal-q35", set_missing_bus, "77");
}

/* A device that this QEMU lacks is refused by name. */
static void missing_device(void **state) {
        g_autoptr(QemuCaps) caps = load_caps();
        g_autoptr(json_object) document = qemu_caps_to_json(caps);
        g_autofree char *text = g_strdup(json_line(document));
        g_autoptr(DomainDef) def = load_def("minimal-q35", caps);
        g_auto(GStrv) argv = NULL, env = NULL;
        g_autoptr(GError) error = NULL;
        g_autoptr(QemuCaps) poor = NULL;

        number_images(def);
        char *type = strstr(text, "\"virtio-blk-pci\"");
        assert_non_null(type);
        type[1] = 'X';
        g_autoptr(json_object) changed = json_parse(text, strlen(text), NULL);
        assert_int_equal(qemu_caps_from_json(changed, &poor, NULL), 0);
        assert_true(build(def, poor, false, &argv, &env, &error) < 0);
        assert_non_null(strstr(error->message, "virtio-blk-pci"));
}

/* The same nodes without O_DIRECT differ in nothing else. */
static void buffered_nodes(void **state) {
        g_autoptr(QemuCaps) caps = load_caps();
        g_autoptr(DomainDef) def = load_def("disks", caps);

        number_images(def);
        g_autoptr(json_object) direct = qemu_cmdline_disk_nodes(def->disks->pdata[0], true),
                               buffered = qemu_cmdline_disk_nodes(def->disks->pdata[0], false);
        assert_int_equal(json_object_array_length(direct), 6);
        g_autofree char *text = g_strdup(json_line(direct));
        g_auto(GStrv) parts = g_strsplit(text, "\"direct\":true", -1);
        g_autofree char *replaced = g_strjoinv("\"direct\":false", parts);
        assert_int_equal(g_strv_length(parts), 7);
        assert_string_equal(replaced, json_line(buffered));
}

#define GOLDEN(name)                                                                                                   \
        { name, golden, NULL, NULL, (void *) name }

int main(void) {
        const struct CMUnitTest tests[] = {
                GOLDEN("minimal-q35"),
                GOLDEN("minimal-i440fx"),
                GOLDEN("disks"),
                GOLDEN("memory"),
                GOLDEN("memfd"),
                GOLDEN("cpu"),
                GOLDEN("host-model"),
                GOLDEN("boot"),
                GOLDEN("characters"),
                GOLDEN("network"),
                GOLDEN("display"),
                GOLDEN("usb-i440fx"),
                GOLDEN("passthrough"),
                cmocka_unit_test(refusals),
                cmocka_unit_test(missing_device),
                cmocka_unit_test(buffered_nodes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
