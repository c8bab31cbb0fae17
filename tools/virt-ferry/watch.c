/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * virt-ferry watch: a live view of all migration jobs, over D-Bus.
 *
 * Signals only say that something is new; what there is comes from GetManagedObjects, at most MAX_PER_SECOND times a
 * second. So nothing is missed and nothing piles up, however slow the terminal is.
 */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "tools/virt-ferry/commands.h"
#include "tools/virt-ferry/watch_job.h"

#define BUS_NAME "org.virtferry"
#define BUS_ROOT "/org/virtferry"
#define MIGRATION "org.virtferry.Migration1"

#define MAX_PER_SECOND 4
#define REPLY_USEC (10 * USEC_PER_SEC)
#define IDLE_USEC (1 * USEC_PER_SEC)
#define COLUMNS 80
#define FINISHED_SHOWN 5 /* on a terminal */

typedef struct Watch {
        sd_bus *bus;
        bool json, once, terminal, wait;
        bool news;
        bool begun;          /* something was running, or has ended */
        GHashTable *printed; /* number -> the last line of a job */
} Watch;

static int on_signal(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Watch *watch = userdata;

        watch->news = true;
        return 0;
}

/* ---- asking ---- */

static int read_interfaces(sd_bus_message *reply, GPtrArray *jobs) {
        const char *name = NULL;
        int r = sd_bus_message_enter_container(reply, 'a', "{sa{sv}}");

        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sa{sv}")) > 0) {
                WatchJob *job = NULL;

                r = sd_bus_message_read_basic(reply, 's', &name);
                if (r >= 0 && strcmp(name, MIGRATION) == 0) {
                        r = watch_job_read(reply, &job);
                        if (r >= 0)
                                g_ptr_array_add(jobs, job);
                } else if (r >= 0) {
                        r = sd_bus_message_skip(reply, "a{sv}");
                }
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return r < 0 ? r : sd_bus_message_exit_container(reply);
}

static int read_objects(sd_bus_message *reply, GPtrArray *jobs) {
        int r = sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}");

        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}")) > 0) {
                r = sd_bus_message_skip(reply, "o");
                if (r >= 0)
                        r = read_interfaces(reply, jobs);
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return r;
}

static int fetch(Watch *watch, GPtrArray *jobs) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *call = NULL, *reply = NULL;
        int r = sd_bus_message_new_method_call(watch->bus, &call, BUS_NAME, BUS_ROOT,
                                               "org.freedesktop.DBus.ObjectManager", "GetManagedObjects");

        if (r >= 0)
                r = sd_bus_call(watch->bus, call, REPLY_USEC, &error, &reply);
        if (r >= 0)
                r = read_objects(reply, jobs);
        if (r < 0)
                fprintf(stderr, _("virt-ferry: the daemon does not answer on D-Bus: %s\n"),
                        error.message ? error.message : g_strerror(-r));
        sd_bus_message_unref(call);
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
        return r;
}

/* ---- showing ---- */

static unsigned columns(void) {
        struct winsize size = { 0 };

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS;
}

static void show_screen(const GPtrArray *jobs) {
        g_autoptr(GString) screen = g_string_new("\033[H\033[2J");
        unsigned finished = 0, running = 0;

        for (guint i = jobs->len; i-- > 0;) {
                const WatchJob *job = g_ptr_array_index(jobs, i);
                g_autofree char *text = NULL;

                if (watch_job_running(job))
                        running++;
                else if (++finished > FINISHED_SHOWN)
                        continue;
                text = watch_job_screen(job, columns());
                g_string_append(screen, text);
        }
        if (jobs->len == 0)
                g_string_append(screen, _("No migration has been seen yet.\n"));
        else
                g_string_append_printf(screen,
                                       ngettext("\n%u migration running.\n", "\n%u migrations running.\n", running),
                                       running);
        fputs(screen->str, stdout);
        fflush(stdout);
}

/* Prints what has changed since it was last printed. */
static void show_line(Watch *watch, const WatchJob *job) {
        g_autofree char *text = NULL;
        char when[16] = "";
        time_t now = time(NULL);
        struct tm local;

        if (watch->json) {
                json_object *object = watch_job_json(job);

                text = g_strdup(json_line(object));
                json_object_put(object);
        } else {
                text = watch_job_line(job);
        }
        if (g_strcmp0(g_hash_table_lookup(watch->printed, &job->number), text) == 0)
                return;
        if (localtime_r(&now, &local))
                strftime(when, sizeof(when), "%H:%M:%S ", &local);
        printf("%s%s\n", watch->json ? "" : when, text);
        fflush(stdout);
        g_hash_table_insert(watch->printed, g_memdup2(&job->number, sizeof(job->number)), g_steal_pointer(&text));
}

static void show(Watch *watch, const GPtrArray *jobs) {
        if (watch->terminal) {
                show_screen(jobs);
                return;
        }
        for (guint i = 0; i < jobs->len; i++) {
                const WatchJob *job = g_ptr_array_index(jobs, i);

                /* What had ended before we came is history. */
                if (watch->once || watch_job_running(job) || g_hash_table_contains(watch->printed, &job->number))
                        show_line(watch, job);
        }
}

static void job_free(void *p) {
        watch_job_free(p);
}

/* One look. *ret_running: jobs that run. */
static int look(Watch *watch, unsigned *ret_running) {
        g_autoptr(GPtrArray) jobs = g_ptr_array_new_with_free_func(job_free);
        int r = fetch(watch, jobs);

        if (r < 0)
                return r;
        show(watch, jobs);
        *ret_running = 0;
        for (guint i = 0; i < jobs->len; i++)
                *ret_running += watch_job_running(g_ptr_array_index(jobs, i));
        return 0;
}

static int follow(Watch *watch) {
        for (;;) {
                unsigned running = 0;
                uint64_t next = clock_monotonic_usec() + USEC_PER_SEC / MAX_PER_SECOND;
                int r;

                watch->news = false;
                r = look(watch, &running);
                if (r < 0 || watch->once)
                        return r;
                if (watch->begun && running == 0 && watch->wait)
                        return 0;
                watch->begun = watch->begun || running > 0;
                /* At least so long between two looks; then until there is something new. */
                while (!watch->news || clock_monotonic_usec() < next) {
                        uint64_t now = clock_monotonic_usec();

                        r = sd_bus_process(watch->bus, NULL);
                        if (r == 0)
                                r = sd_bus_wait(watch->bus, watch->news ? next - MIN(now, next) : IDLE_USEC);
                        if (r < 0 && r != -EINTR)
                                return r;
                }
        }
}

static int usage(FILE *out, int status) {
        fputs(_("Usage: virt-ferry watch [OPTION...]\n\n"
                "Shows the migrations of this host as they go, until it is interrupted: on a terminal as a screen, "
                "otherwise\n"
                "as lines, one for each change.\n\n"
                "  -j, --json     print a JSON object for each change\n"
                "  -o, --once     show what there is, finished ones too, and exit\n"
                "  -w, --wait     exit once the migrations that were seen have ended\n"
                "      --session  the user's own daemon (default: the system's)\n"
                "  -h, --help     show this help\n"),
              out);
        return status;
}

static int watch_connect(Watch *watch, bool session) {
        int r = session ? sd_bus_open_user(&watch->bus) : sd_bus_open_system(&watch->bus);

        if (r >= 0)
                r = sd_bus_match_signal(watch->bus, NULL, BUS_NAME, NULL, NULL, NULL, on_signal, watch);
        if (r < 0)
                fprintf(stderr, _("virt-ferry: the bus cannot be reached: %s\n"), g_strerror(-r));
        return r;
}

int virt_ferry_watch(int argc, char **argv) {
        static const struct option options[] = {
                { "json", no_argument, NULL, 'j' }, { "once", no_argument, NULL, 'o' },
                { "wait", no_argument, NULL, 'w' }, { "session", no_argument, NULL, 's' },
                { "help", no_argument, NULL, 'h' }, { 0 },
        };
        Watch watch = { .terminal = isatty(STDOUT_FILENO) };
        bool session = false;
        int option, r;

        while ((option = getopt_long(argc, argv, "johw", options, NULL)) >= 0)
                switch (option) {
                case 'j':
                        watch.json = true;
                        break;
                case 'o':
                        watch.once = true;
                        break;
                case 'w':
                        watch.wait = true;
                        break;
                case 's':
                        session = true;
                        break;
                case 'h':
                        return usage(stdout, EXIT_SUCCESS);
                default:
                        return usage(stderr, VIRT_FERRY_USAGE);
                }
        if (optind < argc)
                return usage(stderr, VIRT_FERRY_USAGE);
        watch.terminal = watch.terminal && !watch.json && !watch.once;
        watch.printed = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        r = watch_connect(&watch, session);
        if (r >= 0)
                r = follow(&watch);
        sd_bus_flush_close_unref(watch.bus);
        g_hash_table_unref(watch.printed);
        return r < 0 ? VIRT_FERRY_FAILED : EXIT_SUCCESS;
}
