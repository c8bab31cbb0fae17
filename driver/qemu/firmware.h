/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Firmware images: the descriptors that distributions install (QEMU's docs/interop/firmware.json,
 * /usr/share/qemu/firmware, /etc/qemu/firmware) and well-known OVMF paths where there are none.
 */

#include <glib.h>
#include <stdbool.h>

typedef struct QemuFirmware {
        char *loader; /* executable image; exists and is readable */
        char *nvram;  /* template of the variable store, NULL if the firmware has none */
        char *format; /* "raw" or "qcow2" */
        bool secure_boot, enrolled_keys, needs_smm;
        bool bios; /* not UEFI */
} QemuFirmware;

/* All that exist for this architecture, best first. Array of QemuFirmware *, owned by the caller. */
GPtrArray *qemu_firmware_list(const char *arch);

/* What <os firmware='efi'> picks for a machine ("q35" or "i440fx" family): UEFI without secure boot unless secure.
 * Caller frees with qemu_firmware_free(). CONFIG_UNSUPPORTED if there is none. */
int qemu_firmware_find(const char *arch, bool secure, QemuFirmware **ret_firmware, GError **reterr);
/* The template that belongs to a loader path; NULL if unknown. Owned by the caller. */
char *qemu_firmware_nvram_template(const char *arch, const char *loader);

QemuFirmware *qemu_firmware_free(QemuFirmware *firmware);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QemuFirmware, qemu_firmware_free)
