/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The helper's end of the control socket: JSON lines as in driver/base/monitor.h. ctl_read() and ctl_flush() on the
 * main thread; replies and events from any thread: they are queued and the main thread writes them, so that no thread
 * that moves memory waits for the daemon.
 */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define CTL_FDS_MAX 16

typedef struct Ctl Ctl;
/* One request; answered exactly once by one of the ctl_reply functions, which free it. */
typedef struct CtlCall CtlCall;

/* fds (n_fds of them) are the handler's: it takes what it wants by setting entries to -EBADF; the rest is closed.
 * arguments may be NULL and is borrowed. */
typedef void (*CtlHandler)(CtlCall *call, const char *command, json_object *arguments, int *fds, size_t n_fds,
                           void *userdata);

/* Takes fd over. */
Ctl *ctl_new(int fd, CtlHandler handler, void *userdata);
Ctl *ctl_free(Ctl *ctl);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ctl, ctl_free)

/* For poll(): the socket (POLLIN; POLLOUT too when ctl_wants_write()), and a descriptor that is readable when something
 * was queued. */
int ctl_fd(const Ctl *ctl);
int ctl_queue_fd(const Ctl *ctl);
bool ctl_wants_write(Ctl *ctl);

/* Reads what is there and calls the handler for each request. 0; -ENODATA: the daemon has gone; other negative
 * errno. */
int ctl_read(Ctl *ctl);
/* Writes what is queued, as far as the socket takes it. */
int ctl_flush(Ctl *ctl);
/* The daemon is gone: what is queued and will be queued is thrown away. */
void ctl_abandon(Ctl *ctl);
/* Another daemon, on fd (taken over): what was queued for the last one is dropped, and calls of the last one get no
 * answer. Main thread. */
void ctl_attach(Ctl *ctl, int fd);

/* Any thread. result and data are consumed and may be NULL. */
void ctl_reply(CtlCall *call, json_object *result);
void ctl_reply_error(CtlCall *call, const GError *error);
/* Any thread: whether the daemon has closed its end, also before the main thread has come to see it. */
bool ctl_peer_gone(Ctl *ctl);
/* Any thread: makes the main thread look around. */
void ctl_wake(Ctl *ctl);
/* Any thread. optional: may be dropped when the daemon does not read (numbers that the next event brings again). */
void ctl_event(Ctl *ctl, const char *name, json_object *data, bool optional);
