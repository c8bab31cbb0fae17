/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of xml/ share: data files, golden files, definitions made from snippets. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "xml/def.h"

/* Defaults as for QEMU 7.2: "q35" and "pc" are known by their canonical names. */
extern const DomainDefaults sample_defaults;

/* The file's text. */
char *sample_read(const char *file);
/* The names of all files in the folder of tests/xml/data that end in suffix, as paths, sorted; not empty. */
GPtrArray *sample_files(const char *folder, const char *suffix);
/* Fails unless file holds text; with FERRY_REGENERATE=1 in the environment it is written instead. */
void sample_golden(const char *file, const char *text);

/* A domain (uuid 1111..., machine q35, 512 MiB) with top inside <domain> and devices inside <devices>. */
char *sample_xml(const char *top, const char *devices);
/* Parsed; the test fails if it cannot be. sample_complete() also completes and checks it. */
DomainDef *sample_parse(const char *xml, unsigned flags);
DomainDef *sample_complete(const char *xml);

/* Something that must be refused. */
typedef struct SampleRefusal {
        const char *top, *devices; /* as for sample_xml() */
        virErrorNumber code;
        const char *text; /* a part of the message */
} SampleRefusal;
/* Parses, completes and validates it, and fails unless that ends with its error. */
void sample_refuse(const SampleRefusal *refusal);
