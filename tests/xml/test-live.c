/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "tests/xml/sample.h"

/* data/live/X.xml is what stock libvirt 9.0 says of a running guest; X.status is that with live data kept, X.inactive
 * without. */

static char *sibling(const char *file, const char *suffix) {
        return g_strdup_printf("%.*s%s", (int) (strlen(file) - strlen("xml")), file, suffix);
}

static void test_golden(void **state) {
        g_autoptr(GPtrArray) files = sample_files("live", ".xml");

        for (unsigned i = 0; i < files->len; i++) {
                const char *file = g_ptr_array_index(files, i);
                g_autofree char *xml = sample_read(file), *status_file = sibling(file, "status"),
                                *inactive_file = sibling(file, "inactive");
                g_autofree char *status = NULL, *inactive = NULL, *formatted = NULL, *migratable = NULL;
                g_autoptr(DomainDef) live = sample_parse(xml, DOMAIN_PARSE_STATUS),
                                     dead = sample_parse(xml, DOMAIN_PARSE_INACTIVE);

                status = domain_def_format(live, DOMAIN_FORMAT_STATUS);
                sample_golden(status_file, status);
                inactive = domain_def_format(dead, 0);
                sample_golden(inactive_file, inactive);
                formatted = domain_def_format(live, DOMAIN_FORMAT_INACTIVE);
                assert_string_equal(formatted, inactive);
                migratable = domain_def_format(live, DOMAIN_FORMAT_MIGRATABLE);
                assert_string_equal(migratable, inactive);
                assert_int_equal(live->id, i + 1 == files->len ? 1 : 2);
                assert_int_equal(dead->id, -1);
        }
}

/* The names that we give are those that stock libvirt gave. */
static void test_aliases(void **state) {
        g_autoptr(GPtrArray) files = sample_files("live", ".xml");

        for (unsigned i = 0; i < files->len; i++) {
                g_autofree char *xml = sample_read(g_ptr_array_index(files, i));
                g_autoptr(DomainDef) live = sample_parse(xml, DOMAIN_PARSE_STATUS), ours = sample_complete(xml);

                assert_int_equal(domain_def_assign_aliases(ours), 0);
#define SAME_ALIASES(Type, array)                                                                           \
        for (unsigned j = 0; j < live->array->len; j++)                                                     \
                assert_string_equal(((const Type *) g_ptr_array_index(ours->array, j))->info.alias,         \
                                    ((const Type *) g_ptr_array_index(live->array, j))->info.alias)
                SAME_ALIASES(DiskDef, disks);
                SAME_ALIASES(ControllerDef, controllers);
                SAME_ALIASES(NetDef, nets);
                SAME_ALIASES(CharDef, serials);
                SAME_ALIASES(CharDef, consoles);
                SAME_ALIASES(CharDef, channels);
                SAME_ALIASES(InputDef, inputs);
                SAME_ALIASES(SoundDef, sounds);
                SAME_ALIASES(VideoDef, videos);
                SAME_ALIASES(WatchdogDef, watchdogs);
                SAME_ALIASES(RngDef, rngs);
                assert_string_equal(ours->balloon.info.alias, live->balloon.info.alias);
        }
}

static void test_user_alias(void **state) {
        g_autofree char *xml = sample_xml(
                "",
                "<interface type='user'><alias name='ua-mine'/></interface><interface type='user'><alias "
                "name='net7'/></interface>");
        g_autoptr(DomainDef) def = sample_complete(xml);
        const NetDef *first = g_ptr_array_index(def->nets, 0), *second = g_ptr_array_index(def->nets, 1);

        assert_string_equal(first->info.alias, "ua-mine");
        assert_null(second->info.alias);
        assert_int_equal(domain_def_assign_aliases(def), 0);
        assert_string_equal(first->info.alias, "ua-mine");
        assert_string_equal(second->info.alias, "net1");
}

/* The console shows what its serial port has become. */
static void test_console_follows(void **state) {
        g_autofree char *xml = sample_xml("", "<console type='pty'/>"), *text = NULL, *inactive = NULL;
        g_autoptr(DomainDef) def = sample_complete(xml);
        CharDef *serial = g_ptr_array_index(def->serials, 0);

        def->id = 7;
        assert_int_equal(domain_def_assign_aliases(def), 0);
        serial->source_path = g_strdup("/dev/pts/9");
        text = domain_def_format(def, 0);
        assert_non_null(strstr(text, "id='7'"));
        assert_non_null(strstr(text, "<console type='pty' tty='/dev/pts/9'>"));
        inactive = domain_def_format(def, DOMAIN_FORMAT_INACTIVE);
        assert_null(strstr(inactive, "/dev/pts"));
        assert_null(strstr(inactive, "alias"));
        assert_null(strstr(inactive, "id='7'"));
}

static void test_secret(void **state) {
        g_autofree char *xml = sample_xml("", "<graphics type='vnc' passwd='geheim'/>"), *plain = NULL, *secure = NULL,
                        *status = NULL;
        g_autoptr(DomainDef) def = sample_complete(xml);

        plain = domain_def_format(def, 0);
        secure = domain_def_format(def, DOMAIN_FORMAT_SECURE | DOMAIN_FORMAT_INACTIVE);
        status = domain_def_format(def, DOMAIN_FORMAT_STATUS);
        assert_null(strstr(plain, "geheim"));
        assert_non_null(strstr(secure, "passwd='geheim'"));
        assert_non_null(strstr(status, "passwd='geheim'"));
}

/* What was made up for a running guest is known by its form and dropped. */
static void test_made_up(void **state) {
        g_autofree char *xml = sample_xml(
                "",
                "<channel type='unix'><source mode='bind' path='/run/ferry/channel/target/domain-3-a b/one'/><target "
                "type='virtio' name='one'/></channel>"
                "<channel type='unix'><source mode='bind' path='/run/libvirt/qemu/channel/3-vm/two'/><target "
                "type='virtio' name='two'/></channel>"
                "<channel type='unix'><source mode='bind' path='/srv/vm/domain-x/three'/><target type='virtio' "
                "name='three'/></channel>"
                "<channel type='unix'><source mode='bind' "
                "path='/run/libvirt/ferry/domains/vm-11111111/channel3.sock'/><target type='virtio' "
                "name='four'/></channel>"
                "<graphics type='vnc' port='5903' autoport='yes'/>"
                "<interface type='bridge'><source bridge='br0'/><target dev='vnet12'/></interface>"
                "<interface type='bridge'><source bridge='br0'/><target dev='vnetwork'/></interface>");
        g_autoptr(DomainDef) def = sample_parse(xml, DOMAIN_PARSE_INACTIVE),
                             live = sample_parse(xml, DOMAIN_PARSE_STATUS);

        assert_null(((const CharDef *) g_ptr_array_index(def->channels, 0))->source_path);
        assert_null(((const CharDef *) g_ptr_array_index(def->channels, 1))->source_path);
        assert_string_equal(((const CharDef *) g_ptr_array_index(def->channels, 2))->source_path,
                            "/srv/vm/domain-x/three");
        assert_null(((const CharDef *) g_ptr_array_index(def->channels, 3))->source_path);
        assert_int_equal(((const GraphicsDef *) g_ptr_array_index(def->graphics, 0))->port, -1);
        assert_null(((const NetDef *) g_ptr_array_index(def->nets, 0))->target);
        assert_string_equal(((const NetDef *) g_ptr_array_index(def->nets, 1))->target, "vnetwork");
        assert_non_null(((const CharDef *) g_ptr_array_index(live->channels, 0))->source_path);
        assert_int_equal(((const GraphicsDef *) g_ptr_array_index(live->graphics, 0))->port, 5903);
        assert_string_equal(((const NetDef *) g_ptr_array_index(live->nets, 0))->target, "vnet12");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_aliases),
                cmocka_unit_test(test_user_alias),
                cmocka_unit_test(test_console_follows),
                cmocka_unit_test(test_secret),
                cmocka_unit_test(test_made_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
