/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One running QEMU: its process, monitor, RAM, userfaultfds, taps, files. It outlives the daemon; qemu_save() and
 * qemu_reattach() find it again.
 *
 * Reference-counted. The last qemu_unref() lets go of the descriptors; it neither ends QEMU nor removes anything. All
 * calls on the loop's thread.
 */

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "driver/base/monitor.h"
#include "driver/qemu/caps.h"
#include "driver/qemu/ram.h"
#include "driver/qemu/settings.h"
#include "xml/def.h"

typedef struct Qemu Qemu;

typedef struct QemuCallbacks {
        /* A QMP event, as MonitorCallbacks.event. May come before qemu_start() has returned. */
        void (*event)(Qemu *qemu, const char *name, json_object *data, uint64_t timestamp_usec, void *userdata);
        /* The process has ended; called exactly once per Qemu that qemu_start() or qemu_reattach() returned, from the
         * loop, also after qemu_kill(). status is wait(2)'s, or -1 when QEMU is not our child (the daemon was
         * restarted). The monitor is closed by then. Call qemu_cleanup() when done with the files. */
        void (*exited)(Qemu *qemu, int status, void *userdata);
        /* The monitor's connection broke although QEMU lives (may be NULL). Nothing can be asked from it any more. */
        void (*monitor_lost)(Qemu *qemu, const GError *reason, void *userdata);
} QemuCallbacks;

typedef struct QemuStartArgs {
        sd_event *event;
        const QemuSettings *settings; /* must outlive the Qemu */
        DomainDef *
                def; /* completed; borrowed. What starting chooses is written into it: aliases, CPU model of host-model,
                      * firmware and its variable store, image chains, socket paths, tap names, pty paths, VNC port */
        QemuCaps *caps;
        bool incoming;                  /* waits for qmp_migrate_incoming() */
        const QemuCallbacks *callbacks; /* must outlive the Qemu */
        void *userdata;
        uint64_t timeout_usec; /* for the monitor to answer; 0: 60 s */
} QemuStartArgs;

/*
 * Checks (check.h), makes RAM, taps, sockets and the log, starts QEMU, takes the userfaultfds, connects and greets the
 * monitor. The guest is paused
 * (-S): qmp_cont() runs it. Fiber. On failure nothing is left behind, and the error holds the last lines that QEMU
 * wrote.
 */
int qemu_start(const QemuStartArgs *args, Qemu **ret_qemu, GError **reterr);

/* All that qemu_reattach() needs, without secrets. Owned by the caller. */
json_object *qemu_save(const Qemu *qemu);
/*
 * Takes hold of a QEMU that an earlier daemon started. Fiber. -ESRCH (VIR_ERR_OPERATION_INVALID) if that process is
 * gone (pid reused counts as gone): then qemu_cleanup_saved() removes its leftovers.
 */
int qemu_reattach(sd_event *event, const QemuSettings *settings, json_object *saved, const QemuCallbacks *callbacks,
                  void *userdata, Qemu **ret_qemu, GError **reterr);
void qemu_cleanup_saved(const QemuSettings *settings, json_object *saved);

Qemu *qemu_ref(Qemu *qemu);
Qemu *qemu_unref(Qemu *qemu);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Qemu, qemu_unref)

/* Ends QEMU: SIGTERM (QEMU then flushes its disks), SIGKILL after grace_usec (0: at once), and waits until it is gone
 * and exited() was called. Fiber. 0, or -ETIMEDOUT if even SIGKILL did not do within 15 s (uninterruptible I/O). */
int qemu_kill(Qemu *qemu, uint64_t grace_usec, GError **reterr);
/* After exit: removes sockets, folders, taps, RAM files. keep_ram: the RAM files stay (they belong to another QEMU
 * now). Idempotent. */
void qemu_cleanup(Qemu *qemu, bool keep_ram);

Monitor *qemu_monitor(Qemu *qemu); /* borrowed; NULL once it is lost, and for NULL; all calls of a NULL monitor fail */
pid_t qemu_pid(const Qemu *qemu);
int qemu_pidfd(const Qemu *qemu);
QemuRam *qemu_ram(Qemu *qemu);
/* which 0: asynchronous, 1: synchronous; -1 if QEMU has none (qemu_start() without the right to use userfaultfd).
 * Borrowed. */
int qemu_uffd(const Qemu *qemu, unsigned which);
/* The folder of the running domain's sockets, which goes when QEMU has ended. Borrowed. */
const char *qemu_dir(const Qemu *qemu);
/* As qemu_ram_open_table() and qemu_ram_remove_tables(), for this QEMU's RAM. */
int qemu_open_table(Qemu *qemu, unsigned block, GError **reterr);
void qemu_remove_tables(Qemu *qemu);
/* Host name of the tap of an <interface>, by index; NULL if it has none. */
const char *qemu_tap(const Qemu *qemu, unsigned net);
/* The last lines of the log since this start, at most 1 KiB, for error messages. Owned by the caller. */
char *qemu_log_tail(const Qemu *qemu);
/* Descriptor of the log, for programs that belong to the domain (the engine's stderr). Borrowed. */
int qemu_log_fd(const Qemu *qemu);

/* Asks what can change while a guest runs and writes it into the live definition: pty paths, VNC port, state of
 * channels. Fiber. */
int qemu_refresh_def(Qemu *qemu, DomainDef *def, GError **reterr);
