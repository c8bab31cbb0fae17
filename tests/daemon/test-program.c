/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/rpc/proto/qemu_protocol.h"
#include "daemon/rpc/proto/remote_protocol.h"

/* data/wire-facts.txt has a line "proc PROGRAM NUMBER NAME ARGS RET" for each procedure and event of the .x files. */
static void check_program(const char *name, uint32_t number, unsigned *n_served) {
        g_autofree char *text = NULL;
        const Program *program = program_find(number, 1);
        unsigned n_entries = 0, n_found = 0;

        assert_non_null(program);
        assert_true(g_file_get_contents(FERRY_SOURCE_DIR "/tests/daemon/data/wire-facts.txt", &text, NULL, NULL));
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (size_t t = 0; t < program->n_tables; t++)
                n_entries += (unsigned) program->tables[t]->n;

        for (unsigned i = 0; lines[i]; i++) {
                g_auto(GStrv) words = g_strsplit(lines[i], " ", -1);
                if (g_strv_length(words) != 6 || strcmp(words[0], "proc") != 0 || strcmp(words[1], name) != 0)
                        continue;
                const Procedure *procedure = program_procedure(program, atoi(words[2]));
                bool event = g_str_has_suffix(words[4], "_msg");
                if (event) {
                        assert_null(procedure);
                        continue;
                }
                if (!procedure)
                        fail_msg("%s is not served", words[3]);
                assert_string_equal(strstr(words[3], "_PROC_") + 6, procedure->name);
                assert_string_equal(words[4], procedure->args_name ? procedure->args_name : "void");
                assert_string_equal(words[5], procedure->ret_name ? procedure->ret_name : "void");
                assert_non_null(procedure->func);
                n_found++;
        }
        assert_int_equal(n_found, n_entries); /* and none twice, and none without a fact */
        *n_served = n_found;
}

static void test_remote(void **state) {
        unsigned n = 0;
        check_program("remote", REMOTE_PROGRAM, &n);
        assert_true(n > 130);
}

static void test_qemu(void **state) {
        unsigned n = 0;
        check_program("qemu", QEMU_PROGRAM, &n);
        assert_int_equal(n, 3);
}

static void test_sorted(void **state) {
        const Program *program = program_find(REMOTE_PROGRAM, 1);
        for (size_t t = 0; t < program->n_tables; t++) {
                const Procedure *procedures = program->tables[t]->procedures;
                for (size_t i = 1; i < program->tables[t]->n; i++)
                        assert_true(procedures[i - 1].number < procedures[i].number);
        }
}

static void test_unknown(void **state) {
        assert_null(program_find(REMOTE_PROGRAM, 2));
        assert_null(program_find(0x68000, 1));
        assert_null(program_procedure(program_find(REMOTE_PROGRAM, 1), 0));
        assert_null(program_procedure(program_find(REMOTE_PROGRAM, 1), -1));
        assert_null(program_procedure(program_find(REMOTE_PROGRAM, 1), INT32_MAX));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_remote),
                cmocka_unit_test(test_qemu),
                cmocka_unit_test(test_sorted),
                cmocka_unit_test(test_unknown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
