/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/node.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <string.h>

#include "driver/base/i18n.h"

/*
 * Theory of operation.
 *
 * libxml2 bounds the depth (256) and the length of names and texts by itself unless XML_PARSE_HUGE is given. Entities
 * need a document type declaration, so the parser is stopped as soon as one begins: nothing of it is read, expanded or
 * loaded. XML_PARSE_NONET is a second lock on the same door.
 */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlParserCtxt, xmlFreeParserCtxt)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlRelaxNG, xmlRelaxNGFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlRelaxNGParserCtxt, xmlRelaxNGFreeParserCtxt)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlRelaxNGValidCtxt, xmlRelaxNGFreeValidCtxt)

static void refuse_dtd(void *userdata, const xmlChar *name, const xmlChar *external_id, const xmlChar *system_id) {
        xmlParserCtxt *ctxt = userdata;

        *(bool *) ctxt->_private = true;
        xmlStopParser(ctxt);
}

int node_document_parse(const char *xml, size_t length, size_t max_length, xmlDoc **ret_doc, GError **reterr) {
        g_autoptr(xmlParserCtxt) ctxt = NULL;
        g_autoptr(xmlDoc) doc = NULL;
        bool dtd = false;

        if (length > max_length)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the XML has %zu bytes, and %zu is the limit"), length,
                                 max_length);
        if (memchr(xml, '\0', length))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the XML contains a NUL byte"));
        ctxt = xmlNewParserCtxt();
        if (!ctxt)
                return error_set(reterr, VIR_ERR_NO_MEMORY, _("no memory for an XML parser"));
        ctxt->_private = &dtd;
        ctxt->sax->internalSubset = refuse_dtd;
        doc = xmlCtxtReadMemory(ctxt, xml, (int) length, NULL, NULL,
                                XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        if (dtd)
                return error_set(
                        reterr, VIR_ERR_XML_ERROR,
                        _("the XML has a document type declaration: remove it, entities are not expanded here"));
        if (!doc || !ctxt->wellFormed || !xmlDocGetRootElement(doc)) {
                const xmlError *error = xmlCtxtGetLastError(ctxt);
                g_autofree char *text =
                        g_utf8_make_valid(error && error->message ? error->message : _("no element"), -1);

                return error_set(reterr, VIR_ERR_XML_ERROR, _("the XML is not well-formed, line %d: %s"),
                                 error ? error->line : 1, g_strchomp(text));
        }
        *ret_doc = g_steal_pointer(&doc);
        return 0;
}

/* libxml2 reports from the inside out; the first report of a failed choice is noise, the last one names the outermost
 * element. Keep both. */
typedef struct SchemaErrors {
        char *first, *last;
} SchemaErrors;

static void collect_error(void *userdata, const xmlError *error) {
        SchemaErrors *errors = userdata;
        char *text = g_strchomp(g_utf8_make_valid(error->message ?: "?", -1));

        if (!errors->first) {
                errors->first = text;
        } else {
                g_free(errors->last);
                errors->last = text;
        }
}

int node_document_validate(xmlDoc *doc, const char *file, GError **reterr) {
        g_autofree char *text = NULL;
        size_t length = 0;
        g_autoptr(GError) read_error = NULL;
        g_autoptr(xmlRelaxNGParserCtxt) parser = NULL;
        g_autoptr(xmlRelaxNG) schema = NULL;
        g_autoptr(xmlRelaxNGValidCtxt) validator = NULL;
        SchemaErrors errors = {};
        int r;

        if (!g_file_get_contents(file, &text, &length, &read_error))
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("cannot read the schema: %s"), read_error->message);
        parser = xmlRelaxNGNewMemParserCtxt(text, (int) length);
        if (parser) {
                xmlRelaxNGSetParserStructuredErrors(parser, (xmlStructuredErrorFunc) collect_error, &errors);
                schema = xmlRelaxNGParse(parser);
        }
        if (schema)
                validator = xmlRelaxNGNewValidCtxt(schema);
        if (!validator) {
                r = error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("cannot use the schema '%s': %s"), file,
                              errors.first ?: "?");
                goto finish;
        }
        xmlRelaxNGSetValidStructuredErrors(validator, (xmlStructuredErrorFunc) collect_error, &errors);
        r = xmlRelaxNGValidateDoc(validator, doc);
        if (r != 0)
                r = error_set(reterr, VIR_ERR_XML_INVALID_SCHEMA, _("the XML does not fit the schema '%s': %s%s%s"),
                              file, errors.first ?: "?", errors.last ? "; " : "", errors.last ?: "");
finish:
        g_free(errors.first);
        g_free(errors.last);
        return r;
}

static char *qualified(const char *prefix, const xmlNs *ns, const xmlChar *name) {
        if (!ns)
                return g_strconcat(prefix, (const char *) name, NULL);
        if (g_str_equal((const char *) ns->href, NODE_QEMU_NAMESPACE))
                return g_strconcat(prefix, "qemu:", (const char *) name, NULL);
        return g_strdup_printf("%s{%s}%s", prefix, (const char *) ns->href, (const char *) name);
}

char *node_name(const xmlNode *node) {
        return qualified("", node->ns, node->name);
}

char *node_attribute_name(const xmlAttr *attribute) {
        return qualified("@", attribute->ns, attribute->name);
}

char *node_where(const xmlNode *node) {
        GString *where = g_string_new(NULL);

        for (const xmlNode *n = node; n && n->type == XML_ELEMENT_NODE; n = n->parent) {
                g_autofree char *name = node_name(n);
                g_autofree char *tag = g_strdup_printf("<%s>", name);
                bool root = !n->parent || n->parent->type != XML_ELEMENT_NODE;

                if (!root || n == node)
                        g_string_prepend(where, tag);
        }
        return g_string_free(where, FALSE);
}

char *node_text(const xmlNode *node) {
        GString *text = g_string_new(NULL);

        for (const xmlNode *n = node->children; n; n = n->next)
                if ((n->type == XML_TEXT_NODE || n->type == XML_CDATA_SECTION_NODE) && n->content)
                        g_string_append(text, (const char *) n->content);
        return g_string_free(text, FALSE);
}

char *node_attribute_value(const xmlAttr *attribute) {
        xmlChar *value = xmlNodeListGetString(attribute->doc, attribute->children, 1);
        char *copy = g_strdup(value ? (const char *) value : "");

        xmlFree(value);
        return copy;
}

char *node_inner_xml(const xmlNode *node) {
        xmlBuffer *buffer = xmlBufferCreate();
        char *text;

        for (xmlNode *n = node->children; n; n = n->next) {
                /* The copy brings along namespaces that are declared further out. */
                g_autoptr(xmlDoc) doc = xmlNewDoc((const xmlChar *) "1.0");
                xmlNode *copy = xmlDocCopyNode(n, doc, 1);

                if (!copy)
                        continue;
                xmlNodeDump(buffer, doc, copy, 0, 0);
                xmlFreeNode(copy);
        }
        text = g_strdup((const char *) xmlBufferContent(buffer));
        xmlBufferFree(buffer);
        return text;
}
