/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/xml/sample.h"

/* data/complete/X.xml is what a user writes, X.out what it becomes. */

static char *golden_name(const char *file) {
        return g_strdup_printf("%.*sout", (int) (strlen(file) - strlen("xml")), file);
}

static void test_golden(void **state) {
        g_autoptr(GPtrArray) files = sample_files("complete", ".xml");

        for (unsigned i = 0; i < files->len; i++) {
                const char *file = g_ptr_array_index(files, i);
                g_autofree char *xml = sample_read(file), *golden = golden_name(file), *text = NULL;
                g_autoptr(DomainDef) def = sample_complete(xml);

                text = domain_def_format(def, DOMAIN_FORMAT_SECURE);
                sample_golden(golden, text);
        }
}

/* What was written is read back equal, and completing it again changes nothing. */
static void test_round_trip(void **state) {
        g_autoptr(GPtrArray) files = sample_files("complete", ".out");

        for (unsigned i = 0; i < files->len; i++) {
                g_autofree char *xml = sample_read(g_ptr_array_index(files, i)), *again = NULL, *completed = NULL,
                                *copied = NULL;
                g_autoptr(DomainDef) def = sample_parse(xml, 0), copy = NULL;
                g_autoptr(GError) error = NULL;

                again = domain_def_format(def, DOMAIN_FORMAT_SECURE);
                assert_string_equal(again, xml);
                assert_int_equal(domain_def_complete(def, &sample_defaults, &error), 0);
                completed = domain_def_format(def, DOMAIN_FORMAT_SECURE);
                assert_string_equal(completed, xml);
                copy = domain_def_copy(def);
                def = domain_def_free(def);
                copied = domain_def_format(copy, DOMAIN_FORMAT_SECURE);
                assert_string_equal(copied, xml);
        }
}

static void test_random_parts(void **state) {
        g_autofree char *xml = sample_xml("<genid/>", "<interface type='user'/><interface type='user'/>");
        g_autofree char *without_uuid =
                g_strdup_printf("%.*s%s", (int) (strstr(xml, "<uuid>") - xml), xml, strstr(xml, "</uuid>") + 7);
        g_autoptr(DomainDef) a = sample_complete(without_uuid), b = sample_complete(without_uuid);
        const NetDef *first = g_ptr_array_index(a->nets, 0), *second = g_ptr_array_index(a->nets, 1);

        assert_true(a->has_uuid);
        assert_memory_not_equal(a->uuid, b->uuid, UUID_BYTES);
        assert_int_equal(a->uuid[6] >> 4, 4);
        assert_true(g_str_has_prefix(first->mac, "52:54:00:"));
        assert_string_not_equal(first->mac, second->mac);
        assert_int_equal(strlen(a->genid), 36);
        assert_string_not_equal(a->genid, b->genid);
}

static void test_machine(void **state) {
        g_autofree char *xml = sample_xml("<os><type>hvm</type></os>", "");
        g_autoptr(DomainDef) def = sample_complete(xml);

        assert_string_equal(def->os.machine, "pc-q35-7.2");
        assert_int_equal(def->os.arch, OS_ARCH_X86_64);
        assert_true(domain_def_is_q35(def));
        assert_false(domain_def_is_i440fx(def));
        assert_string_equal(def->emulator, "/usr/bin/qemu-system-x86_64");
}

static void test_memory(void **state) {
        g_autofree char *xml = sample_xml("<memory>1025</memory><currentMemory unit='b'>1000000</currentMemory>", "");
        g_autoptr(DomainDef) def = sample_complete(xml);

        assert_int_equal(def->memory.total_bytes, 1025 * 1024);
        assert_int_equal(def->memory.current_bytes, 977 * 1024); /* rounded up to KiB */
}

/* The spare root port is added once, and only where the XML has no topology of its own. */
static void test_spare_port(void **state) {
        g_autofree char *plain = sample_xml("", ""),
                        *own = sample_xml("", "<controller type='pci' index='0' model='pcie-root'/>"
                                              "<controller type='pci' model='pcie-root-port'/>"
                                              "<controller type='pci' model='pcie-root-port'/>");
        g_autoptr(DomainDef) a = sample_complete(plain), b = sample_complete(own);
        unsigned ports[2] = {};

        for (unsigned i = 0; i < 2; i++) {
                const DomainDef *def = i ? b : a;

                for (unsigned j = 0; j < def->controllers->len; j++)
                        ports[i] += ((const ControllerDef *) g_ptr_array_index(def->controllers, j))->model ==
                                    CONTROLLER_MODEL_PCIE_ROOT_PORT;
        }
        assert_int_equal(ports[0], 3); /* usb, balloon, spare */
        assert_int_equal(ports[1], 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_random_parts),
                cmocka_unit_test(test_machine),
                cmocka_unit_test(test_memory),
                cmocka_unit_test(test_spare_port),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
