/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/xml/sample.h"
#include "xml/markup.h"

static void test_write(void **state) {
        g_autoptr(Markup) root = markup_new("a");
        g_autofree char *text = NULL;
        Markup *b = markup_add(root, "b");

        markup_attribute(b, "x", "<&>'\"\n\t\x01" "ä");
        markup_attribute(b, "y", "1");
        markup_attribute(b, "y", "2");
        markup_text(markup_child(b, "c"), "<&>'\"\n\r");
        assert_ptr_equal(markup_child(root, "b"), b);
        assert_ptr_not_equal(markup_add(root, "b"), b);
        markup_raw(markup_add(root, "raw"), "<r/>");
        text = markup_string(root);
        assert_string_equal(text, "<a>\n"
                                  "  <b x='&lt;&amp;&gt;&apos;&quot;&#10;&#9;ä' y='2'>\n"
                                  "    <c>&lt;&amp;&gt;'\"\n&#13;</c>\n"
                                  "  </b>\n"
                                  "  <b/>\n"
                                  "  <raw><r/></raw>\n"
                                  "</a>\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_write),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
