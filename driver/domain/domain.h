/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A domain: its identity, definitions, state and jobs. What runs it (a Qemu) hangs on it as a pointer that only
 * driver/guest touches.
 *
 * Reference-counted, because fibers hold one across waits while another undefines or destroys it: after a wait, check
 * domain_is_active() or domain->removed again. All calls on the loop's thread.
 */

#include <glib.h>
#include <json-c/json.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/base/fiber.h"
#include "driver/domain/event.h"
#include "driver/domain/job.h"
#include "xml/def.h"

typedef struct Qemu Qemu;           /* driver/qemu/process.h */
typedef struct Migration Migration; /* driver/migration/migration.h */
typedef struct Snapshot Snapshot;   /* driver/snapshot/snapshot.h */
typedef struct Console Console;     /* driver/console.h */
typedef struct DomainList DomainList;

typedef struct Domain {
        unsigned refs;
        char *name;
        unsigned char uuid[VIR_UUID_BUFLEN];
        int id;             /* -1: inactive */
        DomainDef *config;  /* persistent definition; NULL: the domain is transient */
        DomainDef *live;    /* of the running guest, aliases assigned; NULL: inactive */
        bool autostart;
        bool removed;       /* no longer in the list */
        bool updated;       /* config differs from what the running guest was started with */
        int state, reason;  /* virDomainState and its reason */
        uint64_t state_count; /* moves with every change of state */
        FiberCond state_changed;
        DomainJob job;
        uint64_t max_downtime_msec;   /* migrate-setmaxdowntime; kept for the next migration as well */
        uint64_t max_speed_mib;       /* migrate-setspeed, MiB/s */
        uint64_t max_postcopy_speed_mib; /* migrate-setspeed --postcopy */
        uint64_t started_usec;        /* realtime */

        Qemu *qemu;                   /* driver/guest's */
        /* driver/guest's: we stop or continue it, so QEMU's STOP and RESUME events are our own doing */
        bool changing_run_state;
        int stop_hint;                /* driver/guest's: the reason that the next STOP event by itself gets; 0: none */
        bool reboot_pending;          /* driver/guest's: the guest powers off to be reset */
        /* driver/guest's: why it is being ended, VIR_DOMAIN_EVENT_STOPPED_* and VIR_DOMAIN_SHUTOFF_*; -1: nobody wants
         * it to */
        int stop_detail, stop_reason;
        Console *console;             /* driver/'s: the console in use; NULL: nobody has it open */

        bool handing_over;            /* driver/migration's: it must not be let run here, another host may */
        Migration *migration;         /* driver/migration's: the running job; NULL: none */
        char *arrived;                /* driver/migration's: the migration that this guest has come by; NULL: none */
        json_object *migration_saved; /* driver/migration's: what a restarted daemon needs to settle the job */
        Snapshot *snapshot;           /* driver/snapshot's: the running job; NULL: none */
        json_object *snapshot_saved;  /* driver/snapshot's: as migration_saved */
        virTypedParameterPtr completed; /* statistics of the last finished job */
        int n_completed;
} Domain;

Domain *domain_ref(Domain *domain);
/* Accepts NULL, returns NULL. */
Domain *domain_unref(Domain *domain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Domain, domain_unref)

/* The definition in force: the live one, or the persistent one. Never NULL while the domain is listed. */
DomainDef *domain_def(const Domain *domain);
bool domain_is_active(const Domain *domain);
/* Fills *ret_ref; the caller clears it. */
void domain_get_ref(const Domain *domain, DomainRef *ret_ref);
/* Sets state and reason and wakes those who wait for a change. */
void domain_set_state(Domain *domain, int state, int reason);
/* Replaces the statistics of the last job; takes params over. */
void domain_set_completed(Domain *domain, virTypedParameterPtr params, int n_params);

/* Tells the bus. */
void domain_emit_lifecycle(const Domain *domain, EventBus *bus, int event, int detail);
/* Fills event->domain for the call. */
void domain_emit(const Domain *domain, EventBus *bus, DriverEvent *event);
