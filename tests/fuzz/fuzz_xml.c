/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xml/def.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const DomainDefaults defaults = { .emulator = "/usr/bin/qemu-system-x86_64", .machine = "pc-q35-7.2" };

static void check(bool good, const char *what) {
        if (!good) {
                fprintf(stderr, "%s\n", what);
                abort();
        }
}

static DomainDef *parse(const char *xml, size_t size, unsigned flags) {
        g_autoptr(GError) error = NULL;
        DomainDef *def = NULL;
        int r = domain_def_parse(xml, size, flags, NULL, &def, &error);

        check((r == 0) == (def != NULL) && (r < 0) == (error != NULL),
              "a result without its error, or the other way round");
        check(!error || error_is(error, VIR_ERR_XML_ERROR) || error_is(error, VIR_ERR_CONFIG_UNSUPPORTED),
              "an odd error code");
        return def;
}

/* Text that is read back says the same. */
static void check_round_trip(const DomainDef *def, unsigned parse_flags, unsigned format_flags) {
        g_autofree char *text = domain_def_format(def, format_flags), *again = NULL;
        g_autoptr(DomainDef) copy = parse(text, strlen(text), parse_flags);

        check(copy, "what was written cannot be read");
        again = domain_def_format(copy, format_flags);
        check(g_str_equal(text, again), "what was written reads as something else");
}

/* A definition that passed all checks is complete: completing it again and naming its devices changes nothing that a
 * guest sees. */
static void check_complete(DomainDef *def) {
        g_autoptr(DomainDef) copy = domain_def_copy(def);
        g_autofree char *before = domain_def_format(def, DOMAIN_FORMAT_STATUS), *after = NULL;
        g_autoptr(GError) error = NULL;

        check(domain_def_complete(def, &defaults, &error) == 0, "completing twice fails");
        check(domain_def_validate(def, &error) == 0, "completing twice makes it bad");
        after = domain_def_format(def, DOMAIN_FORMAT_STATUS);
        check(g_str_equal(before, after), "completing twice changes something");
        (void) domain_def_assign_aliases(def);
        check(domain_def_check_abi(def, copy, &error) == 0, "a guest sees its devices' names");
        check_round_trip(def, DOMAIN_PARSE_STATUS, DOMAIN_FORMAT_STATUS);
        check_round_trip(def, DOMAIN_PARSE_INACTIVE, DOMAIN_FORMAT_SECURE | DOMAIN_FORMAT_MIGRATABLE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(DomainDef) live = parse((const char *) data, size, DOMAIN_PARSE_STATUS);
        g_autoptr(DomainDef) def = parse((const char *) data, size, DOMAIN_PARSE_INACTIVE);
        g_autoptr(GError) error = NULL;

        check(!live == !def, "the flags decide whether it can be read");
        if (!def)
                return 0;
        check_round_trip(def, DOMAIN_PARSE_INACTIVE, DOMAIN_FORMAT_SECURE);
        if (domain_def_complete(def, &defaults, &error) == 0 && domain_def_validate(def, &error) == 0)
                check_complete(def);
        return 0;
}
