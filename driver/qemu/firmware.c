/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/qemu/firmware.h"

#include <string.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/units.h"

#define FIRMWARE_DESCRIPTOR_MAX (256 * KIB)
#define FIRMWARE_DESCRIPTORS_MAX 256

/* In order of precedence: what an administrator puts into /etc hides the distribution's file of the same name. */
static const char *const firmware_dirs[] = {"/etc/qemu/firmware", "/usr/share/qemu/firmware"};

/* Pairs for hosts whose firmware package installs no descriptors. */
static const struct {
        const char *loader, *nvram;
        bool secure;
} firmware_known[] = {
        {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", false},
        {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd", false},
        {"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd", false},
        {"/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd", true},
        {"/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd", true},
};

QemuFirmware *qemu_firmware_free(QemuFirmware *firmware) {
        if (!firmware)
                return NULL;
        g_free(firmware->loader);
        g_free(firmware->nvram);
        g_free(firmware->format);
        g_free(firmware);
        return NULL;
}

static void firmware_destroy(gpointer data) {
        qemu_firmware_free(data);
}

static size_t array_length(json_object *array) {
        return json_object_is_type(array, json_type_array)
                       ? MIN(json_object_array_length(array), FIRMWARE_DESCRIPTORS_MAX)
                       : 0;
}

static bool array_has(json_object *array, const char *text) {
        for (size_t i = 0; i < array_length(array); i++)
                if (g_strcmp0(json_object_get_string(json_object_array_get_idx(array, i)), text) == 0)
                        return true;
        return false;
}

static bool targets_have(json_object *targets, const char *arch) {
        for (size_t i = 0; i < array_length(targets); i++)
                if (g_strcmp0(json_get_string(json_object_array_get_idx(targets, i), "architecture"), arch) == 0)
                        return true;
        return false;
}

/* One descriptor; NULL if it is for something else or its files are not there. */
static QemuFirmware *firmware_load(const char *path, const char *arch) {
        g_autofree char *text = NULL;
        size_t length = 0;

        if (file_read(path, FIRMWARE_DESCRIPTOR_MAX, &text, &length, NULL) < 0)
                return NULL;
        g_autoptr(json_object) document = json_parse(text, length, NULL);
        json_object *mapping = json_get(document, "mapping"), *features = json_get(document, "features");
        json_object *executable = json_get(mapping, "executable"), *nvram = json_get(mapping, "nvram-template");
        const char *loader = json_get_string(executable, "filename"), *device = json_get_string(mapping, "device");
        if (!loader || g_strcmp0(device, "flash") != 0 || !targets_have(json_get(document, "targets"), arch) ||
            access(loader, R_OK) < 0)
                return NULL;

        const char *template = json_get_string(nvram, "filename");
        if (template && access(template, R_OK) < 0)
                return NULL;
        QemuFirmware *firmware = g_new0(QemuFirmware, 1);
        *firmware = (QemuFirmware){
                .loader = g_strdup(loader),
                .nvram = g_strdup(template),
                .format = g_strdup(json_get_string(executable, "format") ?: "raw"),
                .secure_boot = array_has(features, "secure-boot"),
                .enrolled_keys = array_has(features, "enrolled-keys"),
                .needs_smm = array_has(features, "requires-smm"),
                .bios = !array_has(json_get(document, "interface-types"), "uefi"),
        };
        return firmware;
}

static int compare_names(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* File names of all descriptors, sorted as the format's rules want it: by name, each name once. */
static GPtrArray *firmware_names(void) {
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

        for (unsigned i = 0; i < G_N_ELEMENTS(firmware_dirs); i++) {
                g_autoptr(GDir) dir = g_dir_open(firmware_dirs[i], 0, NULL);
                const char *entry;
                while (dir && names->len < FIRMWARE_DESCRIPTORS_MAX && (entry = g_dir_read_name(dir))) {
                        if (!g_str_has_suffix(entry, ".json") || g_hash_table_contains(seen, entry))
                                continue;
                        char *copy = g_strdup(entry);
                        g_ptr_array_add(names, copy);
                        g_hash_table_add(seen, copy);
                }
        }
        g_ptr_array_sort(names, compare_names);
        return names;
}

GPtrArray *qemu_firmware_list(const char *arch) {
        g_autoptr(GPtrArray) names = firmware_names();
        GPtrArray *list = g_ptr_array_new_with_free_func(firmware_destroy);

        for (unsigned i = 0; i < names->len; i++) {
                QemuFirmware *firmware = NULL;
                for (unsigned j = 0; j < G_N_ELEMENTS(firmware_dirs) && !firmware; j++) {
                        g_autofree char *path = g_build_filename(firmware_dirs[j], names->pdata[i], NULL);
                        if (access(path, F_OK) < 0)
                                continue;
                        firmware = firmware_load(path, arch);
                        break; /* the first of that name hides the others, also when it is empty */
                }
                if (firmware)
                        g_ptr_array_add(list, firmware);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(firmware_known) && list->len == 0 && g_str_equal(arch, "x86_64"); i++) {
                if (access(firmware_known[i].loader, R_OK) < 0 || access(firmware_known[i].nvram, R_OK) < 0)
                        continue;
                QemuFirmware *firmware = g_new0(QemuFirmware, 1);
                firmware->loader = g_strdup(firmware_known[i].loader);
                firmware->nvram = g_strdup(firmware_known[i].nvram);
                firmware->format = g_strdup("raw");
                firmware->secure_boot = firmware->enrolled_keys = firmware->needs_smm = firmware_known[i].secure;
                g_ptr_array_add(list, firmware);
        }
        return list;
}

int qemu_firmware_find(const char *arch, bool secure, QemuFirmware **ret_firmware, GError **reterr) {
        g_autoptr(GPtrArray) list = qemu_firmware_list(arch);

        for (unsigned i = 0; i < list->len; i++) {
                QemuFirmware *firmware = list->pdata[i];
                if (firmware->bios || !firmware->nvram ||
                    (secure ? !firmware->secure_boot || !firmware->enrolled_keys
                            : firmware->needs_smm || firmware->enrolled_keys))
                        continue;
                *ret_firmware = g_ptr_array_steal_index(list, i);
                return 0;
        }
        return error_set(
                reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                _("no UEFI firmware%s for %s is installed: install the package 'ovmf' or name the image with <loader>"),
                secure ? _(" with secure boot") : "", arch);
}

char *qemu_firmware_nvram_template(const char *arch, const char *loader) {
        g_autoptr(GPtrArray) list = qemu_firmware_list(arch);

        for (unsigned i = 0; i < list->len; i++) {
                QemuFirmware *firmware = list->pdata[i];
                if (g_str_equal(firmware->loader, loader))
                        return g_strdup(firmware->nvram);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(firmware_known); i++)
                if (g_str_equal(firmware_known[i].loader, loader))
                        return g_strdup(firmware_known[i].nvram);
        return NULL;
}
