/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/qemu/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/units.h"
#include "driver/qemu/firmware.h"
#include "driver/qemu/image.h"
#include "driver/qemu/names.h"

#define NVRAM_TEMPLATE_MAX (64 * MIB)
#define DMI_DIR "/sys/class/dmi/id"

/* ---- CPU ---- */

static void prepare_cpu(DomainDef *def, const QemuCaps *caps) {
        CpuDef *cpu = &def->cpu;
        bool kvm = def->virt_type == VIRT_TYPE_KVM;
        const char *model = qemu_caps_host_model(caps, kvm);

        /* Without a model the command line refuses with a reason. */
        if (cpu->mode != CPU_MODE_HOST_MODEL || !model)
                return;

        g_autoptr(GHashTable) named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (unsigned i = 0; i < cpu->features->len; i++) {
                const CpuFeatureDef *feature = cpu->features->pdata[i];
                g_hash_table_add(named, qemu_caps_feature_name(feature->name));
        }
        for (const char *const *name = qemu_caps_host_model_features(caps, kvm); name && *name; name++) {
                if (g_hash_table_contains(named, *name))
                        continue;
                CpuFeatureDef *feature = g_new0(CpuFeatureDef, 1);
                feature->name = g_strdup(*name);
                feature->policy = CPU_POLICY_REQUIRE;
                g_ptr_array_add(cpu->features, feature);
        }
        g_free(cpu->model);
        cpu->model = g_strdup(model);
        cpu->mode = CPU_MODE_CUSTOM;
        cpu->match = CPU_MATCH_EXACT;
        cpu->check = CPU_CHECK_FULL;
        cpu->fallback = CPU_FALLBACK_FORBID;
}

/* ---- firmware ---- */

static bool firmware_feature(const OsDef *os, const char *name) {
        for (unsigned i = 0; os->firmware_features && i < os->firmware_features->len; i++) {
                const OsFirmwareFeatureDef *feature = os->firmware_features->pdata[i];
                if (g_str_equal(feature->name, name))
                        return feature->enabled == TRI_YES;
        }
        return false;
}

static int prepare_firmware(const QemuSettings *settings, DomainDef *def, GError **reterr) {
        const char *arch = def->os.arch == OS_ARCH_I686 ? "i386" : "x86_64";
        OsDef *os = &def->os;

        if (os->firmware == OS_FIRMWARE_EFI && !os->loader) {
                g_autoptr(QemuFirmware) firmware = NULL;
                bool secure = os->loader_secure == TRI_YES || firmware_feature(os, "secure-boot");
                int r = qemu_firmware_find(arch, secure, &firmware, reterr);
                if (r < 0)
                        return r;
                os->loader = g_strdup(firmware->loader);
                os->loader_type = OS_LOADER_TYPE_PFLASH;
                os->loader_readonly = TRI_YES;
                os->loader_format = os->nvram_format =
                        g_str_equal(firmware->format, "qcow2") ? OS_IMAGE_FORMAT_QCOW2 : OS_IMAGE_FORMAT_RAW;
                if (!os->nvram_template)
                        os->nvram_template = g_strdup(firmware->nvram);
                if (firmware->needs_smm && def->features.smm == TRI_UNSET)
                        def->features.smm = TRI_YES;
                if (secure)
                        os->loader_secure = TRI_YES;
        }
        if (!os->loader || os->loader_type != OS_LOADER_TYPE_PFLASH || os->loader_stateless == TRI_YES)
                return 0;
        if (!os->nvram_template)
                os->nvram_template = qemu_firmware_nvram_template(arch, os->loader);
        if (!os->nvram && os->nvram_template)
                os->nvram = qemu_name_nvram(settings, def);
        return 0;
}

static int prepare_nvram(const DomainDef *def, GError **reterr) {
        const OsDef *os = &def->os;
        g_autofree char *bytes = NULL;
        size_t length = 0;

        if (!os->nvram || access(os->nvram, F_OK) >= 0)
                return 0;
        if (!os->nvram_template)
                return error_set(reterr, VIR_ERR_OPERATION_FAILED,
                                 _("the firmware's variable store '%s' does not exist, and there is no template for "
                                   "it: name one with <nvram template=>"),
                                 os->nvram);
        int r = file_read(os->nvram_template, NVRAM_TEMPLATE_MAX, &bytes, &length, reterr);
        if (r < 0)
                return r;
        g_autofree char *folder = g_path_get_dirname(os->nvram);
        r = dir_make(folder, 0700, reterr);
        return r < 0 ? r : file_write_atomic(os->nvram, bytes, length, 0600, reterr);
}

/* ---- sockets ---- */

static void prepare_sockets(const QemuSettings *settings, DomainDef *def) {
        g_autofree char *dir = qemu_name_dir(settings, def);

        for (unsigned i = 0; i < def->channels->len; i++) {
                CharDef *channel = def->channels->pdata[i];
                if (channel->type != CHAR_TYPE_UNIX || channel->source_path)
                        continue;
                g_autofree char *file = g_strdup_printf("%s.sock", channel->info.alias);
                channel->source_path = g_build_filename(dir, file, NULL);
                channel->mode = CHAR_MODE_BIND;
        }
        for (unsigned i = 0; i < def->graphics->len; i++) {
                GraphicsDef *graphics = def->graphics->pdata[i];
                if (graphics->listen == LISTEN_TYPE_SOCKET && !graphics->listen_socket)
                        graphics->listen_socket = g_build_filename(dir, "vnc.sock", NULL);
        }
}

/* ---- disks ---- */

static int prepare_disks(DomainDef *def, GError **reterr) {
        unsigned next = 1;

        for (unsigned i = 0; i < def->disks->len; i++) {
                DiskDef *disk = def->disks->pdata[i];
                if (!disk->source)
                        continue;
                /* A missing medium that may be missing is an empty drive. */
                if (disk->startup_policy == DISK_STARTUP_POLICY_OPTIONAL && access(disk->source, F_OK) < 0) {
                        g_clear_pointer(&disk->source, g_free);
                        continue;
                }
                int r = image_load_chain(disk, reterr);
                if (r < 0) {
                        g_prefix_error(reterr, _("disk '%s': "), disk->target);
                        return r;
                }
                disk->source_index = next++;
                for (unsigned depth = 1; image_below(disk, depth); depth++)
                        ((DiskBackingDef *) image_below(disk, depth))->index = next++;
        }
        return 0;
}

/* ---- SMBIOS ---- */

static void smbios_entry(GPtrArray *entries, const char *name, const char *file) {
        g_autofree char *path = g_build_filename(DMI_DIR, file, NULL);
        g_autofree char *text = NULL;

        if (file_read(path, 4096, &text, NULL, NULL) < 0 || !g_utf8_validate(text, -1, NULL) ||
            *g_strstrip(text) == '\0')
                return;
        SysinfoEntryDef *entry = g_new0(SysinfoEntryDef, 1);
        entry->name = g_strdup(name);
        entry->value = g_steal_pointer(&text);
        g_ptr_array_add(entries, entry);
}

static void prepare_smbios(DomainDef *def) {
        SysinfoDef *info = &def->sysinfo;

        if (def->os.smbios_mode != OS_SMBIOS_MODE_HOST || info->bios->len > 0 || info->system->len > 0)
                return;
        smbios_entry(info->bios, "vendor", "bios_vendor");
        smbios_entry(info->bios, "version", "bios_version");
        smbios_entry(info->bios, "date", "bios_date");
        smbios_entry(info->bios, "release", "bios_release");
        smbios_entry(info->system, "manufacturer", "sys_vendor");
        smbios_entry(info->system, "product", "product_name");
        smbios_entry(info->system, "version", "product_version");
        smbios_entry(info->system, "sku", "product_sku");
        smbios_entry(info->system, "family", "product_family");
}

int qemu_prepare(const QemuSettings *settings, DomainDef *def, const QemuCaps *caps, GError **reterr) {
        if (domain_def_assign_aliases(def) < 0)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("two devices of the domain have the same alias"));

        prepare_cpu(def, caps);
        int r = prepare_firmware(settings, def, reterr);
        if (r >= 0)
                r = prepare_nvram(def, reterr);
        if (r >= 0)
                r = prepare_disks(def, reterr);
        if (r < 0)
                return r;
        prepare_sockets(settings, def);
        prepare_smbios(def);
        return 0;
}
