/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Direct disk I/O and dirty tracking (docs/qemu.md, "Direct I/O"): O_DIRECT reads write into pinned guest pages behind
 * the page tables' back, so during precopy disks run through the host's page cache.
 */

#include <glib.h>
#include <stdbool.h>

#include "driver/qemu/process.h"

/* Whether the disk bypasses the page cache: cache none or directsync, or io native. */
bool qemu_disk_is_direct(const DomainDef *def, unsigned disk);

/* Names what writes guest RAM without page tables knowing and cannot be helped (vhost-user, hostdevs): MIGRATE_UNSAFE
 * with its name. 0 if nothing does. */
int qemu_direct_io_check(const DomainDef *def, const QemuCaps *caps, GError **reterr);

/* Switches every direct disk to buffered I/O; in-flight direct requests have ended when it returns. On failure those
 * done are switched back and the error names the disk. Fiber. Idempotent. */
int qemu_direct_io_suspend(Qemu *qemu, const DomainDef *def, GError **reterr);
/* And back to what the definition says. Tries all; the first error is returned. Fiber. Idempotent. */
int qemu_direct_io_resume(Qemu *qemu, const DomainDef *def, GError **reterr);
