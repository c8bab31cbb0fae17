/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every sentence that a user can read goes through _(); N_() marks one for extraction only. */

#include <libintl.h>

#define _(text) dgettext(FERRY_GETTEXT_DOMAIN, text)
#define N_(text) text
