/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The five calls of libvirt's migration protocol, version 3 with parameters: rights and arguments here, the work in
 * driver/migration. */

#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"
#include "driver/migration/cookie.h"
#include "driver/migration/migration_dst.h"
#include "driver/migration/migration_src.h"
#include "driver/migration/peer.h"
#include "driver/migration/postcopy_dst.h"

static int migrate_check(DriverClient *client, const char *what, GError **reterr) {
        int r = driver_check_write(client, what, reterr);

        if (r >= 0 && client->driver->quiescing)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID,
                              _("the daemon is shutting down: migrate again once it is back"));
        return r;
}

/* The outgoing migration that this client began. */
static int find_outgoing(DriverClient *client, const unsigned char *uuid, Migration **ret_migration, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r < 0)
                return r;
        if (!domain->migration || domain->migration->incoming || domain->migration->client != client)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID,
                                 _("domain '%s' has no migration that this client began"), domain->name);
        *ret_migration = migration_ref(domain->migration);
        return 0;
}

int driver_migrate_begin(DriverClient *client, const unsigned char *uuid, const DriverMigrateArgs *args,
                         DriverCookie *ret_cookie, char **ret_xml, GError **reterr) {
        g_auto(MigrationParams) params = { 0 };
        g_autoptr(Domain) domain = NULL;
        int r;

        r = migrate_check(client, "migrate", reterr);
        if (r >= 0)
                r = migration_params_parse(args->params, args->n_params, args->flags, &params, reterr);
        if (r >= 0)
                r = driver_find(client, uuid, &domain, reterr);
        if (r >= 0)
                r = migration_src_begin(&client->driver->migrations, domain, client, &params, &ret_cookie->data,
                                        &ret_cookie->length, ret_xml, reterr);
        if (r >= 0 && client->gone && domain->migration)
                migration_src_client_gone(domain->migration);
        return r;
}

int driver_migrate_prepare(DriverClient *client, const DriverMigrateArgs *args, DriverCookie *ret_cookie,
                           char **ret_uri, GError **reterr) {
        g_auto(MigrationParams) params = { 0 };
        int r;

        r = migrate_check(client, "migrate", reterr);
        if (r >= 0)
                r = migration_params_parse(args->params, args->n_params, args->flags, &params, reterr);
        if (r < 0)
                return r;
        return migration_dst_prepare(&client->driver->migrations, client, &params, args->cookie_in,
                                     args->cookie_in_length, &ret_cookie->data, &ret_cookie->length, ret_uri, reterr);
}

int driver_migrate_perform(DriverClient *client, const unsigned char *uuid, const char *dconnuri,
                           const DriverMigrateArgs *args, DriverCookie *ret_cookie, GError **reterr) {
        g_auto(MigrationParams) params = { 0 };
        g_autoptr(Migration) migration = NULL;
        g_autoptr(Domain) domain = NULL;
        int r;

        r = migrate_check(client, "migrate", reterr);
        if (r >= 0)
                r = migration_params_parse(args->params, args->n_params, args->flags, &params, reterr);
        if (r < 0)
                return r;
        if (args->flags & VIR_MIGRATE_PEER2PEER) {
                r = driver_find_active(client, uuid, &domain, reterr);
                if (r >= 0 && !dconnuri)
                        r = error_set(reterr, VIR_ERR_INVALID_ARG,
                                      _("a peer-to-peer migration needs the destination's URI"));
                if (r < 0)
                        return r;
                *ret_cookie = (DriverCookie){ 0 };
                return peer_migrate(&client->driver->migrations,
                                    &(PeerArgs){ .uuid = uuid,
                                                 .dconnuri = dconnuri,
                                                 .params = args->params,
                                                 .n_params = args->n_params,
                                                 .flags = args->flags & ~(unsigned) VIR_MIGRATE_PEER2PEER,
                                                 .cancelled = &client->gone },
                                    reterr);
        }
        r = find_outgoing(client, uuid, &migration, reterr);
        if (r < 0)
                return r;
        return migration_src_perform(migration, &params, args->cookie_in, args->cookie_in_length, &ret_cookie->data,
                                     &ret_cookie->length, reterr);
}

/* The name of the domain that arrives: given, or the source's, which is in the cookie or the XML. */
static int find_incoming(DriverClient *client, const DriverMigrateArgs *args, const char *name,
                         Migration **ret_migration, GError **reterr) {
        g_auto(MigrationCookie) cookie = { 0 };
        Domain *domain = NULL;

        if (name)
                domain = domain_list_find_name(client->driver->list, name);
        else if (migration_cookie_parse(args->cookie_in, args->cookie_in_length, &cookie, NULL) >= 0)
                domain = domain_list_find_uuid(client->driver->list, cookie.uuid);
        if (domain && domain->migration && domain->migration->incoming && domain->migration->client == client) {
                *ret_migration = migration_ref(domain->migration);
                return 0;
        }
        return error_set(reterr, VIR_ERR_NO_DOMAIN,
                         _("no incoming migration of domain '%s' was prepared by this client, or it has failed"),
                         name          ? name
                         : cookie.name ? cookie.name
                                       : "?");
}

int driver_migrate_finish(DriverClient *client, const DriverMigrateArgs *args, bool cancelled, DomainRef *ret_ref,
                          DriverCookie *ret_cookie, GError **reterr) {
        g_auto(MigrationParams) params = { 0 };
        g_autoptr(Migration) migration = NULL;
        g_autoptr(Domain) domain = NULL;
        int r;

        r = driver_check_write(client, "migrate", reterr);
        if (r >= 0)
                r = migration_params_parse(args->params, args->n_params, args->flags, &params, reterr);
        if (r < 0)
                return r;
        if (args->flags & VIR_MIGRATE_POSTCOPY_RESUME && !cancelled) {
                Domain *arrived =
                        postcopy_dst_arrived(&client->driver->migrations, args->cookie_in, args->cookie_in_length);

                if (arrived) {
                        *ret_cookie = (DriverCookie){ 0 };
                        domain_get_ref(arrived, ret_ref);
                        return 0;
                }
        }
        r = find_incoming(client, args, params.name, &migration, cancelled ? NULL : reterr);
        /* Nothing is left to cancel; a client takes any other error for the reason why the migration failed. */
        if (r < 0 && cancelled)
                return error_set(reterr, VIR_ERR_MIGRATE_FINISH_OK, _("the migration was cancelled"));
        if (r < 0)
                return r;
        domain = domain_ref(migration->domain);
        r = migration_dst_finish(migration, cancelled, reterr);
        if (r < 0)
                return r;
        *ret_cookie = (DriverCookie){ 0 };
        domain_get_ref(domain, ret_ref);
        return 0;
}

int driver_migrate_confirm(DriverClient *client, const unsigned char *uuid, const DriverMigrateArgs *args,
                           bool cancelled, GError **reterr) {
        g_autoptr(Migration) migration = NULL;
        int r;

        r = driver_check_write(client, "migrate", reterr);
        if (r >= 0)
                r = find_outgoing(client, uuid, &migration, reterr);
        if (r < 0)
                return r;
        return migration_src_confirm(migration, cancelled, reterr);
}
