/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The number that is in a disk's name: "sda" is 0, "sdz" 25, "sdaa" 26; -1 if target is not "vd", "sd", "hd" or "xvd"
 * and letters. */
int disk_name_index(const char *target);
