/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests with a real QEMU share: folders, capabilities, definitions. */

#include <glib.h>
#include <stdbool.h>

#include "driver/qemu/process.h"

/* Exit status of a test that cannot run here. */
#define REAL_SKIP 77

typedef struct Real {
        char *root; /* everything of this test is below it */
        char *state_dir, *log_dir, *lib_dir;
        QemuSettings settings;
        QemuCaps *caps;
} Real;

/* Makes the folders, mounts the RAM tmpfs and asks the binary. Fiber. */
void real_setup(Real *real);
/* Unmounts and removes; asserts that no RAM file was left. */
void real_teardown(Real *real);
/* A completed and valid definition of this XML. Asserts that it is one. */
DomainDef *real_def(Real *real, const char *xml);
/* NULL, or the reason why tests with a real QEMU cannot run here: no root, no QEMU. */
const char *real_missing(void);
/* A small guest: machine, memory in MiB, more XML for <devices>, more XML beside it. Owned by the caller. */
char *real_xml(const char *name, const char *machine, unsigned memory_mib, const char *devices, const char *more);
