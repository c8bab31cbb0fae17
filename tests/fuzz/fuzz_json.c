/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdlib.h>
#include <string.h>

#include "driver/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What parses can be written, and parses again to the same text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(GError) error = NULL;
        g_autoptr(json_object) object = json_parse((const char *) data, size, &error);
        if (!object != !!error)
                abort();
        if (!object)
                return 0;

        (void) json_get_string(object, "id");
        (void) json_get_uint64(object, "size", 1);
        (void) json_get_int64(object, "size", -1);
        (void) json_get_bool(object, "return", true);

        g_autofree char *line = g_strdup(json_line(object));
        g_autoptr(json_object) again = json_parse(line, strlen(line), NULL);
        if (!again || g_strcmp0(json_line(again), line) != 0 || strchr(line, '\n'))
                abort();
        return 0;
}
