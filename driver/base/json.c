/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/json.h"

#include "driver/base/error.h"
#include "driver/base/i18n.h"

#define JSON_DEPTH_MAX 64

json_object *json_parse(const char *text, size_t length, GError **reterr) {
        struct json_tokener *tokener = NULL;
        json_object *object = NULL;
        enum json_tokener_error result;

        if (length > G_MAXINT32) {
                error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("JSON text of %zu bytes is too long"), length);
                return NULL;
        }
        tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
        if (!tokener) {
                error_set(reterr, VIR_ERR_NO_MEMORY, _("no memory to parse JSON"));
                return NULL;
        }
        json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
        object = json_tokener_parse_ex(tokener, text, (int) length);
        result = json_tokener_get_error(tokener);
        /* A bare number or literal is only complete when the text is known to end. */
        if (result == json_tokener_continue) {
                object = json_tokener_parse_ex(tokener, "", 1);
                result = json_tokener_get_error(tokener);
        } else if (result == json_tokener_success) {
                for (size_t i = json_tokener_get_parse_end(tokener); i < length; i++)
                        if (!g_ascii_isspace(text[i]))
                                result = json_tokener_error_parse_unexpected;
        }
        json_tokener_free(tokener);
        if (result != json_tokener_success || !object) {
                json_object_put(object);
                error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("invalid JSON: %s"),
                          result == json_tokener_success ? "null" : json_tokener_error_desc(result));
                return NULL;
        }
        return object;
}

json_object *json_get(json_object *object, const char *key) {
        json_object *value = NULL;

        if (!object || !json_object_is_type(object, json_type_object))
                return NULL;
        return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

const char *json_get_string(json_object *object, const char *key) {
        json_object *value = json_get(object, key);

        return value && json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

uint64_t json_get_uint64(json_object *object, const char *key, uint64_t fallback) {
        json_object *value = json_get(object, key);

        return value && json_object_is_type(value, json_type_int) ? json_object_get_uint64(value) : fallback;
}

int64_t json_get_int64(json_object *object, const char *key, int64_t fallback) {
        json_object *value = json_get(object, key);

        return value && json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : fallback;
}

bool json_get_bool(json_object *object, const char *key, bool fallback) {
        json_object *value = json_get(object, key);

        return value && json_object_is_type(value, json_type_boolean) ? json_object_get_boolean(value) : fallback;
}

json_object *json_add(json_object *object, const char *key, json_object *value) {
        if (value)
                json_object_object_add(object, key, value);
        return object;
}

json_object *json_add_string(json_object *object, const char *key, const char *value) {
        return value ? json_add(object, key, json_object_new_string(value)) : object;
}

json_object *json_add_uint64(json_object *object, const char *key, uint64_t value) {
        return json_add(object, key, json_object_new_uint64(value));
}

json_object *json_add_int64(json_object *object, const char *key, int64_t value) {
        return json_add(object, key, json_object_new_int64(value));
}

json_object *json_add_bool(json_object *object, const char *key, bool value) {
        return json_add(object, key, json_object_new_boolean(value));
}

const char *json_line(json_object *object) {
        return json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}
