/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * virtferryd is one process with one thread and one sd-event loop. main() prepares what needs no loop (options,
 * configuration, directories, the instance lock), then runs the loop until something asks for its end:
 *
 *      start fiber: driver_new() ─► server ─► sockets ─► READY ─► driver_autostart() ─► driver_probe()
 *      SIGTERM, SIGINT, idle timeout ─► stop fiber: driver_quiesce() ─► sockets close, clients end ─► loop ends
 *      SIGHUP ─► the configuration is read again
 *
 * While jobs come to their end, clients are still served: one may want to look, or to abort. Guests are not ours to
 * stop: they run on, and the next daemon finds them by what is in state_dir.
 */

#include <errno.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/dbus/bus_service.h"
#include "daemon/listen.h"
#include "daemon/options.h"
#include "daemon/paths.h"
#include "daemon/rpc/server.h"
#include "daemon/systemd/journal.h"
#include "daemon/systemd/message_ids.h"
#include "daemon/systemd/notify.h"
#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/fiber.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/driver.h"

/* How long a clean end may take. What is not done by then is cut off, as by a crash, which guests survive. */
#define QUIESCE_USEC (30 * USEC_PER_SEC)
#define SHUTDOWN_USEC (10 * USEC_PER_SEC)

typedef struct Daemon {
        Options options;
        DaemonConfig config;
        DaemonPaths paths;
        sd_event *event;
        sd_event_source *signals[3];
        sd_event_source *idle;
        Driver *driver;
        RpcServer *server;
        BusService *bus; /* NULL: none */
        Notify *notify;
        Journal *journal;
        int lock_fd;
        int ready_fd; /* towards the parent that waits in the foreground; -EBADF: none */
        bool stopping;
        bool activated; /* the sockets are the service manager's */
} Daemon;

static void daemon_clear(Daemon *daemon) {
        for (size_t i = 0; i < G_N_ELEMENTS(daemon->signals); i++)
                daemon->signals[i] = sd_event_source_disable_unref(daemon->signals[i]);
        daemon->idle = sd_event_source_disable_unref(daemon->idle);
        daemon->event = sd_event_unref(daemon->event);
        daemon->lock_fd = fd_close(daemon->lock_fd);
        daemon->ready_fd = fd_close(daemon->ready_fd);
        paths_clear(&daemon->paths);
        config_clear(&daemon->config);
        options_clear(&daemon->options);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Daemon, daemon_clear)

/* ---- the end ---- */

static void stop_run(void *userdata) {
        Daemon *daemon = userdata;
        int status = EXIT_SUCCESS;

        if (daemon->driver)
                driver_quiesce(daemon->driver, QUIESCE_USEC);
        if ((daemon->bus && bus_service_shutdown(daemon->bus, SHUTDOWN_USEC) < 0) ||
            (daemon->server && server_shutdown(daemon->server, SHUTDOWN_USEC) < 0)) {
                /* Calls that do not end still use the driver: leave everything to the kernel. */
                log_warning("Calls of clients did not end within %u s, exiting without them",
                            (unsigned) (SHUTDOWN_USEC / USEC_PER_SEC));
                status = EXIT_FAILURE;
        } else {
                daemon->bus = bus_service_free(daemon->bus);
                daemon->server = server_free(daemon->server);
                daemon->notify = notify_free(daemon->notify);
                daemon->journal = journal_free(daemon->journal);
                daemon->driver = driver_free(daemon->driver);
        }
        if (!daemon->activated) {
                unlink(daemon->paths.socket);
                if (daemon->paths.socket_ro)
                        unlink(daemon->paths.socket_ro);
        }
        sd_event_exit(daemon->event, status);
}

static void daemon_stop(Daemon *daemon, const char *why) {
        if (daemon->stopping)
                return;
        daemon->stopping = true;
        log_record(LOG_INFO, MESSAGE_DAEMON_STOPPING, NULL, 0, "Stopping: %s", why);
        notify_stopping(daemon->notify, why);
        if (fiber_start(daemon->event, "stop", stop_run, daemon) < 0)
                sd_event_exit(daemon->event, EXIT_FAILURE);
}

/* ---- idle ---- */

static bool daemon_busy(const Daemon *daemon) {
        return !daemon->server || server_n_clients(daemon->server) > 0 ||
               (daemon->bus && bus_service_n_callers(daemon->bus) > 0) || driver_active_domains(daemon->driver) > 0;
}

static void idle_arm(Daemon *daemon) {
        sd_event_source_set_time_relative(daemon->idle, (uint64_t) daemon->options.timeout_sec * USEC_PER_SEC);
        sd_event_source_set_enabled(daemon->idle, SD_EVENT_ONESHOT);
}

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        Daemon *daemon = userdata;

        if (daemon_busy(daemon))
                idle_arm(daemon);
        else
                daemon_stop(daemon, "nobody needs it");
        return 0;
}

static void on_bus_change(BusService *bus, void *userdata) {
        Daemon *daemon = userdata;
        if (daemon->idle && !daemon->stopping)
                idle_arm(daemon);
}

/* A client has come or gone: idleness begins anew. */
static void on_server_change(RpcServer *server, void *userdata) {
        Daemon *daemon = userdata;
        if (daemon->idle && !daemon->stopping)
                idle_arm(daemon);
}

/* ---- the configuration ---- */

static int daemon_load_config(Daemon *daemon, DaemonConfig *ret_config, GError **reterr) {
        const char *file = daemon->options.config_file ? daemon->options.config_file : daemon->paths.config_file;
        g_auto(DaemonConfig) config = { 0 };

        config_init(&config);
        int r = config_load(&config, file, daemon->options.config_file != NULL, reterr);
        if (r < 0)
                return r;
        if (daemon->options.verbose)
                config.log_level = LOG_DEBUG;
        *ret_config = config;
        config = (DaemonConfig) { 0 };
        return 0;
}

/* What can change while clients are connected: the limits and the log level. The rest is for the next start. */
static void daemon_reload(Daemon *daemon) {
        g_auto(DaemonConfig) config = { 0 };
        g_autoptr(GError) error = NULL;

        notify_reloading();
        if (daemon_load_config(daemon, &config, &error) < 0) {
                log_record(LOG_WARNING, MESSAGE_CONFIG_REFUSED, NULL, 0, "The configuration stays as it was: %s",
                           error->message);
                notify_ready(daemon->notify);
                return;
        }
        log_set_level(config.log_level);
        if (daemon->server)
                server_set_limits(daemon->server, &config.limits);
        if (daemon->bus)
                bus_service_set_limits(daemon->bus, &config.bus_limits);
        log_record(LOG_INFO, MESSAGE_CONFIG_RELOADED, NULL, 0, "The configuration was read again");
        notify_ready(daemon->notify);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Daemon *daemon = userdata;

        if (info->ssi_signo != SIGHUP)
                daemon_stop(daemon, g_strsignal((int) info->ssi_signo));
        else if (daemon->notify && !daemon->stopping) /* before that, what is read again is what was just read */
                daemon_reload(daemon);
        return 0;
}

/* ---- the start ---- */

static const char *daemon_guest_slice(const DaemonConfig *config) {
        if (!config->guest_slice)
                return "machine.slice";
        return strcmp(config->guest_slice, "none") == 0 ? NULL : config->guest_slice;
}

static DriverConfig daemon_driver_config(const Daemon *daemon) {
        return (DriverConfig) {
                .privileged = !daemon->options.session,
                .state_dir = daemon->paths.state_dir,
                .config_dir = daemon->paths.config_dir,
                .log_dir = daemon->paths.log_dir,
                .lib_dir = daemon->paths.lib_dir,
                .helper_dir = daemon->paths.helper_dir,
                .schema_dir = daemon->paths.schema_dir,
                .hostname = daemon->config.hostname,
                .host_uuid = daemon->config.host_uuid,
                .emulator = daemon->config.emulator,
                .hugetlbfs = daemon->config.hugetlbfs_mount,
                .network_uri = daemon->config.network_uri,
                .restore_mode = daemon->config.restore_mode,
                .save_image_format = daemon->config.save_image_format,
                .ram_huge = daemon->config.ram_huge,
                .ram_size = daemon->config.ram_size,
                .guest_slice = daemon_guest_slice(&daemon->config),
                .socket_path = daemon->paths.socket,
                .migration_address = daemon->config.migration_address,
                .migration_max_outgoing = daemon->config.migration_max_outgoing,
                .migration_bandwidth = daemon->config.migration_bandwidth,
                .migration_policy = daemon->config.migration_policy,
                .migration_host = daemon->config.migration_host,
                .migration_port_min = daemon->config.migration_port_min,
                .migration_port_max = daemon->config.migration_port_max,
                .migration_idle_sec = daemon->config.migration_idle_timeout,
        };
}

static int daemon_listen(Daemon *daemon, GError **reterr) {
        unsigned n_activated = 0;
        int fd = -EBADF;

        int r = listen_activated(daemon->server, &n_activated, reterr);
        daemon->activated = n_activated > 0;
        if (r < 0 || n_activated > 0)
                return r;

        r = listen_unix(daemon->paths.socket, daemon->config.unix_sock_rw_perms, daemon->config.unix_sock_group, &fd,
                        reterr);
        if (r >= 0)
                r = server_listen(daemon->server, fd, false, reterr);
        if (r < 0 || !daemon->paths.socket_ro)
                return r;
        r = listen_unix(daemon->paths.socket_ro, daemon->config.unix_sock_ro_perms, daemon->config.unix_sock_group, &fd,
                        reterr);
        if (r >= 0)
                r = server_listen(daemon->server, fd, true, reterr);
        return r;
}

static BusKind daemon_bus_kind(const Daemon *daemon) {
        const char *choice = daemon->config.dbus;

        if (g_strcmp0(choice, "none") == 0)
                return BUS_KIND_NONE;
        if (g_strcmp0(choice, "system") == 0)
                return BUS_KIND_SYSTEM;
        if (g_strcmp0(choice, "session") == 0)
                return BUS_KIND_SESSION;
        if (daemon->options.root)
                return BUS_KIND_NONE;
        return daemon->options.session ? BUS_KIND_SESSION : BUS_KIND_SYSTEM;
}

static int daemon_start_bus(Daemon *daemon, GError **reterr) {
        BusKind kind = daemon_bus_kind(daemon);

        if (kind == BUS_KIND_NONE)
                return 0;
        daemon->bus =
                bus_service_new(daemon->event, daemon->driver, kind, &daemon->config.bus_limits, on_bus_change, daemon);
        return daemon->bus ? 0 : error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("Cannot serve D-Bus"));
}

static int daemon_start(Daemon *daemon, GError **reterr) {
        DriverConfig driver_config = daemon_driver_config(daemon);

        int r = driver_new(daemon->event, &driver_config, &daemon->driver, reterr);
        if (r < 0)
                return r;
        daemon->journal = journal_new(daemon->driver);
        if (daemon->stopping)
                return 0;
        daemon->server = server_new(daemon->event, daemon->driver, &daemon->config.limits, on_server_change, daemon);
        r = daemon_listen(daemon, reterr);
        if (r >= 0)
                r = daemon_start_bus(daemon, reterr);
        if (r < 0)
                return r;
        if (daemon->options.timeout_sec > 0) {
                r = sd_event_add_time_relative(daemon->event, &daemon->idle, CLOCK_MONOTONIC, 0, 0, on_idle, daemon);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot set a timer"));
                idle_arm(daemon);
        }
        return 0;
}

static void start_run(void *userdata) {
        Daemon *daemon = userdata;
        g_autoptr(GError) error = NULL;

        if (daemon_start(daemon, &error) < 0) {
                log_error("virtferryd cannot start: %s", error->message);
                sd_event_exit(daemon->event, EXIT_FAILURE);
                return;
        }
        if (daemon->stopping)
                return;
        log_record(LOG_INFO, MESSAGE_DAEMON_READY, NULL, 0, "virtferryd %s is ready at %s", FERRY_VERSION,
                   daemon->paths.socket);
        daemon->notify = notify_new(daemon->event, daemon->driver);
        notify_ready(daemon->notify);
        if (daemon->ready_fd >= 0) {
                (void) fd_write_all(daemon->ready_fd, "", 1);
                daemon->ready_fd = fd_close(daemon->ready_fd);
        }
        driver_autostart(daemon->driver);
        if (!daemon->stopping)
                driver_probe(daemon->driver);
}

static int daemon_setup_loop(Daemon *daemon, GError **reterr) {
        static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
        sigset_t mask;

        G_STATIC_ASSERT(G_N_ELEMENTS(signals) == G_N_ELEMENTS(daemon->signals));
        sigemptyset(&mask);
        for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
                sigaddset(&mask, signals[i]);
        sigprocmask(SIG_BLOCK, &mask, NULL);
        signal(SIGPIPE, SIG_IGN);

        int r = sd_event_new(&daemon->event);
        for (size_t i = 0; i < G_N_ELEMENTS(signals) && r >= 0; i++)
                r = sd_event_add_signal(daemon->event, &daemon->signals[i], signals[i], on_signal, daemon);
        if (r >= 0)
                r = sd_event_set_watchdog(daemon->event, true);
        if (r >= 0)
                r = fiber_start(daemon->event, "start", start_run, daemon);
        return r < 0 ? error_set_errno(reterr, r, _("cannot make an event loop")) : 0;
}

/* Every client and guest takes descriptors; the soft limit is meant for programs that use select(). */
static void raise_fd_limit(void) {
        struct rlimit limit = { 0 };

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
                limit.rlim_cur = limit.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &limit);
        }
}

/* The parent waits until its child is ready or gone, and exits with the outcome. The child gets a session of its own.
 * */
static int go_to_background(int *ret_ready_fd, GError **reterr) {
        int fds[2] = { -EBADF, -EBADF };

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_set_errno(reterr, errno, _("cannot make a pipe"));
        pid_t pid = fork();
        if (pid < 0)
                return error_set_errno(reterr, errno, _("cannot go to the background"));
        if (pid > 0) {
                char byte = 0;
                fd_close(fds[1]);
                _exit(fd_read_all(fds[0], &byte, 1) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
        }
        fd_close(fds[0]);
        setsid();
        if (chdir("/") < 0)
                return error_set_errno(reterr, errno, _("cannot enter the root directory"));
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null >= 0) {
                dup2(null, STDIN_FILENO);
                dup2(null, STDOUT_FILENO);
                fd_close(null);
        }
        *ret_ready_fd = fds[1];
        return 0;
}

static int daemon_prepare(Daemon *daemon, GError **reterr) {
        paths_init(&daemon->paths, daemon->options.root, daemon->options.session);
        int r = daemon_load_config(daemon, &daemon->config, reterr);
        if (r < 0)
                return r;
        log_set_level(daemon->config.log_level);
        raise_fd_limit();
        umask(0022);
        /* libvirt's functions for typed parameters work only after this. */
        if (virInitialize() < 0)
                return error_set(reterr, VIR_ERR_INTERNAL_ERROR, _("cannot initialize libvirt's library"));

        r = paths_make(&daemon->paths, daemon->options.session, reterr);
        if (r >= 0 && daemon->options.daemon)
                r = go_to_background(&daemon->ready_fd, reterr);
        if (r >= 0)
                r = listen_lock(daemon->paths.pid_file, &daemon->lock_fd, reterr);
        if (r >= 0)
                r = daemon_setup_loop(daemon, reterr);
        return r;
}

int main(int argc, char **argv) {
        g_auto(Daemon) daemon = { .lock_fd = -EBADF, .ready_fd = -EBADF };
        g_autoptr(GError) error = NULL;

        setlocale(LC_ALL, "");
        bindtextdomain(FERRY_GETTEXT_DOMAIN, FERRY_LOCALE_DIR);
        bind_textdomain_codeset(FERRY_GETTEXT_DOMAIN, "UTF-8");

        int r = options_parse(&daemon.options, &argc, &argv, &error);
        if (r >= 0 && daemon.options.version) {
                printf("virtferryd (Ferry) %s\n", FERRY_VERSION);
                return EXIT_SUCCESS;
        }
        if (r >= 0)
                r = daemon_prepare(&daemon, &error);
        if (r < 0) {
                fprintf(stderr, "virtferryd: %s\n", error->message);
                return EXIT_FAILURE;
        }

        r = sd_event_loop(daemon.event);
        if (daemon.lock_fd >= 0)
                (void) unlink(daemon.paths.pid_file);
        return r < 0 ? EXIT_FAILURE : r;
}
