/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How libvirt words each error code, and the subsystem that a client is told it comes from. Tools match on these
 * texts. */

#include <glib.h>
#include <libvirt/virterror.h>

typedef struct Wording {
        virErrorNumber code;
        virErrorDomain domain;
        const char *format; /* one %s */
} Wording;

/* Of a code; for an unknown one that of an internal error. */
const Wording *wording_find(virErrorNumber code);
/* The error's own text, bounded and valid UTF-8; owned by the caller. error may be NULL. */
char *wording_detail(const GError *error);
/* The wording with detail in the place of its %s; owned by the caller. */
char *wording_apply(const Wording *wording, const char *detail);
/* The whole sentence that libvirt would show; owned by the caller. error may be NULL. */
char *wording_sentence(const GError *error);
