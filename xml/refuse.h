/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What to tell a user whose XML has something that Ferry does not honour. */

#include <glib.h>
#include <libxml/tree.h>

#include "driver/base/error.h"

/* Each sets CONFIG_UNSUPPORTED, naming the thing and what to do instead, and returns the negative errno. */
int refuse_element(const xmlNode *element, GError **reterr);
int refuse_attribute(const xmlNode *element, const char *attribute, GError **reterr);
/* attribute may be NULL for the element's text. accepted: the words that would do, NULL-terminated. */
int refuse_value(const xmlNode *element, const char *attribute, const char *value, char **accepted, GError **reterr);
