/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "driver/base/i18n.h"
#include "xml/complete_internal.h"
#include "xml/console.h"
#include "xml/device.h"
#include "xml/spec.h"

static void copy_source(const CharDef *from, CharDef *to) {
        g_autofree char *old_path = to->source_path, *old_log = to->log_file;

        to->type = from->type;
        to->source_path = g_strdup(from->source_path);
        to->mode = from->mode;
        to->append = from->append;
        to->log_file = g_strdup(from->log_file);
        to->log_append = from->log_append;
}

void console_follow_serial(DomainDef *def) {
        const CharDef *serial;
        CharDef *console;

        if (def->consoles->len == 0 || def->serials->len == 0)
                return;
        serial = g_ptr_array_index(def->serials, 0);
        console = g_ptr_array_index(def->consoles, 0);
        if (!device_console_is_serial(console))
                return;
        copy_source(serial, console);
        g_free(console->info.alias);
        console->info.alias = g_strdup(serial->info.alias);
}

static void add_serial_console(DomainDef *def) {
        CharDef *console = bind_append(def->consoles, &console_spec);

        console->target = CHAR_TARGET_SERIAL;
        console->port = 0;
        memmove(def->consoles->pdata + 1, def->consoles->pdata, (def->consoles->len - 1) * sizeof(void *));
        def->consoles->pdata[0] = console;
}

/* The first console and the first serial port are one thing, whichever of them was said. */
static int complete_consoles(DomainDef *def, GError **reterr) {
        CharDef *first = def->consoles->len > 0 ? g_ptr_array_index(def->consoles, 0) : NULL;

        for (unsigned i = 0; i < def->consoles->len; i++) {
                CharDef *console = g_ptr_array_index(def->consoles, i);

                if (!console->target)
                        console->target = i == 0 ? CHAR_TARGET_SERIAL : CHAR_TARGET_VIRTIO;
                if (i > 0 && console->target == CHAR_TARGET_SERIAL)
                        return error_set(
                                reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                _("console %u cannot be a serial port, only the first one can: use target type "
                                  "'virtio'"),
                                i);
        }
        if (first && device_console_is_serial(first) && def->serials->len == 0) {
                CharDef *serial = bind_append(def->serials, &serial_spec);

                copy_source(first, serial);
                serial->info.alias = g_strdup(first->info.alias);
        } else if (def->serials->len > 0 && !(first && device_console_is_serial(first)))
                add_serial_console(def);
        console_follow_serial(def);
        return 0;
}

/* Numbers those that have none, upwards from the largest. */
static void number_ports(const GPtrArray *array) {
        int next = 0;

        for (unsigned i = 0; i < array->len; i++)
                next = MAX(next, ((const CharDef *) g_ptr_array_index(array, i))->port + 1);
        for (unsigned i = 0; i < array->len; i++) {
                CharDef *chr = g_ptr_array_index(array, i);

                if (chr->port == -1)
                        chr->port = next++;
        }
}

int complete_chars(DomainDef *def, GError **reterr) {
        int r;

        number_ports(def->consoles); /* as they were given */
        r = complete_consoles(def, reterr);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < def->serials->len; i++) {
                CharDef *serial = g_ptr_array_index(def->serials, i);

                serial->target = CHAR_TARGET_ISA_SERIAL;
                if (!serial->target_model)
                        serial->target_model = g_strdup("isa-serial");
        }
        number_ports(def->serials);
        number_ports(def->consoles);
        return 0;
}
