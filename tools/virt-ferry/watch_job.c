/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tools/virt-ferry/watch_job.h"

#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/base/units.h"

#define BAR_MAX 40

void watch_job_free(WatchJob *job) {
        if (!job)
                return;
        g_free(job->domain);
        g_free(job->direction);
        g_free(job->peer);
        g_free(job->outcome);
        g_free(job->phase);
        g_free(job->policy);
        g_free(job->decision);
        g_free(job->reason);
        g_free(job->error);
        g_free(job);
}

/* ---- reading ---- */

typedef struct Field {
        const char *name;
        char type; /* s, t, u or b; 'p': the dictionary of pending data */
        size_t offset;
} Field;

static const Field fields[] = {
        { "Number", 't', offsetof(WatchJob, number) },
        { "DomainName", 's', offsetof(WatchJob, domain) },
        { "Direction", 's', offsetof(WatchJob, direction) },
        { "Peer", 's', offsetof(WatchJob, peer) },
        { "Outcome", 's', offsetof(WatchJob, outcome) },
        { "Phase", 's', offsetof(WatchJob, phase) },
        { "Paused", 'b', offsetof(WatchJob, paused) },
        { "Elapsed", 't', offsetof(WatchJob, elapsed_usec) },
        { "Round", 't', offsetof(WatchJob, round) },
        { "TotalBytes", 't', offsetof(WatchJob, total_bytes) },
        { "TransferredBytes", 't', offsetof(WatchJob, transferred_bytes) },
        { "Pending", 'p', 0 },
        { "Bandwidth", 't', offsetof(WatchJob, bandwidth) },
        { "DirtyRate", 't', offsetof(WatchJob, dirty_rate) },
        { "ExpectedBlackout", 't', offsetof(WatchJob, expected_blackout_usec) },
        { "Blackout", 't', offsetof(WatchJob, blackout_usec) },
        { "Throttle", 'u', offsetof(WatchJob, throttle_percent) },
        { "Policy", 's', offsetof(WatchJob, policy) },
        { "Decision", 's', offsetof(WatchJob, decision) },
        { "DecisionReason", 's', offsetof(WatchJob, reason) },
        { "Faults", 't', offsetof(WatchJob, faults) },
        { "Error", 's', offsetof(WatchJob, error) },
};

static int read_pending(sd_bus_message *message, WatchJob *job) {
        int r = sd_bus_message_enter_container(message, 'a', "{st}");

        while (r >= 0) {
                const char *name = NULL;
                uint64_t value = 0;

                r = sd_bus_message_read(message, "{st}", &name, &value);
                if (r <= 0)
                        break;
                if (strcmp(name, "precopy") == 0)
                        job->precopy_bytes = value;
                else if (strcmp(name, "postcopy") == 0)
                        job->postcopy_bytes = value;
                else if (strcmp(name, "stopcopy") == 0)
                        job->stopcopy_bytes = value;
                else if (strcmp(name, "total") == 0)
                        job->pending_bytes = value;
        }
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int read_value(sd_bus_message *message, const Field *field, WatchJob *job) {
        void *place = (char *) job + field->offset;
        const char *text = NULL;
        int yes = 0, r;

        switch (field->type) {
        case 'p':
                return read_pending(message, job);
        case 's':
                r = sd_bus_message_read_basic(message, 's', &text);
                if (r >= 0) {
                        g_free(*(char **) place);
                        *(char **) place = g_strdup(text);
                }
                return r;
        case 'b':
                r = sd_bus_message_read_basic(message, 'b', &yes);
                *(bool *) place = yes;
                return r;
        default:
                return sd_bus_message_read_basic(message, field->type, place);
        }
}

static int read_property(sd_bus_message *message, WatchJob *job) {
        const char *name = NULL, *contents = NULL;
        const Field *field = NULL;
        char type, expected[2] = { 0 };
        int r = sd_bus_message_read_basic(message, 's', &name);

        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(fields) && !field; i++)
                if (strcmp(fields[i].name, name) == 0)
                        field = &fields[i];
        if (r >= 0)
                r = sd_bus_message_peek_type(message, &type, &contents);
        if (r < 0)
                return r;
        if (field)
                expected[0] = field->type;
        if (!field || strcmp(contents, field->type == 'p' ? "a{st}" : expected) != 0)
                return sd_bus_message_skip(message, "v");
        r = sd_bus_message_enter_container(message, 'v', contents);
        if (r >= 0)
                r = read_value(message, field, job);
        return r < 0 ? r : sd_bus_message_exit_container(message);
}

int watch_job_read(sd_bus_message *message, WatchJob **ret_job) {
        g_autoptr(WatchJob) job = g_new0(WatchJob, 1);
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");

        job->expected_blackout_usec = UINT64_MAX;
        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = read_property(message, job);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        if (r < 0)
                return r;
        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
                if (fields[i].type == 's' && !*(char **) ((char *) job + fields[i].offset))
                        *(char **) ((char *) job + fields[i].offset) = g_strdup("");
        *ret_job = g_steal_pointer(&job);
        return 0;
}

/* ---- showing ---- */

bool watch_job_running(const WatchJob *job) {
        return strcmp(job->outcome, "running") == 0;
}

unsigned watch_job_percent(const WatchJob *job) {
        if (!watch_job_running(job))
                return strcmp(job->outcome, "completed") == 0 ? 100 : 0;
        if (job->total_bytes == 0 || job->pending_bytes >= job->total_bytes)
                return 0;
        return (unsigned) (100 - (job->pending_bytes * 100 + job->total_bytes - 1) / job->total_bytes);
}

static double mib(uint64_t bytes) {
        return (double) bytes / (double) MIB;
}

/* The decision with its reason, or what became of it. */
static char *what_now(const WatchJob *job) {
        if (*job->error)
                return g_strdup(job->error);
        if (!watch_job_running(job) && job->blackout_usec > 0)
                return g_strdup_printf(_("the guest stood still for %.1f ms"),
                                       (double) job->blackout_usec / USEC_PER_MSEC);
        if (job->paused)
                return g_strdup(_("paused by a user"));
        return *job->decision ? g_strdup_printf("%s: %s", job->decision, job->reason) : g_strdup("");
}

char *watch_job_line(const WatchJob *job) {
        g_autofree char *now = what_now(job);

        if (!watch_job_running(job))
                return g_strdup_printf(_("%s %s: %s after %.1f s, %.0f MiB sent%s%s"), job->domain, job->direction,
                                       job->phase, (double) job->elapsed_usec / USEC_PER_SEC,
                                       mib(job->transferred_bytes), *now ? "; " : "", now);
        return g_strdup_printf(
                _("%s %s: %s %u %%, round %llu, pending %.1f MiB (precopy %.1f, postcopy %.1f, stopcopy %.1f), %.1f "
                  "MiB/s, dirty %.1f MiB/s%s%s"),
                job->domain, job->direction, job->phase, watch_job_percent(job), (unsigned long long) job->round,
                mib(job->pending_bytes), mib(job->precopy_bytes), mib(job->postcopy_bytes), mib(job->stopcopy_bytes),
                mib(job->bandwidth), mib(job->dirty_rate), *now ? "; " : "", now);
}

char *watch_job_screen(const WatchJob *job, unsigned columns) {
        unsigned percent = watch_job_percent(job), width = CLAMP(columns / 3, 10, BAR_MAX),
                 full = percent * width / 100;
        g_autofree char *now = what_now(job), *done = g_strnfill(full, '#'), *left = g_strnfill(width - full, '.');
        GString *text = g_string_new(NULL);

        g_string_append_printf(text, "%-20s %-3s %-16s [%s%s] %3u %%  %.0f s\n", job->domain, job->direction,
                               job->phase, done, left, percent, (double) job->elapsed_usec / USEC_PER_SEC);
        if (watch_job_running(job))
                g_string_append_printf(
                        text,
                        _("    round %llu, pending %.1f MiB (precopy %.1f, postcopy %.1f, stopcopy %.1f), %.1f MiB/s, "
                          "dirty %.1f MiB/s\n"),
                        (unsigned long long) job->round, mib(job->pending_bytes), mib(job->precopy_bytes),
                        mib(job->postcopy_bytes), mib(job->stopcopy_bytes), mib(job->bandwidth), mib(job->dirty_rate));
        if (*now)
                g_string_append_printf(text, "    %s\n", now);
        return g_string_free(text, FALSE);
}

json_object *watch_job_json(const WatchJob *job) {
        json_object *object = json_object_new_object();

        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
                const void *place = (const char *) job + fields[i].offset;

                switch (fields[i].type) {
                case 's':
                        json_add_string(object, fields[i].name, *(char *const *) place);
                        break;
                case 'b':
                        json_add_bool(object, fields[i].name, *(const bool *) place);
                        break;
                case 'u':
                        json_add_uint64(object, fields[i].name, *(const unsigned *) place);
                        break;
                case 't':
                        /* Not known is not there. */
                        if (*(const uint64_t *) place != UINT64_MAX)
                                json_add_uint64(object, fields[i].name, *(const uint64_t *) place);
                        break;
                default: {
                        json_object *pending = json_object_new_object();

                        json_add_uint64(pending, "precopy", job->precopy_bytes);
                        json_add_uint64(pending, "postcopy", job->postcopy_bytes);
                        json_add_uint64(pending, "stopcopy", job->stopcopy_bytes);
                        json_add_uint64(pending, "total", job->pending_bytes);
                        json_add(object, fields[i].name, pending);
                }
                }
        }
        json_add_uint64(object, "Percent", watch_job_percent(job));
        return object;
}
