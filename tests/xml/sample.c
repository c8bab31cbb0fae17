/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/xml/sample.h"

#include <string.h>

static const char *resolve_machine(const char *name, void *userdata) {
        static const char *const known[] = { "pc-q35-7.2", "pc-i440fx-7.2", "pc-q35-7.1", "microvm", NULL };

        if (g_str_equal(name, "q35"))
                return known[0];
        if (g_str_equal(name, "pc"))
                return known[1];
        for (unsigned i = 0; known[i]; i++)
                if (g_str_equal(name, known[i]))
                        return known[i];
        return NULL;
}

const DomainDefaults sample_defaults = {
        .emulator = "/usr/bin/qemu-system-x86_64",
        .machine = "pc-q35-7.2",
        .machine_resolve = resolve_machine,
};

char *sample_read(const char *file) {
        g_autoptr(GError) error = NULL;
        char *text = NULL;

        if (!g_file_get_contents(file, &text, NULL, &error))
                fail_msg("%s", error->message);
        return text;
}

static gint compare_strings(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

GPtrArray *sample_files(const char *folder, const char *suffix) {
        g_autofree char *path = g_build_filename(FERRY_SOURCE_DIR, "tests/xml/data", folder, NULL);
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        GPtrArray *files = g_ptr_array_new_with_free_func(g_free);
        const char *name;

        assert_non_null(dir);
        while ((name = g_dir_read_name(dir)))
                if (g_str_has_suffix(name, suffix))
                        g_ptr_array_add(files, g_build_filename(path, name, NULL));
        g_ptr_array_sort(files, compare_strings);
        assert_true(files->len > 0);
        return files;
}

void sample_golden(const char *file, const char *text) {
        g_autofree char *old = NULL;

        if (g_strcmp0(g_getenv("FERRY_REGENERATE"), "1") == 0) {
                assert_true(g_file_set_contents(file, text, -1, NULL));
                return;
        }
        old = sample_read(file);
        if (strcmp(old, text) != 0)
                fail_msg("%s differs; FERRY_REGENERATE=1 rewrites it. It should now be:\n%s", file, text);
}

char *sample_xml(const char *top, const char *devices) {
        bool has_os = top && strstr(top, "<os"), has_name = top && strstr(top, "<name>");
        bool has_memory = top && (g_str_has_prefix(top, "<memory>") || g_str_has_prefix(top, "<memory "));

        return g_strdup_printf(
                "<domain type='qemu'>%s<uuid>11111111-2222-4333-8444-555555555555</uuid>%s%s%s<devices>%s</devices></domain>",
                has_name ? "" : "<name>sample</name>", has_memory ? "" : "<memory unit='MiB'>512</memory>",
                has_os ? "" : "<os><type arch='x86_64' machine='q35'>hvm</type></os>", top ?: "", devices ?: "");
}

DomainDef *sample_parse(const char *xml, unsigned flags) {
        g_autoptr(GError) error = NULL;
        DomainDef *def = NULL;

        if (domain_def_parse(xml, strlen(xml), flags, NULL, &def, &error) < 0)
                fail_msg("%s\n%s", error->message, xml);
        assert_null(error);
        return def;
}

DomainDef *sample_complete(const char *xml) {
        g_autoptr(GError) error = NULL;
        DomainDef *def = sample_parse(xml, 0);

        if (domain_def_complete(def, &sample_defaults, &error) < 0 || domain_def_validate(def, &error) < 0)
                fail_msg("%s\n%s", error->message, xml);
        assert_null(error);
        return def;
}

void sample_refuse(const SampleRefusal *refusal) {
        g_autofree char *xml = sample_xml(refusal->top, refusal->devices);
        g_autoptr(DomainDef) def = NULL;
        g_autoptr(GError) error = NULL;
        int r;

        r = domain_def_parse(xml, strlen(xml), 0, NULL, &def, &error);
        if (r == 0)
                r = domain_def_complete(def, &sample_defaults, &error);
        if (r == 0)
                r = domain_def_validate(def, &error);
        if (r == 0)
                fail_msg("not refused (wanted '%s'):\n%s", refusal->text, xml);
        assert_true(r < 0);
        assert_non_null(error);
        if (error_code(error) != refusal->code || !strstr(error->message, refusal->text))
                fail_msg("refused with %d '%s', wanted %d '%s':\n%s", error_code(error), error->message, refusal->code,
                         refusal->text, xml);
}
