/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/systemd/journal.h"

#include <inttypes.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/systemd/message_ids.h"
#include "driver/base/log.h"

struct Journal {
        Driver *driver;
        DriverClient *client; /* our own, to look jobs up */
        unsigned subscription;
        GHashTable *phases; /* number of a running job -> its phase as last written */
};

#define FIELDS_MAX 8

/* Domain and uuid first, then what the message is about. Fields without a value are left out. */
static void write_message(int level, const char *id, const DomainRef *domain, const LogField *more, size_t n_more,
                          const char *text) {
        char uuid[VIR_UUID_STRING_BUFLEN];
        LogField fields[2 + FIELDS_MAX] = {
                { "FERRY_DOMAIN", domain->name },
                { "FERRY_UUID", driver_uuid_format(domain->uuid, uuid) },
        };

        g_assert(n_more <= FIELDS_MAX);
        for (size_t i = 0; i < n_more; i++)
                fields[2 + i] = more[i];
        log_record(level, id, fields, 2 + n_more, "%s", text);
}

static const char *stopped_reason(int detail) {
        switch (detail) {
        case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
                return "it has shut down";
        case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
                return "it was destroyed";
        case VIR_DOMAIN_EVENT_STOPPED_MIGRATED:
                return "it runs on another host";
        case VIR_DOMAIN_EVENT_STOPPED_SAVED:
                return "it was saved";
        case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
                return "it has crashed";
        default:
                return "it has failed";
        }
}

static void on_lifecycle(const DriverEvent *event) {
        const DomainRef *domain = event->domain;
        int detail = event->lifecycle.detail;

        if (event->lifecycle.event == VIR_DOMAIN_EVENT_STARTED) {
                g_autofree char *text = g_strdup_printf("Virtual machine '%s' has started", domain->name);
                write_message(LOG_INFO, MESSAGE_GUEST_STARTED, domain, NULL, 0, text);
        } else if (event->lifecycle.event == VIR_DOMAIN_EVENT_STOPPED) {
                bool crashed = detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED || detail == VIR_DOMAIN_EVENT_STOPPED_FAILED;
                const char *reason = stopped_reason(detail);
                g_autofree char *text = g_strdup_printf("Virtual machine '%s' has ended: %s", domain->name, reason);
                LogField field = { "FERRY_REASON", reason };

                write_message(crashed ? LOG_WARNING : LOG_INFO, crashed ? MESSAGE_GUEST_CRASHED : MESSAGE_GUEST_STOPPED,
                              domain, &field, 1, text);
        }
}

static void on_io_error(const DriverEvent *event) {
        const char *path = event->io_error.source_path, *alias = event->io_error.device_alias;
        const char *disk = path && *path ? path : alias;
        g_autofree char *text =
                g_strdup_printf("Virtual machine '%s' had an I/O error on '%s'", event->domain->name, disk);
        LogField field = { "FERRY_DISK", disk };

        write_message(LOG_WARNING, MESSAGE_GUEST_IO_ERROR, event->domain, &field, 1, text);
}

static void write_job(int level, const char *id, const DomainRef *domain, const DriverJobInfo *info, const char *text) {
        g_autofree char *number = g_strdup_printf("%" PRIu64, info->number);
        const LogField fields[] = {
                { "FERRY_JOB", number },
                { "FERRY_DIRECTION", info->incoming ? "incoming" : "outgoing" },
                { "FERRY_PHASE", info->phase },
                { "FERRY_PEER", info->peer && *info->peer ? info->peer : NULL },
                { "FERRY_ERROR", info->error && *info->error ? info->error : NULL },
        };

        write_message(level, id, domain, fields, G_N_ELEMENTS(fields), text);
}

static void on_job_ended(const DomainRef *domain, const DriverJobInfo *info) {
        const char *error = info->error && *info->error ? info->error : "no reason was given";
        g_autofree char *done =
                g_strdup_printf("Migration %" PRIu64 " of '%s' is complete, %" PRIu64 " ms without the guest running",
                                info->number, info->domain, (info->blackout_usec + 999) / 1000);
        g_autofree char *failed =
                g_strdup_printf("Migration %" PRIu64 " of '%s' has failed: %s", info->number, info->domain, error);

        if (info->outcome == DRIVER_JOB_COMPLETED)
                write_job(LOG_INFO, MESSAGE_MIGRATION_COMPLETED, domain, info, done);
        else
                write_job(LOG_WARNING, MESSAGE_MIGRATION_FAILED, domain, info, failed);
}

static void on_job(Journal *journal, const DriverEvent *event) {
        DriverJobChange change = event->job.change;
        g_auto(DriverJobInfo) info = { 0 };

        if (change == DRIVER_JOB_ROUND || change == DRIVER_JOB_DECISION || change == DRIVER_JOB_GONE ||
            driver_migration_job(journal->client, event->job.number, &info, NULL) < 0)
                return;
        if (change == DRIVER_JOB_ENDED) {
                g_hash_table_remove(journal->phases, &info.number);
                on_job_ended(event->domain, &info);
                return;
        }
        const char *last = g_hash_table_lookup(journal->phases, &info.number);
        if (last && strcmp(last, info.phase) == 0)
                return;
        g_hash_table_insert(journal->phases, g_memdup2(&info.number, sizeof(info.number)), (char *) info.phase);

        g_autofree char *begun = g_strdup_printf("Migration %" PRIu64 " of '%s' has begun (%s)", info.number,
                                                 info.domain, info.incoming ? "incoming" : "outgoing");
        g_autofree char *phase =
                g_strdup_printf("Migration %" PRIu64 " of '%s': %s", info.number, info.domain, info.phase);
        if (last)
                write_job(LOG_INFO, MESSAGE_MIGRATION_PHASE, event->domain, &info, phase);
        else
                write_job(LOG_INFO, MESSAGE_MIGRATION_STARTED, event->domain, &info, begun);
}

static void on_driver_event(const DriverEvent *event, void *userdata) {
        if (event->id == VIR_DOMAIN_EVENT_ID_LIFECYCLE)
                on_lifecycle(event);
        else if (event->id == VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON)
                on_io_error(event);
        else if (event->id == DRIVER_EVENT_JOB)
                on_job(userdata, event);
}

Journal *journal_new(Driver *driver) {
        Journal *journal = g_new0(Journal, 1);

        journal->driver = driver;
        journal->client = driver_client_new(driver, true, getuid(), getpid());
        journal->phases = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        journal->subscription = driver_subscribe(driver, on_driver_event, journal);
        return journal;
}

Journal *journal_free(Journal *journal) {
        if (!journal)
                return NULL;
        driver_unsubscribe(journal->driver, journal->subscription);
        driver_client_free(journal->client);
        g_hash_table_unref(journal->phases);
        g_free(journal);
        return NULL;
}
