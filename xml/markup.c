/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/markup.h"

#include <string.h>

typedef struct MarkupAttribute {
        char *name, *value;
} MarkupAttribute;

struct Markup {
        char *name;
        GArray *attributes;  /* MarkupAttribute */
        GPtrArray *children; /* Markup */
        char *text;          /* escaped already */
};

static void attribute_clear(void *data) {
        MarkupAttribute *attribute = data;

        g_free(attribute->name);
        g_free(attribute->value);
}

static void markup_destroy(void *data) {
        markup_free(data);
}

Markup *markup_new(const char *name) {
        Markup *element = g_new0(Markup, 1);

        element->name = g_strdup(name);
        element->attributes = g_array_new(FALSE, TRUE, sizeof(MarkupAttribute));
        g_array_set_clear_func(element->attributes, attribute_clear);
        element->children = g_ptr_array_new_with_free_func(markup_destroy);
        return element;
}

Markup *markup_free(Markup *root) {
        if (!root)
                return NULL;
        g_free(root->name);
        g_free(root->text);
        g_array_unref(root->attributes);
        g_ptr_array_unref(root->children);
        g_free(root);
        return NULL;
}

Markup *markup_add(Markup *parent, const char *name) {
        Markup *child = markup_new(name);

        g_ptr_array_add(parent->children, child);
        return child;
}

Markup *markup_child(Markup *parent, const char *name) {
        for (unsigned i = parent->children->len; i > 0; i--) {
                Markup *child = g_ptr_array_index(parent->children, i - 1);

                if (g_str_equal(child->name, name))
                        return child;
        }
        return markup_add(parent, name);
}

/* In attributes, white space other than blanks must be written as references or a reader turns it into blanks. */
static char *escape(const char *text, bool attribute) {
        GString *out = g_string_sized_new(strlen(text) + 8);

        for (const char *c = text; *c; c++)
                switch (*c) {
                case '<':
                        g_string_append(out, "&lt;");
                        break;
                case '>':
                        g_string_append(out, "&gt;");
                        break;
                case '&':
                        g_string_append(out, "&amp;");
                        break;
                case '\'':
                        g_string_append(out, attribute ? "&apos;" : "'");
                        break;
                case '"':
                        g_string_append(out, attribute ? "&quot;" : "\"");
                        break;
                case '\n':
                case '\t':
                        if (attribute)
                                g_string_append_printf(out, "&#%d;", *c);
                        else
                                g_string_append_c(out, *c);
                        break;
                case '\r':
                        g_string_append(out, "&#13;");
                        break;
                default:
                        if ((unsigned char) *c >= 0x20)
                                g_string_append_c(out, *c);
                }
        return g_string_free(out, FALSE);
}

void markup_attribute(Markup *element, const char *name, const char *value) {
        MarkupAttribute attribute;

        for (unsigned i = 0; i < element->attributes->len; i++) {
                MarkupAttribute *old = &g_array_index(element->attributes, MarkupAttribute, i);

                if (g_str_equal(old->name, name)) {
                        g_free(old->value);
                        old->value = escape(value, true);
                        return;
                }
        }
        attribute = (MarkupAttribute) { .name = g_strdup(name), .value = escape(value, true) };
        g_array_append_val(element->attributes, attribute);
}

void markup_text(Markup *element, const char *text) {
        g_free(element->text);
        element->text = escape(text, false);
}

void markup_raw(Markup *element, const char *xml) {
        g_free(element->text);
        element->text = g_strdup(xml);
}

static void indent(GString *out, unsigned depth) {
        for (unsigned i = 0; i < depth; i++)
                g_string_append(out, "  ");
}

static void markup_write(const Markup *element, GString *out, unsigned depth) {
        indent(out, depth);
        g_string_append_printf(out, "<%s", element->name);
        for (unsigned i = 0; i < element->attributes->len; i++) {
                const MarkupAttribute *attribute = &g_array_index(element->attributes, MarkupAttribute, i);

                g_string_append_printf(out, " %s='%s'", attribute->name, attribute->value);
        }
        if (!element->text && element->children->len == 0) {
                g_string_append(out, "/>\n");
                return;
        }
        g_string_append_c(out, '>');
        if (element->text)
                g_string_append(out, element->text);
        if (element->children->len > 0) {
                g_string_append_c(out, '\n');
                for (unsigned i = 0; i < element->children->len; i++)
                        markup_write(g_ptr_array_index(element->children, i), out, depth + 1);
                indent(out, depth);
        }
        g_string_append_printf(out, "</%s>\n", element->name);
}

char *markup_string(const Markup *root) {
        GString *out = g_string_new(NULL);

        markup_write(root, out, 0);
        return g_string_free(out, FALSE);
}
