/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Guests: domains with the QEMU that runs them. Starting, pausing, ending, what QEMU's events mean for a domain, and
 * how a restarted daemon finds its guests again. No client's request arrives here directly: driver/ and
 * driver/migration hold the right job.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "driver/domain/domain.h"
#include "driver/domain/domain_list.h"
#include "driver/domain/store.h"
#include "driver/qemu/caps.h"
#include "driver/qemu/process.h"
#include "driver/qemu/settings.h"

typedef struct GuestManager {
        sd_event *event;
        QemuSettings settings;
        QemuCapsCache *caps;
        DomainList *list;
        Store store;
        EventBus *bus;
        const char *default_emulator; /* NULL: found in PATH */
        /* driver/migration's: the guest has ended while a migration of it was under way. */
        void (*migrating_guest_exited)(Domain *domain, void *userdata);
        /* driver/migration's: a disk of it has failed meanwhile. */
        void (*migrating_guest_io_error)(Domain *domain, const char *disk, void *userdata);
        /* driver/snapshot's: the guest has ended while it was being saved or restored. */
        void (*snapshot_guest_exited)(Domain *domain, void *userdata);
        void *userdata;
} GuestManager;

/* Capabilities of the emulator that the definition names, or of the default one. Fiber. *ret_caps is a new
 * reference. */
int guest_caps(GuestManager *manager, const char *emulator, QemuCaps **ret_caps, GError **reterr);
/* Parses, completes and validates XML with the defaults of its emulator. parse_flags: DOMAIN_PARSE_*. Fiber. */
int guest_parse(GuestManager *manager, const char *xml, unsigned parse_flags, const char *schema_dir,
                DomainDef **ret_def, GError **reterr);

/*
 * Starts QEMU for a domain that is inactive, and leaves the guest paused: state PAUSED with reason (STARTING_UP, or
 * MIGRATION when incoming). def is consumed and becomes domain->live. Emits nothing. Fiber. On failure the domain is
 * inactive again and nothing is left behind.
 */
int guest_start(GuestManager *manager, Domain *domain, DomainDef *def, bool incoming, GError **reterr);

/* Lets it run: state RUNNING with reason; emits RESUMED with event_detail (-1: no event). Fiber. Refused while it is
 * being handed over. */
int guest_run(GuestManager *manager, Domain *domain, int reason, int event_detail, GError **reterr);
/* Pauses it: state PAUSED with reason; emits SUSPENDED with event_detail (-1: no event). Fiber. Nothing happens if it
 * is paused already. */
int guest_pause(GuestManager *manager, Domain *domain, int reason, int event_detail, GError **reterr);
/*
 * Ends QEMU and cleans up; returns when the domain is inactive. shutoff_reason: VIR_DOMAIN_SHUTOFF_*; stop_detail:
 * VIR_DOMAIN_EVENT_STOPPED_*. grace_usec as for qemu_kill(). Fiber. A domain that has ended already is a success.
 */
int guest_end(GuestManager *manager, Domain *domain, uint64_t grace_usec, int shutoff_reason, int stop_detail,
              GError **reterr);

/* Moves a helper process of the domain out of the daemon's control group into a scope of its own: kind is "job".
 * Fiber. */
int guest_scope(GuestManager *manager, const Domain *domain, const char *kind, pid_t pid, GError **reterr);

/* Writes what a restarted daemon needs. Called after every change of a running domain; most callers go on after a
 * failure, which is logged at debug: the guest matters more. 0 or negative errno. */
int guest_save(GuestManager *manager, Domain *domain);
/* Finds the guests of an earlier daemon; those that have ended in between become inactive. Fiber. Returns how many were
 * lost or could not be taken over. */
unsigned guest_reattach_all(GuestManager *manager);
/* The daemon goes: lets go of the guest, which runs on, and of what we know of it. */
void guest_release(GuestManager *manager, Domain *domain);
/* Removes a domain that is neither persistent nor active from the list. */
void guest_drop_if_gone(GuestManager *manager, Domain *domain);
