/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/domain/domain.h"

#include <assert.h>
#include <string.h>

#include "driver/base/log.h"

Domain *domain_ref(Domain *domain) {
        domain->refs++;
        return domain;
}

Domain *domain_unref(Domain *domain) {
        if (!domain || --domain->refs > 0)
                return NULL;
        assert(!domain->qemu);
        assert(!domain->migration);
        assert(!domain->console);
        domain_def_free(domain->config);
        domain_def_free(domain->live);
        json_object_put(domain->migration_saved);
        g_free(domain->arrived);
        json_object_put(domain->snapshot_saved);
        virTypedParamsFree(domain->completed, domain->n_completed);
        g_free(domain->name);
        g_free(domain);
        return NULL;
}

DomainDef *domain_def(const Domain *domain) {
        return domain->live ? domain->live : domain->config;
}

bool domain_is_active(const Domain *domain) {
        return domain->id >= 0;
}

void domain_get_ref(const Domain *domain, DomainRef *ret_ref) {
        ret_ref->name = g_strdup(domain->name);
        memcpy(ret_ref->uuid, domain->uuid, VIR_UUID_BUFLEN);
        ret_ref->id = domain->id;
}

void domain_set_state(Domain *domain, int state, int reason) {
        log_debug("domain '%s': state %d/%d -> %d/%d", domain->name, domain->state, domain->reason, state, reason);
        domain->state = state;
        domain->reason = reason;
        domain->state_count++;
        fiber_cond_broadcast(&domain->state_changed);
}

void domain_set_completed(Domain *domain, virTypedParameterPtr params, int n_params) {
        virTypedParamsFree(domain->completed, domain->n_completed);
        domain->completed = params;
        domain->n_completed = n_params;
}

void domain_emit(const Domain *domain, EventBus *bus, DriverEvent *event) {
        g_auto(DomainRef) ref = { 0 };

        domain_get_ref(domain, &ref);
        event->domain = &ref;
        event_bus_emit(bus, event);
        event->domain = NULL;
}

void domain_emit_lifecycle(const Domain *domain, EventBus *bus, int event, int detail) {
        domain_emit(domain, bus,
                    &(DriverEvent){ .id = VIR_DOMAIN_EVENT_ID_LIFECYCLE, .lifecycle = { event, detail } });
}
