/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/error.h"
#include "driver/base/io.h"
#include "driver/base/json.h"

typedef struct Place {
        char *root;
        Store store;
} Place;

static int setup(void **state) {
        Place *place = g_new0(Place, 1);
        g_autofree char *config = NULL, *run = NULL;

        place->root = g_dir_make_tmp("ferry-store-XXXXXX", NULL);
        config = g_build_filename(place->root, "etc", NULL);
        run = g_build_filename(place->root, "run", NULL);
        *state = place;
        return store_init(&place->store, config, run, NULL);
}

static int teardown(void **state) {
        Place *place = *state;
        g_autofree char *command = g_strdup_printf("rm -r '%s'", place->root);

        store_clear(&place->store);
        g_free(place->root);
        g_free(place);
        return g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL) ? 0 : -1;
}

static DomainDef *make_def(const char *name) {
        DomainDef *def = NULL;
        g_autofree char *xml =
                g_strdup_printf("<domain type='qemu'><name>%s</name><uuid>a0000000-0000-4000-8000-000000000001</uuid>"
                                "<memory>65536</memory><os><type arch='x86_64'>hvm</type></os></domain>",
                                name);

        assert_int_equal(domain_def_parse(xml, strlen(xml), DOMAIN_PARSE_INACTIVE, NULL, &def, NULL), 0);
        return def;
}

static void test_config_round_trip(void **state) {
        Place *place = *state;
        g_autoptr(DomainList) list = domain_list_new();
        g_autoptr(DomainDef) def = make_def("vm1");
        unsigned bad = 9;
        Domain *domain;

        assert_int_equal(store_save_config(&place->store, "vm1", def, NULL), 0);
        assert_int_equal(store_set_autostart(&place->store, "vm1", true, NULL), 0);
        assert_int_equal(store_load_configs(&place->store, list, &bad, NULL), 0);
        assert_int_equal(bad, 0);
        domain = domain_list_find_name(list, "vm1");
        assert_non_null(domain);
        assert_true(domain->autostart);
        assert_non_null(domain->config);
        assert_int_equal(store_remove_config(&place->store, "vm1", NULL), 0);
        assert_int_equal(store_remove_config(&place->store, "vm1", NULL), 0);
}

/* One broken file must not hide the other domains. */
static void test_bad_file_is_counted(void **state) {
        Place *place = *state;
        g_autoptr(DomainList) list = domain_list_new();
        g_autoptr(DomainDef) def = make_def("vm1");
        g_autofree char *broken = g_build_filename(place->store.config_dir, "broken.xml", NULL);
        g_autofree char *renamed = g_build_filename(place->store.config_dir, "other.xml", NULL);
        unsigned bad = 0;

        assert_int_equal(store_save_config(&place->store, "vm1", def, NULL), 0);
        assert_int_equal(file_replace(broken, "<domain", 7, 0600, NULL), 0);
        assert_int_equal(store_save_config(&place->store, "other", def, NULL), 0);
        assert_int_equal(store_load_configs(&place->store, list, &bad, NULL), 0);
        assert_int_equal(bad, 2);
        assert_non_null(domain_list_find_name(list, "vm1"));
        unlink(broken);
        unlink(renamed);
}

static void test_status(void **state) {
        Place *place = *state;
        g_autoptr(json_object) status = json_object_new_object(), back = NULL;
        g_auto(GStrv) names = NULL;

        json_add_int64(status, "id", 3);
        assert_int_equal(store_save_status(&place->store, "vm1", status, NULL), 0);
        names = store_list_status(&place->store);
        assert_string_equal(names[0], "vm1");
        assert_null(names[1]);
        assert_int_equal(store_load_status(&place->store, "vm1", &back, NULL), 0);
        assert_int_equal(json_get_int64(back, "id", 0), 3);
        store_remove_status(&place->store, "vm1");
        g_clear_pointer(&back, json_object_put);
        assert_true(store_load_status(&place->store, "vm1", &back, NULL) < 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_config_round_trip, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bad_file_is_counted, setup, teardown),
                cmocka_unit_test_setup_teardown(test_status, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
