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
        EngineStats stats;
};

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

static void on_event(Monitor *monitor, const char *name, json_object *data, uint64_t timestamp_usec, void *userdata) {
        Engine *engine = userdata;
        if (!engine->callbacks)
                return;
        g_autoptr(Engine) keep = engine_ref(engine);
        const EngineCallbacks *callbacks = engine->callbacks;

        if (strcmp(name, "iteration") == 0 || strcmp(name, "pending") == 0 || strcmp(name, "stats") == 0) {
                stats_from_json(data, &engine->stats);
                if (name[0] == 'i' && callbacks->iteration)
                        callbacks->iteration(engine, &engine->stats, engine->userdata);
                else if (name[0] == 'p' && callbacks->pending)
                        callbacks->pending(engine, &engine->stats, engine->userdata);
        } else if (strcmp(name, "ready") == 0) {
                if (callbacks->ready)
                        callbacks->ready(engine, engine->userdata);
        } else if (strcmp(name, "committed") == 0) {
                if (callbacks->committed)
                        callbacks->committed(engine, engine->userdata);
        } else if (strcmp(name, "running") == 0) {
                if (callbacks->running)
                        callbacks->running(engine, json_get_uint64(data, "resume-usec", 0), engine->userdata);
        } else if (strcmp(name, "abandoned") == 0) {
                if (callbacks->abandoned)
                        callbacks->abandoned(engine, json_get_string(data, "reason"), engine->userdata);
        } else if (strcmp(name, "failed") == 0) {
                g_autoptr(GError) error = NULL;
                error_set(&error, (virErrorNumber) json_get_int64(data, "virt-code", VIR_ERR_OPERATION_FAILED), "%s",
                          json_get_string(data, "desc") ?: _("the migration engine failed"));
                tell_failure(engine, error, false);
        } else
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
        g_autofree char *what = g_strdup_printf(_("migration engine of '%s'"), job_name);
        engine->monitor = monitor_new(event, FD_STEAL(ours), what, &monitor_callbacks, engine);
        if (!engine->monitor)
                return error_set(reterr, VIR_ERR_NO_MEMORY, _("cannot watch the migration engine"));
        r = sd_event_add_io(event, &engine->exit_source, engine->pidfd, EPOLLIN, on_exit_ready, engine);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot watch the migration engine"));
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
                json_object_array_add(list, entry);
                fds[i] = blocks[i].fd;
        }
        json_add(arguments, "blocks", list);
        char hex[2 * ENGINE_TOKEN_BYTES + 1];
        for (size_t i = 0; i < ENGINE_TOKEN_BYTES; i++)
                snprintf(hex + 2 * i, 3, "%02x", token[i]);
        json_add_string(arguments, "token", hex);
        return 0;
}

int engine_dest_listen(Engine *engine, const EngineDestArgs *args, unsigned *ret_port, GError **reterr) {
        int fds[COMMAND_FDS_MAX];
        g_autoptr(json_object) arguments = json_object_new_object(), result = NULL;
        size_t n_fds = args->n_blocks;
        int r = add_common(arguments, args->blocks, args->n_blocks, args->token, 2, fds, reterr);
        if (r < 0)
                return r;
        fds[n_fds++] = args->device_state_fd;
        if (args->commit_fd >= 0)
                fds[n_fds++] = args->commit_fd;
        json_add_bool(arguments, "commit-record", args->commit_fd >= 0);
        json_add_string(arguments, "listen-address", args->listen_address);
        json_add_uint64(arguments, "port-min", args->port_min);
        json_add_uint64(arguments, "port-max", args->port_max);
        json_add_string(arguments, "unix-path", args->unix_path);
        json_add_uint64(arguments, "device-state-max", args->device_state_max_bytes);
        json_add_uint64(arguments, "idle-timeout", args->idle_timeout_usec);
        r = call(engine, "dest-listen", g_steal_pointer(&arguments), fds, n_fds, CALL_USEC, &result, reterr);
        if (r < 0)
                return r;
        *ret_port = (unsigned) json_get_uint64(result, "port", 0);
        return 0;
}

int engine_dest_loaded(Engine *engine, GError **reterr) {
        return call(engine, "dest-loaded", NULL, NULL, 0, CALL_USEC, NULL, reterr);
}

int engine_dest_running(Engine *engine, uint64_t resume_usec, GError **reterr) {
        return call(engine, "dest-running", json_add_uint64(json_object_new_object(), "resume-usec", resume_usec), NULL,
                    0, CALL_USEC, NULL, reterr);
}

int engine_dest_abandon(Engine *engine, const char *reason, GError **reterr) {
        return call(engine, "dest-abandon", json_add_string(json_object_new_object(), "reason", reason), NULL, 0,
                    CALL_USEC, NULL, reterr);
}

int engine_dest_refuse(Engine *engine, bool *ret_committed, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        int r = call(engine, "dest-refuse", NULL, NULL, 0, CALL_USEC, &result, reterr);
        if (r < 0)
                return r;
        *ret_committed = json_get_bool(result, "committed", false);
        return 0;
}

int engine_source_start(Engine *engine, const EngineSourceArgs *args, GError **reterr) {
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
        json_add_uint64(arguments, "connect-timeout", args->connect_timeout_usec);
        json_add_uint64(arguments, "idle-timeout", args->idle_timeout_usec);
        json_add_uint64(arguments, "device-state-estimate", args->device_state_estimate_bytes);
        /* Connecting, greeting, and a first protecting pass over what is resident. */
        uint64_t timeout = (args->connect_timeout_usec ?: CONNECT_DEFAULT_USEC) * 2 + CALL_USEC;
        r = call(engine, "source-start", g_steal_pointer(&arguments), fds, n_fds, timeout, &result, reterr);
        if (r < 0)
                return r;
        if (engine->stats.round == 0) /* an event may have been faster */
                stats_from_json(result, &engine->stats);
        return 0;
}

int engine_source_set_bandwidth(Engine *engine, uint64_t bytes_per_sec, GError **reterr) {
        return call(engine, "source-set-bandwidth",
                    json_add_uint64(json_object_new_object(), "bandwidth", bytes_per_sec), NULL, 0, CALL_USEC, NULL,
                    reterr);
}

int engine_source_stop_and_copy(Engine *engine, int device_state_fd, uint64_t timeout_usec, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        int r = call(engine, "source-stop-and-copy", json_object_new_object(), &device_state_fd, 1, timeout_usec,
                     &result, reterr);
        if (r >= 0)
                stats_from_json(result, &engine->stats);
        return r;
}

int engine_source_commit(Engine *engine, uint64_t timeout_usec, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        int r = call(engine, "source-commit", NULL, NULL, 0, timeout_usec, &result, reterr);
        if (r < 0)
                return r;
        if (g_strcmp0(json_get_string(result, "outcome"), "acknowledged") == 0)
                return 0;
        error_set(
                reterr, VIR_ERR_OPERATION_FAILED,
                _("the link broke while '%s' was handed over: whether the destination has taken it is not known here"),
                engine->name);
        return -ENOTCONN;
}

int engine_source_cancel(Engine *engine, GError **reterr) {
        return call(engine, "source-cancel", NULL, NULL, 0, CALL_USEC, NULL, reterr);
}

int engine_query_pending(Engine *engine, bool exact, EngineStats *ret_stats, GError **reterr) {
        g_autoptr(json_object) result = NULL;
        int r = call(engine, "query-pending", json_add_bool(json_object_new_object(), "exact", exact), NULL, 0,
                     CALL_USEC, &result, reterr);
        if (r < 0)
                return r;
        stats_from_json(result, &engine->stats);
        *ret_stats = engine->stats;
        return 0;
}

int engine_source_unprotect(const EngineRamBlock *blocks, unsigned n_blocks, pid_t qemu_pid, int uffd_async,
                            int uffd_sync, GError **reterr) {
        const int uffds[] = { uffd_async, uffd_sync };
        for (unsigned i = 0; i < n_blocks; i++) {
                uint64_t address = 0;
                int r = guest_map_find(qemu_pid, blocks[i].fd, blocks[i].size_bytes, blocks[i].id, &address, reterr);
                if (r < 0)
                        return r;
                for (size_t j = 0; j < G_N_ELEMENTS(uffds); j++) {
                        struct uffdio_range range = { address, blocks[i].size_bytes };
                        /* EINVAL: never used, or the range belongs to the other one. */
                        if (uffds[j] >= 0 && ioctl(uffds[j], UFFDIO_UNREGISTER, &range) < 0 && errno != EINVAL)
                                return error_set_errno(reterr, errno,
                                                       _("cannot take the write protection off RAM block '%s'"),
                                                       blocks[i].id);
                        /* Unregistering alone wakes nobody who waits for a write fault. */
                        if (uffds[j] >= 0)
                                (void) ioctl(uffds[j], UFFDIO_WAKE, &range);
                }
        }
        return 0;
}
