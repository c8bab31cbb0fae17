/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"

#define FILE_BYTES_MAX (1024u * 1024)

typedef enum KeyType {
        KEY_STRING, /* char * */
        KEY_UINT,   /* unsigned */
        KEY_INT,    /* int */
        KEY_MODE,   /* mode_t, written as a string of octal digits */
        KEY_LEVEL,  /* int, libvirt's 1 (debug) to 4 (errors) */
        KEY_CHOICE, /* char *, one of choices */
} KeyType;

typedef struct Key {
        const char *name;
        KeyType type;
        size_t offset;
        int64_t min, max;
        const char *const *choices;
} Key;

static const char *const huge_choices[] = { "within_size", "advise", "never", NULL };

static const char *const restore_choices[] = { "lazy", "full", NULL };
static const char *const image_format_choices[] = { "raw", "zstd", NULL };
static const char *const dbus_choices[] = { "auto", "none", "system", "session", NULL };

static const Key keys[] = {
        { "unix_sock_group", KEY_STRING, offsetof(DaemonConfig, unix_sock_group) },
        { "unix_sock_rw_perms", KEY_MODE, offsetof(DaemonConfig, unix_sock_rw_perms) },
        { "unix_sock_ro_perms", KEY_MODE, offsetof(DaemonConfig, unix_sock_ro_perms) },
        { "max_clients", KEY_UINT, offsetof(DaemonConfig, limits.max_clients), 1, 1000000 },
        { "max_anonymous_clients", KEY_UINT, offsetof(DaemonConfig, limits.max_anonymous_clients), 1, 1000000 },
        { "max_client_requests", KEY_UINT, offsetof(DaemonConfig, limits.max_client_requests), 2, 1000 },
        { "keepalive_interval", KEY_INT, offsetof(DaemonConfig, limits.keepalive_interval), -1, 86400 },
        { "keepalive_count", KEY_UINT, offsetof(DaemonConfig, limits.keepalive_count), 0, 1000 },
        { "dbus", KEY_CHOICE, offsetof(DaemonConfig, dbus), .choices = dbus_choices },
        { "dbus_max_callers", KEY_UINT, offsetof(DaemonConfig, bus_limits.max_callers), 1, 100000 },
        { "dbus_max_calls", KEY_UINT, offsetof(DaemonConfig, bus_limits.max_calls), 2, 1000 },
        { "hostname", KEY_STRING, offsetof(DaemonConfig, hostname) },
        { "host_uuid", KEY_STRING, offsetof(DaemonConfig, host_uuid) },
        { "migration_address", KEY_STRING, offsetof(DaemonConfig, migration_address) },
        { "migration_max_outgoing", KEY_UINT, offsetof(DaemonConfig, migration_max_outgoing), 0, 10000 },
        { "migration_bandwidth", KEY_UINT, offsetof(DaemonConfig, migration_bandwidth), 0, 1000000000 },
        { "migration_policy", KEY_STRING, offsetof(DaemonConfig, migration_policy) },
        { "migration_host", KEY_STRING, offsetof(DaemonConfig, migration_host) },
        { "migration_port_min", KEY_UINT, offsetof(DaemonConfig, migration_port_min), 1, 65535 },
        { "migration_port_max", KEY_UINT, offsetof(DaemonConfig, migration_port_max), 1, 65535 },
        { "migration_idle_timeout", KEY_UINT, offsetof(DaemonConfig, migration_idle_timeout), 2, 3600 },
        { "network_uri", KEY_STRING, offsetof(DaemonConfig, network_uri) },
        { "hugetlbfs_mount", KEY_STRING, offsetof(DaemonConfig, hugetlbfs_mount) },
        { "ram_huge", KEY_CHOICE, offsetof(DaemonConfig, ram_huge), .choices = huge_choices },
        { "ram_size", KEY_STRING, offsetof(DaemonConfig, ram_size) },
        { "guest_slice", KEY_STRING, offsetof(DaemonConfig, guest_slice) },
        { "restore_mode", KEY_CHOICE, offsetof(DaemonConfig, restore_mode), .choices = restore_choices },
        { "save_image_format", KEY_CHOICE, offsetof(DaemonConfig, save_image_format), .choices = image_format_choices },
        { "emulator", KEY_STRING, offsetof(DaemonConfig, emulator) },
        { "log_level", KEY_LEVEL, offsetof(DaemonConfig, log_level), 1, 4 },
};

void config_init(DaemonConfig *config) {
        *config = (DaemonConfig) {
                .unix_sock_rw_perms = 0700,
                .unix_sock_ro_perms = 0777,
                .limits = {
                        .max_clients = 5000,
                        .max_anonymous_clients = 20,
                        .max_client_requests = 20,
                        .keepalive_interval = 5,
                        .keepalive_count = 5,
                },
                .bus_limits = { .max_callers = 512, .max_calls = 20 },
                .migration_port_min = 49152,
                .migration_port_max = 49215,
                .migration_idle_timeout = 10,
                .log_level = LOG_INFO,
        };
}

void config_clear(DaemonConfig *config) {
        for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
                if (keys[i].type == KEY_STRING || keys[i].type == KEY_CHOICE)
                        g_clear_pointer((char **) ((char *) config + keys[i].offset), g_free);
        *config = (DaemonConfig) { 0 };
}

/* A line of the file, and the place for complaints. */
typedef struct Line {
        const char *file;
        unsigned number;
} Line;

static int line_error(const Line *line, GError **reterr, const char *text) {
        return error_set(reterr, VIR_ERR_CONF_SYNTAX, "%s:%u: %s", line->file, line->number, text);
}

static char *skip_space(char *p) {
        while (*p == ' ' || *p == '\t' || *p == '\r')
                p++;
        return p;
}

/* Whether nothing follows but a comment. */
static bool at_end(char *p) {
        p = skip_space(p);
        return *p == '\0' || *p == '#';
}

static int parse_number(const Line *line, char *p, int64_t *ret_value, GError **reterr) {
        char *end = NULL;

        errno = 0;
        long long value = strtoll(p, &end, 10);
        if (end == p || errno != 0 || !at_end(end))
                return line_error(line, reterr, _("a whole number is expected"));
        *ret_value = value;
        return 0;
}

/* Cuts the string out of the line. */
static int parse_string(const Line *line, char *p, char **ret_value, GError **reterr) {
        char quote = *p;
        char *end = quote == '"' || quote == '\'' ? strchr(p + 1, quote) : NULL;

        if (!end || !at_end(end + 1))
                return line_error(line, reterr, _("a string in quotes is expected"));
        *end = '\0';
        *ret_value = p + 1;
        return 0;
}

static int set_number(const Key *key, void *field, const Line *line, char *p, GError **reterr) {
        static const int levels[] = { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR };
        int64_t value = 0;

        int r = parse_number(line, p, &value, reterr);
        if (r < 0)
                return r;
        if (value < key->min || value > key->max) {
                g_autofree char *text = g_strdup_printf(_("'%s' goes from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT),
                                                        key->name,
                                                        key->min, key->max);
                return line_error(line, reterr, text);
        }
        if (key->type == KEY_UINT)
                *(unsigned *) field = (unsigned) value;
        else
                *(int *) field = key->type == KEY_LEVEL ? levels[value - 1] : (int) value;
        return 0;
}

static int set_text(const Key *key, void *field, const Line *line, char *p, GError **reterr) {
        char *value = NULL, *end = NULL;

        int r = parse_string(line, p, &value, reterr);
        if (r < 0)
                return r;
        if (key->type == KEY_MODE) {
                unsigned long mode = strtoul(value, &end, 8);
                if (end == value || *end || mode > 0777)
                        return line_error(line, reterr, _("permissions are octal, such as \"0770\""));
                *(mode_t *) field = (mode_t) mode;
                return 0;
        }
        if (key->type == KEY_CHOICE && !g_strv_contains(key->choices, value)) {
                g_autofree char *known = g_strjoinv(", ", (char **) key->choices);
                g_autofree char *text = g_strdup_printf(_("'%s' is one of: %s"), key->name, known);
                return line_error(line, reterr, text);
        }
        g_free(*(char **) field);
        *(char **) field = *value ? g_strdup(value) : NULL;
        return 0;
}

static int parse_line(DaemonConfig *config, const Line *line, char *text, GError **reterr) {
        char *name = skip_space(text);
        if (at_end(name))
                return 0;

        size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789");
        char *p = skip_space(name + length);
        if (length == 0 || *p != '=')
                return line_error(line, reterr, _("'key = value' is expected"));
        p = skip_space(p + 1);

        for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
                if (strncmp(keys[i].name, name, length) != 0 || keys[i].name[length])
                        continue;
                void *field = (char *) config + keys[i].offset;
                bool number = keys[i].type == KEY_UINT || keys[i].type == KEY_INT || keys[i].type == KEY_LEVEL;
                return number
                        ? set_number(&keys[i], field, line, p, reterr) : set_text(&keys[i], field, line, p, reterr);
        }
        g_autofree char *complaint = g_strdup_printf(_("there is no setting '%.*s'"), (int) MIN(length, 64u), name);
        return line_error(line, reterr, complaint);
}

int config_parse(DaemonConfig *config, const char *file, const char *text, GError **reterr) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        unsigned n = g_strv_length(lines);

        for (unsigned i = 0; i < n; i++) {
                int r = parse_line(config, &(Line) { file, i + 1 }, lines[i], reterr);
                if (r < 0)
                        return r;
        }
        if (config->migration_port_min > config->migration_port_max)
                return error_set(reterr, VIR_ERR_CONF_SYNTAX,
                                 _("%s: migration_port_min %u is above migration_port_max %u"), file,
                                 config->migration_port_min, config->migration_port_max);
        return 0;
}

int config_load(DaemonConfig *config, const char *file, bool required, GError **reterr) {
        g_autofree char *text = NULL;

        if (!required && access(file, F_OK) < 0 && errno == ENOENT)
                return 0;
        int r = file_read(file, FILE_BYTES_MAX, &text, NULL, reterr);
        return r < 0 ? r : config_parse(config, file, text, reterr);
}
