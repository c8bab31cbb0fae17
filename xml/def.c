/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "xml/def.h"

#include "xml/spec.h"

DomainDef *domain_def_new(void) {
        return bind_new(&domain_spec);
}

DomainDef *domain_def_free(DomainDef *def) {
        return bind_free(&domain_spec, def);
}

DomainDef *domain_def_copy(const DomainDef *def) {
        return bind_copy(&domain_spec, def);
}

bool domain_def_is_q35(const DomainDef *def) {
        return def->os.machine && (g_str_equal(def->os.machine, "q35") || g_str_has_prefix(def->os.machine, "pc-q35"));
}

bool domain_def_is_i440fx(const DomainDef *def) {
        return def->os.machine &&
               (g_str_equal(def->os.machine, "pc") || g_str_has_prefix(def->os.machine, "pc-i440fx") ||
                g_str_has_prefix(def->os.machine, "pc-0.") || g_str_has_prefix(def->os.machine, "pc-1."));
}
