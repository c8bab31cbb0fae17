/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/console.h"
#include "xml/def.h"
#include "xml/live.h"
#include "xml/node.h"
#include "xml/spec.h"

char *domain_def_format(const DomainDef *def, unsigned flags) {
        g_autoptr(DomainDef) copy = domain_def_copy(def);
        g_autoptr(Markup) root = markup_new("domain");
        unsigned bind_flags = flags & (DOMAIN_FORMAT_SECURE | DOMAIN_FORMAT_STATUS) ? BIND_FORMAT_SECRETS : 0;

        console_follow_serial(copy);
        if (flags & (DOMAIN_FORMAT_INACTIVE | DOMAIN_FORMAT_MIGRATABLE))
                live_drop(copy);
        bind_format(&domain_spec, copy, root, bind_flags);
        if (def->qemu_args->len > 0 || def->qemu_envs->len > 0)
                markup_attribute(root, "xmlns:qemu", NODE_QEMU_NAMESPACE);
        return markup_string(root);
}
