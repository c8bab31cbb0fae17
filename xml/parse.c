/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/i18n.h"
#include "xml/def.h"
#include "xml/live.h"
#include "xml/node.h"
#include "xml/spec.h"

int domain_def_parse(const char *xml, size_t length, unsigned flags, const char *schema_dir, DomainDef **ret, GError **reterr) {
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
        if (flags & DOMAIN_PARSE_VALIDATE) {
                g_autofree char *file = g_build_filename(schema_dir, "domain.rng", NULL);

                r = node_document_validate(doc, file, reterr);
                if (r < 0)
                        return r;
        }
        def = domain_def_new();
        r = bind_parse(&domain_spec, root, def, reterr);
        if (r < 0)
                return r;
        if (def->os.type == 0)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<domain> needs <os> with <type>hvm</type>"));
        if (!(flags & DOMAIN_PARSE_STATUS))
                live_drop(def);
        *ret = g_steal_pointer(&def);
        return 0;
}
