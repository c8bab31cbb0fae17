/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "xml/bind.h"

/* Whether the struct says anything at all. */
static bool any_set(const BindSpec *spec, const void *object) {
        for (const BindField *f = spec->fields; f->path; f++) {
                if (!bind_applies(spec, f, object))
                        continue;
                switch (f->kind) {
                case BIND_STRUCT:
                case BIND_INLINE:
                        if (any_set(f->spec, bind_member(f, object)))
                                return true;
                        break;
                case BIND_LIST:
                        if ((*(GPtrArray *const *) bind_member(f, object))->len > 0)
                                return true;
                        break;
                default:
                        if (bind_is_set(f, object))
                                return true;
                }
        }
        return false;
}

/* The element that a path leads to, made where it is missing; *ret_last is what is left: "@attribute" or "". With `add`
 * the last element is always a new one. */
static Markup *descend(Markup *element, const char *path, bool add, const char **ret_last) {
        g_auto(GStrv) parts = g_strsplit(path, "/", -1);

        *ret_last = "";
        for (unsigned i = 0; parts[i]; i++) {
                if (parts[i][0] == '@')
                        *ret_last = strchr(path, '@');
                else if (parts[i][0])
                        element =
                                add && !parts[i + 1] ? markup_add(element, parts[i]) : markup_child(element, parts[i]);
        }
        return element;
}

static void format_scalar(const BindField *field, const void *object, Markup *element) {
        g_autofree char *value = bind_value(field, object);
        const char *last;
        Markup *at;

        if (!value)
                return;
        at = descend(element, field->path, false, &last);
        if (field->kind == BIND_PRESENT)
                return;
        if (field->kind == BIND_BYTES || field->kind == BIND_KIB) {
                /* libvirt writes unit= after the attribute that it belongs to */
                if (*last) {
                        markup_attribute(at, last + 1, value);
                        markup_attribute(at, "unit", "KiB");
                } else {
                        markup_attribute(at, "unit", "KiB");
                        markup_text(at, value);
                }
        } else if (field->kind == BIND_STATE)
                markup_attribute(at, "state", value);
        else if (field->kind == BIND_RAW)
                markup_raw(at, value);
        else if (*last)
                markup_attribute(at, last + 1, value);
        else
                markup_text(at, value);
}

void bind_format(const BindSpec *spec, const void *object, Markup *element, unsigned flags) {
        for (const BindField *f = spec->fields; f->path; f++) {
                const void *member = bind_member(f, object);
                const char *last;

                if (!bind_applies(spec, f, object) || (f->flags & BIND_SECRET && !(flags & BIND_FORMAT_SECRETS)))
                        continue;
                switch (f->kind) {
                case BIND_STRUCT:
                        if (any_set(f->spec, member))
                                bind_format(f->spec, member, descend(element, f->path, false, &last), flags);
                        break;
                case BIND_INLINE:
                        bind_format(f->spec, member, element, flags);
                        break;
                case BIND_LIST: {
                        const GPtrArray *array = *(GPtrArray *const *) member;

                        for (unsigned i = 0; i < array->len; i++)
                                bind_format(f->spec, g_ptr_array_index(array, i),
                                            descend(element, f->path, true, &last), flags);
                        break;
                }
                default:
                        format_scalar(f, object, element);
                }
        }
}
