/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/rpc/proto/net_protocol.h"
#include "daemon/rpc/proto/remote_protocol.h"

#define XDR_OF(type) ((xdrproc_t) xdr_##type)

/* What a stock client sends first: AUTH_LIST, measured. */
static const uint8_t auth_list[] = { 0, 0, 0, 28, 0x20, 0, 0x80, 0x86, 0, 0, 0, 1, 0, 0, 0, 66, 0, 0, 0, 0, 0, 0, 0, 0,
                                     0, 0, 0, 0 };

/* Feeds bytes in pieces of the given size; the result of the last step. */
static int feed(FrameReader *reader, const uint8_t *bytes, size_t length, size_t piece, Frame **ret_frame) {
        int r = 0;
        while (length > 0 && r == 0) {
                size_t wanted = 0;
                void *space = frame_reader_space(reader, &wanted);
                assert_true(wanted > 0);
                size_t n = MIN(MIN(wanted, piece), length);
                memcpy(space, bytes, n);
                bytes += n;
                length -= n;
                r = frame_reader_advance(reader, n, ret_frame);
        }
        return r;
}

static void test_header(void **state) {
        for (size_t piece = 1; piece <= sizeof(auth_list); piece++) {
                FrameReader reader;
                g_autoptr(Frame) frame = NULL;
                frame_reader_init(&reader, FRAME_BYTES_MAX);
                assert_int_equal(feed(&reader, auth_list, sizeof(auth_list), piece, &frame), 1);
                assert_int_equal(frame->header.prog, REMOTE_PROGRAM);
                assert_int_equal(frame->header.vers, 1);
                assert_int_equal(frame->header.proc, REMOTE_PROC_AUTH_LIST);
                assert_int_equal(frame->header.type, VIR_NET_CALL);
                assert_int_equal(frame->length, sizeof(auth_list));
                g_autoptr(Frame) again = frame_new(&frame->header, NULL, NULL);
                assert_memory_equal(again->data, auth_list, sizeof(auth_list));
                frame_reader_deinit(&reader);
        }
}

/* The traps of XDR, byte by byte: a uuid is raw, an optional string is a flag and a string, strings are padded. */
static void test_golden_open(void **state) {
        char *name = (char *) "a:///s";
        remote_connect_open_args args = { .name = &name, .flags = 1 };
        g_autoptr(Frame) frame = frame_new(&(FrameHeader) { .prog = REMOTE_PROGRAM, .vers = 1, .proc = 1, .serial = 2 },
                                           XDR_OF(remote_connect_open_args), &args);
        static const uint8_t payload[] = { 0, 0, 0, 1, 0, 0, 0, 6, 'a', ':', '/', '/', '/', 's', 0, 0, 0, 0, 0, 1 };
        size_t length = 0;
        const uint8_t *bytes = frame_payload(frame, &length);
        assert_int_equal(length, sizeof(payload));
        assert_memory_equal(bytes, payload, length);
}

static void test_golden_domain(void **state) {
        remote_domain_lookup_by_name_ret ret = { .dom = { .name = (char *) "vm", .id = -1 } };
        memcpy(ret.dom.uuid, "0123456789abcdef", 16);
        g_autoptr(Frame) frame = frame_new(&(FrameHeader) { 0 }, XDR_OF(remote_domain_lookup_by_name_ret), &ret);
        size_t length = 0;
        const uint8_t *bytes = frame_payload(frame, &length);
        assert_int_equal(length, 28);
        assert_memory_equal(bytes, "\0\0\0\2vm\0\0" "0123456789abcdef" "\xff\xff\xff\xff", 28);
}

static void test_golden_node_info(void **state) {
        remote_node_get_info_ret ret = { .model = "x8", .memory = 0x100000002, .cpus = 3, .threads = 4 };
        g_autoptr(Frame) frame = frame_new(&(FrameHeader) { 0 }, XDR_OF(remote_node_get_info_ret), &ret);
        size_t length = 0;
        const uint8_t *bytes = frame_payload(frame, &length);
        /* char[32] takes four bytes a character */
        assert_int_equal(length, 32 * 4 + 8 + 6 * 4);
        assert_memory_equal(bytes, "\0\0\0x\0\0\0" "8\0\0\0", 12);
        assert_memory_equal(bytes + 128, "\0\0\0\1\0\0\0\2\0\0\0\3", 12);
}

static void test_golden_domain_info(void **state) {
        remote_domain_get_info_ret ret = { .state = 1, .maxMem = 2, .memory = 3, .nrVirtCpu = 4, .cpuTime = 5 };
        g_autoptr(Frame) frame = frame_new(&(FrameHeader) { 0 }, XDR_OF(remote_domain_get_info_ret), &ret);
        size_t length = 0;
        const uint8_t *bytes = frame_payload(frame, &length);
        /* unsigned char and unsigned short take four bytes */
        assert_int_equal(length, 4 + 8 + 8 + 4 + 8);
        assert_memory_equal(bytes, "\0\0\0\1" "\0\0\0\0\0\0\0\2" "\0\0\0\0\0\0\0\3" "\0\0\0\4" "\0\0\0\0\0\0\0\5",
                            length);
}

static void test_golden_typed_param(void **state) {
        remote_typed_param params[] = {
                { .field = (char *) "a", .value = { .type = 4, .remote_typed_param_value_u.ul = 9 } },
                { .field = (char *) "bb", .value = { .type = 7, .remote_typed_param_value_u.s = (char *) "x" } },
        };
        remote_domain_get_job_stats_ret ret = { .type = 2, .params = { .params_len = 2, .params_val = params } };
        g_autoptr(Frame) frame = frame_new(&(FrameHeader) { 0 }, XDR_OF(remote_domain_get_job_stats_ret), &ret);
        size_t length = 0;
        const uint8_t *bytes = frame_payload(frame, &length);
        static const char want[] = "\0\0\0\2\0\0\0\2" "\0\0\0\1a\0\0\0\0\0\0\4\0\0\0\0\0\0\0\11"
                                   "\0\0\0\2bb\0\0\0\0\0\7\0\0\0\1x\0\0\0";
        assert_int_equal(length, sizeof(want) - 1);
        assert_memory_equal(bytes, want, length);
}

static void test_bad_lengths(void **state) {
        static const struct {
                uint8_t word[4];
                int result;
        } cases[] = {
                { { 0, 0, 0, 0 }, -EBADMSG },
                { { 0, 0, 0, 27 }, -EBADMSG },
                { { 0, 0, 0x10, 1 }, -EMSGSIZE },
                { { 0xff, 0xff, 0xff, 0xff }, -EMSGSIZE },
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                FrameReader reader;
                g_autoptr(Frame) frame = NULL;
                frame_reader_init(&reader, 4096);
                assert_int_equal(feed(&reader, cases[i].word, 4, 4, &frame), cases[i].result);
                assert_null(frame);
                frame_reader_deinit(&reader);
        }
}

/* A promise costs nothing; bytes do. */
static void test_memory_follows_bytes(void **state) {
        FrameReader reader;
        Frame *frame = NULL;
        uint8_t word[4] = { 0x02, 0, 0, 4 }, some[3000] = { 0 };

        frame_reader_init(&reader, FRAME_BYTES_MAX);
        assert_int_equal(feed(&reader, word, 4, 4, &frame), 0);
        assert_true(reader.capacity <= 1024);
        assert_int_equal(feed(&reader, some, sizeof(some), sizeof(some), &frame), 0);
        assert_true(reader.capacity <= 8192);
        frame_reader_deinit(&reader);
}

static void test_skip(void **state) {
        FrameReader reader;
        g_autoptr(Frame) frame = NULL;
        uint8_t junk[5] = { 0xff, 0xff, 0xff, 0xff, 0xff };

        frame_reader_init(&reader, FRAME_BYTES_MAX);
        reader.skip = sizeof(junk);
        assert_int_equal(feed(&reader, junk, sizeof(junk), 2, &frame), 0);
        assert_int_equal(feed(&reader, auth_list, sizeof(auth_list), 100, &frame), 1);
        frame_reader_deinit(&reader);
}

static void test_decode(void **state) {
        remote_domain_lookup_by_name_args args = { .name = (char *) "vm1" }, back = { 0 };
        g_autoptr(Frame) frame = frame_new(&(FrameHeader) { 0 }, XDR_OF(remote_domain_lookup_by_name_args), &args);

        assert_int_equal(frame_decode(frame, XDR_OF(remote_domain_lookup_by_name_args), &back), 0);
        assert_string_equal(back.name, "vm1");
        frame_payload_clear(XDR_OF(remote_domain_lookup_by_name_args), &back);

        /* Shorter, a string that is longer than the frame, one that is longer than any may be. */
        frame->length -= 4;
        assert_int_equal(frame_decode(frame, XDR_OF(remote_domain_lookup_by_name_args), &back), -EBADMSG);
        frame->length += 4;
        frame->data[FRAME_HEADER_BYTES + 2] = 1;
        assert_int_equal(frame_decode(frame, XDR_OF(remote_domain_lookup_by_name_args), &back), -EBADMSG);
        frame->data[FRAME_HEADER_BYTES] = 0x7f;
        assert_int_equal(frame_decode(frame, XDR_OF(remote_domain_lookup_by_name_args), &back), -EBADMSG);
        assert_null(back.name);
}

static void test_too_large(void **state) {
        /* Nine strings of 4 MiB do not fit into 32 MiB. */
        g_autofree char *big = g_strnfill(4 * 1024 * 1024, 'x');
        char *names[9];
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                names[i] = big;
        remote_connect_list_defined_domains_ret ret = { .names = { .names_len = 9, .names_val = names } };
        assert_null(frame_new(&(FrameHeader) { 0 }, XDR_OF(remote_connect_list_defined_domains_ret), &ret));
        /* And what the protocol forbids is not encoded. */
        g_autofree char *too_long = g_strnfill(REMOTE_STRING_MAX + 1, 'x');
        remote_domain_lookup_by_name_args args = { .name = too_long };
        assert_null(frame_new(&(FrameHeader) { 0 }, XDR_OF(remote_domain_lookup_by_name_args), &args));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_header),
                cmocka_unit_test(test_golden_open),
                cmocka_unit_test(test_golden_domain),
                cmocka_unit_test(test_golden_node_info),
                cmocka_unit_test(test_golden_domain_info),
                cmocka_unit_test(test_golden_typed_param),
                cmocka_unit_test(test_bad_lengths),
                cmocka_unit_test(test_memory_follows_bytes),
                cmocka_unit_test(test_skip),
                cmocka_unit_test(test_decode),
                cmocka_unit_test(test_too_large),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
