/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A QMP server that follows a script, for tests of QMP clients. It runs in a fiber of its own on the client's loop.
 *
 * The script has one line per step:
 *
 *      > COMMAND [JSON]   the next request must be COMMAND; with JSON its arguments must be equal to that
 *      fd                 that request must have brought one descriptor
 *      < JSON             answers it with {"return": JSON}
 *      ! CLASS TEXT       answers it with an error
 *      * JSON             sends the object as it is (an event); may stand before any request
 *      = TEXT             sends the text as it is, with a newline
 *      x                  closes the connection
 *
 * The greeting and qmp_capabilities are answered before the script begins. Anything else than the script fails the
 * test.
 */

#include <glib.h>
#include <systemd/sd-event.h>

typedef struct QmpServer QmpServer;

/* Starts a server; *ret_fd is the client's end of the connection, owned by the caller. script is copied. Fiber. */
QmpServer *qmp_server_new(sd_event *event, const char *script, int *ret_fd);
/* Waits until the script is done, and frees. Asserts that all of it was used. Fiber. */
void qmp_server_finish(QmpServer *server);
