/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include <string.h>

#include "xml/bind.h"
#include "xml/node.h"

/*
 * Theory of operation.
 *
 * One <define> per table. The paths of a table become a tree of SchemaNode, in which an attribute or a text may have
 * several patterns (fields with different `when`): the schema takes any of them, the parser decides which one fits.
 * Order never matters, so children are interleaved; leaves are plain groups because RELAX NG forbids <data> inside
 * <interleave>.
 */

typedef struct SchemaNode {
        char *name;
        bool required;
        bool single;                /* of a list: at most one */
        GPtrArray *fields;          /* BindField: text or presence; for attributes all patterns */
        const BindSpec *spec;       /* STRUCT, LIST: defined elsewhere */
        bool list, unit, state, raw;
        GPtrArray *children;        /* SchemaNode; attributes first by nature of their '@' */
} SchemaNode;

typedef struct Schema {
        Markup *grammar;
        GPtrArray *specs; /* BindSpec, in the order of their definition; grows while it is worked off */
} Schema;

static void schema_node_free(void *data) {
        SchemaNode *node = data;

        g_free(node->name);
        g_ptr_array_unref(node->fields);
        g_ptr_array_unref(node->children);
        g_free(node);
}

static SchemaNode *schema_node_new(const char *name) {
        SchemaNode *node = g_new0(SchemaNode, 1);

        node->name = g_strdup(name);
        node->fields = g_ptr_array_new();
        node->children = g_ptr_array_new_with_free_func(schema_node_free);
        return node;
}

static SchemaNode *schema_node_child(SchemaNode *parent, const char *name) {
        SchemaNode *child;

        for (unsigned i = 0; i < parent->children->len; i++) {
                child = g_ptr_array_index(parent->children, i);
                if (g_str_equal(child->name, name))
                        return child;
        }
        child = schema_node_new(name);
        g_ptr_array_add(parent->children, child);
        return child;
}

static void collect(const BindSpec *spec, SchemaNode *root) {
        for (const BindField *f = spec->fields; f->path; f++) {
                g_auto(GStrv) parts = g_strsplit(f->path, "/", -1);
                SchemaNode *node = root, *parent = root;

                if (f->kind == BIND_INLINE) {
                        collect(f->spec, root);
                        continue;
                }
                for (unsigned i = 0; parts[i] && parts[i][0]; i++) {
                        parent = node;
                        node = schema_node_child(node, parts[i]);
                }
                if (f->kind == BIND_STRUCT || f->kind == BIND_LIST) {
                        node->spec = f->spec;
                        node->list = f->kind == BIND_LIST;
                        node->single = f->max == 1;
                        continue;
                }
                g_ptr_array_add(node->fields, (void *) f);
                if (f->flags & BIND_REQUIRED && f->when == 0)
                        node->required = true;
                if (f->kind == BIND_BYTES || f->kind == BIND_KIB)
                        (node->name[0] == '@' ? parent : node)->unit = true;
                node->state |= f->kind == BIND_STATE;
                node->raw |= f->kind == BIND_RAW;
        }
}

static void add_value(Markup *choice, const char *value) {
        markup_text(markup_add(choice, "value"), value);
}

static void add_data(Markup *parent, const char *type, const char *pattern) {
        Markup *data = markup_add(parent, "data");

        markup_attribute(data, "type", type);
        if (pattern) {
                Markup *param = markup_add(data, "param");

                markup_attribute(param, "name", "pattern");
                markup_text(param, pattern);
        }
}

static void add_ref(Markup *parent, const char *name) {
        markup_attribute(markup_add(parent, "ref"), "name", name);
}

static void add_number(Markup *parent, const BindField *f) {
        Markup *choice = markup_add(parent, "choice"), *data = markup_add(choice, "data"), *param;
        int64_t max = f->max ? f->max : f->kind == BIND_I64 || f->kind == BIND_U64 ? INT64_MAX
                                      : f->kind == BIND_INT || f->kind == BIND_HEXINT ? INT_MAX : UINT_MAX;
        g_autofree char *max_text = g_strdup_printf("%" G_GINT64_FORMAT, max);
        g_autofree char *min_text =
                g_strdup_printf("%" G_GINT64_FORMAT, f->min == 0 && f->kind == BIND_I64 ? -INT64_MAX : f->min);

        markup_attribute(data, "type", "integer");
        param = markup_add(data, "param");
        markup_attribute(param, "name", "minInclusive");
        markup_text(param, min_text);
        param = markup_add(data, "param");
        markup_attribute(param, "name", "maxInclusive");
        markup_text(param, max_text);
        add_ref(choice, "hex-number");
}

static void add_pattern(Markup *parent, const BindField *f) {
        Markup *choice;

        switch (f->kind) {
        case BIND_ENUM:
                choice = markup_add(parent, "choice");
                for (int i = 1; f->names[i]; i++)
                        if (!f->allow || f->allow & (UINT64_C(1) << i))
                                add_value(choice, f->names[i]);
                break;
        case BIND_YESNO:
                add_ref(parent, "yes-no");
                break;
        case BIND_ONOFF:
                add_ref(parent, "on-off");
                break;
        case BIND_UINT:
        case BIND_INT:
        case BIND_HEX:
        case BIND_HEXINT:
        case BIND_I64:
        case BIND_U64:
                add_number(parent, f);
                break;
        case BIND_BYTES:
        case BIND_KIB:
                add_data(parent, "unsignedLong", NULL);
                break;
        case BIND_BITSET:
                add_ref(parent, "number-set");
                break;
        case BIND_UUID:
                add_data(parent, "string", "\\s*[0-9a-fA-F\\-]{32,47}\\s*");
                break;
        default:
                markup_add(parent, "text");
        }
}

/* The value of an attribute or a leaf: any of its fields' patterns. */
static void add_patterns(Markup *parent, const GPtrArray *fields) {
        Markup *at = fields->len > 1 ? markup_add(parent, "choice") : parent;

        for (unsigned i = 0; i < fields->len; i++) {
                const BindField *f = g_ptr_array_index(fields, i);

                if (f->kind != BIND_PRESENT && f->kind != BIND_STATE)
                        add_pattern(at, f);
        }
}

static void set_name(Markup *element, const char *name) {
        const char *colon = strchr(name, ':');

        markup_attribute(element, "name", colon ? colon + 1 : name);
        if (colon)
                markup_attribute(element, "ns", NODE_QEMU_NAMESPACE);
}

/* A name for the table's definition: the element's, numbered if several tables have elements of this name. */
static char *define_name(Schema *schema, const BindSpec *spec) {
        unsigned same = 0;

        if (!g_ptr_array_find(schema->specs, spec, NULL))
                g_ptr_array_add(schema->specs, (void *) spec);
        for (unsigned i = 0; g_ptr_array_index(schema->specs, i) != spec; i++)
                if (g_str_equal(((const BindSpec *) g_ptr_array_index(schema->specs, i))->name, spec->name))
                        same++;
        return g_strdelimit(same ? g_strdup_printf("%s-%u", spec->name, same + 1) : g_strdup(spec->name), ":", '-');
}

static void add_contents(Schema *schema, Markup *element, const SchemaNode *node);

static void add_child(Schema *schema, Markup *parent, const SchemaNode *child) {
        Markup *at = parent, *element;

        if (child->list && !child->single)
                at = markup_add(parent, "zeroOrMore");
        else if (!child->required)
                at = markup_add(parent, "optional");
        if (child->name[0] == '@') {
                element = markup_add(at, "attribute");
                set_name(element, child->name + 1);
                add_patterns(element, child->fields);
                return;
        }
        if (child->spec) {
                g_autofree char *name = define_name(schema, child->spec);

                add_ref(at, name);
                return;
        }
        element = markup_add(at, "element");
        set_name(element, child->name);
        add_contents(schema, element, child);
}

static void add_optional_attribute(Markup *element, const char *name, const char *pattern) {
        Markup *attribute = markup_add(markup_add(element, "optional"), "attribute");

        markup_attribute(attribute, "name", name);
        add_ref(attribute, pattern);
}

static void add_contents(Schema *schema, Markup *element, const SchemaNode *node) {
        bool elements = false, patterns = false;

        if (node->raw) {
                Markup *any = markup_add(element, "zeroOrMore");

                any = markup_add(any, "choice");
                markup_add(any, "text");
                add_ref(any, "any-element");
                return;
        }
        for (unsigned i = 0; i < node->children->len; i++)
                elements |= ((const SchemaNode *) g_ptr_array_index(node->children, i))->name[0] != '@';
        for (unsigned i = 0; i < node->fields->len; i++) {
                BindKind kind = ((const BindField *) g_ptr_array_index(node->fields, i))->kind;

                patterns |= kind != BIND_PRESENT && kind != BIND_STATE;
        }
        if (elements)
                element = markup_add(element, "interleave");
        if (node->unit)
                add_optional_attribute(element, "unit", "unit");
        if (node->state)
                add_optional_attribute(element, "state", "on-off");
        for (unsigned i = 0; i < node->children->len; i++)
                add_child(schema, element, g_ptr_array_index(node->children, i));
        if (patterns)
                add_patterns(element, node->fields);
        else if (node->children->len == 0 && !node->state && !node->unit)
                markup_add(element, "empty");
}

static void add_definition(Schema *schema, const BindSpec *spec) {
        g_autofree char *name = define_name(schema, spec);
        SchemaNode *root = schema_node_new(spec->name);
        Markup *define = markup_add(schema->grammar, "define"), *element = markup_add(define, "element");

        markup_attribute(define, "name", name);
        set_name(element, spec->name);
        collect(spec, root);
        add_contents(schema, element, root);
        schema_node_free(root);
}

/* The patterns that the tables' definitions refer to. */
static void add_common(Markup *grammar) {
        static const struct {
                const char *name, *pattern;
        } strings[] = {
                { "number-set", "[0-9,\\-^ ]+" },
                { "hex-number", "0[xX][0-9a-fA-F]{1,16}" },
                { "unit", "([bB]|[bB][yY][tT][eE][sS]?|[kKmMgGtTpPeE]([iI]?[bB])?)" },
        };
        static const char *const words[][2] = { { "yes", "no" }, { "on", "off" } };
        Markup *any, *define;

        for (unsigned i = 0; i < G_N_ELEMENTS(strings); i++) {
                define = markup_add(grammar, "define");
                markup_attribute(define, "name", strings[i].name);
                add_data(define, "string", strings[i].pattern);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
                g_autofree char *name = g_strdup_printf("%s-%s", words[i][0], words[i][1]);
                Markup *choice;

                define = markup_add(grammar, "define");
                markup_attribute(define, "name", name);
                choice = markup_add(define, "choice");
                add_value(choice, words[i][0]);
                add_value(choice, words[i][1]);
        }
        define = markup_add(grammar, "define");
        markup_attribute(define, "name", "any-element");
        any = markup_add(define, "element");
        markup_add(any, "anyName");
        any = markup_add(markup_add(any, "zeroOrMore"), "choice");
        markup_add(markup_add(any, "attribute"), "anyName");
        markup_add(any, "text");
        add_ref(any, "any-element");
}

char *bind_schema(const BindSpec *spec, const char *comment) {
        g_autoptr(Markup) grammar = markup_new("grammar");
        g_autoptr(GPtrArray) specs = g_ptr_array_new();
        g_autofree char *text = NULL, *name = NULL;
        Schema schema = { grammar, specs };

        markup_attribute(grammar, "xmlns", "http://relaxng.org/ns/structure/1.0");
        markup_attribute(grammar, "datatypeLibrary", "http://www.w3.org/2001/XMLSchema-datatypes");
        name = define_name(&schema, spec);
        add_ref(markup_add(grammar, "start"), name);
        for (unsigned i = 0; i < specs->len; i++)
                add_definition(&schema, g_ptr_array_index(specs, i));
        add_common(grammar);
        text = markup_string(grammar);
        return g_strdup_printf("<?xml version='1.0' encoding='UTF-8'?>\n<!--\n%s-->\n%s", comment, text);
}
