/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Errors.
 *
 * A fallible call takes `GError **reterr` as its last parameter and returns a negative errno (or NULL);
 * reterr is set exactly when it does. The GError's domain is FERRY_ERROR and its code is one of libvirt's
 * virErrorNumber values (VIR_ERR_*, <libvirt/virterror.h>), so that a front end can hand it to a stock client
 * without guessing. The message is one translated sentence that names the thing and the remedy; it does not
 * repeat the text that libvirt prints for the code itself ("Requested operation is not valid: ...").
 */

#include <glib.h>
#include <libvirt/virterror.h>
#include <stdbool.h>

/* The domain of all our errors. */
#define FERRY_ERROR (ferry_error_quark())
GQuark ferry_error_quark(void);

/* Sets *reterr (unless it is NULL) to code and text; returns the errno that fits the code, negative. */
int error_set(GError **reterr, virErrorNumber code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* As error_set() with code VIR_ERR_SYSTEM_ERROR; appends ": strerror(errnum)". errnum may have either sign.
 * Returns -|errnum| (or -EIO for 0). */
int error_set_errno(GError **reterr, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The libvirt code of an error: its code if the domain is FERRY_ERROR, VIR_ERR_INTERNAL_ERROR otherwise. */
virErrorNumber error_code(const GError *error);

/* Whether error is ours and has this code. error may be NULL. */
bool error_is(const GError *error, virErrorNumber code);
