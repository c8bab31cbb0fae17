/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * Starting a QEMU: check, decide (prepare.h), make what it needs (folder, log, RAM, taps, sockets), spawn, take the
 * userfaultfds, greet the monitor, and apply what can only be applied to a running one. Whatever fails, everything made
 * so far goes again, and what QEMU wrote into its log becomes part of the error.
 *
 * Descriptors get small fixed numbers in QEMU, counted from 3 in the order in which they are passed on.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/scope.h"
#include "driver/base/spawn.h"
#include "driver/qemu/check.h"
#include "driver/qemu/cmdline.h"
#include "driver/qemu/names.h"
#include "driver/qemu/net.h"
#include "driver/qemu/network.h"
#include "driver/qemu/prepare.h"
#include "driver/qemu/process_internal.h"
#include "driver/qemu/qmp.h"
#include "driver/qemu/shim.h"

#define START_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define START_FIRST_FD 3
#define START_MAX_FDS 64
/* A QEMU that has not run a single instruction of the guest has nothing to lose. */
#define START_KILL_GRACE_USEC 0

/* All that exists only while a QEMU is being started. */
typedef struct Start {
        const QemuStartArgs *args;
        Qemu *qemu;
        SpawnFd fds[START_MAX_FDS];
        unsigned n_fds;
        QemuNet *nets;
        unsigned n_nets;
        GPtrArray *numbers;        /* of int arrays: the taps' numbers in QEMU */
        int monitor_fd;            /* listening */
        int shim_fd, shim_fd_qemu; /* socket pair to the shim; -EBADF: no shim */
        int device_fd;             /* /dev/userfaultfd, or -EBADF: the syscall is allowed */
        bool spawned;
} Start;

static void start_clear(Start *start) {
        for (unsigned i = 0; i < start->n_nets; i++)
                qemu_net_clear(&start->nets[i]);
        g_free(start->nets);
        g_clear_pointer(&start->numbers, g_ptr_array_unref);
        fd_close(start->monitor_fd);
        fd_close(start->shim_fd);
        fd_close(start->shim_fd_qemu);
        fd_close(start->device_fd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Start, start_clear)

/* Passes fd on to QEMU and returns its number there. */
static int start_pass_fd(Start *start, int fd, GError **reterr) {
        if (start->n_fds >= START_MAX_FDS)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("the domain needs more than %d descriptors: give its interfaces fewer queues"),
                                 START_MAX_FDS);
        int number = START_FIRST_FD + (int) start->n_fds;
        start->fds[start->n_fds++] = (SpawnFd){.fd = fd, .target = number};
        return number;
}

/* ---- what QEMU needs ---- */

static int start_log(Start *start, GError **reterr) {
        Qemu *qemu = start->qemu;

        int r = dir_make(qemu->settings->log_dir, 0755, reterr);
        if (r < 0)
                return r;
        qemu->log_path = qemu_name_log(qemu->settings, start->args->def);
        qemu->log_fd = open(qemu->log_path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (qemu->log_fd < 0)
                return error_set_errno(reterr, errno, _("cannot open the log '%s'"), qemu->log_path);
        return 0;
}

static void start_log_command(Start *start, const char *const *argv, const char *const *env) {
        Qemu *qemu = start->qemu;
        unsigned version = qemu_caps_version(start->args->caps);
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *when = g_date_time_format(now, "%Y-%m-%d %H:%M:%S.%f+0000"),
                        *command = qemu_cmdline_format(argv, env);
        g_autofree char *text = g_strdup_printf(
                "%s: starting up, ferry %s, QEMU %u.%u.%u%s%s\n%s", when, FERRY_VERSION, version / 1000000,
                version / 1000 % 1000, version % 1000, start->args->incoming ? ", incoming migration" : "",
                qemu_uffd(qemu, 0) < 0 && start->shim_fd < 0 ? ", without userfaultfd" : "", command);

        (void) fd_write_all(qemu->log_fd, text, strlen(text));
        qemu->log_start = lseek(qemu->log_fd, 0, SEEK_END);
}

static int start_ram(Start *start, GError **reterr) {
        Qemu *qemu = start->qemu;

        int r = qemu_ram_new(qemu->settings, start->args->def, &qemu->ram, reterr);
        for (unsigned i = 0; r >= 0 && i < qemu->ram->n_blocks; i++) {
                QemuRamBlock *block = &qemu->ram->blocks[i];
                if (block->path)
                        continue;
                block->qemu_fd = start_pass_fd(start, block->fd, reterr);
                r = MIN(block->qemu_fd, 0);
        }
        return r;
}

static const int *start_pass_all(Start *start, const int *fds, unsigned n, GError **reterr) {
        int *numbers = g_new(int, n);

        g_ptr_array_add(start->numbers, numbers);
        for (unsigned i = 0; i < n; i++) {
                numbers[i] = start_pass_fd(start, fds[i], reterr);
                if (numbers[i] < 0)
                        return NULL;
        }
        return numbers;
}

/* Opens the taps; *ret_nets is what the command line wants to know. */
static int start_nets(Start *start, QemuCmdlineNet **ret_nets, GError **reterr) {
        DomainDef *def = start->args->def;
        Qemu *qemu = start->qemu;
        g_autofree QemuCmdlineNet *nets = g_new0(QemuCmdlineNet, def->nets->len + 1);

        start->nets = g_new0(QemuNet, def->nets->len + 1);
        qemu->taps = g_new0(char *, def->nets->len + 1);
        for (unsigned i = 0; i < def->nets->len; i++) {
                NetDef *net = def->nets->pdata[i];
                int r = qemu_net_open(net, def->virt_type == VIRT_TYPE_KVM, &start->nets[i], reterr);
                if (r < 0)
                        return r;
                start->n_nets = i + 1;
                qemu->taps[i] = g_strdup(start->nets[i].tap ?: "");
                qemu->n_taps = i + 1;
                if (start->nets[i].n_queues == 0)
                        continue;
                g_free(net->target);
                net->target = g_strdup(start->nets[i].tap);
                nets[i].n_queues = start->nets[i].n_queues;
                nets[i].tap_fds = start_pass_all(start, start->nets[i].tap_fds, nets[i].n_queues, reterr);
                if (!nets[i].tap_fds)
                        return -EOPNOTSUPP;
                if (!start->nets[i].vhost_fds)
                        continue;
                nets[i].vhost_fds = start_pass_all(start, start->nets[i].vhost_fds, nets[i].n_queues, reterr);
                if (!nets[i].vhost_fds)
                        return -EOPNOTSUPP;
        }
        *ret_nets = g_steal_pointer(&nets);
        return 0;
}

/* Whether the shim will get its userfaultfds: from the device, or because the syscall is allowed to us and so to QEMU.
 * Without either the guest runs, but cannot be migrated live. */
static int start_shim(Start *start, GError **reterr) {
        int pair[2];

        if (!start->qemu->settings->uffd_shim)
                return 0;
        start->device_fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
        if (start->device_fd < 0) {
                _cleanup_fd_ int probe = (int) syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
                if (probe < 0)
                        return 0;
        }
        if (access(start->qemu->settings->uffd_shim, R_OK) < 0)
                return error_set_errno(reterr, errno, _("cannot find '%s', which live migration needs"),
                                       start->qemu->settings->uffd_shim);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return error_set_errno(reterr, errno, _("cannot make a socket for the userfaultfd shim"));
        start->shim_fd = pair[0];
        start->shim_fd_qemu = pair[1];
        return 0;
}

/* ---- the process ---- */

static void env_add(GPtrArray *env, const char *name) {
        const char *value = g_getenv(name);

        if (value)
                g_ptr_array_add(env, g_strconcat(name, "=", value, NULL));
}

static int start_env(Start *start, char *const *more, GPtrArray *env, GError **reterr) {
        static const char *const kept[] = {"PATH",           "HOME",
                                           "USER",           "LOGNAME",
                                           "TMPDIR",         "XDG_RUNTIME_DIR",
                                           "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
                                           "XDG_DATA_HOME"};

        g_ptr_array_add(env, g_strdup("LC_ALL=C"));
        for (unsigned i = 0; i < G_N_ELEMENTS(kept); i++)
                env_add(env, kept[i]);
        for (; more && *more; more++)
                g_ptr_array_add(env, g_strdup(*more));
        if (start->shim_fd < 0)
                return 0;

        int number = start_pass_fd(start, start->shim_fd_qemu, reterr);
        if (number < 0)
                return number;
        g_ptr_array_add(env, g_strdup_printf("LD_PRELOAD=%s", start->qemu->settings->uffd_shim));
        g_ptr_array_add(env, g_strdup_printf("%s=%d", SHIM_ENV_SOCKET, number));
        if (start->device_fd < 0)
                return 0;
        number = start_pass_fd(start, start->device_fd, reterr);
        if (number < 0)
                return number;
        g_ptr_array_add(env, g_strdup_printf("%s=%d", SHIM_ENV_DEVICE, number));
        return 0;
}

static int start_spawn(Start *start, char *const *argv, GPtrArray *env, GError **reterr) {
        Qemu *qemu = start->qemu;

        g_ptr_array_add(env, NULL);
        SpawnArgs args = {
                .argv = (const char *const *) argv,
                .env = (const char *const *) env->pdata,
                .fds = start->fds,
                .n_fds = start->n_fds,
                .stdin_fd = -1,
                .stdout_fd = qemu->log_fd,
                .stderr_fd = qemu->log_fd,
                .new_session = true,
                .memlock_bytes = qemu_ram_memlock_limit(qemu->ram),
        };
        int r = spawn(&args, &qemu->pid, &qemu->pidfd, reterr);
        if (r < 0)
                return r;
        start->spawned = true;
        qemu->start_time = qemu_process_start_time(qemu->pid);
        /* What only QEMU holds now tells of its end by closing. */
        start->shim_fd_qemu = fd_close(start->shim_fd_qemu);
        start->monitor_fd = fd_close(start->monitor_fd);
        return qemu_watch_exit(qemu, reterr);
}

/* A guest is no part of the daemon's service. */
static int start_scope(Start *start, GError **reterr) {
        const QemuSettings *settings = start->qemu->settings;
        g_autofree char *description = g_strdup_printf("Virtual machine %s", start->qemu->name);
        g_autofree char *ram = settings->privileged ? g_build_filename(settings->state_dir, "ram", NULL) : NULL;

        return scope_enter(settings->scopes,
                           &(ScopeArgs){ .kind = "guest", .name = start->qemu->name, .description = description,
                                         .pid = start->qemu->pid, .after_mount = ram,
                                         .machine_uuid = start->args->def->uuid },
                           reterr);
}

static int start_take_uffds(Start *start, uint64_t timeout_usec, GError **reterr) {
        Qemu *qemu = start->qemu;
        ShimHello hello = {};
        size_t n_fds = 0;
        int fds[2] = {-EBADF, -EBADF};

        if (start->shim_fd < 0)
                return 0;
        int r = fiber_wait_fd(start->shim_fd, EPOLLIN, timeout_usec, NULL);
        if (r < 0)
                return error_set_errno(reterr, r, _("QEMU of domain '%s' did not hand over its userfaultfds"),
                                       qemu->name);
        ssize_t n = fd_recv_with_fds(start->shim_fd, &hello, sizeof(hello), fds, G_N_ELEMENTS(fds), &n_fds);
        if (n != (ssize_t) sizeof(hello) || hello.magic != SHIM_MAGIC || n_fds != G_N_ELEMENTS(fds)) {
                fd_close(fds[0]);
                fd_close(fds[1]);
                return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("QEMU of domain '%s' ended before it had begun"),
                                 qemu->name);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
                qemu->uffds[i] = fds[i];
                qemu->uffds_in_qemu[i] = hello.uffd[i];
        }
        return 0;
}

/* ---- what can be set only on a running QEMU ---- */

static int start_passwords(Start *start, GError **reterr) {
        const DomainDef *def = start->args->def;

        for (unsigned i = 0; i < def->graphics->len; i++) {
                const GraphicsDef *graphics = def->graphics->pdata[i];
                if (!graphics->password)
                        continue;
                g_autofree char *expires = NULL;
                if (graphics->password_valid_to) {
                        g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
                        g_autoptr(GDateTime) when = g_date_time_new_from_iso8601(graphics->password_valid_to, utc);
                        expires = when ? g_strdup_printf("%" G_GINT64_FORMAT, g_date_time_to_unix(when)) : NULL;
                }
                int r = qmp_set_vnc_password(qemu_monitor(start->qemu), graphics->password, expires, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int start_links(Start *start, GError **reterr) {
        const DomainDef *def = start->args->def;

        for (unsigned i = 0; i < def->nets->len; i++) {
                const NetDef *net = def->nets->pdata[i];
                if (net->link != NET_LINK_DOWN)
                        continue;
                json_object *arguments = json_add_string(json_object_new_object(), "name", net->info.alias);
                json_add_bool(arguments, "up", false);
                int r = monitor_call(qemu_monitor(start->qemu), "set_link", arguments, NULL, 0, QMP_TIMEOUT_USEC, NULL,
                                     reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int start_balloon(Start *start, GError **reterr) {
        const DomainDef *def = start->args->def;
        Monitor *monitor = qemu_monitor(start->qemu);
        int r = 0;

        if (!def->balloon.present || def->balloon.model != BALLOON_MODEL_VIRTIO)
                return 0;
        if (def->balloon.stats_period_sec > 0)
                r = qmp_balloon_set_period(monitor, def->balloon.info.alias, def->balloon.stats_period_sec, reterr);
        /* An incoming guest brings its balloon's target along. */
        if (r >= 0 && !start->args->incoming && def->memory.current_bytes > 0 &&
            def->memory.current_bytes < def->memory.total_bytes)
                r = qmp_balloon(monitor, def->memory.current_bytes, reterr);
        return r;
}

static int pin_thread(pid_t thread, const Bitset *cpus, GError **reterr) {
        size_t bytes = CPU_ALLOC_SIZE(BITSET_MAX);
        g_autofree cpu_set_t *set = g_malloc0(bytes);

        for (int cpu = bitset_next(cpus, 0); cpu >= 0; cpu = bitset_next(cpus, (unsigned) cpu + 1))
                CPU_SET_S((size_t) cpu, bytes, set);
        if (sched_setaffinity(thread, bytes, set) >= 0 || errno == ESRCH)
                return 0;
        g_autofree char *text = bitset_format(cpus);
        return error_set_errno(reterr, errno, _("cannot pin QEMU to the host CPUs %s"), text);
}

static bool is_vcpu(const QmpCpu *cpus, unsigned n, pid_t thread) {
        for (unsigned i = 0; i < n; i++)
                if (cpus[i].thread_id == thread)
                        return true;
        return false;
}

/* QEMU's own threads go where the emulator may run. */
static int pin_emulator(pid_t pid, const Bitset *set, const QmpCpu *cpus, unsigned n, GError **reterr) {
        g_autofree char *path = g_strdup_printf("/proc/%d/task", (int) pid);
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        const char *entry;
        int r = 0;

        while (dir && r >= 0 && (entry = g_dir_read_name(dir))) {
                pid_t thread = (pid_t) g_ascii_strtoll(entry, NULL, 10);
                if (!is_vcpu(cpus, n, thread))
                        r = pin_thread(thread, set, reterr);
        }
        return r;
}

static int start_pinning(Start *start, GError **reterr) {
        const DomainDef *def = start->args->def;
        const Bitset *emulator = def->cputune.emulatorpin ?: def->vcpu.cpuset;
        QmpCpu *cpus = NULL;
        unsigned n = 0;

        if (!emulator && def->cputune.vcpupins->len == 0)
                return 0;
        int r = qmp_query_cpus(qemu_monitor(start->qemu), &cpus, &n, reterr);
        if (r >= 0 && emulator)
                r = pin_emulator(start->qemu->pid, emulator, cpus, n, reterr);
        for (unsigned i = 0; i < n && r >= 0; i++) {
                const Bitset *set = def->vcpu.cpuset;
                for (unsigned j = 0; j < def->cputune.vcpupins->len; j++) {
                        const VcpupinDef *pin = def->cputune.vcpupins->pdata[j];
                        if (pin->vcpu == (int) cpus[i].index)
                                set = pin->cpuset;
                }
                if (set && cpus[i].thread_id > 0)
                        r = pin_thread(cpus[i].thread_id, set, reterr);
        }
        qmp_cpus_free(cpus, n);
        return r;
}

static int start_finish(Start *start, GError **reterr) {
        int r = start_passwords(start, reterr);
        if (r >= 0)
                r = start_links(start, reterr);
        if (r >= 0)
                r = start_balloon(start, reterr);
        if (r >= 0)
                r = start_pinning(start, reterr);
        if (r >= 0)
                r = qemu_refresh_def(start->qemu, start->args->def, reterr);
        return r;
}

/* ---- the whole ---- */

static int start_run(Start *start, GError **reterr) {
        const QemuStartArgs *args = start->args;
        Qemu *qemu = start->qemu;
        uint64_t timeout = args->timeout_usec > 0 ? args->timeout_usec : START_TIMEOUT_USEC;
        g_autofree QemuCmdlineNet *nets = NULL;
        g_auto(GStrv) argv = NULL, more_env = NULL;
        g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);

        qemu->dir = qemu_name_dir(qemu->settings, args->def);
        int r = dir_make(qemu->dir, 0700, reterr);
        if (r >= 0)
                r = start_log(start, reterr);
        if (r >= 0)
                r = start->monitor_fd = qemu_listen_monitor(qemu, reterr);
        if (r < 0)
                return r;
        int monitor_number = start_pass_fd(start, start->monitor_fd, reterr);
        r = start_ram(start, reterr);
        if (r >= 0)
                r = start_nets(start, &nets, reterr);
        if (r >= 0)
                r = start_shim(start, reterr);
        if (r < 0)
                return r;

        QemuCmdlineArgs cmdline = {
                .def = args->def,
                .caps = args->caps,
                .ram = qemu->ram,
                .nets = nets,
                .n_nets = start->n_nets,
                .monitor_fd = monitor_number,
                .incoming = args->incoming,
                .now_sec = (int64_t) (clock_realtime_usec() / USEC_PER_SEC),
        };
        r = qemu_cmdline_build(&cmdline, &argv, &more_env, reterr);
        if (r >= 0)
                r = start_env(start, more_env, env, reterr);
        if (r < 0)
                return r;
        start_log_command(start, (const char *const *) argv, (const char *const *) more_env);
        r = start_spawn(start, argv, env, reterr);
        if (r >= 0)
                r = start_scope(start, reterr);
        if (r >= 0)
                r = start_take_uffds(start, timeout, reterr);
        if (r >= 0)
                r = qemu_connect_monitor(qemu, timeout, reterr);
        if (r >= 0)
                r = start_finish(start, reterr);
        return r;
}

/* Ends what was begun, and puts QEMU's last words into the error. */
static int start_undo(Start *start, int r, GError *error, GError **reterr) {
        Qemu *qemu = start->qemu;

        if (start->spawned) {
                /* A QEMU that ends by itself is given the moment it needs to say why. */
                if (!qemu->exited)
                        (void) fiber_cond_wait(&qemu->exit_cond, r == -ETIMEDOUT ? 0 : USEC_PER_SEC);
                if (!qemu->exited)
                        (void) qemu_kill(qemu, START_KILL_GRACE_USEC, NULL);
                g_autofree char *tail = qemu_log_tail(qemu);
                if (*tail)
                        (void) error_set(reterr, error_code(error),
                                         _("QEMU of domain '%s' could not be started (log: '%s'): %s"), qemu->name,
                                         qemu->log_path, tail);
        }
        qemu_cleanup(qemu, false);
        if (reterr && !*reterr)
                g_propagate_error(reterr, error);
        else
                g_error_free(error);
        return r;
}

int qemu_start(const QemuStartArgs *args, Qemu **ret_qemu, GError **reterr) {
        g_autoptr(Qemu) qemu =
                qemu_new_empty(args->event, args->settings, args->callbacks, args->userdata, args->def->name);
        g_auto(Start) start = {
                .args = args,
                .qemu = qemu,
                .numbers = g_ptr_array_new_with_free_func(g_free),
                .monitor_fd = -EBADF,
                .shim_fd = -EBADF,
                .shim_fd_qemu = -EBADF,
                .device_fd = -EBADF,
        };
        GError *error = NULL;

        int r = qemu_network_resolve(args->settings, args->def, reterr);
        if (r >= 0)
                r = qemu_check_start(args->settings, args->def, args->caps, reterr);
        if (r >= 0)
                r = qemu_prepare(args->settings, args->def, args->caps, reterr);
        if (r < 0)
                return r;
        r = start_run(&start, &error);
        if (r < 0)
                return start_undo(&start, r, error, reterr);
        qemu->announced = true;
        /* It may have ended since its last answer: nobody was told. */
        if (qemu->exited) {
                (void) error_set(&error, VIR_ERR_OPERATION_FAILED, _("QEMU of domain '%s' ended right after its start"),
                                 qemu->name);
                return start_undo(&start, -ESRCH, error, reterr);
        }
        *ret_qemu = g_steal_pointer(&qemu);
        return 0;
}

/* ---- what QEMU chose ---- */

static void refresh_char(CharDef *character, const QmpChardev *chardevs, unsigned n) {
        g_autofree char *id = qemu_cmdline_chardev_id(character->info.alias);

        for (unsigned i = 0; i < n; i++) {
                if (g_strcmp0(chardevs[i].id, id) != 0)
                        continue;
                if (character->type == CHAR_TYPE_PTY && chardevs[i].pty) {
                        g_free(character->source_path);
                        character->source_path = g_strdup(chardevs[i].pty);
                }
                character->state = chardevs[i].frontend_open ? CHANNEL_STATE_CONNECTED : CHANNEL_STATE_DISCONNECTED;
        }
}

int qemu_refresh_def(Qemu *qemu, DomainDef *def, GError **reterr) {
        Monitor *monitor = qemu_monitor(qemu);
        QmpChardev *chardevs = NULL;
        unsigned n = 0;

        if (!monitor)
                return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("the monitor of domain '%s' is gone"),
                                 qemu->name);
        int r = qmp_query_chardevs(monitor, &chardevs, &n, reterr);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < def->serials->len; i++)
                refresh_char(def->serials->pdata[i], chardevs, n);
        for (unsigned i = 0; i < def->channels->len; i++)
                refresh_char(def->channels->pdata[i], chardevs, n);
        for (unsigned i = 0; i < def->consoles->len; i++) {
                CharDef *console = def->consoles->pdata[i];
                if (console->target == CHAR_TARGET_VIRTIO) {
                        refresh_char(console, chardevs, n);
                        continue;
                }
                /* The serial port of the same number under another name. */
                for (unsigned j = 0; j < def->serials->len; j++) {
                        const CharDef *serial = def->serials->pdata[j];
                        if (serial->port != console->port || serial->type != CHAR_TYPE_PTY)
                                continue;
                        g_free(console->source_path);
                        console->source_path = g_strdup(serial->source_path);
                }
        }
        qmp_chardevs_free(chardevs, n);

        for (unsigned i = 0; i < def->graphics->len; i++) {
                GraphicsDef *graphics = def->graphics->pdata[i];
                unsigned port = 0;
                if (graphics->listen == LISTEN_TYPE_SOCKET || graphics->listen == LISTEN_TYPE_NONE)
                        continue;
                r = qmp_query_vnc_port(monitor, &port, reterr);
                if (r < 0)
                        return r;
                if (port > 0)
                        graphics->port = (int) port;
        }
        return 0;
}
