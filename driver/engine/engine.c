/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: the daemon's end of a job. Starts the helper with one end of a socketpair and speaks to it
 * through driver/base/monitor: a typed function per command, callbacks for its events. The helper is watched by pidfd:
 * its unexpected end is the job's failure.
 *
 * The object stays alive while a callback runs or a call is outstanding (references), so a callback may drop the last
 * reference.
 */

#include "driver/engine/engine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/monitor.h"
#include "driver/base/spawn.h"
#include "driver/base/uapi.h"
#include "driver/engine/engine_internal.h"
#include "driver/engine/guest_map.h"
#include "driver/engine/stats.h"

#define CONTROL_FD 3
#define CALL_USEC (15 * USEC_PER_SEC)
#define CONNECT_DEFAULT_USEC (10 * USEC_PER_SEC)
#define COMMAND_FDS_MAX 16

struct Engine {
        unsigned n_ref;
        char *name;
        pid_t pid;
        int pidfd;
        sd_event_source *exit_source;
        Monitor *monitor;
        const EngineCallbacks *callbacks; /* NULL once killed */
        void *userdata;
        bool failed; /* told, at most once */
        bool attached; /* somebody else's child */
        bool source, postcopy;
        EngineState state;
        EngineStats stats;
        char *modules;
};

EngineState engine_state(const Engine *engine) {
        return engine->state;
}

bool engine_is_source(const Engine *engine) {
        return engine->source;
}

bool engine_is_postcopy(const Engine *engine) {
        return engine->postcopy;
}

Engine *engine_ref(Engine *engine) {
        engine->n_ref++;
        return engine;
}

Engine *engine_unref(Engine *engine) {
        if (!engine || --engine->n_ref > 0)
                return NULL;
        engine_kill(engine);
        monitor_unref(engine->monitor);
        engine->exit_source = sd_event_source_disable_unref(engine->exit_source);
        if (engine->pidfd >= 0) {
                /* SIGKILLed just now, so this does not wait for anything but the kernel. */
                (void) waitpid(engine->pid, NULL, 0);
                fd_close(engine->pidfd);
        }
        g_free(engine->name);
        g_free(engine->modules);
        g_free(engine);
        return NULL;
}

void engine_kill(Engine *engine) {
        engine->callbacks = NULL;
        if (engine->pidfd >= 0)
                (void) spawn_kill(engine->pidfd, SIGKILL);
        if (engine->monitor)
                monitor_close(engine->monitor);
}

void engine_end(Engine *engine) {
        g_autoptr(Engine) keep = engine_ref(engine);

        engine_kill(engine);
        if (engine->pidfd >= 0)
                (void) spawn_end(engine->pidfd, 0, NULL);
}

pid_t engine_pid(const Engine *engine) {
        return engine->pid;
}

const char *engine_modules(const Engine *engine) {
        return engine->modules;
}

static void take_numbers(Engine *engine, json_object *data) {
        const char *modules = json_get_string(data, "modules");
        stats_from_json(data, &engine->stats);
        if (modules) {
                g_free(engine->modules);
                engine->modules = g_strdup(modules);
        }
}

const EngineStats *engine_stats(const Engine *engine) {
        return &engine->stats;
}

static void tell_failure(Engine *engine, const GError *error, bool gone) {
        if (engine->failed || !engine->callbacks)
                return;
        engine->failed = true;
        if (engine->callbacks->failed)
                engine->callbacks->failed(engine, error, gone, engine->userdata);
}

static void on_failed(Engine *engine, json_object *data) {
        g_autoptr(GError) error = NULL;
        error_set(&error, (virErrorNumber) json_get_int64(data, "virt-code", VIR_ERR_OPERATION_FAILED), "%s",
                  json_get_string(data, "desc") ?: _("the migration engine failed"));
        engine->state = ENGINE_STATE_FAILED;
        tell_failure(engine, error, false);
}

static void on_numbers(Engine *engine, const char *name, json_object *data) {
        const EngineCallbacks *callbacks = engine->callbacks;
        take_numbers(engine, data);
        if (name[0] == 'i' && callbacks->iteration)
                callbacks->iteration(engine, &engine->stats, engine->userdata);
        else if (name[0] == 'p' && callbacks->pending)
                callbacks->pending(engine, &engine->stats, engine->userdata);
}

static void on_ready(Engine *engine, json_object *data) {
        engine->state = engine->source ? ENGINE_STATE_READY : ENGINE_STATE_LOADED;
        engine->postcopy = json_get_bool(data, "postcopy", engine->postcopy);
        if (engine->callbacks->ready)
                engine->callbacks->ready(engine, engine->userdata);
}

static void on_committed(Engine *engine, json_object *data) {
        engine->state = ENGINE_STATE_COMMITTED;
        if (engine->callbacks->committed)
                engine->callbacks->committed(engine, engine->userdata);
}

static void on_running(Engine *engine, json_object *data) {
        engine->state = engine->postcopy ? ENGINE_STATE_POSTCOPY : ENGINE_STATE_DONE;
        if (engine->callbacks->running)
                engine->callbacks->running(engine, json_get_uint64(data, "resume-usec", 0), engine->userdata);
}

static void on_abandoned(Engine *engine, json_object *data) {
        engine->state = ENGINE_STATE_CANCELLED;
        if (engine->callbacks->abandoned)
                engine->callbacks->abandoned(engine, json_get_string(data, "reason"), engine->userdata);
}

static void on_complete(Engine *engine, json_object *data) {
        engine->state = ENGINE_STATE_DONE;
        stats_from_json(data, &engine->stats);
        if (engine->callbacks->postcopy_complete)
                engine->callbacks->postcopy_complete(engine, &engine->stats, engine->userdata);
}

static void on_paused(Engine *engine, json_object *data) {
        g_autoptr(GError) error = NULL;
        error_set(&error, (virErrorNumber) json_get_int64(data, "virt-code", VIR_ERR_OPERATION_FAILED), "%s",
                  json_get_string(data, "desc") ?: _("the link is lost"));
        engine->state = ENGINE_STATE_PAUSED;
        if (engine->callbacks->postcopy_paused)
                engine->callbacks->postcopy_paused(engine, error, engine->userdata);
}

static void on_resumed(Engine *engine, json_object *data) {
        bool running = json_get_bool(data, "running", true);
        if (engine->state == ENGINE_STATE_PAUSED)
                engine->state = running ? ENGINE_STATE_POSTCOPY : ENGINE_STATE_COMMITTED;
        if (engine->callbacks->postcopy_resumed)
                engine->callbacks->postcopy_resumed(engine, engine->userdata);
}

static const struct {
        const char *name;
        void (*func)(Engine *engine, json_object *data);
} events[] = {
        { "ready", on_ready },
        { "committed", on_committed },
        { "running", on_running },
        { "abandoned", on_abandoned },
        { "failed", on_failed },
        { "postcopy-complete", on_complete },
        { "postcopy-paused", on_paused },
        { "postcopy-resumed", on_resumed },
};

static void on_event(Monitor *monitor, const char *name, json_object *data, uint64_t timestamp_usec, void *userdata) {
        Engine *engine = userdata;
        if (!engine->callbacks)
                return;
        g_autoptr(Engine) keep = engine_ref(engine);

        if (strcmp(name, "iteration") == 0 || strcmp(name, "pending") == 0 || strcmp(name, "stats") == 0)
                return on_numbers(engine, name, data);
        for (size_t i = 0; i < G_N_ELEMENTS(events); i++)
                if (strcmp(events[i].name, name) == 0)
                        return events[i].func(engine, data);
        log_debug("engine '%s': event '%s' is not known", engine->name, name);
}

static const MonitorCallbacks monitor_callbacks = { .event = on_event };

static int on_exit_ready(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Engine *engine = userdata;
        g_autoptr(Engine) keep = engine_ref(engine);
        siginfo_t info = { 0 };

        engine->exit_source = sd_event_source_disable_unref(engine->exit_source);
        if (waitid(P_PIDFD, (id_t) engine->pidfd, &info, WEXITED | WNOHANG) < 0)
                info.si_code = 0;
        engine->pidfd = fd_close(engine->pidfd);
        if (info.si_code == CLD_EXITED && info.si_status == 0)
                return 0; /* it was done */
        if (engine->attached && (engine->state == ENGINE_STATE_DONE || engine->state == ENGINE_STATE_CANCELLED))
                return 0; /* how it ended only its parent learns */
        g_autoptr(GError) error = NULL;
        if (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED)
                error_set(&error, VIR_ERR_OPERATION_FAILED, _("the migration engine of '%s' was killed by signal %d"),
                          engine->name, info.si_status);
        else
                error_set(&error, VIR_ERR_OPERATION_FAILED, _("the migration engine of '%s' ended with status %d"),
                          engine->name, info.si_status);
        tell_failure(engine, error, true);
        return 0;
}

static int watch(Engine *engine, sd_event *event, int fd, GError **reterr) {
        g_autofree char *what = g_strdup_printf(_("migration engine of '%s'"), engine->name);
        engine->monitor = monitor_new(event, fd, what, &monitor_callbacks, engine);
        if (!engine->monitor)
                return error_set(reterr, VIR_ERR_NO_MEMORY, _("cannot watch the migration engine"));
        int r = sd_event_add_io(event, &engine->exit_source, engine->pidfd, EPOLLIN, on_exit_ready, engine);
        /* Its last words come first: of somebody else's child they alone tell how it ended. */
        if (r >= 0)
                r = sd_event_source_set_priority(engine->exit_source, SD_EVENT_PRIORITY_IDLE);
        return r < 0 ? error_set_errno(reterr, r, _("cannot watch the migration engine")) : 0;
}

int engine_new(sd_event *event, const char *helper, const char *job_name, int log_fd, const EngineCallbacks *callbacks,
               void *userdata, Engine **ret_engine, GError **reterr) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return error_set_errno(reterr, errno, _("cannot create a socket pair for the migration engine"));
        _cleanup_fd_ int ours = pair[0], theirs = pair[1];

        g_autoptr(Engine) engine = g_new0(Engine, 1);
        engine->n_ref = 1;
        engine->name = g_strdup(job_name);
        engine->pidfd = -EBADF;

        g_autofree char *control = g_strdup_printf("--control-fd=%d", CONTROL_FD),
                        *name = g_strdup_printf("--name=%s", job_name);
        const char *argv[] = { helper, control, name, NULL };
        SpawnFd fds[] = { { .fd = theirs, .target = CONTROL_FD } };
        SpawnArgs args = {
                .argv = argv,
                .fds = fds,
                .n_fds = G_N_ELEMENTS(fds),
                .stdin_fd = -EBADF,
                .stdout_fd = log_fd >= 0 ? log_fd : STDERR_FILENO,
                .stderr_fd = log_fd >= 0 ? log_fd : STDERR_FILENO,
                .new_session = true,
        };
        int r = spawn(&args, &engine->pid, &engine->pidfd, reterr);
        if (r < 0)
                return r;
        r = watch(engine, event, FD_STEAL(ours), reterr);
        if (r < 0)
                return r;
        engine->callbacks = callbacks;
        engine->userdata = userdata;
        *ret_engine = g_steal_pointer(&engine);
        return 0;
}

/* ---- a helper that somebody else has started ---- */

static int connect_control(const char *path, pid_t *ret_pid, int *ret_fd, GError **reterr) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof(address.sun_path))
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the socket path '%s' is too long"), path);
        strcpy(address.sun_path, path);
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_set_errno(reterr, errno, _("cannot create a socket"));
        struct ucred peer = { 0 };
        socklen_t length = sizeof(peer);
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
                return error_set_errno(reterr, errno, _("cannot reach the migration engine at '%s'"), path);
        if (peer.uid != geteuid())
                return error_set(reterr, VIR_ERR_ACCESS_DENIED, _("'%s' belongs to another user"), path);
        *ret_pid = peer.pid;
        *ret_fd = FD_STEAL(fd);
        return 0;
}

static const EngineCallbacks nobody = { 0 };

int engine_attach(sd_event *event, const char *path, const char *job_name, const EngineCallbacks *callbacks,
                  void *userdata, Engine **ret_engine, GError **reterr) {
        _cleanup_fd_ int fd = -EBADF;
        g_autoptr(Engine) engine = g_new0(Engine, 1);
        engine->n_ref = 1;
        engine->name = g_strdup(job_name);
        engine->attached = true;
        engine->pidfd = -EBADF;
        int r = connect_control(path, &engine->pid, &fd, reterr);
        if (r < 0)
                return r;
        int pidfd = (int) syscall(SYS_pidfd_open, engine->pid, 0);
        if (pidfd < 0)
                return error_set_errno(reterr, errno, _("cannot watch the migration engine"));
        engine->pidfd = pidfd;
        engine->callbacks = &nobody; /* events that are faster than the answer are newer than it */
        r = watch(engine, event, FD_STEAL(fd), reterr);
        g_autoptr(json_object) result = NULL;
        if (r >= 0)
                r = monitor_call(engine->monitor, "status", NULL, NULL, 0, CALL_USEC, &result, reterr);
        if (r < 0) {
                /* It is not ours to end. */
                engine->exit_source = sd_event_source_disable_unref(engine->exit_source);
                engine->pidfd = fd_close(engine->pidfd);
                return r;
        }
        for (size_t i = 0; i < ENGINE_STATE_MAX_ && engine->state == ENGINE_STATE_IDLE; i++)
                if (g_strcmp0(json_get_string(result, "state"), engine_state_name((EngineState) i)) == 0)
                        engine->state = (EngineState) i;
        engine->source = json_get_bool(result, "source", false);
        engine->postcopy = json_get_bool(result, "postcopy", false);
        engine->failed = engine->state == ENGINE_STATE_FAILED;
        stats_from_json(json_get(result, "stats"), &engine->stats);
        engine->callbacks = callbacks;
        engine->userdata = userdata;
        *ret_engine = g_steal_pointer(&engine);
        return 0;
}

/* ---- calls ---- */

static int call(Engine *engine, const char *command, json_object *arguments, const int *fds, size_t n_fds,
                uint64_t timeout_usec, json_object **ret_result, GError **reterr) {
        g_autoptr(Engine) keep = engine_ref(engine);
        if (n_fds > 0)
                json_add_uint64(arguments, "fds", n_fds);
        return monitor_call(engine->monitor, command, arguments, fds, n_fds, timeout_usec, ret_result, reterr);
}

static void add_token(json_object *arguments, const unsigned char *token) {
        char hex[2 * ENGINE_TOKEN_BYTES + 1];
        for (size_t i = 0; i < ENGINE_TOKEN_BYTES; i++)
                snprintf(hex + 2 * i, 3, "%02x", token[i]);
        json_add_string(arguments, "token", hex);
}

/* Adds blocks and token, and the blocks' descriptors to fds. */
static int add_common(json_object *arguments, const EngineRamBlock *blocks, unsigned n_blocks,
                      const unsigned char *token, unsigned extra_fds, int *fds, GError **reterr) {
        if (n_blocks == 0 || n_blocks + extra_fds > COMMAND_FDS_MAX)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("a guest with %u RAM blocks cannot be migrated; at most %u are supported"), n_blocks,
                                 COMMAND_FDS_MAX - extra_fds);
        json_object *list = json_object_new_array();
        for (unsigned i = 0; i < n_blocks; i++) {
                json_object *entry = json_object_new_object();
                json_add_string(entry, "id", blocks[i].id);
                json_add_uint64(entry, "size", blocks[i].size_bytes);
                json_add_uint64(entry, "page", blocks[i].page_bytes);
                json_add_bool(entry, "populated", blocks[i].policy == ENGINE_RAM_POPULATED);
                json_add_bool(entry, "states", extra_fds > 0 && blocks[i].states_fd > 0);
                json_object_array_add(list, entry);
                fds[i] = blocks[i].fd;
        }
        json_add(arguments, "blocks", list);
        add_token(arguments, token);
        return 0;
}

/* The order of the descriptors is that of main.c: RAM files, then page tables, then the rest. */
static int add_dest(json_object *arguments, const EngineDestArgs *args, bool adopt, int *fds, size_t *n_fds,
                    GError **reterr) {
        bool commit_record = !adopt && args->commit_fd >= 0;
        unsigned n_states = 0, extra = !adopt + commit_record + args->postcopy;
        for (unsigned i = 0; i < args->n_blocks; i++)
                n_states += args->blocks[i].states_fd > 0;
        int r = add_common(arguments, args->blocks, args->n_blocks, args->token, n_states + extra, fds, reterr);
        if (r < 0)
                return r;
        *n_fds = args->n_blocks;
        for (unsigned i = 0; i < args->n_blocks; i++)
                if (args->blocks[i].states_fd > 0)
                        fds[(*n_fds)++] = args->blocks[i].states_fd;
        if (!adopt)
                fds[(*n_fds)++] = args->device_state_fd;
        if (commit_record)
                fds[(*n_fds)++] = args->commit_fd;
        if (args->postcopy)
                fds[(*n_fds)++] = args->uffd;
        json_add_bool(arguments, "commit-record", commit_record);
        json_add_bool(arguments, "postcopy", args->postcopy);
        json_add_int64(arguments, "pid", args->qemu_pid);
        json_add_uint64(arguments, "device-state-max", args->device_state_max_bytes);
        return 0;
}

static void add_listen(json_object *arguments, const EngineDestArgs *args) {
        json_add_string(arguments, "listen-address", args->listen_address);
        json_add_uint64(arguments, "port-min", args->port_min);
        json_add_uint64(arguments, "port-max", args->port_max);
        json_add_string(arguments, "unix-path", args->unix_path);
        json_add_uint64(arguments, "idle-timeout", args->idle_timeout_usec);
}

int engine_dest_listen(Engine *engine, const EngineDestArgs *args, unsigned *ret_port, GError **reterr) {
        int fds[COMMAND_FDS_MAX];
        g_autoptr(json_object) arguments = json_object_new_object(), result = NULL;
        size_t n_fds = 0;
        int r = add_dest(arguments, args, false, fds, &n_fds, reterr);
        if (r < 0)
                return r;
        add_listen(arguments, args);
        r = call(engine, "dest-listen", g_steal_pointer(&arguments), fds, n_fds, CALL_USEC, &result, reterr);
        if (r < 0)
                return r;
        engine->postcopy = false; /* until the source says so */
        engine->state = ENGINE_STATE_SETUP;
        *ret_port = (unsigned) json_get_uint64(result, "port", 0);
        return 0;
}

int engine_dest_adopt(Engine *engine, const EngineDestArgs *args, bool running, GError **reterr) {
        int fds[COMMAND_FDS_MAX];
        g_autoptr(json_object) arguments = json_object_new_object();
        size_t n_fds = 0;
        int r = add_dest(arguments, args, true, fds, &n_fds, reterr);
        if (r < 0)
                return r;
        json_add_bool(arguments, "running", running);
        engine->postcopy = true;
        engine->state = ENGINE_STATE_PAUSED;
        return call(engine, "dest-adopt", g_steal_pointer(&arguments), fds, n_fds, CALL_USEC, NULL, reterr);
}

int engine_dest_recover(Engine *engine, const EngineDestArgs *args, unsigned *ret_port, GError **reterr) {
        g_autoptr(json_object) arguments = json_object_new_object(), result = NULL;
        add_token(arguments, args->token);
        add_listen(arguments, args);
        int r = call(engine, "dest-recover", g_steal_pointer(&arguments), NULL, 0, CALL_USEC, &result, reterr);
        if (r < 0)
                return r;
        *ret_port = (unsigned) json_get_uint64(result, "port", 0);
        return 0;
}

int engine_postcopy_pause(Engine *engine, GError **reterr) {
        return call(engine, "postcopy-pause", NULL, NULL, 0, CALL_USEC, NULL, reterr);
}

int engine_dest_loaded(Engine *engine, GError **reterr) {
        int r = call(engine, "dest-loaded", NULL, NULL, 0, CALL_USEC, NULL, reterr);
        if (r >= 0 && engine->state == ENGINE_STATE_LOADED)
                engine->state = ENGINE_STATE_READY;
        return r;
}

int engine_dest_running(Engine *engine, uint64_t resume_usec, GError **reterr) {
        json_object *arguments = json_add_uint64(json_object_new_object(), "resume-usec", resume_usec);
        int r = call(engine, "dest-running", arguments, NULL, 0, CALL_USEC, NULL, reterr);
        if (r >= 0 && engine->state == ENGINE_STATE_COMMITTED)
                engine->state = engine->postcopy ? ENGINE_STATE_POSTCOPY : ENGINE_STATE_DONE;
        return r;
}

int engine_dest_abandon(Engine *engine, const char *reason, GError **reterr) {
        return call(engine, "dest-abandon", json_add_string(json_object_new_object(), "reason", reason), NULL, 0,
                    CALL_USEC, NULL, reterr);
}

int engine_dest_refuse(Engine *engine, const char *reason, bool *ret_committed, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        int r = call(engine, "dest-refuse", json_add_string(json_object_new_object(), "reason", reason), NULL, 0,
                     CALL_USEC, &result, reterr);
        if (r < 0)
                return r;
        *ret_committed = json_get_bool(result, "committed", false);
        if (!*ret_committed)
                engine->state = ENGINE_STATE_CANCELLED;
        return 0;
}

static int source_begin(Engine *engine, const char *command, const EngineSourceArgs *args, GError **reterr) {
        int fds[COMMAND_FDS_MAX];
        g_autoptr(json_object) arguments = json_object_new_object(), result = NULL;
        int r = add_common(arguments, args->blocks, args->n_blocks, args->token, 2, fds, reterr);
        if (r < 0)
                return r;
        size_t n_fds = args->n_blocks;
        if (args->uffd_async >= 0)
                fds[n_fds++] = args->uffd_async;
        if (args->uffd_sync >= 0)
                fds[n_fds++] = args->uffd_sync;
        json_add_bool(arguments, "async", args->uffd_async >= 0);
        json_add_bool(arguments, "sync", args->uffd_sync >= 0);
        json_add_int64(arguments, "pid", args->qemu_pid);
        json_add_string(arguments, "host", args->host);
        json_add_uint64(arguments, "port", args->port);
        json_add_string(arguments, "unix-path", args->unix_path);
        json_add_uint64(arguments, "bandwidth", args->bandwidth_bytes_per_sec);
        json_add_uint64(arguments, "postcopy-bandwidth", args->postcopy_bandwidth_bytes_per_sec);
        json_add_bool(arguments, "postcopy", args->postcopy);
        json_add_uint64(arguments, "connect-timeout", args->connect_timeout_usec);
        json_add_uint64(arguments, "idle-timeout", args->idle_timeout_usec);
        json_add_uint64(arguments, "device-state-estimate", args->device_state_estimate_bytes);
        json_object *private = json_object_new_array();
        for (unsigned i = 0; i < args->n_private_ram; i++)
                json_object_array_add(private, json_object_new_int64((int64_t) args->private_ram_sizes[i]));
        json_add(arguments, "private-ram", private);
        engine->source = true;
        /* Connecting, greeting, and a first protecting pass over what is resident. */
        uint64_t timeout = (args->connect_timeout_usec ?: CONNECT_DEFAULT_USEC) * 2 + CALL_USEC;
        r = call(engine, command, g_steal_pointer(&arguments), fds, n_fds, timeout, &result, reterr);
        if (r >= 0 && engine->stats.round == 0) /* an event may have been faster */
                stats_from_json(result, &engine->stats);
        return r;
}

int engine_source_start(Engine *engine, const EngineSourceArgs *args, GError **reterr) {
        engine->state = ENGINE_STATE_SETUP;
        int r = source_begin(engine, "source-start", args, reterr);
        if (r >= 0 && engine->state == ENGINE_STATE_SETUP)
                engine->state = ENGINE_STATE_PRECOPY;
        return r;
}

int engine_source_recover(Engine *engine, const EngineSourceArgs *args, GError **reterr) {
        engine->postcopy = true;
        if (engine->state == ENGINE_STATE_IDLE)
                engine->state = ENGINE_STATE_PAUSED;
        return source_begin(engine, "source-recover", args, reterr);
}

static int set_limit(Engine *engine, const char *command, uint64_t bytes_per_sec, GError **reterr) {
        json_object *arguments = json_add_uint64(json_object_new_object(), "bandwidth", bytes_per_sec);
        return call(engine, command, arguments, NULL, 0, CALL_USEC, NULL, reterr);
}

int engine_source_set_bandwidth(Engine *engine, uint64_t bytes_per_sec, GError **reterr) {
        return set_limit(engine, "source-set-bandwidth", bytes_per_sec, reterr);
}

int engine_source_set_throttle(Engine *engine, unsigned percent, GError **reterr) {
        json_object *arguments = json_add_uint64(json_object_new_object(), "percent", percent);
        return call(engine, "source-set-throttle", arguments, NULL, 0, CALL_USEC, NULL, reterr);
}

int engine_source_set_postcopy_bandwidth(Engine *engine, uint64_t bytes_per_sec, GError **reterr) {
        return set_limit(engine, "source-set-postcopy-bandwidth", bytes_per_sec, reterr);
}

int engine_source_stop_and_copy(Engine *engine, int device_state_fd, bool postcopy, uint64_t timeout_usec,
                                GError **reterr) {
        g_autoptr(json_object) result = NULL;
        json_object *arguments = json_add_bool(json_object_new_object(), "postcopy", postcopy);
        if (engine->state == ENGINE_STATE_PRECOPY)
                engine->state = ENGINE_STATE_SWITCHING;
        engine->postcopy = postcopy;
        int r = call(engine, "source-stop-and-copy", arguments, &device_state_fd, 1, timeout_usec, &result, reterr);
        if (r >= 0)
                stats_from_json(result, &engine->stats);
        return r;
}

int engine_source_commit(Engine *engine, uint64_t timeout_usec, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        if (engine->state == ENGINE_STATE_READY)
                engine->state = ENGINE_STATE_COMMITTING;
        int r = call(engine, "source-commit", NULL, NULL, 0, timeout_usec, &result, reterr);
        if (r < 0)
                return r;
        if (g_strcmp0(json_get_string(result, "outcome"), "acknowledged") == 0) {
                if (engine->state == ENGINE_STATE_COMMITTING)
                        engine->state = ENGINE_STATE_COMMITTED;
                return 0;
        }
        error_set(
                reterr, VIR_ERR_OPERATION_FAILED,
                _("the link broke while '%s' was handed over: whether the destination has taken it is not known here"),
                engine->name);
        return -ENOTCONN;
}

int engine_source_cancel(Engine *engine, GError **reterr) {
        int r = call(engine, "source-cancel", NULL, NULL, 0, CALL_USEC, NULL, reterr);
        if (r >= 0)
                engine->state = ENGINE_STATE_CANCELLED;
        return r;
}

int engine_query_pending(Engine *engine, bool exact, EngineStats *ret_stats, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        int r = call(engine, "query-pending", json_add_bool(json_object_new_object(), "exact", exact), NULL, 0,
                     CALL_USEC, &result, reterr);
        if (r < 0)
                return r;
        take_numbers(engine, result);
        *ret_stats = engine->stats;
        return 0;
}

int engine_listen_control(Engine *engine, const char *path, GError **reterr) {
        json_object *arguments = json_add_string(json_object_new_object(), "path", path);
        return call(engine, "listen-control", arguments, NULL, 0, CALL_USEC, NULL, reterr);
}

int engine_source_unprotect(const EngineRamBlock *blocks, unsigned n_blocks, pid_t qemu_pid, int uffd_async,
                            int uffd_sync, GError **reterr) {
        for (unsigned i = 0; i < n_blocks; i++) {
                uint64_t address = 0;
                int r = guest_map_find(qemu_pid, blocks[i].fd, blocks[i].size_bytes, blocks[i].id, &address, reterr);
                if (r < 0)
                        return r;
                r = guest_map_unregister(address, blocks[i].size_bytes, uffd_async, uffd_sync);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot take the write protection off RAM block '%s'"),
                                               blocks[i].id);
        }
        return 0;
}

/* ---- for engine_image.c ---- */

int engine_call(Engine *engine, const char *command, json_object *arguments, const int *fds, size_t n_fds,
                uint64_t timeout_usec, json_object **ret_result, GError **reterr) {
        return call(engine, command, arguments, fds, n_fds, timeout_usec, ret_result, reterr);
}

void engine_set_stats(Engine *engine, json_object *stats) {
        stats_from_json(stats, &engine->stats);
}
