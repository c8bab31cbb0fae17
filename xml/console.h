/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "xml/def.h"

/* Gives the first console, if it is the face of a serial port, that port's source and alias, as they are now. */
void console_follow_serial(DomainDef *def);
