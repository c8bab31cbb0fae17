/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/qemu/names.h"

#include <string.h>

/* With state_dir, folder and "/monitor.sock" a path has to fit into the 108 bytes of a socket address. */
#define NAME_PREFIX_BYTES 20

/* A domain's name may hold nearly anything; file names get what is harmless of it. */
static char *name_harmless(const char *name) {
        char *copy = g_strdup(name);

        for (char *p = copy; *p; p++)
                if (*p == '/' || (guchar) *p < 0x20 || *p == 0x7f)
                        *p = '_';
        if (copy[0] == '.')
                copy[0] = '_';
        return copy;
}

char *qemu_name_folder(const DomainDef *def) {
        g_autofree char *name = name_harmless(def->name);
        size_t n = 0;

        /* Whole characters only. */
        for (const char *p = name; *p && (size_t) (g_utf8_next_char(p) - name) <= NAME_PREFIX_BYTES;
             p = g_utf8_next_char(p))
                n = (size_t) (g_utf8_next_char(p) - name);
        return g_strdup_printf("%.*s-%02x%02x%02x%02x", (int) n, name, def->uuid[0], def->uuid[1], def->uuid[2],
                               def->uuid[3]);
}

char *qemu_name_dir(const QemuSettings *settings, const DomainDef *def) {
        g_autofree char *folder = qemu_name_folder(def);
        return g_build_filename(settings->state_dir, "domains", folder, NULL);
}

static char *name_with_suffix(const char *dir, const char *subdir, const DomainDef *def, const char *suffix) {
        g_autofree char *name = name_harmless(def->name);
        g_autofree char *file = g_strconcat(name, suffix, NULL);
        return g_build_filename(dir, subdir, file, NULL);
}

char *qemu_name_log(const QemuSettings *settings, const DomainDef *def) {
        return name_with_suffix(settings->log_dir, "", def, ".log");
}

char *qemu_name_nvram(const QemuSettings *settings, const DomainDef *def) {
        return name_with_suffix(settings->lib_dir, "nvram", def, "_VARS.fd");
}
