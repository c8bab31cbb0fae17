/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/domain_list.h"

#include <errno.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"

struct DomainList {
        GPtrArray *domains; /* a linear search over some thousand domains is microseconds */
        int last_id;
};

static void list_drop(void *domain) {
        domain_unref(domain);
}

DomainList *domain_list_new(void) {
        DomainList *list = g_new0(DomainList, 1);

        list->domains = g_ptr_array_new_with_free_func(list_drop);
        return list;
}

DomainList *domain_list_free(DomainList *list) {
        if (!list)
                return NULL;
        g_ptr_array_unref(list->domains);
        g_free(list);
        return NULL;
}

Domain *domain_list_find_uuid(const DomainList *list, const unsigned char *uuid) {
        for (guint i = 0; i < list->domains->len; i++) {
                Domain *domain = g_ptr_array_index(list->domains, i);

                if (memcmp(domain->uuid, uuid, VIR_UUID_BUFLEN) == 0)
                        return domain;
        }
        return NULL;
}

Domain *domain_list_find_name(const DomainList *list, const char *name) {
        for (guint i = 0; i < list->domains->len; i++) {
                Domain *domain = g_ptr_array_index(list->domains, i);

                if (strcmp(domain->name, name) == 0)
                        return domain;
        }
        return NULL;
}

Domain *domain_list_find_id(const DomainList *list, int id) {
        for (guint i = 0; id >= 0 && i < list->domains->len; i++) {
                Domain *domain = g_ptr_array_index(list->domains, i);

                if (domain->id == id)
                        return domain;
        }
        return NULL;
}

int domain_list_add(DomainList *list, const DomainDef *def, Domain **ret_domain, GError **reterr) {
        Domain *by_uuid = domain_list_find_uuid(list, def->uuid);
        Domain *by_name = domain_list_find_name(list, def->name);
        Domain *domain;

        if (by_uuid && by_uuid != by_name)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("domain '%s' is already defined with the uuid of '%s'"), by_uuid->name, def->name);
        if (by_name && by_name != by_uuid) {
                char uuid[UUID_TEXT_SIZE];

                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("domain '%s' already exists with uuid %s"),
                                 def->name, uuid_format(by_name->uuid, uuid));
        }
        if (by_uuid) {
                *ret_domain = by_uuid;
                return 0;
        }
        domain = g_new0(Domain, 1);
        domain->refs = 1;
        domain->id = -1;
        domain->name = g_strdup(def->name);
        memcpy(domain->uuid, def->uuid, VIR_UUID_BUFLEN);
        domain->state = VIR_DOMAIN_SHUTOFF;
        domain->stop_detail = domain->stop_reason = -1;
        g_ptr_array_add(list->domains, domain);
        *ret_domain = domain;
        return 0;
}

void domain_list_remove(DomainList *list, Domain *domain) {
        if (domain->removed)
                return;
        domain->removed = true;
        g_ptr_array_remove(list->domains, domain);
}

GPtrArray *domain_list_all(const DomainList *list) {
        GPtrArray *all = g_ptr_array_new_with_free_func(list_drop);

        for (guint i = 0; i < list->domains->len; i++)
                g_ptr_array_add(all, domain_ref(g_ptr_array_index(list->domains, i)));
        return all;
}

unsigned domain_list_active(const DomainList *list) {
        unsigned n = 0;

        for (guint i = 0; i < list->domains->len; i++)
                n += domain_is_active(g_ptr_array_index(list->domains, i));
        return n;
}

int domain_list_next_id(DomainList *list) {
        return ++list->last_id;
}

void domain_list_note_id(DomainList *list, int id) {
        list->last_id = MAX(list->last_id, id);
}
