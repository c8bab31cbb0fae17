/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/base/i18n.h"
#include "xml/def.h"
#include "xml/spec.h"

int domain_def_check_abi(const DomainDef *src, const DomainDef *dst, GError **reterr) {
        g_auto(BindDifference) difference = {};

        if (!bind_diff(&domain_spec, src, dst, BIND_HOST | BIND_SECRET, &difference))
                return 0;
        return error_set(
                reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                _("the guest would see another '%s': '%s' on the source, '%s' on the destination; make them equal"),
                difference.where, difference.left ?: "", difference.right ?: "");
}
