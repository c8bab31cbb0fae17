/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A small tree of elements to be written in libvirt's style: two spaces of indentation, single quotes. */

#include <glib.h>
#include <stdbool.h>

typedef struct Markup Markup;

/* A root element. */
Markup *markup_new(const char *name);
/* Frees the tree; accepts NULL, returns NULL. */
Markup *markup_free(Markup *root);
/* A new last child, or the last child of this name if there is one (made otherwise). Borrowed from the tree. */
Markup *markup_add(Markup *parent, const char *name);
Markup *markup_child(Markup *parent, const char *name);
/* Sets or replaces. Values are UTF-8; characters that XML cannot hold are left out. */
void markup_attribute(Markup *element, const char *name, const char *value);
void markup_text(Markup *element, const char *text);
/* Contents that are XML already. */
void markup_raw(Markup *element, const char *xml);
/* The text of the tree, ending in a newline; owned by the caller. */
char *markup_string(const Markup *root);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Markup, markup_free)
