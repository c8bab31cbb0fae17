/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/policy_source.h"

#include <libxml/tree.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "xml/node.h"

#define METADATA_MAX (4u * 1024 * 1024)

/* what says where it was written. */
static int read_text(const char *text, const char *what, int code, PolicyConfig *config, GError **reterr) {
        char word[POLICY_WORD_SIZE];
        PolicyConfigResult r = policy_config_parse(config, text, word);
        const char *wrong = r == POLICY_CONFIG_OK ? policy_config_check(config) : NULL;

        if (r != POLICY_CONFIG_OK)
                return error_set(reterr, code, _("%s: '%s' %s"), what, word, policy_config_problem(r));
        return wrong ? error_set(reterr, code, "%s: %s", what, wrong) : 0;
}

static const xmlNode *find_policy(const xmlDoc *doc) {
        const xmlNode *root = xmlDocGetRootElement(doc);

        for (const xmlNode *node = root ? root->children : NULL; node; node = node->next)
                if (node->type == XML_ELEMENT_NODE && xmlStrEqual(node->name, (const xmlChar *) "policy") && node->ns &&
                    xmlStrEqual(node->ns->href, (const xmlChar *) POLICY_NAMESPACE))
                        return node;
        return NULL;
}

static int read_element(const xmlNode *element, PolicyConfig *config, GError **reterr) {
        for (const xmlAttr *attribute = element->properties; attribute; attribute = attribute->next) {
                g_autofree char *key =
                        g_strdup_printf("%s.%s", (const char *) element->name, (const char *) attribute->name);
                g_autofree char *value = node_attribute_value(attribute);
                PolicyConfigResult r = policy_config_set(config, key, value);

                if (r != POLICY_CONFIG_OK)
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("the migration policy in the domain's metadata: '%s' %s"), key,
                                         policy_config_problem(r));
        }
        return 0;
}

static int read_policy(const xmlNode *policy, PolicyConfig *config, GError **reterr) {
        const xmlAttr *attribute = policy->properties;
        g_autofree char *name = NULL;
        const char *wrong;
        PolicyKind kind;

        name = attribute && xmlStrEqual(attribute->name, (const xmlChar *) "name") ? node_attribute_value(attribute)
                                                                                   : NULL;
        kind = policy_kind_from_string(name);
        if (kind < 0)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("the migration policy in the domain's metadata: '%s' is no migration policy"),
                                 name ? name : "");
        policy_config_init(config, kind);
        for (const xmlNode *node = policy->children; node; node = node->next) {
                int r = node->type == XML_ELEMENT_NODE ? read_element(node, config, reterr) : 0;

                if (r < 0)
                        return r;
        }
        wrong = policy_config_check(config);
        if (wrong)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the migration policy in the domain's metadata: %s"),
                                 wrong);
        return 0;
}

/* 1: the metadata has a policy. */
static int read_metadata(const char *metadata, PolicyConfig *config, GError **reterr) {
        g_autofree char *text = NULL;
        g_autoptr(xmlDoc) doc = NULL;
        const xmlNode *policy;
        int r;

        /* Most domains have none, and need not be parsed for it. */
        if (!metadata || !strstr(metadata, POLICY_NAMESPACE))
                return 0;
        text = g_strdup_printf("<metadata>%s</metadata>", metadata);
        r = node_document_parse(text, strlen(text), METADATA_MAX, &doc, reterr);
        if (r < 0)
                return r;
        policy = find_policy(doc);
        if (!policy)
                return 0;
        r = read_policy(policy, config, reterr);
        return r < 0 ? r : 1;
}

int policy_source_read(const PolicySource *source, PolicyConfig *ret_config, GError **reterr) {
        PolicyConfig config;
        int r = 0;

        policy_config_init(&config, POLICY_BALANCED);
        if (source->parameter)
                r = read_text(source->parameter, _("the migration parameter 'ferry.policy'"), VIR_ERR_INVALID_ARG,
                              &config, reterr);
        else {
                r = read_metadata(source->metadata, &config, reterr);
                if (r == 0 && source->fallback)
                        r = read_text(source->fallback, _("the setting 'migration_policy'"), VIR_ERR_CONF_SYNTAX,
                                      &config, reterr);
        }
        if (r < 0)
                return r;
        *ret_config = config;
        return 0;
}
