/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What all enumerations of the definition have in common: value 0 means "not said" and has no name; X_LAST is their
 * number; x_to_string() gives the XML's word (NULL for 0), x_from_string() the value or -1.
 */

#include <assert.h>
#include <glib.h>

#define DEF_ENUM_DECLARE(Type, prefix)                \
        const char *prefix##_to_string(Type value);   \
        int prefix##_from_string(const char *text);   \
        extern const char *const prefix##_names[]; /* by value; names[0] is NULL, NULL after the last */

/* yes/no and on/off alike */
typedef enum TriState {
        TRI_UNSET,
        TRI_YES, /* "yes", "on" */
        TRI_NO,  /* "no", "off" */
        TRI_LAST,
} TriState;

/* value, or fallback if it was not said */
static inline gboolean tri_state_or(TriState value, gboolean fallback) {
        return value == TRI_UNSET ? fallback : value == TRI_YES;
}

/* In one .c file: DEF_ENUM_DEFINE(Type, TYPE_LAST, prefix, "word for 1", "word for 2", ...) */
#define DEF_ENUM_DEFINE(Type, last, prefix, ...)                                                        \
        const char *const prefix##_names[] = { NULL, __VA_ARGS__, NULL };                               \
        static_assert(G_N_ELEMENTS(prefix##_names) == last + 1, #Type " and its words do not agree");   \
        const char *prefix##_to_string(Type value) {                                                    \
                return (unsigned) value < last ? prefix##_names[value] : NULL;                          \
        }                                                                                               \
        int prefix##_from_string(const char *text) {                                                    \
                for (int i = 1; i < (int) last; i++)                                                    \
                        if (g_str_equal(prefix##_names[i], text))                                       \
                                return i;                                                               \
                return -1;                                                                              \
        }
