/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The proof, as an independent implementation of HMAC-SHA256 gives it. */
static void test_golden(void **state) {
        unsigned char token[ENGINE_TOKEN_BYTES], source[WIRE_HELLO_BYTES], destination[WIRE_HELLO_BYTES],
                proof[WIRE_PROOF_BYTES];
        memset(token, 1, sizeof(token));
        memset(source, 2, sizeof(source));
        memset(destination, 3, sizeof(destination));
        handshake_proof(token, WIRE_ROLE_SOURCE, source, destination, proof);
        char hex[2 * WIRE_PROOF_BYTES + 1];
        for (unsigned i = 0; i < WIRE_PROOF_BYTES; i++)
                snprintf(hex + 2 * i, 3, "%02x", proof[i]);
        assert_string_equal(hex, "e2db68a1057dd4726b22be0e2eb2a77e6dce15e599bc1f8855380df9fe8d5e35");
}

/* Whatever differs, the proof differs: nothing can be replayed in the other direction, on another connection, or for
 * another job. */
static void test_bound(void **state) {
        unsigned char token[ENGINE_TOKEN_BYTES] = { 1 }, source[WIRE_HELLO_BYTES] = { 2 },
                      destination[WIRE_HELLO_BYTES] = { 3 };
        unsigned char proof[WIRE_PROOF_BYTES], other[WIRE_PROOF_BYTES];
        handshake_proof(token, WIRE_ROLE_SOURCE, source, destination, proof);
        handshake_proof(token, WIRE_ROLE_DESTINATION, source, destination, other);
        assert_memory_not_equal(proof, other, sizeof(proof));
        handshake_proof(token, WIRE_ROLE_SOURCE, destination, source, other);
        assert_memory_not_equal(proof, other, sizeof(proof));
        token[31] ^= 1;
        handshake_proof(token, WIRE_ROLE_SOURCE, source, destination, other);
        assert_memory_not_equal(proof, other, sizeof(proof));
        token[31] ^= 1;
        source[63] ^= 1;
        handshake_proof(token, WIRE_ROLE_SOURCE, source, destination, other);
        assert_memory_not_equal(proof, other, sizeof(proof));
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_bound) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
