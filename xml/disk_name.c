/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/disk_name.h"

#include <glib.h>
#include <string.h>

int disk_name_index(const char *target) {
        static const char *const prefixes[] = { "vd", "sd", "hd", "xvd" };
        int index = 0;

        for (unsigned i = 0; i < G_N_ELEMENTS(prefixes); i++) {
                const char *letters = target + strlen(prefixes[i]);

                if (!g_str_has_prefix(target, prefixes[i]) || *letters == '\0')
                        continue;
                for (; g_ascii_islower(*letters) && index < 16384; letters++)
                        index = index * 26 + (*letters - 'a') + 1;
                return *letters == '\0' ? index - 1 : -1;
        }
        return -1;
}
