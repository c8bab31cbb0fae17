/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_dict.h"

#include <string.h>

#include "daemon/dbus/bus_error.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"

/* ---- towards the bus ---- */

static int append_value(sd_bus_message *reply, const virTypedParameter *param) {
        switch (param->type) {
        case VIR_TYPED_PARAM_INT:
                return sd_bus_message_append(reply, "v", "v", "i", param->value.i);
        case VIR_TYPED_PARAM_UINT:
                return sd_bus_message_append(reply, "v", "v", "u", param->value.ui);
        case VIR_TYPED_PARAM_LLONG:
                return sd_bus_message_append(reply, "v", "v", "x", (int64_t) param->value.l);
        case VIR_TYPED_PARAM_ULLONG:
                return sd_bus_message_append(reply, "v", "v", "t", (uint64_t) param->value.ul);
        case VIR_TYPED_PARAM_DOUBLE:
                return sd_bus_message_append(reply, "v", "v", "d", param->value.d);
        case VIR_TYPED_PARAM_BOOLEAN:
                return sd_bus_message_append(reply, "v", "v", "b", (int) param->value.b);
        default: {
                g_autofree char *text = g_utf8_make_valid(param->value.s ? param->value.s : "", -1);

                return sd_bus_message_append(reply, "v", "v", "s", text);
        }
        }
}

int bus_dict_append(sd_bus_message *reply, const virTypedParameter *params, int n) {
        int r = sd_bus_message_open_container(reply, 'a', "{sv}");

        for (int i = 0; r >= 0 && i < n; i++) {
                if (params[i].type < VIR_TYPED_PARAM_INT || params[i].type > VIR_TYPED_PARAM_STRING)
                        continue;
                r = sd_bus_message_open_container(reply, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append_basic(reply, 's', params[i].field);
                if (r >= 0)
                        r = append_value(reply, &params[i]);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* ---- from the bus ---- */

int bus_read_string(sd_bus_message *message, const char **ret_text, GError **reterr) {
        const char *text = NULL;
        int r = sd_bus_message_read_basic(message, 's', &text);

        if (r < 0)
                return bus_fault_message(reterr, r);
        if (strlen(text) > BUS_STRING_MAX)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("a string has more than %u bytes"), BUS_STRING_MAX);
        *ret_text = text;
        return 0;
}

typedef struct Reader {
        sd_bus_message *message;
        const BusDictFlag *flags;
        unsigned *bits;
        GArray *params; /* virTypedParameter */
        unsigned n_entries;
} Reader;

static bool set_flag(Reader *reader, const char *name, bool on) {
        for (const BusDictFlag *flag = reader->flags; flag && flag->name; flag++)
                if (strcmp(flag->name, name) == 0) {
                        *reader->bits = on ? *reader->bits | flag->flag : *reader->bits & ~flag->flag;
                        return true;
                }
        return false;
}

static int add_string(Reader *reader, const char *name, GError **reterr) {
        virTypedParameter param = { .type = VIR_TYPED_PARAM_STRING };
        const char *text = NULL;
        int r = bus_read_string(reader->message, &text, reterr);

        if (r < 0)
                return r;
        g_strlcpy(param.field, name, sizeof(param.field));
        param.value.s = g_strdup(text);
        g_array_append_val(reader->params, param);
        return 0;
}

static int add_strings(Reader *reader, const char *name, GError **reterr) {
        int r = sd_bus_message_enter_container(reader->message, 'a', "s");

        if (r < 0)
                return bus_fault_message(reterr, r);
        while ((r = sd_bus_message_at_end(reader->message, false)) == 0) {
                if (++reader->n_entries > BUS_DICT_MAX)
                        return error_set(reterr, VIR_ERR_INVALID_ARG, _("more than %d parameters were given"),
                                         BUS_DICT_MAX);
                r = add_string(reader, name, reterr);
                if (r < 0)
                        return r;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reader->message);
        return r < 0 ? bus_fault_message(reterr, r) : 0;
}

static int add_number(Reader *reader, const char *name, char type, GError **reterr) {
        virTypedParameter param = { 0 };
        union {
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
                int b;
        } value = { 0 };
        int r = sd_bus_message_read_basic(reader->message, type, &value);

        if (r < 0)
                return bus_fault_message(reterr, r);
        if (type == 'b' && set_flag(reader, name, value.b))
                return 0;
        if (type == 'u' && reader->flags && strcmp(name, "flags") == 0) {
                *reader->bits = value.u;
                return 0;
        }
        g_strlcpy(param.field, name, sizeof(param.field));
        switch (type) {
        case 'i':
                param.type = VIR_TYPED_PARAM_INT;
                param.value.i = value.i;
                break;
        case 'u':
                param.type = VIR_TYPED_PARAM_UINT;
                param.value.ui = value.u;
                break;
        case 'x':
                param.type = VIR_TYPED_PARAM_LLONG;
                param.value.l = value.x;
                break;
        case 't':
                param.type = VIR_TYPED_PARAM_ULLONG;
                param.value.ul = value.t;
                break;
        case 'd':
                param.type = VIR_TYPED_PARAM_DOUBLE;
                param.value.d = value.d;
                break;
        default:
                param.type = VIR_TYPED_PARAM_BOOLEAN;
                param.value.b = (char) (value.b != 0);
        }
        g_array_append_val(reader->params, param);
        return 0;
}

static int read_entry(Reader *reader, GError **reterr) {
        const char *name = NULL, *contents = NULL;
        char type = 0;
        int r = sd_bus_message_read_basic(reader->message, 's', &name);

        if (r >= 0)
                r = sd_bus_message_peek_type(reader->message, &type, &contents);
        if (r >= 0)
                r = sd_bus_message_enter_container(reader->message, 'v', contents);
        if (r < 0)
                return bus_fault_message(reterr, r);
        if (++reader->n_entries > BUS_DICT_MAX)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("more than %d parameters were given"), BUS_DICT_MAX);
        if (strlen(name) >= VIR_TYPED_PARAM_FIELD_LENGTH)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the name of parameter '%.80s...' is too long"), name);
        if (strcmp(contents, "s") == 0)
                r = add_string(reader, name, reterr);
        else if (strcmp(contents, "as") == 0)
                r = add_strings(reader, name, reterr);
        else if (strlen(contents) == 1 && strchr("iuxtdb", contents[0]))
                r = add_number(reader, name, contents[0], reterr);
        else
                r = error_set(reterr, VIR_ERR_INVALID_ARG, _("parameter '%s' has the unknown type '%.16s'"), name,
                              contents);
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(reader->message);
        return r < 0 ? bus_fault_message(reterr, r) : 0;
}

static void clear_param(void *p) {
        virTypedParameter *param = p;

        if (param->type == VIR_TYPED_PARAM_STRING)
                g_free(param->value.s);
}

int bus_dict_read(sd_bus_message *message, const BusDictFlag *flags, unsigned *inout_flags,
                  virTypedParameterPtr *ret_params, int *ret_n, GError **reterr) {
        g_autoptr(GArray) params = g_array_new(FALSE, TRUE, sizeof(virTypedParameter));
        Reader reader = { .message = message, .flags = flags, .bits = inout_flags, .params = params };
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");

        g_array_set_clear_func(params, clear_param);
        if (r < 0)
                return bus_fault_message(reterr, r);
        while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = read_entry(&reader, reterr);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        break;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        if (r < 0)
                return bus_fault_message(reterr, r);
        g_array_set_clear_func(params, NULL);
        *ret_n = (int) params->len;
        /* virTypedParamsFree() frees with free(), which is what g_free() is. */
        *ret_params = (virTypedParameterPtr) g_array_free(g_steal_pointer(&params), FALSE);
        return 0;
}
