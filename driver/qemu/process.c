/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * QEMU runs in a session of its own and outlives the daemon. What ties the two is a pidfd (exit), a unix socket
 * (monitor; QEMU keeps listening, so that a restarted daemon connects again), the files of guest RAM and two
 * userfaultfds. All of it can be found again from a small JSON object (qemu_save).
 *
 * One source on the pidfd tells of the exit and is the only one that reaps. When the monitor closes first, as it does
 * when QEMU ends, the owner is told only if the process is still there some seconds later.
 */

#include "driver/qemu/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/spawn.h"
#include "driver/qemu/process_internal.h"

#define MONITOR_SOCKET "monitor.sock"
#define KILL_TIMEOUT_USEC (15 * USEC_PER_SEC)
#define REATTACH_TIMEOUT_USEC (10 * USEC_PER_SEC)
/* How long a QEMU without a monitor may take to end before the owner hears that the monitor is lost. */
#define LOST_GRACE_USEC (5 * USEC_PER_SEC)
#define LOG_TAIL_BYTES 1024

/* ---- lifetime ---- */

Qemu *qemu_new_empty(sd_event *event, const QemuSettings *settings, const QemuCallbacks *callbacks, void *userdata,
                     const char *name) {
        Qemu *qemu = g_new0(Qemu, 1);

        *qemu = (Qemu){
                .refs = 1,
                .event = sd_event_ref(event),
                .settings = settings,
                .callbacks = callbacks,
                .userdata = userdata,
                .name = g_strdup(name),
                .log_fd = -EBADF,
                .pidfd = -EBADF,
                .status = -1,
                .uffds = {-EBADF, -EBADF},
                .uffds_in_qemu = {-1, -1},
        };
        return qemu;
}

Qemu *qemu_ref(Qemu *qemu) {
        qemu->refs++;
        return qemu;
}

Qemu *qemu_unref(Qemu *qemu) {
        if (!qemu || --qemu->refs > 0)
                return NULL;
        qemu->exit_source = sd_event_source_disable_unref(qemu->exit_source);
        qemu->lost_source = sd_event_source_disable_unref(qemu->lost_source);
        if (qemu->monitor)
                monitor_close(qemu->monitor);
        monitor_unref(qemu->monitor);
        qemu_ram_free(qemu->ram);
        fd_close(qemu->log_fd);
        fd_close(qemu->pidfd);
        fd_close(qemu->uffds[0]);
        fd_close(qemu->uffds[1]);
        g_clear_error(&qemu->lost_reason);
        g_strfreev(qemu->taps);
        g_free(qemu->name);
        g_free(qemu->dir);
        g_free(qemu->log_path);
        sd_event_unref(qemu->event);
        g_free(qemu);
        return NULL;
}

/* ---- exit ---- */

static int on_exit_source(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        g_autoptr(Qemu) qemu = qemu_ref(userdata);
        siginfo_t info = {};

        /* Not our child after a restart of the daemon: then somebody else reaps. */
        if (waitid(P_PIDFD, (id_t) qemu->pidfd, &info, WEXITED | WNOHANG) >= 0 && info.si_pid != 0)
                qemu->status =
                        info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status);
        qemu->exited = true;
        qemu->exit_source = sd_event_source_disable_unref(qemu->exit_source);
        qemu->lost_source = sd_event_source_disable_unref(qemu->lost_source);
        if (qemu->monitor)
                monitor_close(qemu->monitor);
        if (qemu->announced && qemu->callbacks && qemu->callbacks->exited)
                qemu->callbacks->exited(qemu, qemu->status, qemu->userdata);
        fiber_cond_broadcast(&qemu->exit_cond);
        return 0;
}

int qemu_watch_exit(Qemu *qemu, GError **reterr) {
        int r = sd_event_add_io(qemu->event, &qemu->exit_source, qemu->pidfd, EPOLLIN, on_exit_source, qemu);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot watch QEMU of domain '%s'"), qemu->name);
        (void) sd_event_source_set_description(qemu->exit_source, "qemu-exit");
        return 0;
}

int qemu_kill(Qemu *qemu, uint64_t grace_usec, GError **reterr) {
        g_autoptr(Qemu) keep = qemu_ref(qemu);
        int r = 0;

        for (int signal = grace_usec > 0 ? SIGTERM : SIGKILL; !qemu->exited; signal = SIGKILL) {
                uint64_t limit = signal == SIGTERM ? grace_usec : KILL_TIMEOUT_USEC;
                uint64_t deadline = clock_monotonic_usec() + limit;

                (void) spawn_kill(qemu->pidfd, signal);
                for (uint64_t now = clock_monotonic_usec(); !qemu->exited && now < deadline;
                     now = clock_monotonic_usec()) {
                        r = fiber_cond_wait(&qemu->exit_cond, deadline - now);
                        if (r < 0 && r != -ETIMEDOUT)
                                return error_set_errno(reterr, r, _("cannot wait for the end of QEMU of domain '%s'"),
                                                       qemu->name);
                }
                if (!qemu->exited && signal == SIGKILL)
                        return error_set(reterr, VIR_ERR_OPERATION_TIMEOUT,
                                         _("QEMU of domain '%s' (process %d) does not end: it is stuck in the kernel, "
                                           "perhaps in I/O"),
                                         qemu->name, (int) qemu->pid);
        }
        return 0;
}

/* ---- monitor ---- */

static void on_monitor_event(Monitor *monitor, const char *name, json_object *data, uint64_t timestamp_usec,
                             void *userdata) {
        Qemu *qemu = userdata;

        if (qemu->callbacks && qemu->callbacks->event)
                qemu->callbacks->event(qemu, name, data, timestamp_usec, qemu->userdata);
}

static int on_lost_source(sd_event_source *source, uint64_t usec, void *userdata) {
        g_autoptr(Qemu) qemu = qemu_ref(userdata);

        qemu->lost_source = sd_event_source_disable_unref(qemu->lost_source);
        if (!qemu->exited && qemu->announced && qemu->callbacks && qemu->callbacks->monitor_lost)
                qemu->callbacks->monitor_lost(qemu, qemu->lost_reason, qemu->userdata);
        return 0;
}

static void on_monitor_closed(Monitor *monitor, const GError *reason, void *userdata) {
        Qemu *qemu = userdata;

        if (!reason || qemu->exited || qemu->lost_source)
                return;
        g_clear_error(&qemu->lost_reason);
        qemu->lost_reason = g_error_copy(reason);
        if (sd_event_add_time_relative(qemu->event, &qemu->lost_source, CLOCK_MONOTONIC, LOST_GRACE_USEC, 0,
                                       on_lost_source, qemu) < 0)
                log_debug("domain '%s': no timer for a lost monitor, ignoring", qemu->name);
}

static const MonitorCallbacks monitor_callbacks = {
        .event = on_monitor_event,
        .closed = on_monitor_closed,
};

/* The folder's own descriptor keeps long paths out of the 108 bytes of an address. *ret_dir_fd must stay open while the
 * address is used. */
static int monitor_address(const Qemu *qemu, struct sockaddr_un *ret_address, int *ret_dir_fd, GError **reterr) {
        int dir_fd = open(qemu->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                return error_set_errno(reterr, errno, _("cannot open the folder '%s'"), qemu->dir);
        *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
        (void) g_snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "/proc/self/fd/%d/" MONITOR_SOCKET,
                          dir_fd);
        *ret_dir_fd = dir_fd;
        return 0;
}

int qemu_listen_monitor(Qemu *qemu, GError **reterr) {
        _cleanup_fd_ int dir_fd = -EBADF, fd = -EBADF;
        struct sockaddr_un address;

        int r = monitor_address(qemu, &address, &dir_fd, reterr);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void) unlinkat(dir_fd, MONITOR_SOCKET, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, 1) < 0)
                return error_set_errno(reterr, errno, _("cannot make the monitor socket in '%s'"), qemu->dir);
        return FD_STEAL(fd);
}

int qemu_connect_monitor(Qemu *qemu, uint64_t timeout_usec, GError **reterr) {
        _cleanup_fd_ int dir_fd = -EBADF, fd = -EBADF;
        g_autofree char *name = g_strdup_printf(_("QEMU monitor of domain '%s'"), qemu->name);
        struct sockaddr_un address;

        int r = monitor_address(qemu, &address, &dir_fd, reterr);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return error_set_errno(reterr, errno, _("cannot connect to the monitor of domain '%s'"), qemu->name);
        qemu->monitor = monitor_new(qemu->event, FD_STEAL(fd), name, &monitor_callbacks, qemu);
        if (!qemu->monitor)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("cannot watch the monitor of domain '%s'"),
                                 qemu->name);
        return monitor_handshake_qmp(qemu->monitor, timeout_usec, reterr);
}

/* ---- across a restart of the daemon ---- */

uint64_t qemu_process_start_time(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int) pid), *text = NULL;

        if (file_read(path, 4096, &text, NULL, NULL) < 0)
                return 0;
        /* The name, field 2, may hold anything, but it ends at the last parenthesis. */
        const char *p = strrchr(text, ')');
        for (int field = 2; p && field < 22; field++) {
                p = strchr(p, ' ');
                p = p ? p + 1 : NULL;
        }
        return p ? g_ascii_strtoull(p, NULL, 10) : 0;
}

json_object *qemu_save(const Qemu *qemu) {
        json_object *saved = json_object_new_object(), *uffds = json_object_new_array(),
                    *taps = json_object_new_array();

        json_add_string(saved, "name", qemu->name);
        json_add_int64(saved, "pid", qemu->pid);
        json_add_uint64(saved, "start-time", qemu->start_time);
        json_add_string(saved, "dir", qemu->dir);
        json_add_string(saved, "log", qemu->log_path);
        json_add_int64(saved, "log-start", qemu->log_start);
        for (unsigned i = 0; i < G_N_ELEMENTS(qemu->uffds_in_qemu); i++)
                json_object_array_add(uffds, json_object_new_int(qemu->uffds_in_qemu[i]));
        json_add(saved, "uffds", uffds);
        for (unsigned i = 0; i < qemu->n_taps; i++)
                json_object_array_add(taps, json_object_new_string(qemu->taps[i]));
        json_add(saved, "taps", taps);
        json_add(saved, "ram", qemu_ram_save(qemu->ram));
        return saved;
}

static void qemu_load_taps(Qemu *qemu, json_object *taps) {
        size_t n = json_object_is_type(taps, json_type_array) ? MIN(json_object_array_length(taps), 1024u) : 0;

        qemu->taps = g_new0(char *, n + 1);
        for (size_t i = 0; i < n; i++)
                qemu->taps[i] = g_strdup(json_object_get_string(json_object_array_get_idx(taps, i)) ?: "");
        qemu->n_taps = (unsigned) n;
}

static int qemu_load_uffds(Qemu *qemu, json_object *uffds, GError **reterr) {
        for (unsigned i = 0; i < G_N_ELEMENTS(qemu->uffds); i++) {
                json_object *entry =
                        json_object_is_type(uffds, json_type_array) ? json_object_array_get_idx(uffds, i) : NULL;
                int number = entry ? json_object_get_int(entry) : -1;
                if (number < 0)
                        continue;
                qemu->uffds[i] = pidfd_getfd(qemu->pidfd, number, 0);
                if (qemu->uffds[i] < 0)
                        return error_set_errno(reterr, errno, _("cannot take a userfaultfd of domain '%s' out of QEMU"),
                                               qemu->name);
                qemu->uffds_in_qemu[i] = number;
        }
        return 0;
}

static int qemu_gone(const char *name, GError **reterr) {
        (void) error_set(reterr, VIR_ERR_OPERATION_INVALID, _("QEMU of domain '%s' is not running any more"), name);
        return -ESRCH;
}

int qemu_reattach(sd_event *event, const QemuSettings *settings, json_object *saved, const QemuCallbacks *callbacks,
                  void *userdata, Qemu **ret_qemu, GError **reterr) {
        const char *name = json_get_string(saved, "name"), *dir = json_get_string(saved, "dir"),
                   *log = json_get_string(saved, "log");
        pid_t pid = (pid_t) json_get_int64(saved, "pid", 0);
        uint64_t start_time = json_get_uint64(saved, "start-time", 0);

        if (!name || !dir || pid <= 1)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("the saved state of a running domain is damaged"));
        if (start_time == 0 || qemu_process_start_time(pid) != start_time)
                return qemu_gone(name, reterr);

        g_autoptr(Qemu) qemu = qemu_new_empty(event, settings, callbacks, userdata, name);
        qemu->pid = pid;
        qemu->start_time = start_time;
        qemu->dir = g_strdup(dir);
        qemu->log_path = g_strdup(log);
        qemu->log_start = json_get_int64(saved, "log-start", 0);
        qemu->log_fd = log ? open(log, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -EBADF;
        qemu->pidfd = pidfd_open(pid, 0);
        /* The pid may have passed to another process between the first look and the pidfd. */
        if (qemu->pidfd < 0 || qemu_process_start_time(pid) != start_time)
                return qemu_gone(name, reterr);
        (void) fd_set_cloexec(qemu->pidfd, true);

        int r = qemu_ram_load(json_get(saved, "ram"), qemu->pidfd, &qemu->ram, reterr);
        if (r >= 0)
                r = qemu_load_uffds(qemu, json_get(saved, "uffds"), reterr);
        if (r < 0)
                return r;
        qemu_load_taps(qemu, json_get(saved, "taps"));
        r = qemu_connect_monitor(qemu, REATTACH_TIMEOUT_USEC, reterr);
        if (r >= 0)
                r = qemu_watch_exit(qemu, reterr);
        if (r < 0)
                return r;
        qemu->announced = true;
        *ret_qemu = g_steal_pointer(&qemu);
        return 0;
}

/* ---- what is left ---- */

static void qemu_remove_dir(const char *path) {
        g_autoptr(GDir) dir = path ? g_dir_open(path, 0, NULL) : NULL;
        const char *entry;

        while (dir && (entry = g_dir_read_name(dir))) {
                g_autofree char *file = g_build_filename(path, entry, NULL);
                (void) unlink(file);
        }
        if (path)
                (void) rmdir(path);
}

void qemu_cleanup(Qemu *qemu, bool keep_ram) {
        qemu_remove_dir(qemu->dir);
        if (!keep_ram && qemu->ram)
                qemu_ram_remove(qemu->ram);
}

void qemu_cleanup_saved(const QemuSettings *settings, json_object *saved) {
        g_autoptr(QemuRam) ram = NULL;

        qemu_remove_dir(json_get_string(saved, "dir"));
        if (qemu_ram_load(json_get(saved, "ram"), -1, &ram, NULL) >= 0)
                qemu_ram_remove(ram);
}

/* ---- access ---- */

Monitor *qemu_monitor(Qemu *qemu) {
        return qemu && qemu->monitor && monitor_is_open(qemu->monitor) ? qemu->monitor : NULL;
}

pid_t qemu_pid(const Qemu *qemu) {
        return qemu->pid;
}

int qemu_pidfd(const Qemu *qemu) {
        return qemu->pidfd;
}

QemuRam *qemu_ram(Qemu *qemu) {
        return qemu->ram;
}

int qemu_uffd(const Qemu *qemu, unsigned which) {
        return which < G_N_ELEMENTS(qemu->uffds) && qemu->uffds[which] >= 0 ? qemu->uffds[which] : -1;
}

const char *qemu_dir(const Qemu *qemu) {
        return qemu->dir;
}

int qemu_open_table(Qemu *qemu, unsigned block, GError **reterr) {
        return qemu_ram_open_table(qemu->ram, block, qemu->dir, reterr);
}

void qemu_remove_tables(Qemu *qemu) {
        qemu_ram_remove_tables(qemu->ram, qemu->dir);
}

const char *qemu_tap(const Qemu *qemu, unsigned net) {
        return net < qemu->n_taps && qemu->taps[net][0] ? qemu->taps[net] : NULL;
}

int qemu_log_fd(const Qemu *qemu) {
        return qemu->log_fd;
}

char *qemu_log_tail(const Qemu *qemu) {
        char text[LOG_TAIL_BYTES + 1];
        off_t end = qemu->log_fd >= 0 ? lseek(qemu->log_fd, 0, SEEK_END) : 0;
        off_t from = MAX(qemu->log_start, (int64_t) end - LOG_TAIL_BYTES);

        ssize_t n = end > from ? pread(qemu->log_fd, text, LOG_TAIL_BYTES, from) : 0;
        text[MAX(n, 0)] = '\0';
        /* From the first whole line on. */
        char *start = text;
        if (from > qemu->log_start && strchr(text, '\n'))
                start = strchr(text, '\n') + 1;
        return g_utf8_make_valid(g_strstrip(start), -1);
}
