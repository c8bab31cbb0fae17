/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "driver/base/i18n.h"
#include "xml/def.h"
#include "xml/device.h"
#include "xml/live.h"
#include "xml/node.h"
#include "xml/spec.h"

/*
 * Bounds that keep hostile XML cheap: libxml2's schema validation and some of our own checks take time that grows with
 * the square of the number of elements, and stack that grows with their depth (about 3 KiB for each image of a chain,
 * of a fiber's). Guests are far below; metadata may be as large and as deep as libxml2 reads it, since nobody looks
 * into it.
 */
#define MAX_ELEMENTS 16384
#define MAX_DEPTH 80 /* chains of images have at most 64, driver/qemu/image.h */
#define MAX_DEVICES 512

static bool is_metadata(const xmlNode *node) {
        return node->parent && node->parent->parent == (const xmlNode *) node->doc &&
               xmlStrEqual(node->name, (const xmlChar *) "metadata");
}

static void measure(const xmlNode *node, unsigned depth, unsigned *inout_count, unsigned *inout_depth) {
        ++*inout_count;
        *inout_depth = MAX(*inout_depth, depth);
        for (const xmlNode *child = node->children; child && !is_metadata(node); child = child->next)
                if (child->type == XML_ELEMENT_NODE)
                        measure(child, depth + 1, inout_count, inout_depth);
}

static int check_size(const xmlNode *root, GError **reterr) {
        unsigned count = 0, depth = 0;

        measure(root, 1, &count, &depth);
        if (count > MAX_ELEMENTS)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the XML has more than %u elements"), MAX_ELEMENTS);
        if (depth > MAX_DEPTH)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the XML has elements more than %u deep"), MAX_DEPTH);
        return 0;
}

/* Metadata is left out: the schema allows everything there. */
static int validate_schema(const xmlDoc *doc, const char *schema_dir, GError **reterr) {
        g_autofree char *file = g_build_filename(schema_dir, "domain.rng", NULL);
        g_autoptr(xmlDoc) copy = xmlCopyDoc((xmlDoc *) doc, 1);
        xmlNode *root = xmlDocGetRootElement(copy), *child, *next;

        for (xmlNode *node = root->children; node; node = node->next)
                for (child = is_metadata(node) ? node->children : NULL; child; child = next) {
                        next = child->next;
                        xmlUnlinkNode(child);
                        xmlFreeNode(child);
                }
        return node_document_validate(copy, file, reterr);
}

/* libxml2 says little more than in which element it gave up. The parser says what is wrong in the same document. */
static int explain_schema_error(const xmlNode *root, GError *schema_error, GError **reterr) {
        g_autoptr(DomainDef) def = domain_def_new();
        g_autoptr(GError) error = NULL;
        int r;

        if (!error_is(schema_error, VIR_ERR_XML_INVALID_SCHEMA) || bind_parse(&domain_spec, root, def, &error) == 0) {
                g_propagate_error(reterr, schema_error);
                return -EINVAL;
        }
        r = error_set(reterr, VIR_ERR_XML_INVALID_SCHEMA, "%s", error->message);
        g_error_free(schema_error);
        return r;
}

static int check_numbers(const DomainDef *def, GError **reterr) {
        g_autoptr(GArray) devices = device_list(def);

        if (devices->len > MAX_DEVICES)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the domain has %u devices, and %u is the limit"),
                                 devices->len, MAX_DEVICES);
        return 0;
}

int domain_def_parse(const char *xml, size_t length, unsigned flags, const char *schema_dir, DomainDef **ret,
                     GError **reterr) {
        g_autoptr(xmlDoc) doc = NULL;
        g_autoptr(DomainDef) def = NULL;
        g_autofree char *name = NULL;
        const xmlNode *root;
        int r;

        r = node_document_parse(xml, length, DOMAIN_XML_MAX, &doc, reterr);
        if (r < 0)
                return r;
        root = xmlDocGetRootElement(doc);
        name = node_name(root);
        if (!g_str_equal(name, "domain"))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the XML describes a <%.64s>, not a <domain>"), name);
        r = check_size(root, reterr);
        if (r < 0)
                return r;
        if (flags & DOMAIN_PARSE_VALIDATE) {
                GError *error = NULL;

                if (validate_schema(doc, schema_dir, &error) < 0)
                        return explain_schema_error(root, error, reterr);
        }
        def = domain_def_new();
        r = bind_parse(&domain_spec, root, def, reterr);
        if (r < 0)
                return r;
        if (def->os.type == 0)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<domain> needs <os> with <type>hvm</type>"));
        r = check_numbers(def, reterr);
        if (r < 0)
                return r;
        if (!(flags & DOMAIN_PARSE_STATUS))
                live_drop(def);
        *ret = g_steal_pointer(&def);
        return 0;
}
