/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Migration cookies: a client may send whatever it likes. What is accepted must survive a round trip. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "driver/migration/cookie.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_auto(MigrationCookie) cookie = { 0 }, again = { 0 };
        g_autofree char *text = NULL;
        unsigned length;

        if (migration_cookie_parse((const char *) data, size, &cookie, NULL) < 0)
                return 0;
        text = migration_cookie_format(&cookie, &length);
        if (migration_cookie_parse(text, length, &again, NULL) < 0)
                abort();
        return 0;
}
