/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/refuse.h"

#include <string.h>

#include "driver/base/i18n.h"
#include "xml/node.h"

typedef struct RefuseHint {
        const char *where; /* node_where(), for values with " attribute=value" */
        const char *text;
} RefuseHint;

static const RefuseHint hints[] = {
        { "<devices><tpm>", N_("remove it; an emulated TPM's state cannot be migrated yet") },
        { "<devices><hostdev>", N_("remove it; a guest with a host device cannot be live-migrated") },
        { "<devices><filesystem>", N_("remove it, and share files over the network") },
        { "<devices><redirdev>", N_("remove it; USB redirection needs SPICE") },
        { "<devices><smartcard>", N_("remove it") },
        { "<devices><iommu>", N_("remove it; a virtual IOMMU is not built") },
        { "<devices><memory>", N_("remove it and give the guest all its memory with <memory>") },
        { "<devices><parallel>", N_("remove it; use <serial>") },
        { "<iothreads>", N_("remove it, and iothread= of the disks' <driver>") },
        { "<cputune><shares>", N_("remove it, and set the CPUWeight= of the guest's scope with systemctl instead") },
        { "<memtune>", N_("remove it; limit the daemon's cgroup instead") },
        { "<blkiotune>", N_("remove it") },
        { "<launchSecurity>", N_("remove it; the memory of encrypted guests cannot be read and so not migrated") },
        { "<vcpus>", N_("remove it and use <vcpu current=>") },
        { "<devices><disk> type=network", N_("attach the storage to the host and use type 'block'") },
        { "<devices><disk> type=volume", N_("name the volume's file with type 'file'") },
        { "<devices><disk> device=lun", N_("use device 'disk'") },
        { "<devices><disk> device=floppy", N_("remove it or use a cdrom") },
        { "<devices><disk> bus=usb", N_("use bus 'sata', 'scsi' or 'virtio'") },
        { "<devices><interface> type=direct", N_("use type 'bridge'; macvtap is not supported") },
        { "<devices><interface> type=vhostuser",
          N_("use type 'bridge'; memory written by another process cannot be tracked") },
        { "<devices><interface> type=hostdev", N_("use type 'bridge'; a host device cannot be live-migrated") },
        { "<devices><video><model> type=qxl", N_("use 'virtio' or 'vga'; there is no SPICE server") },
        { "<devices><graphics> type=spice", N_("use type 'vnc'; there is no SPICE server") },
        { "<devices><channel> type=spicevmc", N_("remove the channel; there is no SPICE server") },
        { "<devices><channel> type=qemu-vdagent", N_("remove the channel") },
        { "<devices><audio> type=spice", N_("use type 'none'; there is no SPICE server") },
        { "<vcpu> placement=auto", N_("use placement 'static' with a cpuset; numad is not asked") },
        { "<numatune><memory> placement=auto", N_("use placement 'static' with a nodeset; numad is not asked") },
};

static const char *refuse_hint(const char *where) {
        for (unsigned i = 0; i < G_N_ELEMENTS(hints); i++)
                if (g_str_equal(hints[i].where, where))
                        return _(hints[i].text);
        return NULL;
}

int refuse_element(const xmlNode *element, GError **reterr) {
        g_autofree char *where = node_where(element);

        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("%s is not supported by Ferry: %s"), where,
                         refuse_hint(where) ?: _("remove it"));
}

int refuse_attribute(const xmlNode *element, const char *attribute, GError **reterr) {
        g_autofree char *where = node_where(element);

        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                         _("attribute '%s' of %s is not supported by Ferry: remove it"), attribute, where);
}

int refuse_value(const xmlNode *element, const char *attribute, const char *value, char **accepted, GError **reterr) {
        g_autofree char *where = node_where(element), *words = g_strjoinv("', '", accepted);
        g_autofree char *key = g_strdup_printf("%s %s=%s", where, attribute ?: "", value);
        const char *hint;

        /* <source>'s and <target>'s attributes are looked up by the device, which is what the user thinks of */
        hint = refuse_hint(key);
        if (!hint && element->parent && element->parent->type == XML_ELEMENT_NODE) {
                g_autofree char *parent = node_where(element->parent);
                g_autofree char *outer = g_strdup_printf("%s %s=%s", parent, attribute ?: "", value);

                hint = refuse_hint(outer);
        }
        if (hint)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("%s %s='%.64s' is not supported by Ferry: %s"),
                                 where, attribute ?: _("text"), value, hint);
        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED, _("%s %s='%.64s' is not supported by Ferry: use '%s'"),
                         where, attribute ?: _("text"), value, words);
}
