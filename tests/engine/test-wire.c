/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_hello(void **state) {
        WireHello hello = { .version = 2, .compat_version = 2, .role = WIRE_ROLE_SOURCE, .channel = 3 };
        for (unsigned i = 0; i < sizeof(hello.nonce); i++)
                hello.nonce[i] = (unsigned char) (0xa0 + i);
        unsigned char bytes[WIRE_HELLO_BYTES];
        wire_hello_encode(&hello, bytes);

        static const unsigned char golden[] = { 'F', 'E', 'R', 'R', 'Y', 'R', 'A', 'M',  2,
                                                0,   2,   0,   1,   0,   3,   0,   0xa0, 0xa1 };
        static const unsigned char zeros[16];
        assert_memory_equal(bytes, golden, sizeof(golden));
        assert_memory_equal(bytes + 48, zeros, sizeof(zeros));

        WireHello back = { 0 };
        assert_int_equal(wire_hello_decode(bytes, &back), 0);
        assert_memory_equal(&back, &hello, sizeof(hello));

        bytes[0] = 'f';
        assert_int_equal(wire_hello_decode(bytes, &back), -EPROTO);
        bytes[0] = 'F';
        bytes[12] = 9; /* no such role */
        assert_int_equal(wire_hello_decode(bytes, &back), -EPROTO);
        bytes[12] = 2;
        bytes[8] = 7; /* newer, but still understands us */
        assert_int_equal(wire_hello_decode(bytes, &back), 0);
        assert_int_equal(back.version, 7);
        bytes[10] = 3; /* does not understand us any more */
        assert_int_equal(wire_hello_decode(bytes, &back), -EPROTONOSUPPORT);
        bytes[8] = 0;
        assert_int_equal(wire_hello_decode(bytes, &back), -EPROTO);
}

static int decode_header(uint16_t type, uint32_t count, uint64_t length) {
        unsigned char bytes[WIRE_HEADER_BYTES];
        WireHeader back;
        wire_header_encode(&(WireHeader) { .type = type, .count = count, .length_bytes = length }, bytes);
        return wire_header_decode(bytes, &back);
}

static void test_header(void **state) {
        unsigned char bytes[WIRE_HEADER_BYTES];
        wire_header_encode(&(WireHeader) { .type = WIRE_PAGES, .count = 0x102, .length_bytes = 0x10203040 }, bytes);
        static const unsigned char golden[] = { 5, 0, 0, 0, 2, 1, 0, 0, 0x40, 0x30, 0x20, 0x10, 0, 0, 0, 0 };
        assert_memory_equal(bytes, golden, sizeof(golden));

        assert_int_equal(decode_header(0, 0, 0), -EPROTO);
        assert_int_equal(decode_header(WIRE_TYPE_MAX_, 0, 0), -EPROTO);
        assert_int_equal(decode_header(WIRE_PROOF, 0, WIRE_PROOF_BYTES), 0);
        assert_int_equal(decode_header(WIRE_PROOF, 0, WIRE_PROOF_BYTES + 1), -EPROTO);
        assert_int_equal(decode_header(WIRE_RAM_TABLE, 2, 2 * WIRE_BLOCK_BYTES), 0);
        assert_int_equal(decode_header(WIRE_RAM_TABLE, 2, WIRE_BLOCK_BYTES), -EPROTO);
        assert_int_equal(decode_header(WIRE_RAM_TABLE, WIRE_BLOCKS_MAX + 1, (WIRE_BLOCKS_MAX + 1) * WIRE_BLOCK_BYTES),
                         -EPROTO);
        assert_int_equal(decode_header(WIRE_PAGES, 0, 0), -EPROTO);
        assert_int_equal(decode_header(WIRE_PAGES, 1, WIRE_RUN_BYTES), 0);
        assert_int_equal(decode_header(WIRE_PAGES, 2, WIRE_RUN_BYTES), -EPROTO);
        assert_int_equal(decode_header(WIRE_PAGES, 1, WIRE_RUN_BYTES + WIRE_PAYLOAD_MAX), 0);
        assert_int_equal(decode_header(WIRE_PAGES, 1, WIRE_RUN_BYTES + WIRE_PAYLOAD_MAX + 1), -EPROTO);
        assert_int_equal(decode_header(WIRE_PAGES, WIRE_RUNS_MAX + 1, UINT64_C(1) << 20), -EPROTO);
        assert_int_equal(decode_header(WIRE_PAGES, 1, UINT64_MAX), -EPROTO);
        assert_int_equal(decode_header(WIRE_DEVICE, 0, 0), -EPROTO);
        assert_int_equal(decode_header(WIRE_DEVICE, 0, WIRE_DEVICE_MAX), 0);
        assert_int_equal(decode_header(WIRE_DEVICE, 0, WIRE_DEVICE_MAX + 1), -EPROTO);
        assert_int_equal(decode_header(WIRE_ERROR, 38, WIRE_TEXT_MAX), 0);
        assert_int_equal(decode_header(WIRE_ERROR, 38, WIRE_TEXT_MAX + 1), -EPROTO);
        assert_int_equal(decode_header(WIRE_COMMIT, 0, 1), -EPROTO);
        assert_int_equal(decode_header(WIRE_MARK, 77, 0), 0);
}

/* The numbers are the protocol. */
static void test_numbers(void **state) {
        static const char *const names[] = { [1] = "PROOF", "RAM-TABLE", "ACCEPT",    "ERROR",   "PAGES",
                                             "DEVICE",      "END",       "READY",     "COMMIT",  "COMMIT-ACK",
                                             "RUNNING",     "KEEPALIVE", "ABORT",     "BYE",     "ABANDON",
                                             "MARK",        "MARK-ACK",  "RAM-FINAL", "STALE",   "POSTCOPY",
                                             "REQUEST",     "COMPLETE",  "RESUME",    "LACKING", "RESUME-ACK" };
        for (unsigned i = 1; i < sizeof(names) / sizeof(names[0]); i++)
                assert_string_equal(wire_type_name(i), names[i]);
        assert_int_equal(sizeof(names) / sizeof(names[0]), WIRE_TYPE_MAX_);
        assert_string_equal(wire_type_name(0), "unknown");
        assert_string_equal(wire_type_name(WIRE_TYPE_MAX_), "unknown");
}

static void test_block(void **state) {
        WireBlock block = { .size_bytes = UINT64_C(4) << 30, .page_bytes = 4096, .id = "ram0" }, back;
        unsigned char bytes[WIRE_BLOCK_BYTES];
        wire_block_encode(&block, bytes);
        static const unsigned char golden[] = {
                0, 0, 0, 0, 1, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 'r', 'a', 'm', '0', 0
        };
        assert_memory_equal(bytes, golden, sizeof(golden));
        assert_int_equal(wire_block_decode(bytes, &back), 0);
        assert_string_equal(back.id, "ram0");
        assert_int_equal(back.size_bytes, block.size_bytes);

        memset(bytes + 16, 'x', WIRE_BLOCK_BYTES - 16); /* not terminated */
        assert_int_equal(wire_block_decode(bytes, &back), -EPROTO);
        block.id[0] = '\0';
        wire_block_encode(&block, bytes);
        assert_int_equal(wire_block_decode(bytes, &back), -EPROTO);
        strcpy(block.id, "ram0");
        block.page_bytes = 5000;
        wire_block_encode(&block, bytes);
        assert_int_equal(wire_block_decode(bytes, &back), -EPROTO);
        block.page_bytes = 2 << 20;
        block.size_bytes = 3 << 20;
        wire_block_encode(&block, bytes);
        assert_int_equal(wire_block_decode(bytes, &back), -EPROTO);
}

static int decode_run(WireRun run) {
        static const WireBlock blocks[] = { { .size_bytes = 8 << 20, .page_bytes = 4096 },
                                            { .size_bytes = 4096, .page_bytes = 4096 } };
        unsigned char bytes[WIRE_RUN_BYTES];
        WireRun back;
        wire_run_encode(&run, bytes);
        return wire_run_decode(bytes, blocks, 2, &back);
}

static void test_run(void **state) {
        unsigned char bytes[WIRE_RUN_BYTES];
        wire_run_encode(&(WireRun) { .offset_bytes = 0x123000, .pages = 7, .block = 1, .kind = WIRE_KIND_ZERO }, bytes);
        static const unsigned char golden[] = { 0, 0x30, 0x12, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 2, 0 };
        assert_memory_equal(bytes, golden, sizeof(golden));

        assert_int_equal(decode_run((WireRun){ .offset_bytes = 0, .pages = 1, .block = 0, .kind = WIRE_KIND_DATA }), 0);
        assert_int_equal(decode_run((WireRun){ .offset_bytes = 0, .pages = 2048, .block = 0, .kind = WIRE_KIND_ZERO }),
                         0);
        assert_int_equal(decode_run((WireRun){ .offset_bytes = 0, .pages = 2049, .block = 0, .kind = WIRE_KIND_ZERO }),
                         -EPROTO);
        assert_int_equal(decode_run((WireRun){ .offset_bytes = 0, .pages = 0, .block = 0, .kind = WIRE_KIND_ZERO }),
                         -EPROTO);
        assert_int_equal(decode_run((WireRun){ .offset_bytes = 0, .pages = 1025, .block = 0, .kind = WIRE_KIND_DATA }),
                         -EPROTO);
        assert_int_equal(decode_run((WireRun){ .offset_bytes = 4096, .pages = 1, .block = 1, .kind = WIRE_KIND_DATA }),
                         -EPROTO);
        assert_int_equal(decode_run((WireRun){ .offset_bytes = 0, .pages = 1, .block = 2, .kind = WIRE_KIND_DATA }),
                         -EPROTO);
        assert_int_equal(decode_run((WireRun){ .offset_bytes = 1, .pages = 1, .block = 0, .kind = WIRE_KIND_DATA }),
                         -EPROTO);
        assert_int_equal(decode_run((WireRun){ .offset_bytes = UINT64_MAX & ~UINT64_C(4095),
                                               .pages = UINT32_MAX,
                                               .block = 0,
                                               .kind = WIRE_KIND_ZERO }),
                         -EPROTO);
        assert_int_equal(decode_run((WireRun){
                                 .offset_bytes = 0, .pages = UINT32_MAX, .block = 0, .kind = WIRE_KIND_ZERO }),
                         -EPROTO);
        assert_int_equal(decode_run((WireRun) { .offset_bytes = 0, .pages = 1, .block = 0, .kind = 0 }), -EPROTO);
        assert_int_equal(decode_run((WireRun) { .offset_bytes = 0, .pages = 1, .block = 0, .kind = 4 }), -EPROTO);
        assert_int_equal(decode_run((WireRun){
                                 .offset_bytes = 2 << 20, .pages = 512, .block = 0, .kind = WIRE_KIND_LARGE }),
                         0);
        assert_int_equal(decode_run(
                                 (WireRun){ .offset_bytes = 4096, .pages = 512, .block = 0, .kind = WIRE_KIND_LARGE }),
                         -EPROTO);
        assert_int_equal(decode_run((WireRun){ .offset_bytes = 0, .pages = 511, .block = 0, .kind = WIRE_KIND_LARGE }),
                         -EPROTO);
}

static void test_end(void **state) {
        unsigned char bytes[WIRE_END_BYTES];
        wire_end_encode(&(WireEnd) { .data_pages = 1, .zero_pages = 2, .device_bytes = 3 }, bytes);
        static const unsigned char golden[WIRE_END_BYTES] = { 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3 };
        assert_memory_equal(bytes, golden, sizeof(golden));
        WireEnd back;
        wire_end_decode(bytes, &back);
        assert_int_equal(back.data_pages, 1);
        assert_int_equal(back.zero_pages, 2);
        assert_int_equal(back.device_bytes, 3);
        wire_u64_encode(UINT64_C(0x0102030405060708), bytes);
        assert_int_equal(bytes[0], 8);
        assert_int_equal(wire_u64_decode(bytes), UINT64_C(0x0102030405060708));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_hello), cmocka_unit_test(test_header), cmocka_unit_test(test_numbers),
                cmocka_unit_test(test_block), cmocka_unit_test(test_run),    cmocka_unit_test(test_end),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
