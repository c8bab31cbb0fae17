/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared between the files of driver/guest. */

#include "driver/guest/guest.h"

/* What qemu_start() and qemu_reattach() get as userdata: lives as long as the Qemu's last callback. */
typedef struct GuestLink {
        GuestManager *manager;
        Domain *domain; /* a reference */
} GuestLink;

/* A link with a reference to the domain, and its end. */
GuestLink *guest_link_new(GuestManager *manager, Domain *domain);
void guest_link_free(GuestLink *link);

extern const QemuCallbacks guest_qemu_callbacks;

/* guest_event.c: one QMP event. */
void guest_on_event(GuestManager *manager, Domain *domain, const char *name, json_object *data,
                    uint64_t timestamp_usec);
