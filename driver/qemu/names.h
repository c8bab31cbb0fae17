/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Names of a domain's folders and files. All results are owned by the caller. */

#include "driver/qemu/settings.h"
#include "xml/def.h"

/* "NAME-UUID8": short enough for socket paths, safe as a file name, different for two domains of one name prefix. */
char *qemu_name_folder(const DomainDef *def);
/* state_dir/domains/FOLDER: monitor and other sockets of the running domain. */
char *qemu_name_dir(const QemuSettings *settings, const DomainDef *def);
/* log_dir/NAME.log */
char *qemu_name_log(const QemuSettings *settings, const DomainDef *def);
/* lib_dir/nvram/NAME_VARS.fd */
char *qemu_name_nvram(const QemuSettings *settings, const DomainDef *def);
