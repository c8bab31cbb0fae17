/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <string.h>

#include "tests/xml/sample.h"
#include "xml/spec.h"

#define SCHEMA_DIR FERRY_SOURCE_DIR "/xml/schema"

static const char comment[] =
        "SPDX-License"
        "-Identifier: LGPL-2.1-or-later\n"
        "\n"
        "What Ferry accepts as domain XML. Written by tests/xml/test-schema.c from the tables in xml/spec_*.c: change "
        "those, then run the test\n"
        "with FERRY_REGENERATE=1. Order does not matter anywhere.\n";

static void test_current(void **state) {
        g_autofree char *text = bind_schema(&domain_spec, comment);

        sample_golden(SCHEMA_DIR "/domain.rng", text);
}

static void ignore_error(void *userdata, xmlError *error) {
}

static int parse_validated(const char *xml, GError **reterr) {
        g_autoptr(DomainDef) def = NULL;

        return domain_def_parse(xml, strlen(xml), DOMAIN_PARSE_VALIDATE | DOMAIN_PARSE_STATUS, SCHEMA_DIR, &def,
                                reterr);
}

/* Everything that the parser takes from the data files fits the schema. */
static void test_accepts(void **state) {
        static const char *const sources[][2] = {
                { "complete", ".xml" }, { "complete", ".out" },  { "live", ".xml" },
                { "live", ".status" },  { "live", ".inactive" },
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(sources); i++) {
                g_autoptr(GPtrArray) files = sample_files(sources[i][0], sources[i][1]);

                for (unsigned j = 0; j < files->len; j++) {
                        g_autofree char *xml = sample_read(g_ptr_array_index(files, j));
                        g_autoptr(GError) error = NULL;

                        if (parse_validated(xml, &error) < 0)
                                fail_msg("%s: %s", (const char *) g_ptr_array_index(files, j), error->message);
                }
        }
}

static bool fits_schema(xmlRelaxNG *schema, const char *xml) {
        xmlDoc *doc = xmlReadMemory(xml, (int) strlen(xml), NULL, NULL, XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        xmlRelaxNGValidCtxt *validator = xmlRelaxNGNewValidCtxt(schema);
        int r;

        assert_non_null(doc);
        xmlRelaxNGSetValidErrors(validator, NULL, NULL, NULL);
        xmlRelaxNGSetValidStructuredErrors(validator, ignore_error, NULL);
        r = xmlRelaxNGValidateDoc(validator, doc);
        xmlRelaxNGFreeValidCtxt(validator);
        xmlFreeDoc(doc);
        return r == 0;
}

/* Whatever name is spoilt in a definition that has everything, neither the schema nor the parser takes it. */
static void test_refuses_spoilt(void **state) {
        xmlRelaxNGParserCtxt *schema_parser = xmlRelaxNGNewParserCtxt(SCHEMA_DIR "/domain.rng");
        xmlRelaxNG *schema = xmlRelaxNGParse(schema_parser);
        g_autofree char *file = g_build_filename(FERRY_SOURCE_DIR, "tests/xml/data/complete/everything.out", NULL);
        g_autofree char *xml = sample_read(file);
        const char *metadata = strstr(xml, "<metadata>"), *metadata_end = strstr(xml, "</metadata>");
        unsigned n = 0;

        assert_true(fits_schema(schema, xml));
        for (const char *at = xml; (at = strstr(at, "='")); at++) {
                g_autofree char *spoilt = g_strdup_printf("%.*sX%s", (int) (at - xml), xml, at);
                g_autoptr(GError) error = NULL;
                g_autoptr(DomainDef) def = NULL;

                if ((at > metadata && at < metadata_end) || at < strchr(xml, '\n'))
                        continue;
                if (fits_schema(schema, spoilt))
                        fail_msg("the schema takes:\n%s", spoilt);
                if (domain_def_parse(spoilt, strlen(spoilt), 0, NULL, &def, &error) == 0)
                        fail_msg("the parser takes:\n%s", spoilt);
                assert_true(error_is(error, VIR_ERR_CONFIG_UNSUPPORTED) || error_is(error, VIR_ERR_XML_ERROR));
                n++;
        }
        assert_true(n > 300);
        xmlRelaxNGFree(schema);
        xmlRelaxNGFreeParserCtxt(schema_parser);
}

static void test_error_code(void **state) {
        g_autofree char *xml = sample_xml("<iothreads>1</iothreads>", "");
        g_autoptr(GError) error = NULL;

        assert_true(parse_validated(xml, &error) < 0);
        assert_int_equal(error_code(error), VIR_ERR_XML_INVALID_SCHEMA);
        assert_non_null(strstr(error->message, "<iothreads> is not supported by Ferry"));
}

/* The section of the page that is about an element; NULL if it has none. */
static char *find_section(const char *page, const char *element) {
        g_autofree char *heading = g_strdup_printf("\n## `<%s>`\n", element);
        const char *start = strstr(page, heading), *end;

        if (!start)
                return NULL;
        end = strstr(start + 1, "\n## ");
        return end ? g_strndup(start, (size_t) (end - start)) : g_strdup(start);
}

static unsigned check_documented(const char *page, const char *section, const BindSpec *spec, const char *prefix,
                                 GHashTable *seen) {
        g_autofree char *own = find_section(page, spec->name);
        unsigned n = 0;

        if (own) {
                section = own;
                prefix = "";
        }
        if (own && !g_hash_table_add(seen, (void *) spec))
                return 0;
        for (const BindField *f = spec->fields; f->path; f++) {
                g_autofree char *path = g_strconcat(prefix, *prefix && *f->path ? "/" : "", f->path, NULL);
                g_autofree char *quoted = g_strdup_printf("`%s`", path);

                if (f->spec == spec) /* an image below an image */
                        continue;
                if (f->kind == BIND_LIST || f->kind == BIND_STRUCT || f->kind == BIND_INLINE)
                        n += check_documented(page, section, f->spec, path, seen);
                else if (*path && !strstr(section, quoted))
                        fail_msg("docs/domain-xml.md, <%s>: %s is missing", spec->name, quoted);
                else
                        n++;
        }
        return n;
}

static void test_documented(void **state) {
        g_autofree char *page = sample_read(FERRY_SOURCE_DIR "/docs/domain-xml.md");
        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

        assert_true(check_documented(page, "", &domain_spec, "", seen) > 250);
}

static void test_missing_schema(void **state) {
        g_autofree char *xml = sample_xml("", "");
        g_autoptr(DomainDef) def = NULL;
        g_autoptr(GError) error = NULL;

        assert_true(domain_def_parse(xml, strlen(xml), DOMAIN_PARSE_VALIDATE, "/nonexistent", &def, &error) < 0);
        assert_int_equal(error_code(error), VIR_ERR_INTERNAL_ERROR);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_current),
                cmocka_unit_test(test_accepts),
                cmocka_unit_test(test_refuses_spoilt),
                cmocka_unit_test(test_error_code),
                cmocka_unit_test(test_documented),
                cmocka_unit_test(test_missing_schema),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
