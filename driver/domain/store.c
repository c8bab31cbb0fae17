/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/store.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"

#define STATUS_MAX (16u * 1024 * 1024)

int store_init(Store *store, const char *config_dir, const char *state_dir, GError **reterr) {
        int r;

        store->config_dir = g_strdup(config_dir);
        store->autostart_dir = g_build_filename(config_dir, "autostart", NULL);
        store->status_dir = g_build_filename(state_dir, "status", NULL);
        r = dir_make(store->autostart_dir, 0700, reterr);
        if (r < 0)
                return r;
        return dir_make(store->status_dir, 0700, reterr);
}

void store_clear(Store *store) {
        g_clear_pointer(&store->config_dir, g_free);
        g_clear_pointer(&store->autostart_dir, g_free);
        g_clear_pointer(&store->status_dir, g_free);
}

static char *store_path(const char *dir, const char *name, const char *suffix) {
        return g_strdup_printf("%s/%s%s", dir, name, suffix);
}

int store_save_config(const Store *store, const char *name, const DomainDef *def, GError **reterr) {
        g_autofree char *path = store_path(store->config_dir, name, ".xml");
        g_autofree char *xml = domain_def_format(def, DOMAIN_FORMAT_INACTIVE | DOMAIN_FORMAT_SECURE);

        return file_write_atomic(path, xml, strlen(xml), 0600, reterr);
}

int store_remove_config(const Store *store, const char *name, GError **reterr) {
        g_autofree char *path = store_path(store->config_dir, name, ".xml");
        int r = store_set_autostart(store, name, false, reterr);

        if (r < 0)
                return r;
        if (unlink(path) < 0 && errno != ENOENT)
                return error_set_errno(reterr, errno, _("cannot remove the definition '%s'"), path);
        return 0;
}

int store_set_autostart(const Store *store, const char *name, bool on, GError **reterr) {
        g_autofree char *path = store_path(store->config_dir, name, ".xml");
        g_autofree char *link_path = store_path(store->autostart_dir, name, ".xml");

        if (unlink(link_path) < 0 && errno != ENOENT)
                return error_set_errno(reterr, errno, _("cannot remove the autostart link '%s'"), link_path);
        if (on && symlink(path, link_path) < 0)
                return error_set_errno(reterr, errno, _("cannot make the autostart link '%s'"), link_path);
        return 0;
}

static int store_load_config(const Store *store, DomainList *list, const char *name, GError **reterr) {
        g_autofree char *path = store_path(store->config_dir, name, ".xml");
        g_autofree char *link_path = store_path(store->autostart_dir, name, ".xml");
        g_autofree char *xml = NULL;
        g_autoptr(DomainDef) def = NULL;
        Domain *domain = NULL;
        size_t length;
        int r;

        r = file_read(path, DOMAIN_XML_MAX, &xml, &length, reterr);
        if (r >= 0)
                r = domain_def_parse(xml, length, DOMAIN_PARSE_INACTIVE, NULL, &def, reterr);
        if (r < 0)
                return r;
        if (strcmp(def->name, name) != 0)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("file '%s' defines a domain of another name, '%s'"), path,
                                 def->name);
        r = domain_list_add(list, def, &domain, reterr);
        if (r < 0)
                return r;
        domain->config = g_steal_pointer(&def);
        domain->autostart = access(link_path, F_OK) == 0;
        return 0;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static char **list_files(const char *path, const char *suffix) {
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        const char *file;

        while (dir && (file = g_dir_read_name(dir)))
                if (g_str_has_suffix(file, suffix))
                        g_ptr_array_add(names, g_strndup(file, strlen(file) - strlen(suffix)));
        g_ptr_array_sort(names, compare_names);
        g_ptr_array_add(names, NULL);
        return (char **) g_ptr_array_free(g_steal_pointer(&names), FALSE);
}

int store_load_configs(const Store *store, DomainList *list, unsigned *ret_bad, GError **reterr) {
        g_auto(GStrv) names = list_files(store->config_dir, ".xml");
        unsigned bad = 0;

        for (unsigned i = 0; names[i]; i++) {
                g_autoptr(GError) error = NULL;

                if (store_load_config(store, list, names[i], &error) < 0) {
                        log_debug("definition '%s' cannot be loaded, ignoring: %s", names[i], error->message);
                        bad++;
                }
        }
        if (ret_bad)
                *ret_bad = bad;
        return 0;
}

int store_save_status(const Store *store, const char *name, json_object *status, GError **reterr) {
        g_autofree char *path = store_path(store->status_dir, name, ".json");
        const char *text = json_line(status);

        return file_replace(path, text, strlen(text), 0600, reterr);
}

void store_remove_status(const Store *store, const char *name) {
        g_autofree char *path = store_path(store->status_dir, name, ".json");

        unlink(path);
}

char **store_list_status(const Store *store) {
        return list_files(store->status_dir, ".json");
}

int store_load_status(const Store *store, const char *name, json_object **ret_status, GError **reterr) {
        g_autofree char *path = store_path(store->status_dir, name, ".json");
        g_autofree char *text = NULL;
        size_t length;
        int r = file_read(path, STATUS_MAX, &text, &length, reterr);

        if (r < 0)
                return r;
        *ret_status = json_parse(text, length, reterr);
        return *ret_status ? 0 : -EINVAL;
}
