/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/options.h"

#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"

int options_parse(Options *options, int *argc, char ***argv, GError **reterr) {
        const GOptionEntry entries[] = {
                { "root", 'r', 0, G_OPTION_ARG_FILENAME, &options->root,
                  N_("Keep everything below DIR, beside other daemons"), N_("DIR") },
                { "session", 0, 0, G_OPTION_ARG_NONE, &options->session,
                  N_("Serve one user's guests; always so without root"), NULL },
                { "config", 'f', 0, G_OPTION_ARG_FILENAME, &options->config_file, N_("Read this configuration file"),
                  N_("FILE") },
                { "timeout", 't', 0, G_OPTION_ARG_INT, &options->timeout_sec,
                  N_("Exit after SEC seconds without clients and running guests"), N_("SEC") },
                { "daemon", 'd', 0, G_OPTION_ARG_NONE, &options->daemon, N_("Go to the background once ready"), NULL },
                { "verbose", 'v', 0, G_OPTION_ARG_NONE, &options->verbose, N_("Log everything"), NULL },
                { "version", 'V', 0, G_OPTION_ARG_NONE, &options->version, N_("Print the version and exit"), NULL },
                { 0 },
        };
        g_autoptr(GOptionContext) context = g_option_context_new(NULL);
        g_autoptr(GError) error = NULL;

        *options = (Options) { 0 };
        g_option_context_add_main_entries(context, entries, FERRY_GETTEXT_DOMAIN);
        g_option_context_set_summary(context,
                                     _("The daemon of the ferry driver, for libvirt's clients: ferry:///system."));
        if (!g_option_context_parse(context, argc, argv, &error))
                return error_set(reterr, VIR_ERR_INVALID_ARG, "%s", error->message);
        if (*argc > 1)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("'%s' is not an option"), (*argv)[1]);
        if (options->timeout_sec < 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("A timeout cannot be negative"));
        if (options->root) {
                g_autofree char *given = g_steal_pointer(&options->root);
                options->root = g_canonicalize_filename(given, NULL);
                if (g_strcmp0(options->root, "/") == 0)
                        g_clear_pointer(&options->root, g_free);
        }
        if (geteuid() != 0)
                options->session = true;
        return 0;
}

void options_clear(Options *options) {
        g_free(options->root);
        g_free(options->config_file);
        *options = (Options) { 0 };
}
