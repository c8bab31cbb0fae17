/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* virt-ferry: what users need beside virsh. Each command is one row of the table and one file. */

#include <libintl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/i18n.h"
#include "tools/virt-ferry/commands.h"

static const VirtFerryCommand commands[] = {
        { "help", N_("show this help"), virt_ferry_help },
        { "simulate", N_("run migration policies over a guest and a link that are only numbers"), virt_ferry_simulate },
        { "snapshot", N_("look into a save image, check it, take it apart"), virt_ferry_snapshot },
        { "validate", N_("check whether this host can run guests and migrate them"), virt_ferry_validate },
        { "watch", N_("show migrations as they go"), virt_ferry_watch },
};

int virt_ferry_help(int argc, char **argv) {
        printf(_("Usage: virt-ferry COMMAND [OPTION...]\n\nCommands:\n"));
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
                printf("  %-12s %s\n", commands[i].name, _(commands[i].summary));
        printf(_("\n'virt-ferry COMMAND --help' tells more of one; 'virt-ferry --version' the version.\n"));
        return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        setlocale(LC_ALL, "");
        bindtextdomain(FERRY_GETTEXT_DOMAIN, FERRY_LOCALE_DIR);
        if (argc < 2) {
                fprintf(stderr, "%s\n", _("virt-ferry: no command given; 'virt-ferry help' lists them"));
                return VIRT_FERRY_USAGE;
        }
        if (strcmp(argv[1], "--version") == 0) {
                printf("virt-ferry %s\n", FERRY_VERSION);
                return EXIT_SUCCESS;
        }
        const char *name = strcmp(argv[1], "--help") == 0 ? "help" : argv[1];
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
                if (strcmp(commands[i].name, name) == 0) {
                        optind = 0;
                        return commands[i].run(argc - 1, argv + 1);
                }
        fprintf(stderr, _("virt-ferry: there is no command '%s'; 'virt-ferry help' lists them\n"), name);
        return VIRT_FERRY_USAGE;
}
