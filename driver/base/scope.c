/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * One scope is one conversation with the service manager over a connection of its own: ask for the unit, get a job,
 * wait until JobRemoved names that job. A connection for each is cheap beside starting a QEMU, and no state has to be
 * kept right when the bus restarts.
 *
 *      connect ─► match JobRemoved ─► StartTransientUnit ─► job ─► JobRemoved(job, "done") ─► RegisterMachine
 *
 * Everything is asynchronous on the daemon's loop; the fiber sleeps on one condition until the step it waits for has
 * its answer. Registering is best effort.
 */

#include "driver/base/scope.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"

#define STEP_USEC (12 * USEC_PER_SEC)
#define NAME_BYTES_MAX 120 /* of the escaped name; a unit's name may have 255 */
#define MACHINE_NAME_MAX 63
#define UUID_BYTES 16

struct ScopeManager {
        sd_event *event;
        char *slice;
        bool user; /* the user's service manager is asked, not the system's */
};

typedef struct Talk {
        sd_bus *bus;
        FiberCond changed;
        bool answered;
        int error;     /* negative errno of the answer */
        char *message; /* its words */
        char *job;     /* path of the job whose end is waited for */
        GHashTable *done; /* path -> result, of jobs that have ended: JobRemoved may overtake the answer */
} Talk;

static void talk_clear(Talk *talk) {
        talk->bus = sd_bus_close_unref(talk->bus);
        g_free(talk->message);
        g_free(talk->job);
        g_hash_table_unref(talk->done);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Talk, talk_clear)

int scope_manager_new(sd_event *event, const char *slice, ScopeManager **ret_manager, GError **reterr) {
        const char *pid = g_getenv("SYSTEMD_EXEC_PID");
        g_autofree char *own = g_strdup_printf("%d", (int) getpid()), *unit = NULL;

        /* The variable is inherited by what a service starts; only in the service's own process it is the pid. */
        if (g_strcmp0(pid, own) != 0) {
                *ret_manager = NULL;
                return 0;
        }
        if (!g_str_has_suffix(slice, ".slice"))
                return error_set(reterr, VIR_ERR_CONF_SYNTAX,
                                 _("'%s' is not the name of a slice unit: it must end in .slice"), slice);
        ScopeManager *manager = g_new0(ScopeManager, 1);
        manager->event = event;
        manager->slice = g_strdup(slice);
        manager->user = sd_pid_get_user_unit(0, &unit) >= 0;
        *ret_manager = manager;
        return 0;
}

ScopeManager *scope_manager_free(ScopeManager *manager) {
        if (!manager)
                return NULL;
        g_free(manager->slice);
        g_free(manager);
        return NULL;
}

/* ---- names ---- */

static void append_escaped(GString *text, const char *name) {
        for (const unsigned char *p = (const unsigned char *) name; *p && text->len < NAME_BYTES_MAX; p++) {
                if (g_ascii_isalnum(*p) || *p == ':' || *p == '_' || (*p == '.' && text->len > 0))
                        g_string_append_c(text, (char) *p);
                else
                        g_string_append_printf(text, "\\x%02x", *p);
        }
}

char *scope_unit_name(const char *kind, const char *name, pid_t pid) {
        g_autoptr(GString) escaped = g_string_new(NULL);

        append_escaped(escaped, name);
        return g_strdup_printf("virtferry-%s-%s-%d.scope", kind, escaped->str, (int) pid);
}

char *scope_machine_name(const char *name, pid_t pid) {
        g_autofree char *tail = g_strdup_printf("-%d", (int) pid);
        GString *text = g_string_new("ferry-");

        for (; *name && text->len + strlen(tail) < MACHINE_NAME_MAX; name++) {
                bool separator = text->str[text->len - 1] == '-' || text->str[text->len - 1] == '.';

                if (g_ascii_isalnum(*name))
                        g_string_append_c(text, *name);
                else if (!separator)
                        g_string_append_c(text, *name == '.' ? '.' : '-');
        }
        while (text->str[text->len - 1] == '-' || text->str[text->len - 1] == '.')
                g_string_truncate(text, text->len - 1);
        g_string_append(text, tail);
        return g_string_free(text, FALSE);
}

char *scope_mount_unit_name(const char *path) {
        g_auto(GStrv) parts = g_strsplit(path, "/", -1);
        g_autoptr(GString) escaped = g_string_new(NULL);

        for (unsigned i = 0; parts[i]; i++) {
                if (!*parts[i])
                        continue;
                if (escaped->len > 0)
                        g_string_append_c(escaped, '-');
                append_escaped(escaped, parts[i]);
        }
        return g_strdup_printf("%s.mount", escaped->len > 0 ? escaped->str : "-");
}

/* ---- the conversation ---- */

static int on_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        const char *path = NULL, *unit = NULL, *result = NULL;
        Talk *talk = userdata;
        uint32_t id = 0;

        if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) >= 0) {
                g_hash_table_insert(talk->done, g_strdup(path), g_strdup(result));
                fiber_cond_broadcast(&talk->changed);
        }
        return 0;
}

static int on_answer(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(message);
        const char *path = NULL;
        Talk *talk = userdata;

        talk->answered = true;
        if (error) {
                talk->error = -sd_bus_message_get_errno(message);
                talk->message = g_strdup(error->message ? error->message : error->name);
        } else if (!talk->job && sd_bus_message_read(message, "o", &path) >= 0)
                talk->job = g_strdup(path);
        fiber_cond_broadcast(&talk->changed);
        return 0;
}

/* Sends the call and waits for its answer. */
static int talk_call(Talk *talk, sd_bus_message *message) {
        g_clear_pointer(&talk->message, g_free);
        talk->answered = false;
        talk->error = 0;
        int r = sd_bus_call_async(talk->bus, NULL, message, on_answer, talk, STEP_USEC);
        if (r < 0)
                return r;
        /* sd-bus answers in our place when the time is up; it may take the connection with it. */
        while (!talk->answered) {
                r = fiber_cond_wait(&talk->changed, STEP_USEC + USEC_PER_SEC);
                if (r < 0)
                        return r;
        }
        return talk->error;
}

static int talk_open(Talk *talk, const ScopeManager *manager) {
        int r = manager->user ? sd_bus_open_user(&talk->bus) : sd_bus_open_system(&talk->bus);
        if (r >= 0)
                r = sd_bus_attach_event(talk->bus, manager->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_match_signal_async(talk->bus, NULL, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                              "org.freedesktop.systemd1.Manager", "JobRemoved", on_job_removed, NULL,
                                              talk);
        return r;
}

/* signature a(sv) of StartTransientUnit. */
static int append_properties(sd_bus_message *message, const ScopeManager *manager, const ScopeArgs *args) {
        int r = sd_bus_message_open_container(message, 'a', "(sv)");
        if (r >= 0)
                r = sd_bus_message_append(message, "(sv)(sv)(sv)(sv)(sv)", "Description", "s", args->description,
                                          "Slice", "s", manager->slice, "PIDs", "au", 1, (uint32_t) args->pid,
                                          /* Nothing of it stays in systemctl's lists when it has ended, however. */
                                          "CollectMode", "s", "inactive-or-failed",
                                          /* A guest has as many threads as it likes. */
                                          "TasksMax", "t", UINT64_MAX);
        g_autofree char *mount = args->after_mount ? scope_mount_unit_name(args->after_mount) : NULL;
        if (r >= 0 && mount)
                r = sd_bus_message_append(message, "(sv)", "After", "as", 1, mount);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int talk_start_unit(Talk *talk, const ScopeManager *manager, const ScopeArgs *args, const char *unit) {
        sd_bus_message *message = NULL;

        int r = sd_bus_message_new_method_call(talk->bus, &message, "org.freedesktop.systemd1",
                                               "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                                               "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(message, "ss", unit, "fail");
        if (r >= 0)
                r = append_properties(message, manager, args);
        if (r >= 0)
                r = sd_bus_message_append(message, "a(sa(sv))", 0);
        if (r >= 0)
                r = talk_call(talk, message);
        sd_bus_message_unref(message);
        return r;
}

/* Waits for the end of the job. */
static int talk_finish_job(Talk *talk) {
        uint64_t deadline = clock_monotonic_usec() + STEP_USEC;

        for (;;) {
                const char *result = talk->job ? g_hash_table_lookup(talk->done, talk->job) : NULL;
                uint64_t now = clock_monotonic_usec();

                if (result) {
                        talk->message = g_strdup(result);
                        return strcmp(result, "done") == 0 ? 0 : -EIO;
                }
                if (now >= deadline)
                        return -ETIMEDOUT;
                int r = fiber_cond_wait(&talk->changed, deadline - now);
                if (r < 0 && r != -ETIMEDOUT)
                        return r;
        }
}

/* machinectl knows it then. */
static void talk_register_machine(Talk *talk, const ScopeArgs *args) {
        g_autofree char *name = scope_machine_name(args->name, args->pid);
        sd_bus_message *message = NULL;

        int r = sd_bus_message_new_method_call(talk->bus, &message, "org.freedesktop.machine1",
                                               "/org/freedesktop/machine1", "org.freedesktop.machine1.Manager",
                                               "RegisterMachine");
        if (r >= 0)
                r = sd_bus_message_append(message, "s", name);
        if (r >= 0)
                r = sd_bus_message_append_array(message, 'y', args->machine_uuid, UUID_BYTES);
        if (r >= 0)
                r = sd_bus_message_append(message, "ssus", "virtferryd", "vm", (uint32_t) args->pid, "");
        if (r >= 0)
                r = talk_call(talk, message);
        if (r < 0)
                log_debug("machine '%s' was not registered, ignoring: %s", name, talk->message ?: g_strerror(-r));
        sd_bus_message_unref(message);
}

int scope_enter(ScopeManager *manager, const ScopeArgs *args, GError **reterr) {
        if (!manager)
                return 0;

        g_auto(Talk) talk = { .done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free) };
        g_autofree char *unit = scope_unit_name(args->kind, args->name, args->pid);

        int r = talk_open(&talk, manager);
        if (r >= 0)
                r = talk_start_unit(&talk, manager, args, unit);
        if (r >= 0)
                r = talk_finish_job(&talk);
        if (r < 0) {
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("process %d of '%s' did not get a scope of its own from the service manager: %s "
                            "(guest_slice = \"none\" in virtferryd.conf does without)"),
                          (int) args->pid, args->name, talk.message ?: g_strerror(-r));
                return r;
        }
        if (args->machine_uuid && !manager->user)
                talk_register_machine(&talk, args);
        return 0;
}
