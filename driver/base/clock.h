/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define NSEC_PER_USEC UINT64_C(1000)

/* CLOCK_MONOTONIC and CLOCK_REALTIME in microseconds. */
uint64_t clock_monotonic_usec(void);
uint64_t clock_realtime_usec(void);
