/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Tables that bind XML to structs.
 *
 * Theory of operation. A BindSpec describes one struct and the element it comes from: a list of BindField, each a path
 * below that element and a member of the struct. Everything that has to agree about the XML is driven by the same
 * table: the parser (bind_parse.c, which refuses whatever no field of the table names), the formatter (bind_format.c,
 * which writes in the order of the table), copying, freeing and comparing (bind.c, bind_diff.c), and the RELAX NG
 * schema (bind_schema.c).
 *
 * Paths: "@a" is an attribute of the element, "b/@a" one of its child, "b" the child's text (or its presence, or the
 * child as a struct of its own), "" the element's own text. Several fields may name the same member: the parser then
 * wants equal values, and the formatter writes all of them (libvirt repeats listen= on <graphics>). Two fields may have
 * the same path if their `when` differs.
 */

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver/base/error.h"
#include "xml/markup.h"

#define BIND_LIST_MAX 1024

typedef enum BindKind {
        BIND_STRING,  /* char *; NULL: not said */
        BIND_ENUM,    /* enum; 0: not said. names; allow restricts it */
        BIND_YESNO,   /* TriState as yes/no */
        BIND_ONOFF,   /* TriState as on/off */
        BIND_STATE,   /* TriState: path is an element, its state= attribute is on (default) or off */
        BIND_PRESENT, /* bool: the element at path is there; path "": the struct's own element is there */
        BIND_UINT,    /* unsigned; 0: not said. Limits min..max (max 0: UINT_MAX) */
        BIND_INT,     /* int; the field's unset value: not said. min..max */
        BIND_HEX,     /* unsigned, written as 0x%0*x with `digits` digits; always written if its struct is. min..max */
        BIND_HEXINT,  /* int as BIND_INT, written in hex */
        BIND_I64,     /* int64_t; 0: not said */
        BIND_U64,     /* uint64_t; 0: not said */
        /* uint64_t of bytes, KiB by default, with a unit= attribute beside it; rounded up to KiB; 0: not said */
        BIND_BYTES,
        BIND_KIB,     /* as BIND_BYTES, but the member counts KiB */
        BIND_BITSET,  /* Bitset *; NULL: not said */
        BIND_UUID,    /* unsigned char[16], a bool follows it */
        BIND_STRUCT,  /* an embedded struct, spec; path is its element */
        BIND_INLINE,  /* an embedded struct whose fields belong to this very element (path "") */
        BIND_LIST,    /* GPtrArray * of spec's struct, at most max (0: BIND_LIST_MAX); path is the repeated element */
        BIND_RAW,     /* char *: what is inside the element, verbatim */
        BIND_KIND_LAST,
} BindKind;

enum {
        BIND_REQUIRED = 1 << 0, /* XML_ERROR without it */
        BIND_HOST = 1 << 1,     /* the guest does not see it: not compared by bind_diff() */
        BIND_SECRET = 1 << 2,   /* formatted with BIND_FORMAT_SECRETS only */
        BIND_EMPTY = 1 << 3,    /* BIND_STRING: an empty text is a value, not "not said" */
        BIND_ALWAYS = 1 << 4,   /* UINT, I64, U64, BYTES, KIB: 0 is a value and is written whenever the struct is */
};

typedef struct BindSpec BindSpec;

typedef struct BindField {
        const char *path; /* NULL ends a table */
        BindKind kind;
        size_t offset;
        union {
                const char *const *names;  /* ENUM */
                const BindSpec *spec;      /* STRUCT, INLINE, LIST */
        };
        unsigned flags; /* BIND_* */
        uint64_t when;  /* mask of the discriminator's values (1 << value) for which this field exists; 0: all */
        uint64_t allow; /* ENUM: mask of allowed values; 0: all */
        int64_t min, max;
        int unset;  /* INT, HEXINT */
        int digits; /* HEX */
} BindField;

struct BindSpec {
        const char *name; /* the element's, for messages and the schema */
        size_t size;
        const BindField *fields;
        /* The field that decides which others exist, with its value if it is not said; NULL: none. Must be a direct
         * attribute. */
        const char *discriminator;
        int discriminator_default;
};

/* ---- objects (bind.c) ---- */

/* A struct with arrays made and "not said" everywhere. */
void *bind_new(const BindSpec *spec);
void bind_init(const BindSpec *spec, void *object);
/* Frees what the struct owns; bind_free() also the struct. */
void bind_clear(const BindSpec *spec, void *object);
void *bind_free(const BindSpec *spec, void *object);
/* A deep copy. */
void *bind_copy(const BindSpec *spec, const void *object);
/* A new element at the end of an array whose elements are spec's; borrowed from the array. */
void *bind_append(GPtrArray *array, const BindSpec *spec);

/* Whether the field says something. */
bool bind_is_set(const BindField *field, const void *object);
/* A scalar field's text as in the XML, owned by the caller; NULL if it is not set. */
char *bind_value(const BindField *field, const void *object);
/* Whether the field exists for object's discriminator. */
bool bind_applies(const BindSpec *spec, const BindField *field, const void *object);
/* The value of spec's discriminator in object; 0 if it has none. */
int bind_discriminator(const BindSpec *spec, const void *object);

/* Where the field is in object; the object's constness is the caller's business. */
static inline void *bind_member(const BindField *field, const void *object) {
        return (char *) object + field->offset;
}

/* ---- XML (bind_parse.c, bind_format.c) ---- */

/* Fills object (fresh from bind_new()) from node. XML_ERROR or CONFIG_UNSUPPORTED, see def.h. */
int bind_parse(const BindSpec *spec, const xmlNode *node, void *object, GError **reterr);

enum {
        BIND_FORMAT_SECRETS = 1 << 0,
};
/* Writes object's fields into element. */
void bind_format(const BindSpec *spec, const void *object, Markup *element, unsigned flags);

/* ---- comparing (bind_diff.c) ---- */

/* One difference. Values are NULL where one side does not say anything; where is like "devices/disk[2]/target/@bus". */
typedef struct BindDifference {
        char *where, *left, *right;
} BindDifference;
void bind_difference_clear(BindDifference *difference);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BindDifference, bind_difference_clear)

/* Whether left and right differ in a field without any of skip_flags; *ret_difference is set if so. */
bool bind_diff(const BindSpec *spec, const void *left, const void *right, unsigned skip_flags,
               BindDifference *ret_difference);

/* ---- schema (bind_schema.c) ---- */

/* A RELAX NG schema that accepts what bind_parse() does; owned by the caller. comment goes on top. */
char *bind_schema(const BindSpec *spec, const char *comment);
