/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What must exist before QEMU is started, so that the user reads a sentence with the thing's name instead of QEMU's
 * last words. */

#include <glib.h>

#include "driver/qemu/caps.h"
#include "driver/qemu/settings.h"
#include "xml/def.h"

/* Emulator, machine type, devices this QEMU lacks, disk files, kernel, initrd, firmware, bridges, huge pages, memlock
 * limit, KVM. Waits for nothing. The first problem is the error. */
int qemu_check_start(const QemuSettings *settings, const DomainDef *def, const QemuCaps *caps, GError **reterr);
