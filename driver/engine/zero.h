/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* How zero pages are recognised; the widest one that the processor has is used. */
typedef enum ZeroMethod {
        ZERO_SSE2,
        ZERO_AVX2,
        ZERO_AVX512,
        ZERO_METHOD_MAX_,
} ZeroMethod;

/* Whether length bytes (a multiple of 512, 64-byte aligned) are all zero. Stops at the first one that is not. Any
 * thread. */
bool zero_is(const void *data, size_t length);

/* The same with a given method, for tests; false in *ret_supported if this processor lacks it. */
bool zero_is_by(ZeroMethod method, const void *data, size_t length, bool *ret_supported);
