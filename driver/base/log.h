/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Logging. driver/ and xml/ log nothing above debug: what a user must know travels as an error or an event, and the
 * process that owns the boundary (daemon/, tools/, the engine's main) logs it once. Goes to the journal when stderr is
 * connected to it, else to stderr.
 */

#include <glib.h>
#include <stddef.h>
#include <syslog.h>

/* LOG_ERR .. LOG_DEBUG; default LOG_INFO. */
void log_set_level(int level);
int log_get_level(void);
void log_message(int level, const char *file, int line, const char *func, const char *format, ...) G_GNUC_PRINTF(5, 6);

/* A field of a message in the journal: upper-case name, at most 64 characters, no leading underscore. */
typedef struct LogField {
        const char *name, *value; /* value NULL: the field is left out */
} LogField;

/* As log_info() and its like, with fields for the journal, and message_id (32 hexadecimal digits) for what kind of
 * message it is; NULL: none. stderr gets the text only. */
void log_record(int level, const char *message_id, const LogField *fields, size_t n_fields, const char *format, ...)
        G_GNUC_PRINTF(5, 6);

#define log_at(level, ...) \
        ((level) <= log_get_level() ? log_message((level), __FILE__, __LINE__, __func__, __VA_ARGS__) : (void) 0)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERR, __VA_ARGS__)
