/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/virt-ferry/simulation_svg.h"

#include <string.h>

#include "driver/base/io.h"
#include "driver/base/units.h"

#define WIDTH 1000.0
#define STRIP 110.0
#define MARGIN 40.0
#define SHOWN_MAX 2000 /* more rounds than that are one line each pixel */

typedef struct Strip {
        char *name;
        SimulationResult result;
        GArray *rounds;
} Strip;

struct SimulationSvg {
        GPtrArray *strips;
};

static void strip_free(void *data) {
        Strip *strip = data;

        g_free(strip->name);
        g_array_unref(strip->rounds);
        g_free(strip);
}

SimulationSvg *simulation_svg_new(void) {
        SimulationSvg *svg = g_new0(SimulationSvg, 1);

        svg->strips = g_ptr_array_new_with_free_func(strip_free);
        return svg;
}

SimulationSvg *simulation_svg_free(SimulationSvg *svg) {
        if (!svg)
                return NULL;
        g_ptr_array_unref(svg->strips);
        g_free(svg);
        return NULL;
}

void simulation_svg_add(SimulationSvg *svg, const char *name, const SimulationResult *result, const GArray *rounds) {
        Strip *strip = g_new0(Strip, 1);

        strip->name = g_markup_escape_text(name, -1);
        strip->result = *result;
        strip->rounds = g_array_copy((GArray *) rounds);
        g_ptr_array_add(svg->strips, strip);
}

static const char *color_of(const SimulationRound *round) {
        switch (round->decision.action) {
        case POLICY_STOP_AND_COPY:
                return "#c0392b";
        case POLICY_SWITCH_TO_POSTCOPY:
                return "#8e44ad";
        case POLICY_ABORT:
                return "#000000";
        default:
                return round->decision.throttle_percent > 0 ? "#e67e22" : "#2980b9";
        }
}

static void add_rect(GString *text, double x, double y, double width, double height, const char *color,
                     const char *tip) {
        char numbers[4][G_ASCII_DTOSTR_BUF_SIZE];
        const double values[] = { x, y, MAX(width, 0.5), MAX(height, 0.5) };

        for (unsigned i = 0; i < G_N_ELEMENTS(values); i++)
                g_ascii_formatd(numbers[i], sizeof(numbers[i]), "%.2f", values[i]);
        g_string_append_printf(
                text, "<rect x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" fill=\"%s\"><title>%s</title></rect>\n",
                numbers[0], numbers[1], numbers[2], numbers[3], color, tip);
}

static void add_strip(GString *text, const Strip *strip, double top, double usec, double bytes) {
        unsigned step = strip->rounds->len / SHOWN_MAX + 1;

        g_string_append_printf(text, "<text x=\"%d\" y=\"%d\">%s: %.3f s, blackout %.1f ms, %.1f MiB; %s: %s</text>\n",
                               (int) MARGIN, (int) top + 14, strip->name, (double) strip->result.total_usec / 1e6,
                               (double) strip->result.blackout_usec / 1e3,
                               (double) strip->result.sent_bytes / (double) MIB,
                               policy_action_to_string(strip->result.last.action),
                               policy_reason_to_string(strip->result.last.reason));
        for (unsigned i = 0; i < strip->rounds->len; i += i + step < strip->rounds->len ? step : 1) {
                const SimulationRound *round = &g_array_index(strip->rounds, SimulationRound, i);
                double height = (double) round->pending_bytes / bytes * (STRIP - 40);
                g_autofree char *tip = g_strdup_printf("%.3f s, %.1f MiB left: %s", (double) round->end_usec / 1e6,
                                                       (double) round->pending_bytes / (double) MIB,
                                                       policy_reason_to_string(round->decision.reason));

                add_rect(text, MARGIN + (double) round->begin_usec / usec * WIDTH, top + STRIP - 15 - height,
                         (double) (round->end_usec - round->begin_usec) / usec * WIDTH, height, color_of(round), tip);
        }
}

char *simulation_svg_format(const SimulationSvg *svg) {
        GString *text = g_string_new(NULL);
        double usec = 1, bytes = 1;

        for (unsigned i = 0; i < svg->strips->len; i++) {
                const Strip *strip = g_ptr_array_index(svg->strips, i);

                usec = MAX(usec, (double) strip->result.total_usec);
                for (unsigned j = 0; j < strip->rounds->len; j++)
                        bytes = MAX(bytes, (double) g_array_index(strip->rounds, SimulationRound, j).pending_bytes);
        }
        g_string_append_printf(
                text,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
                "height=\"%d\" "
                "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" "
                "fill=\"white\"/>\n",
                (int) (WIDTH + 2 * MARGIN), (int) (STRIP * svg->strips->len + 2 * MARGIN));
        for (unsigned i = 0; i < svg->strips->len; i++)
                add_strip(text, g_ptr_array_index(svg->strips, i), MARGIN / 2 + STRIP * i, usec, bytes);
        g_string_append_printf(
                text,
                "<text x=\"%d\" y=\"%d\">0 s .. %.3f s; height: what a round left, at most %.1f MiB. Blue: rounds, "
                "orange: writers "
                "slowed down, red: stop and copy, violet: postcopy</text>\n</svg>\n",
                (int) MARGIN, (int) (MARGIN + STRIP * svg->strips->len), usec / 1e6, bytes / (double) MIB);
        return g_string_free(text, FALSE);
}

int simulation_svg_write(const SimulationSvg *svg, const char *path, GError **reterr) {
        g_autofree char *text = simulation_svg_format(svg);

        return file_replace(path, text, strlen(text), 0644, reterr);
}
