/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* virt-ferry simulate: what each policy would make of a guest and a link. */

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/units.h"
#include "driver/policy/policy_config.h"
#include "tools/virt-ferry/commands.h"
#include "tools/virt-ferry/simulation.h"
#include "tools/virt-ferry/simulation_history.h"
#include "tools/virt-ferry/simulation_svg.h"

#define HISTORY_MAX (4u * 1024 * 1024)
#define POLICIES_MAX 16

typedef struct Options {
        SimulationGuest guest;
        SimulationLink link;
        uint64_t overhead_usec, set_bytes;
        double writes_per_sec;
        const char *policies[POLICIES_MAX];
        unsigned n_policies;
        const char *history, *svg;
        bool postcopy, rounds, json, help;
} Options;

/* "24T", "1.5G", "400Gbit" (bits per second), plain bytes. */
static bool parse_bytes(const char *text, double *ret_bytes) {
        static const struct {
                const char *suffix;
                double factor;
        } units[] = {
                { "", 1 }, { "K", KIB }, { "M", MIB }, { "G", GIB }, { "T", (double) GIB * 1024 },
                { "kbit", 1e3 / 8 }, { "Mbit", 1e6 / 8 }, { "Gbit", 1e9 / 8 }, { "Tbit", 1e12 / 8 },
        };
        char *end = NULL;
        double value = g_ascii_strtod(text, &end);

        for (size_t i = 0; end != text && value >= 0 && value < 1e15 && i < G_N_ELEMENTS(units); i++)
                if (strcmp(end, units[i].suffix) == 0) {
                        *ret_bytes = value * units[i].factor;
                        return true;
                }
        return false;
}

static bool parse_size(const char *text, uint64_t *ret_bytes) {
        double bytes;

        if (!parse_bytes(text, &bytes))
                return false;
        *ret_bytes = (uint64_t) bytes;
        return true;
}

static bool parse_milliseconds(const char *text, uint64_t *ret_usec) {
        char *end = NULL;
        double value = g_ascii_strtod(text, &end);

        if (end == text || *end || value < 0 || value > 1e9)
                return false;
        *ret_usec = (uint64_t) (value * (double) USEC_PER_MSEC);
        return true;
}

static bool parse_percent(const char *text, double *ret_share) {
        char *end = NULL;
        double value = g_ascii_strtod(text, &end);

        if (end == text || *end || value < 0 || value >= 100)
                return false;
        *ret_share = value / 100;
        return true;
}

/* "90:2G": so much of the writes goes to so much memory. */
static bool parse_hot(const char *text, SimulationGuest *guest) {
        g_auto(GStrv) parts = g_strsplit(text, ":", 2);
        SimulationSet *set = &guest->sets[1 + guest->n_sets];

        if (!parts[0] || !parts[1] || guest->n_sets + 1 >= SIMULATION_SETS_MAX ||
            !parse_percent(parts[0], &set->share) || !parse_size(parts[1], &set->bytes))
                return false;
        guest->n_sets++;
        return true;
}

/* "10:2G,5:100M": for 10 seconds 2 GiB/s, then for 5 s 100 MiB/s, and again. */
static bool parse_phases(const char *text, SimulationGuest *guest) {
        g_auto(GStrv) phases = g_strsplit(text, ",", SIMULATION_PHASES_MAX);

        for (unsigned i = 0; phases[i]; i++) {
                g_auto(GStrv) parts = g_strsplit(phases[i], ":", 2);
                SimulationPhase *phase = &guest->phases[guest->n_phases];
                char *end = NULL;
                double seconds = parts[0] ? g_ascii_strtod(parts[0], &end) : 0;

                if (!parts[0] || !parts[1] || *end || seconds < 0.001 || seconds > 1e6 ||
                    !parse_bytes(parts[1], &phase->writes_per_sec))
                        return false;
                phase->usec = (uint64_t) (seconds * (double) USEC_PER_SEC);
                guest->n_phases++;
        }
        return guest->n_phases > 0;
}

static const char usage[] = N_(
        "Usage: virt-ferry simulate [OPTION...]\n\n"
        "Runs the migration policies over a guest and a link that are only numbers, or over the rounds of a real\n"
        "migration, and prints what each would come to.\n\n"
        "  --size=SIZE         memory of the guest (16G)\n"
        "  --resident=SIZE     how much of it is in use (all)\n"
        "  --write=RATE        how much it writes (100M)\n"
        "  --set=SIZE          into how much memory, evenly (resident / 4)\n"
        "  --hot=PERCENT:SIZE  so much of the writes goes to so much of the memory instead; up to three times\n"
        "  --phases=S:RATE,... for S seconds it writes so much, then the next, again and again\n"
        "  --bandwidth=RATE    of the link (10Gbit)\n"
        "  --latency=MS        of the link, one way (0.1)\n"
        "  --jitter=PERCENT    how far the bandwidth swings from round to round (0)\n"
        "  --overhead=MS       what a switchover takes beside sending (12)\n"
        "  --stopcopy=SIZE     device state (512K)\n"
        "  --threads=N         threads that look for dirty pages (4)\n"
        "  --history=FILE      the guest and the link of NAME.rounds.log instead\n"
        "  --policy=TEXT       a policy, e.g. 'balanced downtime.max=500'; again for more (all five)\n"
        "  --postcopy          postcopy is allowed\n"
        "  --rounds            prints each round\n"
        "  --json              prints JSON lines\n"
        "  --svg=FILE          draws the rounds\n\n"
        "SIZE: bytes, or with K, M, G, T. RATE: the same per second, or with kbit, Mbit, Gbit, Tbit.\n");

/* One option. Returns whether its value makes sense. */
static bool take_option(Options *options, int option, const char *value) {
        switch (option) {
        case 's':
                return parse_size(value, &options->guest.size_bytes);
        case 'r':
                return parse_size(value, &options->guest.resident_bytes);
        case 'w':
                return parse_bytes(value, &options->writes_per_sec);
        case 'S':
                return parse_size(value, &options->set_bytes);
        case 'H':
                return parse_hot(value, &options->guest);
        case 'P':
                return parse_phases(value, &options->guest);
        case 'b':
                return parse_bytes(value, &options->link.bandwidth_bytes_per_sec) &&
                       options->link.bandwidth_bytes_per_sec >= 1;
        case 'l':
                return parse_milliseconds(value, &options->link.latency_usec);
        case 'j':
                return parse_percent(value, &options->link.jitter);
        case 'o':
                return parse_milliseconds(value, &options->overhead_usec);
        case 'd':
                return parse_size(value, &options->guest.stopcopy_bytes);
        case 't':
                options->guest.scan_threads = (unsigned) MIN(g_ascii_strtoull(value, NULL, 10), 1024);
                return options->guest.scan_threads > 0;
        case 'p':
                if (options->n_policies == POLICIES_MAX)
                        return false;
                options->policies[options->n_policies++] = value;
                return true;
        case 'f':
                options->history = value;
                return true;
        case 'v':
                options->svg = value;
                return true;
        case 'c':
                return options->postcopy = true;
        case 'n':
                return options->rounds = true;
        case 'J':
                return options->json = true;
        default:
                return options->help = true;
        }
}

static bool parse_options(int argc, char **argv, Options *options) {
        static const struct option known[] = {
                { "size", required_argument, NULL, 's' },      { "resident", required_argument, NULL, 'r' },
                { "write", required_argument, NULL, 'w' },     { "set", required_argument, NULL, 'S' },
                { "hot", required_argument, NULL, 'H' },       { "phases", required_argument, NULL, 'P' },
                { "bandwidth", required_argument, NULL, 'b' }, { "latency", required_argument, NULL, 'l' },
                { "jitter", required_argument, NULL, 'j' },    { "overhead", required_argument, NULL, 'o' },
                { "stopcopy", required_argument, NULL, 'd' },  { "policy", required_argument, NULL, 'p' },
                { "history", required_argument, NULL, 'f' },   { "svg", required_argument, NULL, 'v' },
                { "postcopy", no_argument, NULL, 'c' },        { "rounds", no_argument, NULL, 'n' },
                { "threads", required_argument, NULL, 't' },
                { "json", no_argument, NULL, 'J' },            { "help", no_argument, NULL, 'h' },
                { 0 },
        };
        int option, index = 0;

        while ((option = getopt_long(argc, argv, "h", known, &index)) != -1) {
                if (option == '?')
                        return false;
                if (!take_option(options, option, optarg)) {
                        fprintf(stderr, _("virt-ferry: '%s' is not a value of --%s\n"), optarg, known[index].name);
                        return false;
                }
        }
        if (optind < argc)
                fprintf(stderr, _("virt-ferry: unexpected argument '%s'\n"), argv[optind]);
        return optind == argc;
}

/* What was not said. */
static void complete(Options *options) {
        SimulationGuest *guest = &options->guest;
        double hot = 0;

        if (guest->resident_bytes == 0)
                guest->resident_bytes = guest->size_bytes;
        if (options->set_bytes == 0)
                options->set_bytes = guest->resident_bytes / 4;
        for (unsigned i = 1; i <= guest->n_sets; i++)
                hot += guest->sets[i].share;
        guest->sets[0] =
                (SimulationSet){ .bytes = MIN(options->set_bytes, guest->resident_bytes), .share = MAX(0, 1 - hot) };
        guest->n_sets++;
        if (guest->n_phases == 0)
                guest->phases[guest->n_phases++] =
                        (SimulationPhase){ .usec = USEC_PER_SEC, .writes_per_sec = options->writes_per_sec };
}

static int read_history(Options *options, GError **reterr) {
        g_autofree char *text = NULL;
        int r = file_read(options->history, HISTORY_MAX, &text, NULL, reterr);

        if (r >= 0)
                r = simulation_history_read(text, &options->guest, &options->link, &options->overhead_usec, reterr);
        if (r < 0)
                g_prefix_error(reterr, "%s: ", options->history);
        return r;
}

static void print_round(const SimulationRound *round, void *userdata) {
        GArray *rounds = userdata;

        g_array_append_val(rounds, *round);
}

static void print_rounds(const GArray *rounds) {
        for (unsigned i = 0; i < rounds->len; i++) {
                const SimulationRound *round = &g_array_index(rounds, SimulationRound, i);

                printf("    %10.3f s  %10.1f MiB sent  %10.1f MiB left  %s: %s\n", (double) round->end_usec / 1e6,
                       (double) round->sent_bytes / (double) MIB, (double) round->pending_bytes / (double) MIB,
                       policy_action_to_string(round->decision.action),
                       policy_reason_to_string(round->decision.reason));
        }
}

static void print_result(const char *name, const SimulationResult *result, bool json) {
        double lost = result->total_usec > 0 ? result->lost_usec * 100 / (double) result->total_usec : 0;
        g_autoptr(json_object) line = json_object_new_object();
        g_autofree char *blackout = NULL;

        if (json) {
                json_add_string(line, "policy", name);
                json_add_bool(line, "finished", result->finished);
                json_add_bool(line, "postcopy", result->postcopy);
                json_add_uint64(line, "total_usec", result->total_usec);
                json_add_uint64(line, "blackout_usec", result->blackout_usec);
                json_add_uint64(line, "sent", result->sent_bytes);
                json_add_uint64(line, "rounds", result->rounds);
                json_add_uint64(line, "throttle", result->throttle_max_percent);
                json_add_uint64(line, "lost_usec", (uint64_t) result->lost_usec);
                json_add_string(line, "decision", policy_action_to_string(result->last.action));
                json_add_string(line, "reason", policy_reason_to_string(result->last.reason));
                printf("%s\n", json_line(line));
                return;
        }
        blackout = result->finished ? g_strdup_printf("%.1f ms", (double) result->blackout_usec / 1e3) : g_strdup("-");
        printf("%-24s %11.3f s %12s %11.1f MiB %7" PRIu64 " %6u %% %6.1f %%  %s: %s\n", name,
               (double) result->total_usec / 1e6, blackout, (double) result->sent_bytes / (double) MIB, result->rounds,
               result->throttle_max_percent, lost,
               result->last.action == POLICY_CONTINUE ? _("does not end")
                                                      : policy_action_to_string(result->last.action),
               policy_reason_to_string(result->last.reason));
}

static int simulate_one(const Options *options, const char *text, SimulationSvg *svg) {
        g_autoptr(GArray) rounds = g_array_new(FALSE, FALSE, sizeof(SimulationRound));
        PolicyConfig config = { .overhead_usec = options->overhead_usec, .postcopy = options->postcopy };
        char word[POLICY_WORD_SIZE];
        PolicyConfigResult r = policy_config_parse(&config, text, word);
        const char *wrong = r == POLICY_CONFIG_OK ? policy_config_check(&config) : NULL;
        SimulationResult result;

        if (r != POLICY_CONFIG_OK || wrong) {
                if (wrong)
                        fprintf(stderr, "virt-ferry: %s\n", wrong);
                else
                        fprintf(stderr, "virt-ferry: '%s' %s\n", word, policy_config_problem(r));
                return VIRT_FERRY_USAGE;
        }
        result = simulation_run(&options->guest, &options->link, &config, print_round, rounds);
        print_result(text, &result, options->json);
        if (options->rounds && !options->json)
                print_rounds(rounds);
        if (svg)
                simulation_svg_add(svg, text, &result, rounds);
        return EXIT_SUCCESS;
}

int virt_ferry_simulate(int argc, char **argv) {
        Options options = {
                .guest.size_bytes = 16 * GIB,
                .guest.stopcopy_bytes = 512 * KIB,
                .guest.scan_threads = 4,
                .link = { .bandwidth_bytes_per_sec = 10e9 / 8, .latency_usec = 100 },
                .overhead_usec = 12 * USEC_PER_MSEC,
                .writes_per_sec = 100 * MIB,
        };
        g_autoptr(SimulationSvg) svg = NULL;
        g_autoptr(GError) error = NULL;
        int r = EXIT_SUCCESS;

        if (!parse_options(argc, argv, &options))
                return VIRT_FERRY_USAGE;
        if (options.help) {
                printf("%s", _(usage));
                return EXIT_SUCCESS;
        }
        if (options.history && read_history(&options, &error) < 0) {
                fprintf(stderr, "virt-ferry: %s\n", error->message);
                return VIRT_FERRY_FAILED;
        }
        if (!options.history)
                complete(&options);
        if (options.n_policies == 0)
                for (PolicyKind kind = 0; kind < _POLICY_KIND_MAX; kind++)
                        options.policies[options.n_policies++] = policy_kind_to_string(kind);
        if (!options.json)
                printf("%-24s %13s %12s %15s %7s %8s %8s  %s\n", _("policy"), _("total"), _("blackout"), _("sent"),
                       _("rounds"), _("throttle"), _("lost"), _("ends with"));
        if (options.svg)
                svg = simulation_svg_new();
        for (unsigned i = 0; i < options.n_policies && r == EXIT_SUCCESS; i++)
                r = simulate_one(&options, options.policies[i], svg);
        if (r == EXIT_SUCCESS && svg && simulation_svg_write(svg, options.svg, &error) < 0) {
                fprintf(stderr, "virt-ferry: %s\n", error->message);
                r = VIRT_FERRY_FAILED;
        }
        return r;
}
