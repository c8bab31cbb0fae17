/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/qemu/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <libxml/parser.h>
#include <libxml/xpath.h>

#include "driver/base/error.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/units.h"

static QemuCaps *load_caps(void) {
        g_autofree char *text = NULL;
        size_t length = 0;
        QemuCaps *caps = NULL;

        assert_int_equal(file_read(FERRY_SOURCE_DIR "/tests/qemu/data/caps.json", 1 * MIB, &text, &length, NULL), 0);
        g_autoptr(json_object) document = json_parse(text, length, NULL);
        assert_int_equal(qemu_caps_from_json(document, &caps, NULL), 0);
        return caps;
}

/* ---- capabilities of a binary ---- */

static void caps_access(void **state) {
        g_autoptr(QemuCaps) caps = load_caps();
        unsigned n = 0;

        assert_int_equal(qemu_caps_version(caps), 7002022);
        assert_string_equal(qemu_caps_default_machine(caps)->name, "pc-q35-7.2");
        assert_string_equal(qemu_caps_machine(caps, "pc")->name, "pc-i440fx-7.2");
        assert_null(qemu_caps_machine(caps, "pc-q35-99"));
        assert_true(qemu_caps_has_type(caps, "virtio-blk-pci"));
        assert_false(qemu_caps_has_type(caps, "vfio-pci"));
        assert_true(qemu_caps_has_command(caps, "blockdev-reopen"));
        assert_true(qemu_caps_kvm(caps) && qemu_caps_tcg(caps));
        assert_string_equal(qemu_caps_host_model(caps, true), "EPYC-Rome");
        assert_string_equal(qemu_caps_host_model(caps, false), "Westmere");
        assert_non_null(qemu_caps_cpu_models(caps, true, &n));
        assert_int_equal(n, 3);
        assert_int_equal(g_strv_length(qemu_caps_cpu_model(caps, false, "Skylake-Client")->blockers), 3);
        assert_null(qemu_caps_cpu_model(caps, true, "Westmere"));
}

static void caps_features(void **state) {
        static const char *const names[][2] = {{"lahf_lm", "lahf-lm"},
                                               {"pclmuldq", "pclmulqdq"},
                                               {"sse4.1", "sse4.1"},
                                               {"tsc-deadline", "tsc-deadline"}};

        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *name = qemu_caps_feature_name(names[i][0]);
                assert_string_equal(name, names[i][1]);
        }
}

static void caps_nonsense(void **state) {
        static const char *const texts[] = {
                "{}", "[]",
                "{\"binary\":\"/q\",\"arch\":\"x86_64\",\"version\":7002000,\"machines\":[{\"name\":\"none\"}]}",
                "{\"binary\":7,\"machines\":{\"a\":1},\"types\":\"x\"}"};
        for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(json_object) document = json_parse(texts[i], strlen(texts[i]), NULL);
                g_autoptr(GError) error = NULL;
                QemuCaps *caps = NULL;
                assert_true(qemu_caps_from_json(document, &caps, &error) < 0);
                assert_non_null(error);
        }
}

/* ---- documents ---- */

static void has(const char *xml, const char *path) {
        xmlDoc *document = xmlReadMemory(xml, (int) strlen(xml), "caps.xml", NULL, XML_PARSE_NONET);
        assert_non_null(document);
        xmlXPathContext *context = xmlXPathNewContext(document);
        xmlXPathObject *found = xmlXPathEvalExpression(BAD_CAST path, context);
        assert_non_null(found);
        bool there =
                found->type == XPATH_NODESET ? found->nodesetval && found->nodesetval->nodeNr > 0 : found->boolval != 0;
        xmlXPathFreeObject(found);
        xmlXPathFreeContext(context);
        xmlFreeDoc(document);
        if (!there)
                fail_msg("nothing at '%s' in %s", path, xml);
}

static void capabilities(void **state) {
        static const char *const transports[] = {"tcp", NULL};
        static const unsigned char uuid[16] = {0x8a, 0x35, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
        g_autoptr(QemuCaps) caps = load_caps();
        QemuHostArgs args = {.uuid = uuid, .uri_transports = transports};
        g_autofree char *xml = qemu_host_capabilities_xml(&args, caps), *bare = qemu_host_capabilities_xml(&args, NULL);

        has(xml, "/capabilities/host/uuid[text()='8a350102-0304-0506-0708-090a0b0c0d0e']");
        has(xml, "/capabilities/host/migration_features/uri_transports/uri_transport[text()='tcp']");
        has(xml, "/capabilities/host/topology/cells/cell/cpus/cpu[@id='0'][@siblings]");
        has(xml, "/capabilities/host/cpu[arch][topology]/pages[@size='4']");
        has(xml,
            "/capabilities/guest[os_type='hvm']/arch[@name='x86_64']/machine[@canonical='pc-q35-7.2'][text()='q35']");
        has(xml, "/capabilities/guest/arch/domain[@type='kvm']");
        has(xml, "/capabilities/guest/arch/domain[@type='qemu']");
        has(xml, "not(//machine[text()='microvm'])");
        has(bare, "not(/capabilities/guest)");
}

static void domain_capabilities(void **state) {
        g_autoptr(QemuCaps) caps = load_caps();
        g_autofree char *xml = NULL, *tcg = NULL;
        g_autoptr(GError) arch = NULL, machine = NULL, type = NULL;

        assert_int_equal(qemu_host_domain_capabilities_xml(caps, NULL, NULL, NULL, &xml, NULL), 0);
        has(xml, "/domainCapabilities[domain='kvm'][machine='pc-q35-7.2'][arch='x86_64']");
        has(xml, "/domainCapabilities/cpu/mode[@name='host-passthrough'][@supported='yes']");
        has(xml, "/domainCapabilities/cpu/mode[@name='custom']/"
                 "model[@usable='no'][@vendor='Intel'][text()='Skylake-Client']");
        has(xml, "/domainCapabilities/devices/disk/enum[@name='bus']/value[text()='virtio']");
        has(xml, "not(//enum[@name='bus']/value[text()='ide'])");
        assert_int_equal(qemu_host_domain_capabilities_xml(caps, "x86_64", "pc", "qemu", &tcg, NULL), 0);
        has(tcg, "/domainCapabilities[domain='qemu'][machine='pc-i440fx-7.2']");
        has(tcg, "/domainCapabilities/cpu/mode[@name='host-passthrough'][@supported='no']");
        has(tcg, "/domainCapabilities/cpu/mode[@name='host-model']/model[text()='Westmere']");
        has(tcg, "//enum[@name='bus']/value[text()='ide']");

        char *none = NULL;
        assert_true(qemu_host_domain_capabilities_xml(caps, "s390x", NULL, NULL, &none, &arch) < 0);
        assert_true(error_is(arch, VIR_ERR_INVALID_ARG));
        assert_true(qemu_host_domain_capabilities_xml(caps, NULL, "pdp11", NULL, &none, &machine) < 0);
        assert_non_null(strstr(machine->message, "pdp11"));
        assert_true(qemu_host_domain_capabilities_xml(caps, NULL, NULL, "xen", &none, &type) < 0);
        assert_null(none);
}

/* ---- the host ---- */

static void node(void **state) {
        virNodeMemoryStats stats[4];
        g_autofree char *name = qemu_host_name();
        g_autofree unsigned char *map = NULL;
        virNodeInfo info = {};
        uint64_t free_bytes = 0;
        unsigned online = 0;
        int bytes = 0, present = 0, n = 0;

        assert_int_equal(qemu_host_node_info(&info, NULL), 0);
        assert_int_equal(info.cpus, (unsigned) info.nodes * info.sockets * info.cores * info.threads);
        assert_true(info.memory > 1024);
        assert_int_equal(qemu_host_free_memory(&free_bytes, NULL), 0);
        assert_true(free_bytes / KIB <= info.memory);
        assert_int_equal(qemu_host_memory_stats(VIR_NODE_MEMORY_STATS_ALL_CELLS, NULL, &n, NULL), 0);
        assert_int_equal(n, 4);
        assert_int_equal(qemu_host_memory_stats(VIR_NODE_MEMORY_STATS_ALL_CELLS, stats, &n, NULL), 0);
        assert_string_equal(stats[0].field, "total");
        assert_int_equal(stats[0].value, info.memory);
        n = 2;
        assert_true(qemu_host_memory_stats(9999, stats, &n, NULL) < 0);
        assert_int_equal(qemu_host_cpu_map(&map, &bytes, &online, &present, NULL), 0);
        assert_int_equal(online, info.cpus);
        assert_true(present >= (int) online && bytes == (present + 7) / 8);
        assert_true(map[0] != 0);
        assert_true(strlen(name) > 0);
}

static void uuid(void **state) {
        g_autoptr(GError) error = NULL;
        unsigned char bytes[16];

        assert_int_equal(qemu_host_uuid("8a35c1de-53bb-47d3-9fd2-9d8d04f2a001", bytes, NULL), 0);
        assert_int_equal(bytes[0], 0x8a);
        assert_true(qemu_host_uuid("not one", bytes, &error) < 0);
        assert_non_null(strstr(error->message, "not one"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(caps_access),  cmocka_unit_test(caps_features),       cmocka_unit_test(caps_nonsense),
                cmocka_unit_test(capabilities), cmocka_unit_test(domain_capabilities), cmocka_unit_test(node),
                cmocka_unit_test(uuid),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
