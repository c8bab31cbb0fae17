/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All domains of a driver, by uuid, name and id. */

#include "driver/domain/domain.h"

/* An empty list, and its end: references to domains are dropped. free accepts NULL and returns NULL. */
DomainList *domain_list_new(void);
DomainList *domain_list_free(DomainList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DomainList, domain_list_free)

/*
 * The domain that def names, made if there is none. Borrowed; the list holds it.
 * OPERATION_FAILED if name and uuid belong to two different domains.
 */
int domain_list_add(DomainList *list, const DomainDef *def, Domain **ret_domain, GError **reterr);
/* Takes it off the list (it is neither persistent nor active any more). */
void domain_list_remove(DomainList *list, Domain *domain);

/* NULL if there is none. Borrowed. */
Domain *domain_list_find_uuid(const DomainList *list, const unsigned char *uuid);
Domain *domain_list_find_name(const DomainList *list, const char *name);
Domain *domain_list_find_id(const DomainList *list, int id);

/* Borrowed pointers, in the order they were added; owned by the caller: g_ptr_array_unref(). Holds references. */
GPtrArray *domain_list_all(const DomainList *list);
unsigned domain_list_active(const DomainList *list);
/* A number for the next guest that starts, from 1. */
int domain_list_next_id(DomainList *list);
/* Makes sure that domain_list_next_id() stays above id. */
void domain_list_note_id(DomainList *list, int id);
