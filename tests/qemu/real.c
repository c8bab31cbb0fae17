/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "real.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <glib/gstdio.h>

#include "driver/base/fiber.h"
#include "driver/base/spawn.h"

/* FERRY_QEMU names another binary to test with. */
static const char *emulator(void) {
        return g_getenv("FERRY_QEMU") ?: "/usr/bin/qemu-system-x86_64";
}

const char *real_missing(void) {
        if (geteuid() != 0)
                return "needs root: mounts a tmpfs, makes taps";
        if (access(emulator(), X_OK) < 0)
                return "needs qemu-system-x86_64";
        return NULL;
}

void real_setup(Real *real) {
        g_autoptr(GError) error = NULL;

        real->root = g_dir_make_tmp("ferry-qemu-test-XXXXXX", &error);
        assert_non_null(real->root);
        real->state_dir = g_build_filename(real->root, "state", NULL);
        real->log_dir = g_build_filename(real->root, "log", NULL);
        real->lib_dir = g_build_filename(real->root, "lib", NULL);
        real->settings = (QemuSettings){
                .privileged = true,
                .state_dir = real->state_dir,
                .log_dir = real->log_dir,
                .lib_dir = real->lib_dir,
                .uffd_shim = FERRY_BUILD_DIR "/driver/qemu/ferry-uffd-shim.so",
                .prealloc_helper = FERRY_BUILD_DIR "/driver/qemu/virt-ferry-prealloc",
        };
        if (qemu_ram_mount(&real->settings, &error) < 0)
                fail_msg("%s", error->message);
        if (qemu_caps_probe(fiber_event(), emulator(), &real->caps, &error) < 0)
                fail_msg("%s", error->message);
}

static void remove_tree(const char *path) {
        g_autoptr(GDir) dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
        const char *entry;

        while (dir && (entry = g_dir_read_name(dir))) {
                g_autofree char *child = g_build_filename(path, entry, NULL);
                remove_tree(child);
        }
        g_remove(path);
}

void real_teardown(Real *real) {
        g_autofree char *domains = g_build_filename(real->state_dir, "domains", NULL);
        g_autoptr(GDir) dir = g_dir_open(domains, 0, NULL);

        assert_null(dir ? g_dir_read_name(dir) : NULL);
        assert_int_equal(qemu_ram_unmount(&real->settings), 0);
        remove_tree(real->root);
        qemu_caps_unref(real->caps);
        g_free(real->root);
        g_free(real->state_dir);
        g_free(real->log_dir);
        g_free(real->lib_dir);
}

static const char *machine_resolve(const char *name, void *userdata) {
        const QemuMachine *machine = qemu_caps_machine(userdata, name);

        return machine ? machine->name : NULL;
}

DomainDef *real_def(Real *real, const char *xml) {
        DomainDefaults defaults = {
                .emulator = emulator(),
                .machine = qemu_caps_default_machine(real->caps)->name,
                .machine_resolve = machine_resolve,
                .userdata = real->caps,
        };
        g_autoptr(GError) error = NULL;
        DomainDef *def = NULL;

        int r = domain_def_parse(xml, strlen(xml), 0, NULL, &def, &error);
        if (r >= 0)
                r = domain_def_complete(def, &defaults, &error);
        if (r >= 0)
                r = domain_def_validate(def, &error);
        if (r < 0)
                fail_msg("%s", error->message);
        return def;
}

char *real_xml(const char *name, const char *machine, unsigned memory_mib, const char *devices, const char *more) {
        return g_strdup_printf("<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
                               "<name>%s</name><memory unit='MiB'>%u</memory><vcpu>1</vcpu>"
                               "<os><type arch='x86_64' machine='%s'>hvm</type></os>"
                               "<features><acpi/></features>%s<devices>%s</devices></domain>",
                               name, memory_mib, machine, more ? more : "", devices ? devices : "");
}
