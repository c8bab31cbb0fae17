/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Listing domains and finding them. */

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/driver.h"
#include "driver/driver_internal.h"

#define LIST_ACTIVE (VIR_CONNECT_LIST_DOMAINS_ACTIVE | VIR_CONNECT_LIST_DOMAINS_INACTIVE)
#define LIST_PERSISTENT (VIR_CONNECT_LIST_DOMAINS_PERSISTENT | VIR_CONNECT_LIST_DOMAINS_TRANSIENT)
#define LIST_STATE \
        (VIR_CONNECT_LIST_DOMAINS_RUNNING | VIR_CONNECT_LIST_DOMAINS_PAUSED | VIR_CONNECT_LIST_DOMAINS_SHUTOFF | \
         VIR_CONNECT_LIST_DOMAINS_OTHER)
#define LIST_SAVE (VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE | VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE)
#define LIST_AUTOSTART (VIR_CONNECT_LIST_DOMAINS_AUTOSTART | VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART)
#define LIST_SNAPSHOT (VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT | VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT)
#define LIST_CHECKPOINT (VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT | VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT)

/* A group of flags that none or all of are set does not filter. */
static bool wanted(unsigned flags, unsigned group, unsigned bit) {
        return (flags & group) == 0 || (flags & bit);
}

static unsigned state_bit(const Domain *domain) {
        switch (domain->state) {
        case VIR_DOMAIN_RUNNING:
                return VIR_CONNECT_LIST_DOMAINS_RUNNING;
        case VIR_DOMAIN_PAUSED:
                return VIR_CONNECT_LIST_DOMAINS_PAUSED;
        case VIR_DOMAIN_SHUTOFF:
                return VIR_CONNECT_LIST_DOMAINS_SHUTOFF;
        default:
                return VIR_CONNECT_LIST_DOMAINS_OTHER;
        }
}

static bool selected(const Driver *driver, const Domain *domain, unsigned flags) {
        return wanted(flags, LIST_ACTIVE,
                      domain_is_active(domain) ? VIR_CONNECT_LIST_DOMAINS_ACTIVE : VIR_CONNECT_LIST_DOMAINS_INACTIVE) &&
               wanted(flags, LIST_PERSISTENT,
                      domain->config ? VIR_CONNECT_LIST_DOMAINS_PERSISTENT : VIR_CONNECT_LIST_DOMAINS_TRANSIENT) &&
               wanted(flags, LIST_STATE, state_bit(domain)) &&
               wanted(flags, LIST_AUTOSTART,
                      domain->autostart ? VIR_CONNECT_LIST_DOMAINS_AUTOSTART : VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART) &&
               ((flags & LIST_SAVE) == 0 ||
                wanted(flags, LIST_SAVE,
                       driver_managed_save_exists(driver, domain) ? VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE
                                                                  : VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE)) &&
               wanted(flags, LIST_SNAPSHOT, VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT) &&
               wanted(flags, LIST_CHECKPOINT, VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT);
}

int driver_list_domains(DriverClient *client, unsigned flags, DomainRef **ret_refs, unsigned *ret_n, GError **reterr) {
        g_autoptr(GPtrArray) all = NULL;
        DomainRef *refs;
        unsigned n = 0;
        int r;

        r = driver_check_flags(flags,
                               LIST_ACTIVE | LIST_PERSISTENT | LIST_STATE | LIST_SAVE | LIST_AUTOSTART | LIST_SNAPSHOT |
                                       LIST_CHECKPOINT,
                               "list", reterr);
        if (r < 0)
                return r;
        all = domain_list_all(client->driver->list);
        refs = g_new0(DomainRef, all->len + 1);
        for (guint i = 0; i < all->len; i++)
                if (selected(client->driver, g_ptr_array_index(all, i), flags))
                        domain_get_ref(g_ptr_array_index(all, i), &refs[n++]);
        *ret_refs = refs;
        *ret_n = n;
        return 0;
}

int driver_lookup_id(DriverClient *client, int id, DomainRef *ret_ref, GError **reterr) {
        Domain *domain = domain_list_find_id(client->driver->list, id);

        if (!domain)
                return error_set(reterr, VIR_ERR_NO_DOMAIN, _("no domain with matching id %d"), id);
        domain_get_ref(domain, ret_ref);
        return 0;
}

int driver_lookup_name(DriverClient *client, const char *name, DomainRef *ret_ref, GError **reterr) {
        Domain *domain = domain_list_find_name(client->driver->list, name);

        if (!domain)
                return error_set(reterr, VIR_ERR_NO_DOMAIN, _("no domain with matching name '%s'"), name);
        domain_get_ref(domain, ret_ref);
        return 0;
}

int driver_lookup_uuid(DriverClient *client, const unsigned char *uuid, DomainRef *ret_ref, GError **reterr) {
        g_autoptr(Domain) domain = NULL;
        int r = driver_find(client, uuid, &domain, reterr);

        if (r < 0)
                return r;
        domain_get_ref(domain, ret_ref);
        return 0;
}
