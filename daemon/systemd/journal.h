/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What happens to guests, written to the log: with a MESSAGE_ID and fields of its own, so that the journal can be
 * searched (docs/systemd.md lists them). Without a journal the same sentences go to stderr.
 */

#include <glib.h>

#include "driver/driver.h"

typedef struct Journal Journal;

/* Writes down the driver's events from now on; driver must outlive it. */
Journal *journal_new(Driver *driver);
/* Accepts NULL, returns NULL. */
Journal *journal_free(Journal *journal);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Journal, journal_free)
