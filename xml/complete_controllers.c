/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "driver/base/i18n.h"
#include "xml/complete_internal.h"
#include "xml/device.h"
#include "xml/spec.h"

ControllerDef *controller_find(const DomainDef *def, ControllerType type, int index) {
        for (unsigned i = 0; i < def->controllers->len; i++) {
                ControllerDef *controller = g_ptr_array_index(def->controllers, i);

                if (controller->type == type && controller->index == index)
                        return controller;
        }
        return NULL;
}

ControllerDef *controller_add(DomainDef *def, ControllerType type, int index, ControllerModel model) {
        ControllerDef *controller = bind_append(def->controllers, &controller_spec);

        controller->type = type;
        controller->index = index;
        controller->model = model;
        return controller;
}

static bool has_controller(const DomainDef *def, ControllerType type) {
        for (unsigned i = 0; i < def->controllers->len; i++)
                if (((const ControllerDef *) g_ptr_array_index(def->controllers, i))->type == type)
                        return true;
        return false;
}

static bool is_companion(const ControllerDef *controller) {
        return controller->type == CONTROLLER_TYPE_USB && controller->model >= CONTROLLER_MODEL_ICH9_UHCI1 &&
               controller->model <= CONTROLLER_MODEL_ICH9_UHCI3;
}

/* Companions share the index of the ehci1 before them, and take two of its six ports each. */
static void complete_companion(ControllerDef *controller, int ehci_index) {
        if (controller->index == -1)
                controller->index = ehci_index;
        if (controller->usb_master_startport == -1)
                controller->usb_master_startport = 2 * (int) (controller->model - CONTROLLER_MODEL_ICH9_UHCI1);
}

static void complete_indexes(DomainDef *def) {
        int ehci_index = 0;

        for (unsigned i = 0; i < def->controllers->len; i++) {
                ControllerDef *controller = g_ptr_array_index(def->controllers, i);

                if (is_companion(controller))
                        complete_companion(controller, ehci_index);
                for (int index = 0; controller->index == -1; index++)
                        if (!controller_find(def, controller->type, index))
                                controller->index = index;
                if (controller->model == CONTROLLER_MODEL_ICH9_EHCI1)
                        ehci_index = controller->index;
        }
}

/* What every machine of this kind has. */
static void add_implicit(DomainDef *def) {
        bool q35 = domain_def_is_q35(def);

        if (!has_controller(def, CONTROLLER_TYPE_USB))
                controller_add(def, CONTROLLER_TYPE_USB, 0, CONTROLLER_MODEL_UNSET);
        if (q35 && !controller_find(def, CONTROLLER_TYPE_SATA, 0))
                controller_add(def, CONTROLLER_TYPE_SATA, 0, CONTROLLER_MODEL_UNSET);
        if (!controller_find(def, CONTROLLER_TYPE_PCI, 0))
                controller_add(def, CONTROLLER_TYPE_PCI, 0,
                               q35 ? CONTROLLER_MODEL_PCIE_ROOT : CONTROLLER_MODEL_PCI_ROOT);
}

static void complete_model(const DomainDef *def, ControllerDef *controller) {
        static const struct {
                ControllerModel model;
                const char *name;
        } names[] = {
                { CONTROLLER_MODEL_PCI_BRIDGE, "pci-bridge" },
                { CONTROLLER_MODEL_DMI_TO_PCI_BRIDGE, "i82801b11-bridge" },
                { CONTROLLER_MODEL_PCIE_TO_PCI_BRIDGE, "pcie-pci-bridge" },
                { CONTROLLER_MODEL_PCIE_ROOT_PORT, "pcie-root-port" },
                { CONTROLLER_MODEL_PCIE_SWITCH_UPSTREAM_PORT, "x3130-upstream" },
                { CONTROLLER_MODEL_PCIE_SWITCH_DOWNSTREAM_PORT, "xio3130-downstream" },
        };

        if (controller->type == CONTROLLER_TYPE_USB && !controller->model)
                controller->model = domain_def_is_q35(def) ? CONTROLLER_MODEL_QEMU_XHCI : CONTROLLER_MODEL_PIIX3_UHCI;
        if (controller->type == CONTROLLER_TYPE_SCSI && !controller->model)
                controller->model = CONTROLLER_MODEL_VIRTIO_SCSI;
        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
                if (controller->model == names[i].model && !controller->model_name)
                        controller->model_name = g_strdup(names[i].name);
}

/* Those of one type in the order of their indexes, in the places that the type has; it is the order in which they get
 * addresses, so those that have one do not move. */
static void sort_controllers(GPtrArray *controllers) {
        for (unsigned n = 1; n < controllers->len; n++)
                for (unsigned i = n, last = n; i > 0; i--) {
                        ControllerDef *controller = g_ptr_array_index(controllers, last),
                                      *other = g_ptr_array_index(controllers, i - 1);

                        if (other->type != controller->type)
                                continue;
                        if (other->index <= controller->index || other->info.address.type ||
                            controller->info.address.type)
                                break;
                        controllers->pdata[last] = other;
                        controllers->pdata[i - 1] = controller;
                        last = i - 1;
                }
}

int complete_controllers(DomainDef *def, GError **reterr) {
        int r;

        complete_indexes(def);
        sort_controllers(def->controllers);
        add_implicit(def);
        r = complete_drives(def, reterr);
        if (r == 0)
                r = complete_virtio_serial(def, reterr);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < def->controllers->len; i++)
                complete_model(def, g_ptr_array_index(def->controllers, i));
        return complete_usb(def, reterr);
}
