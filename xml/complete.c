/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <string.h>

#include "driver/base/i18n.h"
#include "xml/complete_internal.h"
#include "xml/spec.h"

/*
 * Theory of operation.
 *
 * What a user leaves out is filled in as stock libvirt 9.0 does for QEMU 7.2, so that a definition moves between the
 * two unchanged and its guest sees the same hardware. tests/xml/data/complete holds definitions beside their completed
 * form, which was compared with libvirt's. On purpose different: no CPU model is written for a guest that names none
 * (the machine type's own is meant), and scsi controllers without a model are virtio-scsi, since lsilogic is not
 * supported.
 */

static int complete_identity(DomainDef *def, GError **reterr) {
        unsigned char uuid[UUID_BYTES];
        char text[UUID_TEXT_SIZE];
        int r;

        if (!def->has_uuid) {
                r = uuid_generate(def->uuid);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot make a UUID"));
                def->has_uuid = true;
        }
        if (def->genid && !*def->genid) {
                r = uuid_generate(uuid);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot make a generation id"));
                g_free(def->genid);
                def->genid = g_strdup(uuid_format(uuid, text));
        } else if (def->genid) {
                if (uuid_parse(def->genid, uuid) < 0)
                        return error_set(reterr, VIR_ERR_XML_ERROR, _("<genid> '%.64s' is not a UUID"), def->genid);
                g_free(def->genid);
                def->genid = g_strdup(uuid_format(uuid, text));
        }
        return 0;
}

static bool has_boot_order(const DomainDef *def) {
        for (unsigned i = 0; i < def->disks->len; i++)
                if (((const DiskDef *) g_ptr_array_index(def->disks, i))->info.boot_order)
                        return true;
        for (unsigned i = 0; i < def->nets->len; i++)
                if (((const NetDef *) g_ptr_array_index(def->nets, i))->info.boot_order)
                        return true;
        return false;
}

int complete_os(DomainDef *def, const DomainDefaults *defaults, GError **reterr) {
        const char *machine = def->os.machine ?: defaults->machine;

        if (!def->os.arch)
                def->os.arch = defaults->arch ? defaults->arch : OS_ARCH_X86_64;
        if (!machine)
                return error_set(reterr, VIR_ERR_XML_ERROR,
                                 _("<os><type> names no machine, and the emulator has no default one"));
        if (defaults->machine_resolve) {
                const char *canonical = defaults->machine_resolve(machine, defaults->userdata);

                if (!canonical)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("the emulator '%s' has no machine '%s'"),
                                         def->emulator ?: defaults->emulator ?: "?", machine);
                machine = canonical;
        }
        if (g_strcmp0(machine, def->os.machine) != 0) {
                g_autofree char *old = def->os.machine;

                def->os.machine = g_strdup(machine);
        }
        if (!domain_def_is_q35(def) && !domain_def_is_i440fx(def))
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("machine '%s' is not supported by Ferry: use 'q35' or 'pc'"), def->os.machine);
        if (def->os.boots->len == 0 && !has_boot_order(def))
                ((OsBootDef *) bind_append(def->os.boots, &os_boot_spec))->device = OS_BOOT_DEVICE_HD;
        if (def->os.loader && !def->os.loader_type)
                def->os.loader_type = OS_LOADER_TYPE_ROM;
        return 0;
}

static void complete_lifecycle(DomainDef *def) {
        if (!def->clock.offset)
                def->clock.offset = CLOCK_OFFSET_UTC;
        if (def->clock.offset == CLOCK_OFFSET_VARIABLE && !def->clock.basis)
                def->clock.basis = CLOCK_BASIS_UTC;
        if (!def->on_poweroff)
                def->on_poweroff = LIFECYCLE_ACTION_DESTROY;
        if (!def->on_reboot)
                def->on_reboot = LIFECYCLE_ACTION_RESTART;
        if (!def->on_crash)
                def->on_crash = LIFECYCLE_ACTION_DESTROY;
}

int domain_def_complete(DomainDef *def, const DomainDefaults *defaults, GError **reterr) {
        static int (*const steps[])(DomainDef *def, GError **reterr) = {
                complete_memory, complete_devices, complete_chars, complete_controllers, complete_pci,
        };
        int r;

        if (!def->virt_type)
                def->virt_type = defaults->virt_type ? defaults->virt_type : VIRT_TYPE_QEMU;
        if (!def->emulator)
                def->emulator = g_strdup(defaults->emulator);
        r = complete_identity(def, reterr);
        if (r == 0)
                r = complete_os(def, defaults, reterr);
        if (r < 0)
                return r;
        complete_cpu(def);
        complete_lifecycle(def);
        for (unsigned i = 0; i < G_N_ELEMENTS(steps) && r == 0; i++)
                r = steps[i](def, reterr);
        return r;
}
