/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/units.h"

#include <errno.h>
#include <stddef.h>
#include <strings.h>

int units_scale(uint64_t value, const char *unit, uint64_t fallback_unit, uint64_t *ret_bytes) {
        static const char prefixes[] = "kmgtpe";
        uint64_t scale = fallback_unit;

        if (unit && *unit) {
                const char *rest = unit + 1;
                uint64_t base;
                size_t power;

                if (strcasecmp(unit, "b") == 0 || strcasecmp(unit, "byte") == 0 || strcasecmp(unit, "bytes") == 0) {
                        scale = 1;
                } else {
                        /* "k" and "KiB" are binary, "KB" is decimal. */
                        if (*rest == '\0' || strcasecmp(rest, "ib") == 0)
                                base = 1024;
                        else if (strcasecmp(rest, "b") == 0)
                                base = 1000;
                        else
                                return -EINVAL;
                        for (power = 0; prefixes[power]; power++)
                                if ((unit[0] | 0x20) == prefixes[power])
                                        break;
                        if (!prefixes[power])
                                return -EINVAL;
                        for (scale = base; power > 0; power--)
                                scale *= base;
                }
        }
        if (__builtin_mul_overflow(value, scale, &value))
                return -ERANGE;
        *ret_bytes = value;
        return 0;
}
