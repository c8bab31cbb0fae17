/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "driver/qemu/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A header is understood or refused with a reason; a name that comes out of it lies within the bytes that were given.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_auto(ImageBacking) backing = {};
        g_autoptr(GError) error = NULL;

        int r = image_parse_qcow2(data, size, "fuzz.qcow2", &backing, &error);
        if ((r < 0) != (error != NULL))
                abort();
        if (backing.path && (strlen(backing.path) == 0 || strlen(backing.path) > size || r < 0))
                abort();
        return 0;
}
