/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/cookie.h"

#include <errno.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "xml/uuid.h"

#define COOKIE_KEY "ferry-migration"

void migration_cookie_clear(MigrationCookie *cookie) {
        for (unsigned i = 0; i < cookie->n_blocks; i++)
                g_free(cookie->blocks[i].id);
        g_clear_pointer(&cookie->blocks, g_free);
        cookie->n_blocks = 0;
        g_clear_pointer(&cookie->name, g_free);
        g_clear_pointer(&cookie->hostname, g_free);
        g_clear_pointer(&cookie->instance, g_free);
        g_clear_pointer(&cookie->uri, g_free);
        g_clear_pointer(&cookie->persistent_xml, g_free);
        storage_disks_free(g_steal_pointer(&cookie->disks), cookie->n_disks);
        g_clear_pointer(&cookie->disks_uri, g_free);
        g_clear_pointer(&cookie->id, g_free);
}

static char *hex_format(const unsigned char *bytes, size_t n) {
        GString *text = g_string_sized_new(2 * n + 1);

        for (size_t i = 0; i < n; i++)
                g_string_append_printf(text, "%02x", bytes[i]);
        return g_string_free(text, FALSE);
}

static int hex_parse(const char *text, unsigned char *bytes, size_t n) {
        if (strlen(text) != 2 * n)
                return -EINVAL;
        for (size_t i = 0; i < n; i++) {
                int high = g_ascii_xdigit_value(text[2 * i]), low = g_ascii_xdigit_value(text[2 * i + 1]);

                if (high < 0 || low < 0)
                        return -EINVAL;
                bytes[i] = (unsigned char) (high << 4 | low);
        }
        return 0;
}

static json_object *format_disks(const MigrationCookie *cookie) {
        json_object *disks = json_object_new_array();

        for (unsigned i = 0; i < cookie->n_disks; i++) {
                json_object *disk = json_add_string(json_object_new_object(), "target", cookie->disks[i].target);

                json_object_array_add(disks, json_add_uint64(disk, "size", cookie->disks[i].bytes));
        }
        return disks;
}

char *migration_cookie_format(const MigrationCookie *cookie, unsigned *ret_length) {
        g_autoptr(json_object) object = json_object_new_object();
        char uuid[UUID_TEXT_SIZE];
        char *text;

        json_add_int64(object, COOKIE_KEY, COOKIE_VERSION);
        json_add_string(object, "name", cookie->name);
        json_add_string(object, "uuid", uuid_format(cookie->uuid, uuid));
        json_add_string(object, "hostname", cookie->hostname);
        json_add_string(object, "instance", cookie->instance);
        if (cookie->blocks) {
                json_object *blocks = json_object_new_array();

                for (unsigned i = 0; i < cookie->n_blocks; i++) {
                        json_object *block = json_object_new_object();

                        json_add_string(block, "id", cookie->blocks[i].id);
                        json_add_uint64(block, "size", cookie->blocks[i].size_bytes);
                        json_add_uint64(block, "page", cookie->blocks[i].page_bytes);
                        json_object_array_add(blocks, block);
                }
                json_add(object, "ram", blocks);
                json_add_uint64(object, "resident", cookie->resident_bytes);
        }
        if (cookie->has_token) {
                g_autofree char *token = hex_format(cookie->token, sizeof(cookie->token));

                json_add_string(object, "token", token);
        }
        json_add_string(object, "uri", cookie->uri);
        if (cookie->disks)
                json_add(object, "disks", format_disks(cookie));
        json_add_string(object, "disks-uri", cookie->disks_uri);
        json_add_string(object, "persistent", cookie->persistent_xml);
        json_add_string(object, "id", cookie->id);
        if (cookie->complete)
                json_add_bool(object, "complete", true);
        text = g_strdup(json_line(object));
        *ret_length = (unsigned) strlen(text);
        return text;
}

static int parse_blocks(json_object *list, MigrationCookie *cookie) {
        size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

        if (n == 0 || n > COOKIE_BLOCKS_MAX)
                return -EINVAL;
        cookie->blocks = g_new0(CookieBlock, n);
        cookie->n_blocks = (unsigned) n;
        for (size_t i = 0; i < n; i++) {
                json_object *item = json_object_array_get_idx(list, i);
                CookieBlock *block = &cookie->blocks[i];

                block->id = g_strdup(json_get_string(item, "id"));
                block->size_bytes = json_get_uint64(item, "size", 0);
                block->page_bytes = json_get_uint64(item, "page", 0);
                if (!block->id || block->size_bytes == 0 || block->page_bytes == 0)
                        return -EINVAL;
        }
        return 0;
}

static int parse_disks(json_object *list, MigrationCookie *cookie) {
        size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

        if (n == 0 || n > STORAGE_DISKS_MAX)
                return -EINVAL;
        cookie->disks = g_new0(StorageDisk, n);
        cookie->n_disks = (unsigned) n;
        for (size_t i = 0; i < n; i++) {
                json_object *item = json_object_array_get_idx(list, i);

                cookie->disks[i].target = g_strdup(json_get_string(item, "target"));
                cookie->disks[i].bytes = json_get_uint64(item, "size", 0);
                if (!cookie->disks[i].target)
                        return -EINVAL;
        }
        return 0;
}

static int parse_members(json_object *object, MigrationCookie *cookie) {
        const char *uuid = json_get_string(object, "uuid"), *token = json_get_string(object, "token");
        json_object *blocks = json_get(object, "ram"), *disks = json_get(object, "disks");

        cookie->name = g_strdup(json_get_string(object, "name"));
        cookie->hostname = g_strdup(json_get_string(object, "hostname"));
        cookie->instance = g_strdup(json_get_string(object, "instance"));
        cookie->uri = g_strdup(json_get_string(object, "uri"));
        cookie->persistent_xml = g_strdup(json_get_string(object, "persistent"));
        cookie->id = g_strdup(json_get_string(object, "id"));
        cookie->complete = json_get_bool(object, "complete", false);
        cookie->resident_bytes = json_get_uint64(object, "resident", 0);
        if (!cookie->name || !uuid || uuid_parse(uuid, cookie->uuid) < 0)
                return -EINVAL;
        if (blocks && parse_blocks(blocks, cookie) < 0)
                return -EINVAL;
        if (disks && parse_disks(disks, cookie) < 0)
                return -EINVAL;
        cookie->disks_uri = g_strdup(json_get_string(object, "disks-uri"));
        if (token) {
                if (hex_parse(token, cookie->token, sizeof(cookie->token)) < 0)
                        return -EINVAL;
                cookie->has_token = true;
        }
        return 0;
}

int migration_cookie_parse(const char *data, size_t length, MigrationCookie *ret_cookie, GError **reterr) {
        g_auto(MigrationCookie) cookie = { 0 };
        g_autoptr(json_object) object = NULL;
        int64_t version;

        if (length == 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("there is no migration cookie: both ends must be Ferry daemons"));
        object = length <= COOKIE_MAX ? json_parse(data, length, NULL) : NULL;
        version = object ? json_get_int64(object, COOKIE_KEY, 0) : 0;
        if (version == 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("the migration cookie is not Ferry's: both ends must be Ferry daemons"));
        if (version != COOKIE_VERSION)
                return error_set(
                        reterr, VIR_ERR_INVALID_ARG,
                        _("the peer's migration cookie has version %lld, ours is %d: update the older of the two "
                          "daemons"),
                        (long long) version, COOKIE_VERSION);
        if (parse_members(object, &cookie) < 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the migration cookie is damaged"));
        *ret_cookie = cookie;
        cookie = (MigrationCookie){ 0 };
        return 0;
}
