/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Helpers over json-c: framing of JSON lines with bounds, and typed access to members. */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

/* Parses exactly one JSON value of length bytes (depth at most 64). NULL with reterr on anything else. */
json_object *json_parse(const char *text, size_t length, GError **reterr);

/* The member, or NULL / the fallback when it is missing or of another type. Results are borrowed. */
json_object *json_get(json_object *object, const char *key);
const char *json_get_string(json_object *object, const char *key);
uint64_t json_get_uint64(json_object *object, const char *key, uint64_t fallback);
int64_t json_get_int64(json_object *object, const char *key, int64_t fallback);
bool json_get_bool(json_object *object, const char *key, bool fallback);

/* Adds a member; value NULL for a string is skipped. All return object, so that calls chain. */
json_object *json_add_string(json_object *object, const char *key, const char *value);
json_object *json_add_uint64(json_object *object, const char *key, uint64_t value);
json_object *json_add_int64(json_object *object, const char *key, int64_t value);
json_object *json_add_bool(json_object *object, const char *key, bool value);
json_object *json_add(json_object *object, const char *key, json_object *value); /* consumes value; NULL is skipped */

/* One line of text for the wire, without the newline; valid until object changes. */
const char *json_line(json_object *object);
