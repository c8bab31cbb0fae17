/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/policy_source.h"

#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/error.h"
#include "xml/node.h"

#define SCHEMA FERRY_SOURCE_DIR "/xml/schema/migration-policy.rng"
#define POLICY(attributes, content) "<f:policy xmlns:f='" POLICY_NAMESPACE "'" attributes ">" content "</f:policy>"

static void test_order(void **state) {
        const char *metadata = POLICY(" name='postcopy'", "");
        PolicyConfig config;

        assert_int_equal(policy_source_read(&(PolicySource) { 0 }, &config, NULL), 0);
        assert_int_equal(config.kind, POLICY_BALANCED);
        assert_int_equal(policy_source_read(&(PolicySource) { .fallback = "never-throttle" }, &config, NULL), 0);
        assert_int_equal(config.kind, POLICY_NEVER_THROTTLE);
        assert_int_equal(policy_source_read(&(PolicySource){ .fallback = "never-throttle", .metadata = metadata },
                                            &config, NULL),
                         0);
        assert_int_equal(config.kind, POLICY_POSTCOPY);
        assert_int_equal(policy_source_read(&(PolicySource){ .parameter = "deadline", .metadata = metadata }, &config,
                                            NULL),
                         0);
        assert_int_equal(config.kind, POLICY_DEADLINE);
}

static const char *const good[] = {
        POLICY(" name='balanced'",
               "<f:downtime initial='150' max='1050' steps='7' interval='10' after-round='3' always='yes' reach='300'/>"),
        POLICY(" name='balanced'",
               "<f:stall window='40' margin='4' decay='75' limit='3' action='stop-and-copy'/><f:throttle max='0'/>"),
        POLICY(" name='minimal-downtime'",
               "<f:downtime schedule='1:150,2:200,90s:76'/><f:deadline seconds='2.5' action='abort'/>"),
        POLICY(" name='postcopy'", "<f:postcopy after-round='2'/><!-- why -->"),
        POLICY(" name='deadline'", "<f:deadline seconds='90'/>"),
        POLICY(" name='never-throttle'", ""),
};

static const char *const bad[] = {
        POLICY("", ""),
        POLICY(" name='fast'", ""),
        POLICY(" name='balanced'", "<f:stall windows='40'/>"),
        POLICY(" name='balanced'", "<f:stalls window='40'/>"),
        POLICY(" name='balanced'", "<f:downtime max='much'/>"),
        POLICY(" name='balanced'", "<f:downtime always='1'/>"),
        POLICY(" name='balanced'", "<f:stall action='throttle'/>"),
};

static void test_metadata(void **state) {
        PolicyConfig config;

        for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
                g_autofree char *among = g_strdup_printf("<other xmlns='urn:else'/>%s", good[i]);
                g_autoptr(GError) error = NULL;

                if (policy_source_read(&(PolicySource) { .metadata = among }, &config, &error) < 0)
                        fail_msg("%s: %s", good[i], error->message);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(GError) error = NULL;

                if (policy_source_read(&(PolicySource) { .metadata = bad[i] }, &config, &error) >= 0)
                        fail_msg("accepted: %s", bad[i]);
                assert_int_equal(error->code, VIR_ERR_XML_ERROR);
        }
        /* Another namespace is somebody else's. */
        assert_int_equal(policy_source_read(&(PolicySource){ .metadata = "<policy name='x' xmlns='urn:else'/>" },
                                            &config, NULL),
                         0);
        assert_int_equal(config.kind, POLICY_BALANCED);
}

static void test_bad_texts(void **state) {
        g_autoptr(GError) parameter = NULL, setting = NULL, contradiction = NULL;
        PolicyConfig config;

        assert_true(policy_source_read(&(PolicySource){ .parameter = "balanced stall.window=x" }, &config, &parameter) <
                    0);
        assert_non_null(strstr(parameter->message, "stall.window"));
        assert_int_equal(parameter->code, VIR_ERR_INVALID_ARG);
        assert_true(policy_source_read(&(PolicySource) { .fallback = "fast" }, &config, &setting) < 0);
        assert_non_null(strstr(setting->message, "migration_policy"));
        assert_true(policy_source_read(&(PolicySource){ .parameter = "never-throttle throttle.max=9" }, &config,
                                       &contradiction) < 0);
}

static void ignore_error(void *userdata, xmlError *error) {
}

static bool fits_schema(xmlRelaxNG *schema, const char *xml) {
        g_autoptr(xmlDoc) doc =
                xmlReadMemory(xml, (int) strlen(xml), NULL, NULL, XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        xmlRelaxNGValidCtxt *validator = xmlRelaxNGNewValidCtxt(schema);
        int r;

        assert_non_null(doc);
        xmlRelaxNGSetValidStructuredErrors(validator, ignore_error, NULL);
        r = xmlRelaxNGValidateDoc(validator, doc);
        xmlRelaxNGFreeValidCtxt(validator);
        return r == 0;
}

/* The schema for users' editors takes what we take, and knows every key. */
static void test_schema(void **state) {
        xmlRelaxNGParserCtxt *parser = xmlRelaxNGNewParserCtxt(SCHEMA);
        xmlRelaxNG *schema = xmlRelaxNGParse(parser);

        assert_non_null(schema);
        for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
                if (!fits_schema(schema, good[i]))
                        fail_msg("the schema refuses %s", good[i]);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                if (fits_schema(schema, bad[i]))
                        fail_msg("the schema takes %s", bad[i]);
        for (unsigned i = 0; policy_config_key(i); i++) {
                static const char *const values[] = { "1", "yes", "abort", "1:100", "100" };
                g_auto(GStrv) parts = g_strsplit(policy_config_key(i), ".", 2);
                bool fits = false;

                for (size_t j = 0; j < G_N_ELEMENTS(values) && !fits; j++) {
                        g_autofree char *xml =
                                g_strdup_printf("<policy xmlns='%s' name='balanced'><%s %s='%s'/></policy>",
                                                POLICY_NAMESPACE, parts[0], parts[1], values[j]);

                        fits = fits_schema(schema, xml);
                }
                if (!fits)
                        fail_msg("the schema does not know '%s'", policy_config_key(i));
        }
        xmlRelaxNGFree(schema);
        xmlRelaxNGFreeParserCtxt(parser);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_metadata),
                cmocka_unit_test(test_bad_texts),
                cmocka_unit_test(test_schema),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
