/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A stand-in for the driver, for tests of the wire only: it records what it is asked, and answers with fixed values
 * or an error.
 */

#include <glib.h>
#include <stdbool.h>

#include "driver/driver.h"

typedef struct DriverDouble {
        GString *log;          /* "name(arguments)\n" of each call */
        int fail_code;         /* not 0: every call fails with it, ... */
        const char *fail_text; /* ... and this */
        bool block;            /* calls marked [fiber] wait until double_unblock() */
        unsigned n_blocked;
        int console_fd;        /* open_console hands out a duplicate */
        DriverSummary summary; /* what driver_summary() says */
        DriverJobInfo job;     /* what driver_migration_job() says of every number */
        unsigned n_clients, n_disconnected, n_consoles_closed;
} DriverDouble;

extern DriverDouble driver_double;

/* Forgets all calls; nothing fails, nothing blocks. */
void double_reset(void);
/* Lets the calls go on that wait. */
void double_unblock(void);
/* Waits until one of the counters above has the value. Fiber. Fails after some seconds. */
void double_wait(const unsigned *counter, unsigned value);
/* Delivers an event to who has subscribed. */
void double_event(const DriverEvent *event);
/* The domain that exists: name "vm1", this uuid, id 7. */
extern const unsigned char double_uuid[VIR_UUID_BUFLEN];
