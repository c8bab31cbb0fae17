/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/bind.h"

#include <string.h>

#include "xml/bitset.h"
#include "xml/def_enum.h"
#include "xml/uuid.h"

/* Arrays know how to free their elements through these: one wrapper per array would need a closure, so elements carry
 * no spec and the array's owner frees them by the table. */
static void array_clear(const BindSpec *spec, GPtrArray *array) {
        for (unsigned i = 0; i < array->len; i++)
                bind_free(spec, g_ptr_array_index(array, i));
        g_ptr_array_set_size(array, 0);
}

void bind_init(const BindSpec *spec, void *object) {
        for (const BindField *f = spec->fields; f->path; f++)
                switch (f->kind) {
                case BIND_INT:
                case BIND_HEXINT:
                        *(int *) bind_member(f, object) = f->unset;
                        break;
                case BIND_LIST: {
                        GPtrArray **array = bind_member(f, object);

                        if (!*array)
                                *array = g_ptr_array_new();
                        break;
                }
                case BIND_STRUCT:
                case BIND_INLINE:
                        bind_init(f->spec, bind_member(f, object));
                        break;
                default:
                        break;
                }
}

void *bind_new(const BindSpec *spec) {
        void *object = g_malloc0(spec->size);

        bind_init(spec, object);
        return object;
}

void bind_clear(const BindSpec *spec, void *object) {
        for (const BindField *f = spec->fields; f->path; f++) {
                void *member = bind_member(f, object);

                switch (f->kind) {
                case BIND_STRING:
                case BIND_RAW:
                        g_clear_pointer((char **) member, g_free);
                        break;
                case BIND_BITSET:
                        *(Bitset **) member = bitset_free(*(Bitset **) member);
                        break;
                case BIND_LIST: {
                        GPtrArray **array = member;

                        if (*array) {
                                array_clear(f->spec, *array);
                                g_clear_pointer(array, g_ptr_array_unref);
                        }
                        break;
                }
                case BIND_STRUCT:
                case BIND_INLINE:
                        bind_clear(f->spec, member);
                        break;
                default:
                        break;
                }
        }
}

void *bind_free(const BindSpec *spec, void *object) {
        if (object)
                bind_clear(spec, object);
        g_free(object);
        return NULL;
}

static void copy_into(const BindSpec *spec, const void *object, void *copy) {
        for (const BindField *f = spec->fields; f->path; f++) {
                const void *from = bind_member(f, object);
                void *to = bind_member(f, copy);

                /* copy began as the bytes of object; whatever still points to object's things is replaced. A member
                 * that two fields share has been replaced before. */
                switch (f->kind) {
                case BIND_STRING:
                case BIND_RAW:
                        if (*(char **) to == *(char *const *) from)
                                *(char **) to = g_strdup(*(char *const *) from);
                        break;
                case BIND_BITSET:
                        if (*(Bitset **) to == *(Bitset *const *) from)
                                *(Bitset **) to = bitset_copy(*(Bitset *const *) from);
                        break;
                case BIND_LIST: {
                        GPtrArray *source = *(GPtrArray *const *) from;

                        if (!source || *(GPtrArray **) to != source)
                                break;
                        *(GPtrArray **) to = g_ptr_array_new();
                        for (unsigned i = 0; i < source->len; i++)
                                g_ptr_array_add(*(GPtrArray **) to, bind_copy(f->spec, g_ptr_array_index(source, i)));
                        break;
                }
                case BIND_STRUCT:
                case BIND_INLINE:
                        copy_into(f->spec, from, to);
                        break;
                default:
                        break;
                }
        }
}

void *bind_copy(const BindSpec *spec, const void *object) {
        void *copy = g_memdup2(object, spec->size);

        copy_into(spec, object, copy);
        return copy;
}

void *bind_append(GPtrArray *array, const BindSpec *spec) {
        void *object = bind_new(spec);

        g_ptr_array_add(array, object);
        return object;
}

static const BindField *discriminator_field(const BindSpec *spec) {
        for (const BindField *f = spec->fields; spec->discriminator && f->path; f++)
                if (g_str_equal(f->path, spec->discriminator))
                        return f;
        return NULL;
}

int bind_discriminator(const BindSpec *spec, const void *object) {
        const BindField *field = discriminator_field(spec);
        int value = field ? *(int *) bind_member(field, object) : 0;

        return value ? value : spec->discriminator_default;
}

bool bind_applies(const BindSpec *spec, const BindField *field, const void *object) {
        return field->when == 0 || field->when & (UINT64_C(1) << bind_discriminator(spec, object));
}

bool bind_is_set(const BindField *field, const void *object) {
        const void *member = bind_member(field, object);

        switch (field->kind) {
        case BIND_STRING:
        case BIND_RAW:
        case BIND_BITSET:
                return *(void *const *) member != NULL;
        case BIND_ENUM:
        case BIND_YESNO:
        case BIND_ONOFF:
        case BIND_STATE:
                return *(const int *) member != 0;
        case BIND_PRESENT:
                return *(const bool *) member;
        case BIND_UINT:
                return *(const unsigned *) member != 0 || field->flags & BIND_ALWAYS;
        case BIND_INT:
        case BIND_HEXINT:
                return *(const int *) member != field->unset;
        case BIND_HEX:
                return true;
        case BIND_I64:
                return *(const int64_t *) member != 0 || field->flags & BIND_ALWAYS;
        case BIND_U64:
        case BIND_BYTES:
        case BIND_KIB:
                return *(const uint64_t *) member != 0 || field->flags & BIND_ALWAYS;
        case BIND_UUID:
                return *((const bool *) member + UUID_BYTES);
        default:
                return false;
        }
}

char *bind_value(const BindField *field, const void *object) {
        const void *member = bind_member(field, object);

        if (!bind_is_set(field, object))
                return NULL;
        switch (field->kind) {
        case BIND_STRING:
        case BIND_RAW:
                return g_strdup(*(char *const *) member);
        case BIND_BITSET:
                return bitset_format(*(Bitset *const *) member);
        case BIND_ENUM:
                return g_strdup(field->names[*(const int *) member]);
        case BIND_YESNO:
                return g_strdup(*(const int *) member == TRI_YES ? "yes" : "no");
        case BIND_ONOFF:
        case BIND_STATE:
                return g_strdup(*(const int *) member == TRI_YES ? "on" : "off");
        case BIND_PRESENT:
                return g_strdup("yes");
        case BIND_UINT:
                return g_strdup_printf("%u", *(const unsigned *) member);
        case BIND_INT:
                return g_strdup_printf("%d", *(const int *) member);
        case BIND_HEX:
                return g_strdup_printf("0x%0*x", field->digits, *(const unsigned *) member);
        case BIND_HEXINT:
                return g_strdup_printf("0x%x", (unsigned) *(const int *) member);
        case BIND_I64:
                return g_strdup_printf("%" G_GINT64_FORMAT, *(const int64_t *) member);
        case BIND_U64:
        case BIND_KIB:
                return g_strdup_printf("%" G_GUINT64_FORMAT, *(const uint64_t *) member);
        case BIND_BYTES:
                return g_strdup_printf("%" G_GUINT64_FORMAT, *(const uint64_t *) member / 1024);
        case BIND_UUID: {
                char *text = g_malloc(UUID_TEXT_SIZE);

                return uuid_format(member, text);
        }
        default:
                return NULL;
        }
}
