/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/virt-ferry/simulation.h"

#include <glib.h>
#include <libxml/parser.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/units.h"
#include "driver/policy/policy_config.h"
#include "tools/virt-ferry/simulation_history.h"
#include "tools/virt-ferry/simulation_svg.h"

/* 1 GiB in use, a link of 100 MiB/s. */
static SimulationGuest guest_new(double writes_per_sec, uint64_t set_bytes) {
        return (SimulationGuest) {
                .size_bytes = 4 * GIB,
                .resident_bytes = GIB,
                .sets = { { .bytes = set_bytes, .share = 1 } },
                .n_sets = 1,
                .phases = { { .usec = USEC_PER_SEC, .writes_per_sec = writes_per_sec } },
                .n_phases = 1,
                .stopcopy_bytes = MIB,
        };
}

static const SimulationLink link_100 = { .bandwidth_bytes_per_sec = 100.0 * MIB, .latency_usec = 100 };

static SimulationResult run(const SimulationGuest *guest, const char *policy, bool postcopy) {
        PolicyConfig config = { .overhead_usec = 10000, .postcopy = postcopy };
        char word[POLICY_WORD_SIZE];

        assert_int_equal(policy_config_parse(&config, policy, word), POLICY_CONFIG_OK);
        return simulation_run(guest, &link_100, &config, NULL, NULL);
}

static void test_dirty_bytes(void **state) {
        SimulationGuest guest = guest_new(100.0 * MIB, 400 * MIB);

        assert_true(simulation_dirty_bytes(&guest, 0, 0, 0) < 1);
        /* A little: nearly every write finds a clean page. A lot: all of the set and no more. */
        assert_true(fabs(simulation_dirty_bytes(&guest, 0, USEC_PER_SEC / 10, 0) / (10.0 * MIB) - 1) < 0.02);
        assert_true(fabs(simulation_dirty_bytes(&guest, 0, 4 * USEC_PER_SEC, 0) / (400.0 * MIB * (1 - exp(-1))) - 1) <
                    0.001);
        assert_true(fabs(simulation_dirty_bytes(&guest, 0, 1000 * USEC_PER_SEC, 0) / (400.0 * MIB) - 1) < 0.001);
        assert_true(simulation_dirty_bytes(&guest, 0, USEC_PER_SEC, 50) <
                    simulation_dirty_bytes(&guest, 0, USEC_PER_SEC, 0) * 0.6);
        /* Hot and cold. */
        guest.sets[0].share = 0.1;
        guest.sets[1] = (SimulationSet) { .bytes = 10 * MIB, .share = 0.9 };
        guest.n_sets = 2;
        assert_true(fabs(simulation_dirty_bytes(&guest, 0, USEC_PER_SEC, 0) / (20.0 * MIB) - 1) < 0.05);
        /* Phases, also across their ends and after many of them. */
        guest = guest_new(0, GIB);
        guest.phases[1] = (SimulationPhase) { .usec = USEC_PER_SEC, .writes_per_sec = 10.0 * MIB };
        guest.n_phases = 2;
        assert_true(simulation_dirty_bytes(&guest, 6 * USEC_PER_SEC, USEC_PER_SEC, 0) < 1);
        assert_true(fabs(simulation_dirty_bytes(&guest, 5 * USEC_PER_SEC / 2, USEC_PER_SEC, 0) / (5.0 * MIB) - 1) <
                    0.02);
        /* Thousands of them, beginning within a cycle, and with one that comes only once. */
        guest.sets[0].bytes = 1024 * GIB;
        assert_true(fabs(simulation_dirty_bytes(&guest, USEC_PER_SEC / 2, 20000 * USEC_PER_SEC, 0) /
                         (100000.0 * MIB) - 1) < 0.1);
        guest.first_again = 1;
        assert_true(fabs(simulation_dirty_bytes(&guest, 0, 10001 * USEC_PER_SEC, 0) / (100000.0 * MIB) - 1) < 0.1);
}

static void test_idle_guest(void **state) {
        SimulationGuest guest = guest_new(0, GIB);
        SimulationResult result = run(&guest, "balanced", false);

        assert_true(result.finished);
        assert_int_equal(result.rounds, 1);
        assert_int_equal(result.last.reason, POLICY_REASON_IDLE);
        assert_in_range(result.total_usec, 10200000, 10400000);
        assert_in_range(result.blackout_usec, 20000, 30000);
}

/* What each policy promises, over guests from idle to hopeless. */
static void test_promises(void **state) {
        static const double rates[] = { 10, 80, 150, 1000 };

        for (size_t i = 0; i < G_N_ELEMENTS(rates); i++) {
                SimulationGuest guest = guest_new(rates[i] * MIB, 500 * MIB);
                SimulationResult result;

                result = run(&guest, "minimal-downtime deadline.seconds=60", true);
                assert_true(result.finished ? result.blackout_usec <= 310000 : result.last.action == POLICY_ABORT);
                result = run(&guest, "deadline deadline.seconds=60", false);
                assert_true(result.finished && result.total_usec <= 60 * USEC_PER_SEC);
                result = run(&guest, "postcopy", true);
                assert_true(result.finished && (result.postcopy || rates[i] <= 10));
                assert_true(result.blackout_usec < 310000);
                result = run(&guest, "never-throttle", false);
                assert_true(result.finished && result.throttle_max_percent == 0);
                result = run(&guest, "balanced", false);
                assert_true(result.finished && result.blackout_usec <= 1050000 &&
                            result.total_usec < 300 * USEC_PER_SEC);
        }
}

static void test_terabytes(void **state) {
        SimulationGuest guest = guest_new(20.0 * GIB, 1024 * GIB);
        const SimulationLink link = { .bandwidth_bytes_per_sec = 400e9 / 8, .latency_usec = 20, .jitter = 0.2 };
        PolicyConfig config = { 0 };
        SimulationResult a, b;

        policy_config_init(&config, POLICY_BALANCED);
        guest.size_bytes = guest.resident_bytes = 24 * 1024 * GIB;
        guest.scan_threads = 64;
        a = simulation_run(&guest, &link, &config, NULL, NULL);
        b = simulation_run(&guest, &link, &config, NULL, NULL);
        assert_true(a.finished);
        assert_memory_equal(&a, &b, sizeof(a));
}

static void keep(const SimulationRound *round, void *userdata) {
        g_array_append_val((GArray *) userdata, *round);
}

static void test_svg(void **state) {
        g_autoptr(GArray) rounds = g_array_new(FALSE, FALSE, sizeof(SimulationRound));
        SimulationSvg *svg = simulation_svg_new();
        SimulationGuest guest = guest_new(300.0 * MIB, 500 * MIB);
        SimulationResult result;
        PolicyConfig config;
        g_autofree char *text = NULL;
        xmlDoc *doc;

        policy_config_init(&config, POLICY_BALANCED);
        result = simulation_run(&guest, &link_100, &config, keep, rounds);
        assert_int_equal(rounds->len, result.rounds + 1);
        simulation_svg_add(svg, "a <policy> & \"more\"", &result, rounds);
        text = simulation_svg_format(svg);
        doc = xmlReadMemory(text, (int) strlen(text), NULL, NULL, 0);
        assert_non_null(doc);
        assert_true(xmlStrEqual(xmlDocGetRootElement(doc)->name, (const xmlChar *) "svg"));
        xmlFreeDoc(doc);
        simulation_svg_free(svg);
}

/* Rounds that the model itself made come back as the guest that made them. */
static void test_history(void **state) {
        g_autoptr(GArray) rounds = g_array_new(FALSE, FALSE, sizeof(SimulationRound));
        g_autoptr(GString) text = g_string_new(
                "{\"migration\":\"vm\",\"resident\":1073741824,\"total\":4294967296,\"overhead_usec\":10000}\n");
        SimulationGuest guest = guest_new(300.0 * MIB, 500 * MIB), again;
        SimulationLink link;
        SimulationResult first, second;
        PolicyConfig config;
        uint64_t overhead;

        policy_config_init(&config, POLICY_NEVER_THROTTLE);
        config.overhead_usec = 10000;
        first = simulation_run(&guest, &link_100, &config, keep, rounds);
        for (unsigned i = 0; i + 1 < rounds->len; i++) {
                const SimulationRound *round = &g_array_index(rounds, SimulationRound, i);

                g_string_append_printf(text,
                                       "{\"round\":%u,\"elapsed_usec\":%" G_GUINT64_FORMAT
                                       ",\"pending\":%" G_GUINT64_FORMAT ",\"bandwidth\":104857600,"
                                       "\"stopcopy\":1048576}\n",
                                       i + 2, (guint64) round->end_usec, (guint64) round->pending_bytes);
        }
        assert_int_equal(simulation_history_read(text->str, &again, &link, &overhead, NULL), 0);
        assert_int_equal(overhead, 10000);
        assert_int_equal(again.resident_bytes, GIB);
        second = simulation_run(&again, &link, &config, NULL, NULL);
        assert_true(fabs((double) second.total_usec / (double) first.total_usec - 1) < 0.1);
        assert_true(fabs((double) second.blackout_usec / (double) first.blackout_usec - 1) < 0.1);
}

static void test_bad_histories(void **state) {
        static const char *const texts[] = {
                "",
                "not json",
                "[1]",
                "{\"migration\":\"vm\",\"resident\":1}",
                "{\"round\":2,\"elapsed_usec\":1,\"pending\":1,\"resident\":5}",
                "{\"round\":2,\"elapsed_usec\":1,\"pending\":1,\"bandwidth\":9}",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(GError) error = NULL;
                SimulationGuest guest;
                SimulationLink link;
                uint64_t overhead;

                assert_true(simulation_history_read(texts[i], &guest, &link, &overhead, &error) < 0);
                assert_non_null(error);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_dirty_bytes),   cmocka_unit_test(test_idle_guest),
                cmocka_unit_test(test_promises),      cmocka_unit_test(test_terabytes),
                cmocka_unit_test(test_svg),           cmocka_unit_test(test_history),
                cmocka_unit_test(test_bad_histories),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
