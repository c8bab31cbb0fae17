/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * QEMU's monitor commands with types. All calls wait (fiber) at most QMP_TIMEOUT_USEC unless they say otherwise; 0 or
 * negative errno, with the errors of monitor_call(). QEMU's own text is kept. Protocol: QEMU's docs/interop/qmp-spec
 * and qapi schema, 7.2 to 11.1.
 */

#include <stdint.h>

#define QMP_TIMEOUT_USEC (UINT64_C(30) * 1000 * 1000)

#include "driver/qemu/qmp_block.h"
#include "driver/qemu/qmp_machine.h"
#include "driver/qemu/qmp_migrate.h"
