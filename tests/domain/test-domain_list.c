/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/domain_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/error.h"

static DomainDef *make_def(const char *name, unsigned char id) {
        DomainDef *def = domain_def_new();

        def->name = g_strdup(name);
        memset(def->uuid, id, sizeof(def->uuid));
        def->uuid[0] = 0xa0;
        return def;
}

static void test_find(void **state) {
        g_autoptr(DomainList) list = domain_list_new();
        g_autoptr(DomainDef) one = make_def("one", 1), two = make_def("two", 2);
        Domain *a = NULL, *b = NULL, *again = NULL;

        assert_int_equal(domain_list_add(list, one, &a, NULL), 0);
        assert_int_equal(domain_list_add(list, two, &b, NULL), 0);
        assert_int_equal(domain_list_add(list, one, &again, NULL), 0);
        assert_ptr_equal(a, again);
        assert_ptr_equal(domain_list_find_name(list, "two"), b);
        assert_ptr_equal(domain_list_find_uuid(list, one->uuid), a);
        assert_null(domain_list_find_id(list, -1));
        b->id = domain_list_next_id(list);
        assert_int_equal(b->id, 1);
        assert_ptr_equal(domain_list_find_id(list, 1), b);
        assert_int_equal(domain_list_active(list), 1);
        domain_list_note_id(list, 7);
        assert_int_equal(domain_list_next_id(list), 8);
        domain_list_remove(list, a);
        assert_null(domain_list_find_name(list, "one"));
}

static void test_conflicts(void **state) {
        g_autoptr(DomainList) list = domain_list_new();
        g_autoptr(DomainDef) one = make_def("one", 1), other_uuid = make_def("one", 2), other_name = make_def("two", 1);
        g_autoptr(GError) error = NULL;
        Domain *domain = NULL;

        assert_int_equal(domain_list_add(list, one, &domain, NULL), 0);
        assert_true(domain_list_add(list, other_uuid, &domain, &error) < 0);
        assert_non_null(strstr(error->message, "'one' already exists with uuid a0010101"));
        g_clear_error(&error);
        assert_true(domain_list_add(list, other_name, &domain, &error) < 0);
        assert_int_equal(error_code(error), VIR_ERR_OPERATION_FAILED);
}

/* Who holds a reference across a wait can still look at a domain that was removed meanwhile. */
static void test_reference_outlives_list(void **state) {
        DomainList *list = domain_list_new();
        g_autoptr(DomainDef) one = make_def("one", 1);
        Domain *domain = NULL;

        assert_int_equal(domain_list_add(list, one, &domain, NULL), 0);
        domain_ref(domain);
        domain_list_remove(list, domain);
        domain_list_free(list);
        assert_true(domain->removed);
        assert_string_equal(domain->name, "one");
        domain_unref(domain);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_find),
                cmocka_unit_test(test_conflicts),
                cmocka_unit_test(test_reference_outlives_list),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
