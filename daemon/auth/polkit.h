/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* polkit: whether somebody on the system bus may do something (org.freedesktop.PolicyKit1.Authority). */

#include <stdbool.h>
#include <systemd/sd-bus.h>

/* @sender: a unique name on the same bus. @interactive: polkit may ask the user for a password, which can take minutes.
 * Fiber. 1: yes, 0: no, negative errno: polkit cannot be asked. */
int polkit_check(sd_bus *bus, const char *sender, const char *action, bool interactive);

typedef void (*PolkitChangedFunc)(void *userdata);

/* Calls func when rules or actions have changed. *ret_slot keeps it up; changed must live as long. */
typedef struct PolkitWatch {
        PolkitChangedFunc func;
        void *userdata;
} PolkitWatch;
int polkit_watch(sd_bus *bus, PolkitWatch *watch, sd_bus_slot **ret_slot);
