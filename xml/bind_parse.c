/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "driver/base/i18n.h"
#include "driver/base/units.h"
#include "xml/bind.h"
#include "xml/bitset.h"
#include "xml/def_enum.h"
#include "xml/node.h"
#include "xml/refuse.h"
#include "xml/uuid.h"

/* Where a value was found, for messages: an attribute of node, or its text (attribute NULL). */
typedef struct Place {
        const xmlNode *node;
        const char *attribute;
} Place;

static int bad_value(const Place *place, const char *value, const char *wanted, GError **reterr) {
        g_autofree char *where = node_where(place->node);

        return error_set(reterr, VIR_ERR_XML_ERROR, _("%s %s='%.64s' is not %s"), where, place->attribute ?: _("text"),
                         value, wanted);
}

/* Decimal or 0x..., with a sign if negative; spaces around. */
static int scan_number(const char *text, bool *ret_negative, uint64_t *ret) {
        g_autofree char *copy = g_strstrip(g_strdup(text));
        char *digits = copy, *end;
        bool negative = *digits == '-';
        uint64_t value;

        if (*digits == '-' || *digits == '+')
                digits++;
        if (!g_ascii_isdigit(*digits))
                return -EINVAL;
        errno = 0;
        value = g_ascii_strtoull(digits, &end,
                                 g_str_has_prefix(digits, "0x") || g_str_has_prefix(digits, "0X") ? 16 : 10);
        if (errno == ERANGE)
                return -ERANGE;
        if (*end != '\0')
                return -EINVAL;
        *ret_negative = negative;
        *ret = value;
        return 0;
}

static int parse_number(const Place *place, const char *text, int64_t min, int64_t max, int64_t *ret, GError **reterr) {
        bool negative;
        uint64_t magnitude;
        int64_t value;

        if (scan_number(text, &negative, &magnitude) < 0 || magnitude > INT64_MAX)
                goto bad;
        value = negative ? -(int64_t) magnitude : (int64_t) magnitude;
        if (value < min || value > max)
                goto bad;
        *ret = value;
        return 0;
bad: {
        g_autofree char *wanted =
                g_strdup_printf(_("a number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT), min, max);

        return bad_value(place, text, wanted, reterr);
}
}

/* A size with the unit= attribute of the same element; whole KiB, rounded up. */
static int parse_bytes(const Place *place, const char *text, uint64_t *ret, GError **reterr) {
        g_autofree char *unit = NULL;
        const xmlAttr *attribute = xmlHasProp((xmlNode *) place->node, (const xmlChar *) "unit");
        bool negative;
        uint64_t value;

        if (attribute)
                unit = node_attribute_value(attribute);
        if (scan_number(text, &negative, &value) < 0 || negative)
                return bad_value(place, text, _("a size"), reterr);
        switch (units_scale(value, unit, KIB, &value)) {
        case 0:
                break;
        case -EINVAL: {
                Place at = { place->node, "unit" };

                return bad_value(&at, unit, _("a unit such as 'KiB', 'MiB', 'GiB'"), reterr);
        }
        default:
                return bad_value(place, text, _("a size that fits"), reterr);
        }
        if (value > INT64_MAX - KIB)
                return bad_value(place, text, _("a size that fits"), reterr);
        *ret = units_align_up(value, KIB);
        return 0;
}

static int parse_enum(const BindField *field, const Place *place, const char *text, int *ret, GError **reterr) {
        g_autoptr(GPtrArray) accepted = g_ptr_array_new();

        for (int i = 1; field->names[i]; i++) {
                if (field->allow && !(field->allow & (UINT64_C(1) << i)))
                        continue;
                if (g_str_equal(field->names[i], text)) {
                        *ret = i;
                        return 0;
                }
                g_ptr_array_add(accepted, (void *) field->names[i]);
        }
        g_ptr_array_add(accepted, NULL);
        return refuse_value(place->node, place->attribute, text, (char **) accepted->pdata, reterr);
}

static int parse_tristate(const Place *place, const char *text, const char *yes, const char *no, int *ret,
                          GError **reterr) {
        if (g_str_equal(text, yes))
                *ret = TRI_YES;
        else if (g_str_equal(text, no))
                *ret = TRI_NO;
        else {
                g_autofree char *wanted = g_strdup_printf(_("'%s' or '%s'"), yes, no);

                return bad_value(place, text, wanted, reterr);
        }
        return 0;
}

static int parse_string(const BindField *field, const Place *place, const char *text, char **member, GError **reterr) {
        if (*text == '\0' && !place->attribute && !(field->flags & BIND_EMPTY))
                return 0;
        if (*member && !g_str_equal(*member, text)) {
                g_autofree char *wanted = g_strdup_printf(_("'%s' as it says elsewhere"), *member);

                return bad_value(place, text, wanted, reterr);
        }
        g_free(*member);
        *member = g_strdup(text);
        return 0;
}

/* Numbers of all widths. */
static int parse_integer(const BindField *field, const Place *place, const char *text, void *member, GError **reterr) {
        bool is_signed = field->kind == BIND_INT || field->kind == BIND_I64;
        int64_t min = field->min, max = field->max, value = 0;
        int r;

        if (max == 0 && (field->kind == BIND_I64 || field->kind == BIND_U64))
                max = INT64_MAX;
        else if (max == 0)
                max = is_signed || field->kind == BIND_HEXINT ? INT_MAX : UINT_MAX;
        if (min == 0 && field->kind == BIND_I64)
                min = INT64_MIN + 1;
        r = parse_number(place, text, min, max, &value, reterr);
        if (r < 0)
                return r;
        switch (field->kind) {
        case BIND_INT:
        case BIND_HEXINT:
                *(int *) member = (int) value;
                break;
        case BIND_I64:
                *(int64_t *) member = value;
                break;
        case BIND_U64:
                *(uint64_t *) member = (uint64_t) value;
                break;
        default:
                *(unsigned *) member = (unsigned) value;
        }
        return 0;
}

static int parse_bitset(const Place *place, const char *text, Bitset **member, GError **reterr) {
        g_autoptr(Bitset) set = NULL;

        if (bitset_parse(text, &set) < 0)
                return bad_value(place, text, _("a set of numbers such as '0-3,8'"), reterr);
        bitset_free(*member);
        *member = g_steal_pointer(&set);
        return 0;
}

static int parse_scalar(const BindField *field, const Place *place, const char *text, void *object, GError **reterr) {
        void *member = bind_member(field, object);
        g_autofree char *stripped = g_strstrip(g_strdup(text));
        uint64_t bytes = 0;
        int r;

        switch (field->kind) {
        case BIND_STRING:
                return parse_string(field, place, text, member, reterr);
        case BIND_ENUM:
                return parse_enum(field, place, stripped, member, reterr);
        case BIND_YESNO:
                return parse_tristate(place, stripped, "yes", "no", member, reterr);
        case BIND_ONOFF:
        case BIND_STATE:
                return parse_tristate(place, stripped, "on", "off", member, reterr);
        case BIND_UINT:
        case BIND_INT:
        case BIND_HEX:
        case BIND_HEXINT:
        case BIND_I64:
        case BIND_U64:
                return parse_integer(field, place, text, member, reterr);
        case BIND_BYTES:
        case BIND_KIB:
                r = parse_bytes(place, text, &bytes, reterr);
                if (r == 0)
                        *(uint64_t *) member = field->kind == BIND_KIB ? bytes / KIB : bytes;
                return r;
        case BIND_BITSET:
                return parse_bitset(place, text, member, reterr);
        case BIND_UUID:
                if (uuid_parse(text, member) < 0)
                        return bad_value(place, text, _("a UUID"), reterr);
                *((bool *) member + UUID_BYTES) = true;
                return 0;
        default:
                return 0;
        }
}

/* What a path leads to. */
typedef struct Target {
        const BindField *field; /* NULL: nothing */
        void *object;           /* that field->offset counts from */
        bool below;             /* some field's path goes on from here */
        const BindSpec *misfit; /* a field of this spec has the path or is below it, but not with this discriminator */
} Target;

static void find_target(const BindSpec *spec, void *object, const char *path, Target *target) {
        size_t length = strlen(path);

        for (const BindField *f = spec->fields; f->path; f++) {
                if (f->kind == BIND_INLINE) {
                        find_target(f->spec, bind_member(f, object), path, target);
                        continue;
                }
                if (strncmp(f->path, path, length) != 0)
                        continue;
                if (!bind_applies(spec, f, object)) {
                        if (f->path[length] == '\0' || f->path[length] == '/')
                                target->misfit = spec;
                        continue;
                }
                if (f->path[length] == '/')
                        target->below = true;
                else if (f->path[length] == '\0' && !target->field) {
                        target->field = f;
                        target->object = object;
                }
        }
}

/* unit= belongs to a size in the same element, state= to the element's own BIND_STATE. */
static bool is_companion(const BindSpec *spec, const char *prefix, const char *attribute) {
        size_t length = strlen(prefix);

        for (const BindField *f = spec->fields; f->path; f++) {
                if (f->kind == BIND_INLINE && is_companion(f->spec, prefix, attribute))
                        return true;
                if (f->kind == BIND_STATE && g_str_equal(attribute, "@state") && g_str_equal(f->path, prefix))
                        return true;
                if ((f->kind == BIND_BYTES || f->kind == BIND_KIB) && g_str_equal(attribute, "@unit") &&
                    (g_str_equal(f->path, prefix) ||
                     (g_str_has_prefix(f->path, prefix) &&
                      (f->path[length] == '@' || (f->path[length] == '/' && f->path[length + 1] == '@')))))
                        return true;
        }
        return false;
}

static int refuse_misfit(const BindSpec *spec, const void *object, const xmlNode *node, const char *attribute,
                         GError **reterr) {
        g_autofree char *where = node_where(node);
        const char *value = "?";

        for (const BindField *f = spec->fields; f->path; f++)
                if (g_str_equal(f->path, spec->discriminator))
                        value = f->names[bind_discriminator(spec, object)] ?: "";
        if (attribute)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("attribute '%s' of %s does not go with %s '%s' of <%s>: remove it"), attribute,
                                 where, spec->discriminator + 1, value, spec->name);
        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("%s does not go with %s '%s' of <%s>: remove it"), where,
                         spec->discriminator + 1, value, spec->name);
}

static int parse_attribute(const BindSpec *spec, void *object, const xmlNode *node, const char *prefix,
                           const xmlAttr *attribute, GError **reterr) {
        g_autofree char *name = node_attribute_name(attribute), *value = NULL;
        g_autofree char *path = *prefix ? g_strconcat(prefix, "/", name, NULL) : g_strdup(name);
        Place place = { node, name + 1 };
        Target target = {};

        find_target(spec, object, path, &target);
        if (target.field) {
                value = node_attribute_value(attribute);
                return parse_scalar(target.field, &place, value, target.object, reterr);
        }
        if (is_companion(spec, prefix, name))
                return 0;
        if (target.misfit)
                return refuse_misfit(target.misfit, object, node, name + 1, reterr);
        return refuse_attribute(node, name + 1, reterr);
}

static int parse_at(const BindSpec *spec, void *object, const xmlNode *node, const char *prefix, GError **reterr);

/* An element whose field is a scalar: its text, then its attributes. */
static int parse_leaf(const Target *target, const xmlNode *child, GError **reterr) {
        Place place = { child, NULL };
        g_autofree char *text = NULL;

        switch (target->field->kind) {
        case BIND_PRESENT:
                *(bool *) bind_member(target->field, target->object) = true;
                return 0;
        case BIND_STATE: {
                const xmlAttr *state = xmlHasProp((xmlNode *) child, (const xmlChar *) "state");

                place.attribute = "state";
                text = state ? node_attribute_value(state) : g_strdup("on");
                return parse_scalar(target->field, &place, text, target->object, reterr);
        }
        case BIND_RAW: {
                char **member = bind_member(target->field, target->object);

                g_free(*member);
                *member = node_inner_xml(child);
                return 0;
        }
        default:
                text = node_text(child);
                return parse_scalar(target->field, &place, text, target->object, reterr);
        }
}

static bool kind_takes_text(BindKind kind) {
        return kind != BIND_PRESENT && kind != BIND_STATE;
}

static int check_no_text(const xmlNode *node, GError **reterr) {
        g_autofree char *text = g_strstrip(node_text(node));

        if (*text) {
                g_autofree char *where = node_where(node);

                return error_set(reterr, VIR_ERR_XML_ERROR, _("text '%.64s' is not expected in %s"), text, where);
        }
        return 0;
}

static int parse_child(const BindSpec *spec, void *object, const xmlNode *child, const char *prefix, GHashTable *seen,
                       GError **reterr) {
        g_autofree char *name = node_name(child);
        g_autofree char *path = *prefix ? g_strconcat(prefix, "/", name, NULL) : g_strdup(name);
        Target target = {};
        int r = 0;

        find_target(spec, object, path, &target);
        if (target.field && target.field->kind == BIND_LIST) {
                GPtrArray **array = bind_member(target.field, target.object);
                unsigned max = target.field->max ? (unsigned) target.field->max : BIND_LIST_MAX;

                if ((*array)->len == max) {
                        g_autofree char *where = node_where(child);

                        return error_set(reterr, VIR_ERR_XML_ERROR, _("%s is there more than %u times"), where, max);
                }
                return bind_parse(target.field->spec, child, bind_append(*array, target.field->spec), reterr);
        }
        if (!target.field && !target.below)
                return target.misfit ? refuse_misfit(target.misfit, object, child, NULL, reterr)
                                     : refuse_element(child, reterr);
        if (!g_hash_table_add(seen, g_strdup(name))) {
                g_autofree char *where = node_where(child);

                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s is there more than once"), where);
        }
        if (target.field && target.field->kind == BIND_STRUCT)
                return bind_parse(target.field->spec, child, bind_member(target.field, target.object), reterr);
        if (!target.field || !kind_takes_text(target.field->kind))
                r = check_no_text(child, reterr);
        if (r == 0 && target.field)
                r = parse_leaf(&target, child, reterr);
        if (r == 0 && !(target.field && target.field->kind == BIND_RAW))
                r = parse_at(spec, object, child, path, reterr);
        return r;
}

static int parse_at(const BindSpec *spec, void *object, const xmlNode *node, const char *prefix, GError **reterr) {
        g_autoptr(GHashTable) seen = NULL;
        int r = 0;

        for (const xmlAttr *a = node->properties; a && r == 0; a = a->next)
                r = parse_attribute(spec, object, node, prefix, a, reterr);
        for (const xmlNode *child = node->children; child && r == 0; child = child->next) {
                if (child->type != XML_ELEMENT_NODE)
                        continue;
                if (!seen)
                        seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                r = parse_child(spec, object, child, prefix, seen, reterr);
        }
        return r;
}

static int parse_own_text(const BindSpec *spec, void *object, const xmlNode *node, GError **reterr) {
        for (const BindField *f = spec->fields; f->path; f++) {
                Target target = { .field = f, .object = object };

                if (*f->path || f->kind == BIND_INLINE)
                        continue;
                if (f->kind == BIND_PRESENT)
                        *(bool *) bind_member(f, object) = true;
                else
                        return parse_leaf(&target, node, reterr);
        }
        return check_no_text(node, reterr);
}

static int check_required(const BindSpec *spec, const void *object, const xmlNode *node, GError **reterr) {
        for (const BindField *f = spec->fields; f->path; f++) {
                g_autofree char *where = NULL;
                const char *attribute = strchr(f->path, '@');
                bool listed = f->kind == BIND_LIST && (*(GPtrArray *const *) bind_member(f, object))->len > 0;

                if (!(f->flags & BIND_REQUIRED) || !bind_applies(spec, f, object) || bind_is_set(f, object) || listed)
                        continue;
                where = node_where(node);
                if (attribute == f->path)
                        return error_set(reterr, VIR_ERR_XML_ERROR, _("%s needs the attribute '%s'"), where,
                                         attribute + 1);
                if (attribute) {
                        g_autofree char *element = g_strndup(f->path, (size_t) (attribute - 1 - f->path));

                        return error_set(reterr, VIR_ERR_XML_ERROR, _("%s needs <%s> with the attribute '%s'"), where,
                                         element, attribute + 1);
                }
                return error_set(reterr, VIR_ERR_XML_ERROR, _("%s needs <%s>"), where, f->path);
        }
        return 0;
}

int bind_parse(const BindSpec *spec, const xmlNode *node, void *object, GError **reterr) {
        int r = 0;

        /* First what decides which fields exist. */
        for (const xmlAttr *a = node->properties; spec->discriminator && a && r == 0; a = a->next) {
                g_autofree char *name = node_attribute_name(a);

                if (g_str_equal(name, spec->discriminator))
                        r = parse_attribute(spec, object, node, "", a, reterr);
        }
        if (r == 0)
                r = parse_own_text(spec, object, node, reterr);
        if (r == 0)
                r = parse_at(spec, object, node, "", reterr);
        if (r == 0)
                r = check_required(spec, object, node, reterr);
        return r;
}
