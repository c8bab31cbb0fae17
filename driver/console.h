/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One use of a guest's console: a relay between the device (a pty or a unix socket) and one end of a socket pair, whose
 * other end the client has. Closing it ends the client's descriptor, which a pty alone could not do for a second client
 * that takes over.
 */

#include <glib.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct Console Console;

/* Takes device_fd over (non-blocking; also on failure). *ret_client_fd is the client's end, non-blocking, owned by the
 * caller. ended is called once, from the loop, when either side is gone; not after console_free(). */
int console_new(sd_event *event, int device_fd, void (*ended)(Console *console, void *userdata), void *userdata,
                Console **ret_console, int *ret_client_fd, GError **reterr);
/* Whether fd is the client's end of this one. */
bool console_is_client(const Console *console, int fd);
/* Ends it: the client reads the end of file. Accepts NULL, returns NULL. */
Console *console_free(Console *console);
