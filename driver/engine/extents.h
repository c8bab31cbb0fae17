/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is allocated in a RAM file, by SEEK_DATA and SEEK_HOLE: nothing is read, nothing gets allocated. */

#include <stdint.h>

#include "driver/engine/page_set.h"

/* Sets ret_allocated (cleared before) to the pages that hold data. A file system without holes reports all of them. 0
 * or negative errno. */
int extents_scan(int fd, uint64_t page_bytes, PageSet *ret_allocated);

/* Adds to fresh the pages that hold data now but are not in known. Costs what the holes are many, not what is
 * allocated. */
int extents_scan_holes(int fd, uint64_t page_bytes, const PageSet *known, PageSet *fresh);
