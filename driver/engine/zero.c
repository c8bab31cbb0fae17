/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/zero.h"

#include <immintrin.h>
#include <stdint.h>

/*
 * Each step looks at 256 or 512 bytes with one branch. Pages with data mostly differ in their first bytes, so the first
 * cache line is looked at alone before the wide loop begins.
 */

static bool zero_sse2(const unsigned char *data, size_t length) {
        const __m128i zero = _mm_setzero_si128();
        for (size_t i = 0; i < length; i += 128) {
                const __m128i *v = (const __m128i *) (data + i);
                __m128i a = _mm_or_si128(_mm_or_si128(v[0], v[1]), _mm_or_si128(v[2], v[3]));
                __m128i b = _mm_or_si128(_mm_or_si128(v[4], v[5]), _mm_or_si128(v[6], v[7]));
                if (_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_or_si128(a, b), zero)) != 0xffff)
                        return false;
        }
        return true;
}

__attribute__((target("avx2"))) static bool zero_avx2(const unsigned char *data, size_t length) {
        for (size_t i = 0; i < length; i += 256) {
                const __m256i *v = (const __m256i *) (data + i);
                __m256i a = _mm256_or_si256(_mm256_or_si256(v[0], v[1]), _mm256_or_si256(v[2], v[3]));
                __m256i b = _mm256_or_si256(_mm256_or_si256(v[4], v[5]), _mm256_or_si256(v[6], v[7]));
                __m256i all = _mm256_or_si256(a, b);
                if (!_mm256_testz_si256(all, all))
                        return false;
        }
        return true;
}

__attribute__((target("avx512f"))) static bool zero_avx512(const unsigned char *data, size_t length) {
        for (size_t i = 0; i < length; i += 512) {
                const __m512i *v = (const __m512i *) (data + i);
                __m512i a = _mm512_or_si512(_mm512_or_si512(v[0], v[1]), _mm512_or_si512(v[2], v[3]));
                __m512i b = _mm512_or_si512(_mm512_or_si512(v[4], v[5]), _mm512_or_si512(v[6], v[7]));
                __m512i all = _mm512_or_si512(a, b);
                if (_mm512_test_epi64_mask(all, all) != 0)
                        return false;
        }
        return true;
}

bool zero_is(const void *data, size_t length) {
        const uint64_t *word = data;
        if (length >= 64 && (word[0] | word[1] | word[2] | word[3] | word[4] | word[5] | word[6] | word[7]) != 0)
                return false;
        /* The widest first; SSE2 is in every x86-64. */
        for (ZeroMethod method = ZERO_AVX512;; method--) {
                bool supported, zero = zero_is_by(method, data, length, &supported);
                if (supported)
                        return zero;
        }
}

bool zero_is_by(ZeroMethod method, const void *data, size_t length, bool *ret_supported) {
        *ret_supported = true;
        /* The builtin reads a table that libgcc fills before main(). */
        switch (method) {
        case ZERO_AVX512:
                if (__builtin_cpu_supports("avx512f"))
                        return zero_avx512(data, length);
                break;
        case ZERO_AVX2:
                if (__builtin_cpu_supports("avx2"))
                        return zero_avx2(data, length);
                break;
        case ZERO_SSE2:
                return zero_sse2(data, length);
        case ZERO_METHOD_MAX_:
                break;
        }
        *ret_supported = false;
        return false;
}
