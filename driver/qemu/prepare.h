/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the start of a domain decides beyond its definition; the decisions become part of the live definition. */

#include <glib.h>

#include "driver/qemu/caps.h"
#include "driver/qemu/settings.h"
#include "xml/def.h"

/*
 * Fills in: aliases; the CPU that host-model stands for (mode custom, exact); firmware for firmware='efi' and the path
 * of its variable store, which is made from its template if it is not there; socket paths of channels and VNC; the
 * image chain of each disk, with indices; SMBIOS tables of the host for <smbios mode='host'/>. What is there already
 * stays. Calling it twice changes nothing.
 */
int qemu_prepare(const QemuSettings *settings, DomainDef *def, const QemuCaps *caps, GError **reterr);
