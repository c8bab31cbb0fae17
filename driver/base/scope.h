/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Scopes of the service manager: control groups for processes that outlive the daemon.
 *
 * What a service forks belongs to the service: its limits, its accounting, its end. A guest is no part of the daemon,
 * so it is moved, right after its start, into a transient scope unit of its own (org.freedesktop.systemd1,
 * StartTransientUnit with PIDs=; names and meanings are those of systemd 252's org.freedesktop.systemd1(5)). Where the
 * daemon was not started by a service manager, nothing of this happens.
 *
 * All calls on the loop's thread.
 */

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct ScopeManager ScopeManager;

typedef struct ScopeArgs {
        const char *kind;        /* "guest", "job": a part of the unit's name */
        const char *name;        /* the domain's name, any text */
        const char *description; /* what systemctl shows */
        /* a child that was not reaped yet, so that the number cannot belong to somebody else */
        pid_t pid;
        const char *after_mount; /* that it uses: at shutdown it stays until the scope has ended; or NULL */
        const unsigned char *machine_uuid; /* 16 bytes: registers the process as a virtual machine, too; or NULL */
} ScopeArgs;

/*
 * *ret_manager is NULL, and the call a success, if this process was not itself started by a service manager. slice is
 * where the scopes go ("machine.slice"); a user's daemon asks the user's service manager. event must outlive the
 * manager. 0 or negative errno.
 */
int scope_manager_new(sd_event *event, const char *slice, ScopeManager **ret_manager, GError **reterr);
/* Scopes stay as they are. Accepts NULL, returns NULL. */
ScopeManager *scope_manager_free(ScopeManager *manager);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ScopeManager, scope_manager_free)

/*
 * Moves the process into a new scope and returns when it is there. Fiber; waits at most 25 s. A manager of NULL does
 * nothing. A machine that systemd-machined does not take (it may not be installed) is no error.
 */
int scope_enter(ScopeManager *manager, const ScopeArgs *args, GError **reterr);

/* The unit's name: "virtferry-KIND-NAME-PID.scope", with what must not stand in unit names escaped as systemd-escape(1)
 * does, and a long name cut. Owned by the caller. */
char *scope_unit_name(const char *kind, const char *name, pid_t pid);
/* The name under which machined knows the machine: a valid host name of at most 63 characters that begins with
 * "ferry-". Owned by the caller. */
char *scope_machine_name(const char *name, pid_t pid);
/* The mount unit of a mount point, as systemd-escape(1) --path says it. Owned by the caller. */
char *scope_mount_unit_name(const char *path);
