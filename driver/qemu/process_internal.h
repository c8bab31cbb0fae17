/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The inside of a Qemu, for process.c and start.c. */

#include "driver/base/fiber.h"
#include "driver/qemu/process.h"

struct Qemu {
        unsigned refs;
        sd_event *event;
        const QemuSettings *settings;
        const QemuCallbacks *callbacks;
        void *userdata;
        char *name; /* of the domain, for messages */
        char *dir;  /* sockets */
        char *log_path;
        int log_fd;
        int64_t log_start; /* where QEMU's own words begin */
        pid_t pid;
        int pidfd;
        uint64_t start_time; /* field 22 of /proc/PID/stat: with the pid it names one process only */
        sd_event_source *exit_source;
        sd_event_source *lost_source; /* the monitor closed: is QEMU about to end? */
        GError *lost_reason;
        bool exited;    /* the process is gone and reaped */
        bool announced; /* callbacks may be told of the exit */
        int status;
        FiberCond exit_cond;
        Monitor *monitor;
        QemuRam *ram;
        int uffds[2];
        int uffds_in_qemu[2]; /* their numbers inside QEMU, -1: none */
        char **taps;          /* per interface; "" for none */
        unsigned n_taps;
};

/* A Qemu without a process. settings and callbacks are borrowed. */
Qemu *qemu_new_empty(sd_event *event, const QemuSettings *settings, const QemuCallbacks *callbacks, void *userdata,
                     const char *name);
/* Connects to dir/monitor.sock and greets. Fiber. */
int qemu_connect_monitor(Qemu *qemu, uint64_t timeout_usec, GError **reterr);
/* Starts watching pidfd. */
int qemu_watch_exit(Qemu *qemu, GError **reterr);
/* Field 22 of /proc/PID/stat; 0 if there is no such process. */
uint64_t qemu_process_start_time(pid_t pid);
/* A listening socket at dir/monitor.sock. */
int qemu_listen_monitor(Qemu *qemu, GError **reterr);
