/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Balloon, rng, watchdog, panic, generation id, vmcoreinfo and SMBIOS tables on the command line. */

#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/qemu/cmdline_internal.h"

static int add_balloon(Cmdline *cmdline, const BalloonDef *balloon, GError **reterr) {
        if (!balloon->present || balloon->model != BALLOON_MODEL_VIRTIO)
                return 0;

        json_object *device = cmdline_device("virtio-balloon-pci", &balloon->info);
        if (balloon->autodeflate != TRI_UNSET)
                json_add_bool(device, "deflate-on-oom", balloon->autodeflate == TRI_YES);
        if (balloon->free_page_reporting != TRI_UNSET)
                json_add_bool(device, "free-page-reporting", balloon->free_page_reporting == TRI_YES);
        return cmdline_add_pci_device(cmdline, device, &balloon->info, reterr);
}

static int add_rng(Cmdline *cmdline, const RngDef *rng, GError **reterr) {
        g_autofree char *id = g_strdup_printf("obj%s", rng->info.alias);
        json_object *object = json_object_new_object();

        json_add_string(object, "qom-type", rng->backend == RNG_BACKEND_BUILTIN ? "rng-builtin" : "rng-random");
        json_add_string(object, "id", id);
        if (rng->backend != RNG_BACKEND_BUILTIN)
                json_add_string(object, "filename", rng->path ?: "/dev/urandom");
        cmdline_add_json(cmdline, "-object", object);

        json_object *device = json_add_string(json_object_new_object(), "driver", "virtio-rng-pci");
        json_add_string(device, "rng", id);
        json_add_string(device, "id", rng->info.alias);
        if (rng->rate_bytes > 0) {
                json_add_uint64(device, "max-bytes", rng->rate_bytes);
                json_add_uint64(device, "period", rng->rate_period_msec > 0 ? rng->rate_period_msec : 1000);
        }
        return cmdline_add_pci_device(cmdline, device, &rng->info, reterr);
}

static int add_watchdog(Cmdline *cmdline, const WatchdogDef *watchdog, GError **reterr) {
        switch (watchdog->model) {
        case WATCHDOG_MODEL_ITCO:
                /* Part of q35, but strapped so that it cannot reset the machine. */
                cmdline_add_value(cmdline, "-global", "ICH9-LPC.noreboot=off");
                return 0;
        case WATCHDOG_MODEL_IB700:
                return cmdline_add_device(cmdline, cmdline_device("ib700", &watchdog->info), reterr);
        case WATCHDOG_MODEL_I6300ESB:
        default:
                return cmdline_add_pci_device(cmdline, cmdline_device("i6300esb", &watchdog->info), &watchdog->info,
                                              reterr);
        }
}

static int add_panic(Cmdline *cmdline, const PanicDef *panic, GError **reterr) {
        if (panic->model == PANIC_MODEL_HYPERV)
                return 0;
        json_object *device = json_add_string(json_object_new_object(), "driver", "pvpanic");
        if (panic->info.address.type == ADDRESS_TYPE_ISA && panic->info.address.iobase > 0)
                json_add_uint64(device, "ioport", panic->info.address.iobase);
        return cmdline_add_device(cmdline, device, reterr);
}

int cmdline_add_others(Cmdline *cmdline, GError **reterr) {
        const DomainDef *def = cmdline->def;
        int r = 0;

        for (unsigned i = 0; i < def->watchdogs->len && r >= 0; i++)
                r = add_watchdog(cmdline, def->watchdogs->pdata[i], reterr);
        if (r >= 0)
                r = add_balloon(cmdline, &def->balloon, reterr);
        for (unsigned i = 0; i < def->rngs->len && r >= 0; i++)
                r = add_rng(cmdline, def->rngs->pdata[i], reterr);
        for (unsigned i = 0; i < def->panics->len && r >= 0; i++)
                r = add_panic(cmdline, def->panics->pdata[i], reterr);
        if (r >= 0 && def->genid) {
                json_object *device = json_add_string(json_object_new_object(), "driver", "vmgenid");
                json_add_string(device, "guid", def->genid);
                json_add_string(device, "id", "vmgenid0");
                r = cmdline_add_device(cmdline, device, reterr);
        }
        if (r >= 0 && def->features.vmcoreinfo == TRI_YES)
                r = cmdline_add_device(cmdline, json_add_string(json_object_new_object(), "driver", "vmcoreinfo"),
                                       reterr);
        return r;
}

/* ---- SMBIOS ---- */

/* One table: names of the XML that differ from QEMU's are mapped. */
static void add_smbios_table(Cmdline *cmdline, unsigned type, const GPtrArray *entries) {
        g_autoptr(GString) text = g_string_new(NULL);

        if (!entries || entries->len == 0)
                return;
        g_string_append_printf(text, "type=%u", type);
        for (unsigned i = 0; i < entries->len; i++) {
                const SysinfoEntryDef *entry = entries->pdata[i];
                g_autofree char *value = cmdline_escape(entry->value ?: "");
                g_string_append_printf(text, ",%s=%s", entry->name, value);
        }
        cmdline_add_value(cmdline, "-smbios", text->str);
}

void cmdline_add_smbios(Cmdline *cmdline) {
        const SysinfoDef *info = &cmdline->def->sysinfo;
        OsSmbiosMode mode = cmdline->def->os.smbios_mode;

        if (mode != OS_SMBIOS_MODE_SYSINFO && mode != OS_SMBIOS_MODE_HOST)
                return;
        add_smbios_table(cmdline, 0, info->bios);
        add_smbios_table(cmdline, 1, info->system);
        for (unsigned i = 0; info->boards && i < info->boards->len; i++) {
                const SysinfoBoardDef *board = info->boards->pdata[i];
                add_smbios_table(cmdline, 2, board->entries);
        }
        add_smbios_table(cmdline, 3, info->chassis);
        if (!info->oem || info->oem->len == 0)
                return;

        g_autoptr(GString) text = g_string_new("type=11");
        for (unsigned i = 0; i < info->oem->len; i++) {
                const SysinfoOemDef *oem = info->oem->pdata[i];
                g_autofree char *value = cmdline_escape(oem->value ?: "");
                g_string_append_printf(text, ",value=%s", value);
        }
        cmdline_add_value(cmdline, "-smbios", text->str);
}
