/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is on disk about domains.
 *
 *   CONFIG/NAME.xml             persistent definition
 *   CONFIG/autostart/NAME.xml   link to it: started with the host
 *   STATE/status/NAME.json      a running guest: enough for a restarted daemon to find it (driver/guest fills it)
 */

#include <glib.h>
#include <json-c/json.h>

#include "driver/domain/domain_list.h"

typedef struct Store {
        char *config_dir, *autostart_dir, *status_dir;
} Store;

/* Makes the directories. */
int store_init(Store *store, const char *config_dir, const char *state_dir, GError **reterr);
void store_clear(Store *store);

/* Writes, or removes, the persistent definition. Removing drops the autostart link too. */
int store_save_config(const Store *store, const char *name, const DomainDef *def, GError **reterr);
int store_remove_config(const Store *store, const char *name, GError **reterr);
int store_set_autostart(const Store *store, const char *name, bool on, GError **reterr);

/* Adds all persistent definitions to the list; a file that cannot be read is logged at debug and counted in *ret_bad
 * (may be NULL), ignoring it otherwise. */
int store_load_configs(const Store *store, DomainList *list, unsigned *ret_bad, GError **reterr);

/* Status of one running guest. Loading gives NULL-terminated names, or the object. */
int store_save_status(const Store *store, const char *name, json_object *status, GError **reterr);
void store_remove_status(const Store *store, const char *name);
char **store_list_status(const Store *store);
int store_load_status(const Store *store, const char *name, json_object **ret_status, GError **reterr);
