/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/xml/sample.h"

#define TOP "<vcpu>2</vcpu><features><acpi/></features>"
#define DEVICES \
        "<disk><source file='/a'/><target dev='vda'/><serial>S</serial></disk><interface type='bridge'><mac address='52:54:00:00:00:01'/>" \
        "<source bridge='br0'/><target dev='tap0'/><model type='virtio'/></interface><serial type='file'><source path='/s'/></serial>" \
        "<graphics type='vnc' port='5901' listen='0.0.0.0'/><video><model type='vga'/></video>"

/* from is replaced by to in the XML of the destination; text is what the refusal says, NULL if there is none. */
typedef struct AbiCase {
        const char *from, *to, *text;
} AbiCase;

static const AbiCase cases[] = {
        { "file='/a'", "file='/other/a'", NULL },
        { "br0", "br7", NULL },
        { "tap0", "tap9", NULL },
        { "path='/s'", "path='/elsewhere'", NULL },
        { "port='5901' listen='0.0.0.0'", "port='-1'", NULL },
        { "<name>sample</name>", "<name>renamed</name>", NULL },
        { "<vcpu>2", "<title>t</title><vcpu cpuset='0'>2", NULL },
        { "<vcpu>2", "<cputune><emulatorpin cpuset='0'/></cputune><vcpu>2", NULL },
        { "<vcpu>2", "<memoryBacking><hugepages/></memoryBacking><vcpu>2", NULL },
        { "<target dev='vda'/>", "<target dev='vda'/><driver cache='none'/>", NULL },
        { "<devices>", "<devices><emulator>/opt/qemu</emulator>", NULL },
        { "type='qemu'", "type='kvm'", "another '@type': 'qemu' on the source, 'kvm' on the destination" },
        { "555555555555", "555555555556", "'uuid'" },
        { "MiB'>512", "MiB'>513", "another 'memory': '524288' on the source, '525312' on the destination" },
        { "<vcpu>2", "<vcpu>3", "another 'vcpu': '2'" },
        { "machine='q35'", "machine='pc-q35-7.1'",
          "another 'os/type/@machine': 'pc-q35-7.2' on the source, 'pc-q35-7.1'" },
        { "<acpi/>", "<acpi/><apic/>", "another 'features/apic': '' on the source, 'yes' on the destination" },
        { "<vcpu>2", "<cpu><model>Nehalem</model></cpu><vcpu>2", "another 'cpu/@mode'" },
        { "<serial>S<", "<serial>T<", "another 'devices/disk[1]/serial': 'S' on the source, 'T'" },
        { "dev='vda'", "dev='vdb'", "another 'devices/disk[1]/target/@dev'" },
        { "00:00:01", "00:00:02", "another 'devices/interface[1]/mac/@address'" },
        { "type='virtio'", "type='e1000e'", "another 'devices/interface[1]/model/@type'" },
        { "<model type='virtio'/>", "<model type='virtio'/><address type='pci' slot='9'/>", "address" },
        { "type='vga'", "type='bochs'", "another 'devices/video[1]/model/@type'" },
        { "<graphics", "<rng model='virtio'><backend model='builtin'/></rng><graphics", "another 'count(" },
};

static char *replace(const char *text, const char *from, const char *to) {
        g_autoptr(GString) string = g_string_new(text);

        assert_int_equal(g_string_replace(string, from, to, 1), 1);
        return g_strdup(string->str);
}

static void test_cases(void **state) {
        g_autofree char *xml = sample_xml(TOP, DEVICES);
        g_autoptr(DomainDef) src = sample_complete(xml);

        for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *other = replace(xml, cases[i].from, cases[i].to);
                g_autoptr(DomainDef) dst = sample_complete(other);
                g_autoptr(GError) error = NULL;
                int r = domain_def_check_abi(src, dst, &error);

                if (!cases[i].text) {
                        if (r < 0)
                                fail_msg("%s: %s", cases[i].to, error->message);
                        continue;
                }
                if (r == 0)
                        fail_msg("%s: no difference seen", cases[i].to);
                assert_int_equal(error_code(error), VIR_ERR_CONFIG_UNSUPPORTED);
                if (!strstr(error->message, cases[i].text))
                        fail_msg("%s: '%s', wanted '%s'", cases[i].to, error->message, cases[i].text);
        }
}

/* What a running guest has on top (aliases, ptys, labels) is no difference, nor is the way through text. */
static void test_live(void **state) {
        g_autoptr(GPtrArray) files = sample_files("complete", ".xml");

        for (unsigned i = 0; i < files->len; i++) {
                g_autofree char *xml = sample_read(g_ptr_array_index(files, i)), *migratable = NULL;
                g_autoptr(DomainDef) live = sample_complete(xml), dst = NULL;
                g_autoptr(GError) error = NULL;

                live->id = 1;
                assert_int_equal(domain_def_assign_aliases(live), 0);
                migratable = domain_def_format(live, DOMAIN_FORMAT_MIGRATABLE);
                dst = sample_complete(migratable);
                if (domain_def_check_abi(live, dst, &error) < 0)
                        fail_msg("%s: %s", (const char *) g_ptr_array_index(files, i), error->message);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_cases),
                cmocka_unit_test(test_live),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
