/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/migration/params.h"

#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"

#define FLAGS_HONOURED                                                                                                 \
        (VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE |           \
         VIR_MIGRATE_PAUSED | VIR_MIGRATE_CHANGE_PROTECTION | VIR_MIGRATE_UNSAFE | VIR_MIGRATE_ABORT_ON_ERROR |        \
         VIR_MIGRATE_NON_SHARED_DISK | VIR_MIGRATE_NON_SHARED_INC | VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES |        \
         VIR_MIGRATE_AUTO_CONVERGE | VIR_MIGRATE_POSTCOPY | VIR_MIGRATE_POSTCOPY_RESUME)

/* What a user writes for each flag that is refused, and why it is. docs/virsh-migrate.md has the same for readers. */
static const struct {
        unsigned flag;
        const char *option, *why;
} flag_options[] = {
        { VIR_MIGRATE_TUNNELLED, "--tunnelled", N_("memory never travels over the libvirt connection") },
        { VIR_MIGRATE_COMPRESSED, "--compressed", N_("memory is not compressed") },
        { VIR_MIGRATE_RDMA_PIN_ALL, "--rdma-pin-all", N_("there is no RDMA channel") },
        { VIR_MIGRATE_TLS, "--tls", N_("memory is not encrypted: use a network that is, or a VPN") },
        { VIR_MIGRATE_PARALLEL, "--parallel", N_("memory has one connection") },
        /* VIR_MIGRATE_ZEROCOPY, younger than our headers */
        { 1u << 20, "--zerocopy", N_("memory is sent with copies in the kernel") },
        { VIR_MIGRATE_OFFLINE, "--offline", N_("copy the definition with dumpxml and define") },
};

/* The same for typed parameters, by the start of their names. */
static const struct {
        const char *name, *why;
} param_reasons[] = {
        { "compression", N_("memory is not compressed") },
        { "parallel.", N_("memory has one connection") },
        { "tls.", N_("memory is not encrypted") },
        { "bandwidth.avail", N_("the bandwidth of the last phase is measured, not told") },
        { "graphics_uri", N_("clients of the guest's display are not told where it goes") },
};

void migration_params_clear(MigrationParams *params) {
        g_clear_pointer(&params->uri, g_free);
        g_clear_pointer(&params->name, g_free);
        g_clear_pointer(&params->xml, g_free);
        g_clear_pointer(&params->persistent_xml, g_free);
        g_clear_pointer(&params->listen_address, g_free);
        g_clear_pointer(&params->policy, g_free);
        g_clear_pointer(&params->migrate_disks, g_strfreev);
        g_clear_pointer(&params->disks_uri, g_free);
}

static int check_flags(unsigned flags, GError **reterr) {
        unsigned rest = flags & ~(unsigned) FLAGS_HONOURED;

        for (size_t i = 0; i < G_N_ELEMENTS(flag_options); i++)
                if (rest & flag_options[i].flag)
                        return error_set(reterr, VIR_ERR_ARGUMENT_UNSUPPORTED,
                                         _("migration with '%s' is not supported, leave it out: %s"),
                                         flag_options[i].option, _(flag_options[i].why));
        if (rest)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unknown migration flags 0x%x"), rest);
        if (flags & VIR_MIGRATE_POSTCOPY_RESUME && !(flags & VIR_MIGRATE_POSTCOPY))
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("'--postcopy-resume' goes with '--postcopy' only"));
        return 0;
}

static int take_string(const virTypedParameter *param, char **field, GError **reterr) {
        if (param->type != VIR_TYPED_PARAM_STRING)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("migration parameter '%s' must be a string"),
                                 param->field);
        if (*field)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("migration parameter '%s' was given twice"),
                                 param->field);
        *field = g_strdup(param->value.s);
        return 0;
}

/* Repeated: each adds one. */
static int take_disk(const virTypedParameter *param, MigrationParams *params, GError **reterr) {
        unsigned n = params->migrate_disks ? g_strv_length(params->migrate_disks) : 0;
        char *name = NULL;
        int r = take_string(param, &name, reterr);

        if (r < 0)
                return r;
        params->migrate_disks = g_renew(char *, params->migrate_disks, n + 2);
        params->migrate_disks[n] = name;
        params->migrate_disks[n + 1] = NULL;
        return 0;
}

static int take_port(const virTypedParameter *param, unsigned *field, GError **reterr) {
        if (param->type != VIR_TYPED_PARAM_INT || param->value.i < 0 || param->value.i > 65535)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("migration parameter '%s' must be a port"),
                                 param->field);
        *field = (unsigned) param->value.i;
        return 0;
}

static int take_number(const virTypedParameter *param, uint64_t *field, GError **reterr) {
        if (param->type != VIR_TYPED_PARAM_ULLONG)
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("migration parameter '%s' must be an unsigned number"), param->field);
        *field = param->value.ul;
        return 0;
}

static int take_percent(const virTypedParameter *param, unsigned *field, GError **reterr) {
        if (param->type != VIR_TYPED_PARAM_INT || param->value.i < 1 || param->value.i > 99)
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("migration parameter '%s' must be a percentage between 1 and 99"), param->field);
        *field = (unsigned) param->value.i;
        return 0;
}

static int take_param(const virTypedParameter *param, MigrationParams *params, GError **reterr) {
        const struct {
                const char *name;
                char **field;
        } strings[] = {
                { VIR_MIGRATE_PARAM_URI, &params->uri },
                { VIR_MIGRATE_PARAM_DEST_NAME, &params->name },
                { VIR_MIGRATE_PARAM_DEST_XML, &params->xml },
                { VIR_MIGRATE_PARAM_PERSIST_XML, &params->persistent_xml },
                { VIR_MIGRATE_PARAM_LISTEN_ADDRESS, &params->listen_address },
                { VIR_MIGRATE_PARAM_DISKS_URI, &params->disks_uri },
                { MIGRATION_PARAM_POLICY, &params->policy },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
                if (strcmp(param->field, strings[i].name) == 0)
                        return take_string(param, strings[i].field, reterr);
        if (strcmp(param->field, VIR_MIGRATE_PARAM_MIGRATE_DISKS) == 0)
                return take_disk(param, params, reterr);
        if (strcmp(param->field, VIR_MIGRATE_PARAM_DISKS_PORT) == 0)
                return take_port(param, &params->disks_port, reterr);
        if (strcmp(param->field, VIR_MIGRATE_PARAM_BANDWIDTH) == 0)
                return take_number(param, &params->bandwidth_mib, reterr);
        if (strcmp(param->field, VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY) == 0)
                return take_number(param, &params->postcopy_bandwidth_mib, reterr);
        if (strcmp(param->field, VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL) == 0)
                return take_percent(param, &params->throttle_initial, reterr);
        if (strcmp(param->field, VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT) == 0)
                return take_percent(param, &params->throttle_increment, reterr);
        for (size_t i = 0; i < G_N_ELEMENTS(param_reasons); i++)
                if (g_str_has_prefix(param->field, param_reasons[i].name))
                        return error_set(reterr, VIR_ERR_ARGUMENT_UNSUPPORTED,
                                         _("migration parameter '%s' is not supported, leave it out: %s"), param->field,
                                         _(param_reasons[i].why));
        return error_set(reterr, VIR_ERR_ARGUMENT_UNSUPPORTED,
                         _("migration parameter '%s' is not supported by this version of Ferry: leave it out"),
                         param->field);
}

static int check_storage(const MigrationParams *params, GError **reterr) {
        unsigned storage = params->flags & (VIR_MIGRATE_NON_SHARED_DISK | VIR_MIGRATE_NON_SHARED_INC);

        if (storage == (VIR_MIGRATE_NON_SHARED_DISK | VIR_MIGRATE_NON_SHARED_INC))
                return error_set(reterr, VIR_ERR_INVALID_ARG,
                                 _("'--copy-storage-all' and '--copy-storage-inc' exclude each other"));
        if (!storage && (params->migrate_disks || params->disks_port || params->disks_uri ||
                         params->flags & VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES))
                return error_set(
                        reterr, VIR_ERR_INVALID_ARG,
                        _("an option for copying disks was given without '--copy-storage-all' or "
                          "'--copy-storage-inc'"));
        return 0;
}

int migration_params_parse(virTypedParameterPtr list, int n, unsigned flags, MigrationParams *ret_params,
                           GError **reterr) {
        g_auto(MigrationParams) params = { .flags = flags };
        int r;

        r = check_flags(flags, reterr);
        for (int i = 0; r >= 0 && i < n; i++)
                r = take_param(&list[i], &params, reterr);
        if (r >= 0 && (params.throttle_initial || params.throttle_increment) && !(flags & VIR_MIGRATE_AUTO_CONVERGE))
                r = error_set(reterr, VIR_ERR_INVALID_ARG, _("a throttle was given without '--auto-converge'"));
        if (r >= 0)
                r = check_storage(&params, reterr);
        if (r < 0)
                return r;
        *ret_params = params;
        params = (MigrationParams){ 0 };
        return 0;
}

void migration_address_clear(MigrationAddress *address) {
        g_clear_pointer(&address->host, g_free);
        g_clear_pointer(&address->unix_path, g_free);
}

static int parse_port(const char *uri, const char *text, unsigned *ret_port, GError **reterr) {
        guint64 port;

        if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL))
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("'%s' in migration URI '%s' is not a port"), text, uri);
        *ret_port = (unsigned) port;
        return 0;
}

int migration_address_parse(const char *uri, MigrationAddress *ret_address, GError **reterr) {
        g_auto(MigrationAddress) address = { 0 };
        g_autofree char *rest = NULL;
        char *port = NULL;
        int r;

        if (g_str_has_prefix(uri, "unix://")) {
                if (uri[strlen("unix://")] != '/')
                        return error_set(reterr, VIR_ERR_INVALID_ARG, _("migration URI '%s' needs an absolute path"),
                                         uri);
                ret_address->unix_path = g_strdup(uri + strlen("unix://"));
                return 0;
        }
        if (!g_str_has_prefix(uri, "tcp:"))
                return error_set(reterr, VIR_ERR_ARGUMENT_UNSUPPORTED,
                                 _("migration URI '%s' is not supported: use tcp://HOST[:PORT] or unix:///PATH"), uri);
        rest = g_strdup(g_str_has_prefix(uri, "tcp://") ? uri + strlen("tcp://") : uri + strlen("tcp:"));
        rest[strcspn(rest, "/")] = '\0';
        if (rest[0] == '[') {
                char *end = strchr(rest, ']');

                if (!end || (end[1] != '\0' && end[1] != ':'))
                        return error_set(reterr, VIR_ERR_INVALID_ARG, _("the host in migration URI '%s' is malformed"),
                                         uri);
                if (end[1] == ':')
                        port = end + 2;
                *end = '\0';
                address.host = g_strdup(rest + 1);
        } else {
                port = strrchr(rest, ':');
                if (port)
                        *port++ = '\0';
                address.host = g_strdup(rest);
        }
        if (address.host[0] == '\0')
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("migration URI '%s' names no host"), uri);
        if (port) {
                r = parse_port(uri, port, &address.port, reterr);
                if (r < 0)
                        return r;
        }
        *ret_address = address;
        address = (MigrationAddress){ 0 };
        return 0;
}

char *migration_address_format(const char *host, unsigned port) {
        return g_strdup_printf(strchr(host, ':') ? "tcp://[%s]:%u" : "tcp://%s:%u", host, port);
}
