/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Events of domains, and the bus that carries them to whoever subscribed. All calls on the loop's thread; delivery is
 * immediate. */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdint.h>

#include "driver/domain/job_info.h"

/* Names a domain for a client. */
typedef struct DomainRef {
        char *name;
        unsigned char uuid[VIR_UUID_BUFLEN];
        int id; /* -1 while inactive */
} DomainRef;
/* Frees what the ref holds, not the ref. */
void domain_ref_clear(DomainRef *ref);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DomainRef, domain_ref_clear)
/* Frees an array of n refs. */
void domain_refs_free(DomainRef *refs, unsigned n);

#define DRIVER_EVENT_MONITOR (-1)
#define DRIVER_EVENT_JOB (-2)

typedef struct DriverEvent {
        /* VIR_DOMAIN_EVENT_ID_*, or DRIVER_EVENT_MONITOR: a raw QEMU event (qemu-monitor-event), or DRIVER_EVENT_JOB: a
         * migration job has changed */
        int id;
        const DomainRef *domain;
        union {
                struct { int event, detail; } lifecycle; /* ID_LIFECYCLE */
                int64_t rtc_offset;                      /* ID_RTC_CHANGE */
                int watchdog_action;                     /* ID_WATCHDOG */
                /* ID_IO_ERROR, ID_IO_ERROR_REASON */
                struct { const char *source_path, *device_alias, *reason; int action; } io_error;
                uint64_t balloon_kib;                    /* ID_BALLOON_CHANGE */
                int iteration;                           /* ID_MIGRATION_ITERATION */
                struct { virTypedParameterPtr params; int n_params; } job_completed; /* ID_JOB_COMPLETED */
                struct { int state, reason; } agent;     /* ID_AGENT_LIFECYCLE */
                const char *device_alias;                /* ID_DEVICE_ADDED, ID_DEVICE_REMOVED */
                /* DRIVER_EVENT_MONITOR */
                struct { const char *name, *details; int64_t seconds; unsigned micros; } monitor;
                struct { uint64_t number; DriverJobChange change; } job; /* DRIVER_EVENT_JOB */
        };                                               /* ID_REBOOT: nothing */
} DriverEvent;

/* The event and all that it points to is borrowed for the call. */
typedef void (*DriverEventFunc)(const DriverEvent *event, void *userdata);

typedef struct EventBus EventBus;
EventBus *event_bus_new(void);
EventBus *event_bus_free(EventBus *bus);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EventBus, event_bus_free)
/* Returns a number (never 0) for event_bus_unsubscribe(). */
unsigned event_bus_subscribe(EventBus *bus, DriverEventFunc func, void *userdata);
/* May be called while an event is being delivered. */
void event_bus_unsubscribe(EventBus *bus, unsigned subscription);
void event_bus_emit(EventBus *bus, const DriverEvent *event);
