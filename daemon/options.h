/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command line of virtferryd. */

#include <glib.h>
#include <stdbool.h>

typedef struct Options {
        char *root;        /* NULL: the machine's own paths */
        char *config_file; /* NULL: the default one, which need not exist */
        int timeout_sec;   /* exit when idle for so long; 0: stay */
        bool session;      /* also when not run as root */
        bool daemon;       /* go to the background */
        bool verbose;
        bool version;
} Options;

/* May change argv. With --help it prints and exits. */
int options_parse(Options *options, int *argc, char ***argv, GError **reterr);
void options_clear(Options *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)
