/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "xml/bind.h"

void bind_difference_clear(BindDifference *difference) {
        g_clear_pointer(&difference->where, g_free);
        g_clear_pointer(&difference->left, g_free);
        g_clear_pointer(&difference->right, g_free);
}

static char *join(const char *prefix, const char *path) {
        return *prefix && *path ? g_strconcat(prefix, "/", path, NULL) : g_strdup(*prefix ? prefix : path);
}

static bool diff_at(const BindSpec *spec, const void *left, const void *right, unsigned skip, const char *prefix,
                    BindDifference *ret);

static bool diff_list(const BindField *f, const void *left, const void *right, unsigned skip, const char *where,
                      BindDifference *ret) {
        const GPtrArray *a = *(GPtrArray *const *) bind_member(f, left),
                        *b = *(GPtrArray *const *) bind_member(f, right);

        for (unsigned i = 0; i < a->len && i < b->len; i++) {
                g_autofree char *at = g_strdup_printf("%s[%u]", where, i + 1);

                if (diff_at(f->spec, g_ptr_array_index(a, i), g_ptr_array_index(b, i), skip, at, ret))
                        return true;
        }
        if (a->len == b->len)
                return false;
        *ret = (BindDifference) {
                .where = g_strdup_printf("count(%s)", where),
                .left = g_strdup_printf("%u", a->len),
                .right = g_strdup_printf("%u", b->len),
        };
        return true;
}

static bool diff_scalar(const BindField *f, const void *left, const void *right, const char *where,
                        BindDifference *ret) {
        g_autofree char *a = bind_value(f, left), *b = bind_value(f, right);

        if (g_strcmp0(a, b) == 0)
                return false;
        *ret = (BindDifference) { .where = g_strdup(where), .left = g_steal_pointer(&a), .right = g_steal_pointer(&b) };
        return true;
}

static bool diff_at(const BindSpec *spec, const void *left, const void *right, unsigned skip, const char *prefix,
                    BindDifference *ret) {
        for (const BindField *f = spec->fields; f->path; f++) {
                g_autofree char *where = join(prefix, f->path);
                bool differs;

                /* The discriminator comes first in its table, so both sides agree about which fields exist. */
                if (f->flags & skip || (!bind_applies(spec, f, left) && !bind_applies(spec, f, right)))
                        continue;
                switch (f->kind) {
                case BIND_STRUCT:
                case BIND_INLINE:
                        differs = diff_at(f->spec, bind_member(f, left), bind_member(f, right), skip, where, ret);
                        break;
                case BIND_LIST:
                        differs = diff_list(f, left, right, skip, where, ret);
                        break;
                default:
                        differs = diff_scalar(f, left, right, where, ret);
                }
                if (differs)
                        return true;
        }
        return false;
}

bool bind_diff(const BindSpec *spec, const void *left, const void *right, unsigned skip_flags,
               BindDifference *ret_difference) {
        return diff_at(spec, left, right, skip_flags, "", ret_difference);
}
