/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* UUIDs: 16 bytes in the order of the text form. */

#include <glib.h>
#include <stdbool.h>

#define UUID_BYTES 16
#define UUID_TEXT_SIZE 37 /* with the final NUL */

/* Accepts what libvirt does: 32 hex digits with dashes anywhere between bytes, surrounded by spaces. -EINVAL
 * otherwise. */
int uuid_parse(const char *text, unsigned char ret_uuid[static UUID_BYTES]);
/* Writes the canonical text into buffer and returns buffer. */
char *uuid_format(const unsigned char uuid[static UUID_BYTES], char buffer[static UUID_TEXT_SIZE]);
/* A random (version 4) one. */
int uuid_generate(unsigned char ret_uuid[static UUID_BYTES]);
/* libvirt's rule for names of domains: not all bytes equal. */
bool uuid_is_valid(const unsigned char uuid[static UUID_BYTES]);
