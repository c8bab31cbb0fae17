/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "driver/base/i18n.h"
#include "xml/validate_internal.h"

static int validate_identity(const DomainDef *def, GError **reterr) {
        if (!*def->name || strpbrk(def->name, "/\n") || g_str_equal(def->name, ".") || g_str_equal(def->name, ".."))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("'%s' cannot be the name of a domain: use a word without '/'"), def->name);
        if (strlen(def->name) > 200)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("the domain's name has %zu bytes, and 200 is the limit"),
                                 strlen(def->name));
        if (def->title && strchr(def->title, '\n'))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<title> has more than one line"));
        if (!uuid_is_valid(def->uuid))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<uuid> must not have the same byte everywhere"));
        return 0;
}

static int validate_boot(const OsDef *os, GError **reterr) {
        if (!os->kernel && (os->initrd || os->cmdline))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<os> has <initrd> or <cmdline>, but no <kernel>"));
        for (unsigned i = 0; i < os->boots->len; i++)
                for (unsigned j = 0; j < i; j++)
                        if (((const OsBootDef *) g_ptr_array_index(os->boots, i))->device ==
                            ((const OsBootDef *) g_ptr_array_index(os->boots, j))->device)
                                return error_set(reterr, VIR_ERR_XML_ERROR,
                                                 _("<boot dev='%s'/> is there more than once"),
                                                 os_boot_device_to_string(
                                                         ((const OsBootDef *) g_ptr_array_index(os->boots, i))
                                                                 ->device));
        return 0;
}

static int validate_firmware(const DomainDef *def, GError **reterr) {
        const OsDef *os = &def->os;

        if (os->nvram && os->loader_type == OS_LOADER_TYPE_ROM)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("<nvram> needs <loader type='pflash'>"));
        if (os->nvram && os->loader_stateless == TRI_YES)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<nvram> does not go with a stateless <loader>"));
        if (os->loader_stateless == TRI_YES && os->loader_type == OS_LOADER_TYPE_ROM)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("<loader stateless='yes'> needs type 'pflash'"));
        if (os->firmware_features->len > 0 && os->firmware != OS_FIRMWARE_EFI)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<firmware><feature> needs <os firmware='efi'>"));
        if (os->loader_secure == TRI_YES && !domain_def_is_q35(def))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("<loader secure='yes'> needs machine 'q35'"));
        if (os->loader_secure == TRI_YES && def->features.smm != TRI_YES)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<loader secure='yes'> needs <features><smm state='on'/>"));
        return 0;
}

static const char *entry_value(const GPtrArray *entries, const char *name) {
        for (unsigned i = 0; i < entries->len; i++) {
                const SysinfoEntryDef *entry = g_ptr_array_index(entries, i);

                if (g_str_equal(entry->name, name))
                        return entry->value;
        }
        return NULL;
}

static int validate_entries(const char *block, const GPtrArray *entries, const char *const *names, GError **reterr) {
        for (unsigned i = 0; i < entries->len; i++) {
                const SysinfoEntryDef *entry = g_ptr_array_index(entries, i);

                if (!g_strv_contains(names, entry->name))
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("<sysinfo><%s> has no entry '%.64s': remove it"), block, entry->name);
        }
        return 0;
}

static int validate_sysinfo(const DomainDef *def, GError **reterr) {
        static const char *const bios[] = { "vendor", "version", "date", "release", NULL };
        static const char *const system_names[] = { "manufacturer", "product", "version", "serial",
                                                    "uuid",         "sku",     "family",  NULL };
        static const char *const board[] = {
                "manufacturer", "product", "version", "serial", "asset", "location", NULL
        };
        static const char *const chassis[] = { "manufacturer", "version", "serial", "asset", "sku", NULL };
        const SysinfoDef *sysinfo = &def->sysinfo;
        const char *text = entry_value(sysinfo->system, "uuid");
        unsigned char uuid[UUID_BYTES];
        int r;

        if (def->os.smbios_mode == OS_SMBIOS_MODE_SYSINFO && !sysinfo->type)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<smbios mode='sysinfo'/> needs <sysinfo type='smbios'>"));
        if (text && (uuid_parse(text, uuid) < 0 || memcmp(uuid, def->uuid, UUID_BYTES) != 0))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("the uuid in <sysinfo><system> is '%.64s', but must be the domain's"), text);
        r = validate_entries("bios", sysinfo->bios, bios, reterr);
        if (r == 0)
                r = validate_entries("system", sysinfo->system, system_names, reterr);
        if (r == 0)
                r = validate_entries("chassis", sysinfo->chassis, chassis, reterr);
        for (unsigned i = 0; i < sysinfo->boards->len && r == 0; i++)
                r = validate_entries("baseBoard",
                                     ((const SysinfoBoardDef *) g_ptr_array_index(sysinfo->boards, i))->entries, board,
                                     reterr);
        return r;
}

static int validate_features(const DomainDef *def, GError **reterr) {
        const FeaturesDef *features = &def->features;
        const HypervDef *hyperv = &features->hyperv;

        if (features->smm == TRI_YES && !domain_def_is_q35(def))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("<smm> needs machine 'q35'"));
        if (features->smm_tseg_bytes && features->smm != TRI_YES)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("<tseg> needs <smm state='on'>"));
        if (features->smm_tseg_bytes % (1024 * 1024))
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<tseg> must be whole MiB"));
        if (features->hap == TRI_NO)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("<hap state='off'/> is not supported by Ferry: remove it"));
        if (hyperv->spinlocks == TRI_YES && !hyperv->spinlocks_retries)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<spinlocks> needs the attribute 'retries'"));
        if (hyperv->vendor_id == TRI_YES && !hyperv->vendor_id_value)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<vendor_id> needs the attribute 'value'"));
        if (hyperv->vendor_id_value && (strlen(hyperv->vendor_id_value) > 12 || strchr(hyperv->vendor_id_value, ',')))
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("the value of <vendor_id> has more than 12 characters or a comma"));
        if (hyperv->present && hyperv->mode != HYPERV_MODE_PASSTHROUGH && hyperv->stimer == TRI_YES &&
            (hyperv->synic != TRI_YES || hyperv->vpindex != TRI_YES))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("<stimer> needs <synic> and <vpindex>"));
        if (features->apic_eoi && !features->apic)
                return error_set(reterr, VIR_ERR_XML_ERROR, _("<apic eoi=> needs <apic>"));
        return 0;
}

static int validate_clock(const DomainDef *def, GError **reterr) {
        const ClockDef *clock = &def->clock;
        uint64_t seen = 0;

        if (clock->offset == CLOCK_OFFSET_TIMEZONE && !clock->timezone)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("<clock offset='timezone'> needs the attribute 'timezone'"));
        for (unsigned i = 0; i < clock->timers->len; i++) {
                const TimerDef *timer = g_ptr_array_index(clock->timers, i);
                const char *name = timer_name_to_string(timer->name);

                if (seen & UINT64_C(1) << timer->name)
                        return error_set(reterr, VIR_ERR_XML_ERROR, _("<timer name='%s'> is there more than once"),
                                         name);
                seen |= UINT64_C(1) << timer->name;
                if (timer->name == TIMER_NAME_RTC && timer->tickpolicy == TIMER_TICKPOLICY_DISCARD)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("tickpolicy 'discard' of <timer name='rtc'> is not supported"));
                if ((timer->name == TIMER_NAME_RTC || timer->name == TIMER_NAME_PIT) && timer->present == TRI_NO)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("<timer name='%s' present='no'/> is not supported"), name);
        }
        return 0;
}

static int validate_qemu(const DomainDef *def, GError **reterr) {
        for (unsigned i = 0; i < def->qemu_envs->len; i++) {
                const char *name = ((const QemuEnvDef *) g_ptr_array_index(def->qemu_envs, i))->name;

                if (!*name || strchr(name, '='))
                        return error_set(reterr, VIR_ERR_XML_ERROR,
                                         _("<qemu:env name='%.64s'> is not a name of a variable"), name);
                if (g_str_has_prefix(name, "LD_"))
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("<qemu:env name='%.64s'> is not supported: Ferry sets it"), name);
        }
        return 0;
}

static int validate_os(const DomainDef *def, GError **reterr) {
        int r = validate_boot(&def->os, reterr);

        return r < 0 ? r : validate_firmware(def, reterr);
}

int domain_def_validate(const DomainDef *def, GError **reterr) {
        static int (*const parts[])(const DomainDef *def, GError **reterr) = {
                validate_identity, validate_memory,  validate_cpu,   validate_os,          validate_sysinfo,
                validate_features, validate_clock,   validate_disks, validate_controllers, validate_nets,
                validate_chars,    validate_display, validate_small, validate_infos,       validate_qemu,
        };
        int r = 0;

        for (unsigned i = 0; i < G_N_ELEMENTS(parts) && r == 0; i++)
                r = parts[i](def, reterr);
        return r;
}
