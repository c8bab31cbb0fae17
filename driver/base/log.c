/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

static int log_level = LOG_INFO;

void log_set_level(int level) {
        log_level = level;
}

int log_get_level(void) {
        return log_level;
}

/* JOURNAL_STREAM names the device and inode that stderr had when the service manager started us; it may have been
 * redirected since. */
static bool stderr_is_journal(void) {
        const char *stream = g_getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
               st.st_dev == device && st.st_ino == inode;
}

static void log_to_stderr(int level, const char *text) {
        static const char *const names[] = { "emerg", "alert", "crit", "error", "warning", "notice", "info", "debug" };
        struct timespec now;
        struct tm tm;

        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        fprintf(stderr, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s: %s\n", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000, names[level & LOG_PRIMASK], text);
}

void log_message(int level, const char *file, int line, const char *func, const char *format, ...) {
        g_autofree char *text = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);
        if (stderr_is_journal()) {
                g_autofree char *code_file = g_strdup_printf("CODE_FILE=%s", file);
                g_autofree char *code_line = g_strdup_printf("CODE_LINE=%d", line);

                if (sd_journal_send_with_location(code_file, code_line, func, "MESSAGE=%s", text, "PRIORITY=%d", level,
                                                  NULL) >= 0)
                        return;
        }
        log_to_stderr(level, text);
}

/* Takes text over. */
static void add_field(GPtrArray *texts, GArray *fields, char *text) {
        struct iovec field = { text, strlen(text) };

        g_ptr_array_add(texts, text);
        g_array_append_val(fields, field);
}

void log_record(int level, const char *message_id, const LogField *fields, size_t n_fields, const char *format, ...) {
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(struct iovec));
        g_autofree char *text = NULL;
        va_list ap;

        if (level > log_level)
                return;
        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);
        add_field(texts, all, g_strconcat("MESSAGE=", text, NULL));
        add_field(texts, all, g_strdup_printf("PRIORITY=%d", level));
        if (message_id)
                add_field(texts, all, g_strconcat("MESSAGE_ID=", message_id, NULL));
        for (size_t i = 0; i < n_fields; i++)
                if (fields[i].value)
                        add_field(texts, all, g_strconcat(fields[i].name, "=", fields[i].value, NULL));
        if (!stderr_is_journal() || sd_journal_sendv((const struct iovec *) all->data, (int) all->len) < 0)
                log_to_stderr(level, text);
}
