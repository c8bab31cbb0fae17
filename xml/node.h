/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reading untrusted XML with libxml2: no DTD, no entities, no network, bounded size and depth. */

#include <glib.h>
#include <libxml/tree.h>

#include "driver/base/error.h"

#define NODE_QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

/* Parses length bytes. XML_ERROR with libxml2's sentence and the line. */
int node_document_parse(const char *xml, size_t length, size_t max_length, xmlDoc **ret_doc, GError **reterr);
/* Checks doc against the RELAX NG schema in file. XML_INVALID_SCHEMA if it does not fit, INTERNAL_ERROR if the schema
 * cannot be read. */
int node_document_validate(xmlDoc *doc, const char *file, GError **reterr);

/* The name as the tables spell it: "arg", "qemu:arg" for libvirt's QEMU namespace, "{http://...}arg" for others; owned
 * by the caller. */
char *node_name(const xmlNode *node);
/* As node_name(), for an attribute: "@port". */
char *node_attribute_name(const xmlAttr *attribute);
/* "<devices><disk><driver>": the way from below the root; "<domain>" for the root itself; owned by the caller. */
char *node_where(const xmlNode *node);
/* The text directly in node (elements inside do not count); "" if there is none; owned by the caller. */
char *node_text(const xmlNode *node);
/* The attribute's value, owned by the caller. */
char *node_attribute_value(const xmlAttr *attribute);
/* All that is inside node, as it was written, with the namespace declarations that it needs; owned by the caller. */
char *node_inner_xml(const xmlNode *node);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)
