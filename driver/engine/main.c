/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * virt-ferry-engine: the helper process of one migration job.
 *
 * Theory of operation: the main thread serves the control socket (a socketpair that the daemon made, JSON lines) and
 * owns one Source or one Dest, whose threads move the memory. Their replies and events pass through the control queue,
 * so nothing waits for the daemon.
 *
 * When the daemon is away a source keeps copying but never switches over; nobody can come back to this socket, so after
 * ORPHAN_USEC it gives up. A destination gives up at once, unless COMMIT has made the guest its own. Either way the
 * guest is where it was.
 */

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/engine/channel.h"
#include "driver/engine/ctl.h"
#include "driver/engine/dest.h"
#include "driver/engine/engine.h"
#include "driver/engine/private_ram.h"
#include "driver/engine/load.h"
#include "driver/engine/save.h"
#include "driver/engine/source.h"
#include "driver/engine/stats.h"
#include "driver/engine/wire.h"
#include "driver/engine/worker.h"

#define TICK_MSEC 1000
#define ORPHAN_USEC (60 * USEC_PER_SEC)
#define KEPT_ORPHAN_USEC (600 * USEC_PER_SEC) /* when a daemon can come back */
#define LAST_FLUSH_MSEC 1000

typedef struct Helper {
        Ctl *ctl;
        Source *source;
        Dest *dest;
        Save *save;
        Load *load;
        bool daemon_gone, guest_gone, quit;
        uint64_t orphan_usec; /* since when the daemon is gone */
        uint64_t last_tick_usec;
        int listen_fd; /* where another daemon may come; negative: nowhere */
        char *listen_path;
} Helper;

typedef void (*CommandFunc)(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds);

static void reply_error(CtlCall *call, virErrorNumber code, const char *text) {
        g_autoptr(GError) error = NULL;
        error_set(&error, code, "%s", text);
        ctl_reply_error(call, error);
}

static bool parse_token(json_object *arguments, unsigned char *ret_token) {
        const char *text = json_get_string(arguments, "token");
        if (!text || strlen(text) != 2 * ENGINE_TOKEN_BYTES)
                return false;
        for (size_t i = 0; i < ENGINE_TOKEN_BYTES; i++) {
                int high = g_ascii_xdigit_value(text[2 * i]), low = g_ascii_xdigit_value(text[2 * i + 1]);
                if (high < 0 || low < 0)
                        return false;
                ret_token[i] = (unsigned char) (high << 4 | low);
        }
        return true;
}

/* The first n descriptors are the blocks'. NULL when the request makes no sense. */
static EngineRamBlock *parse_blocks(json_object *arguments, int *fds, size_t n_fds, unsigned *ret_n) {
        json_object *list = json_get(arguments, "blocks");
        if (!list || !json_object_is_type(list, json_type_array))
                return NULL;
        size_t n = json_object_array_length(list), n_states = 0;
        if (n == 0 || n > WIRE_BLOCKS_MAX || n > n_fds)
                return NULL;
        g_autofree EngineRamBlock *blocks = g_new0(EngineRamBlock, n);
        for (size_t i = 0; i < n; i++) {
                json_object *entry = json_object_array_get_idx(list, i);
                blocks[i] = (EngineRamBlock) {
                        .id = json_get_string(entry, "id"),
                        .size_bytes = json_get_uint64(entry, "size", 0),
                        .page_bytes = json_get_uint64(entry, "page", 0),
                        .policy = json_get_bool(entry, "populated", false) ? ENGINE_RAM_POPULATED : ENGINE_RAM_SPARSE,
                };
                if (!blocks[i].id || strlen(blocks[i].id) > WIRE_BLOCK_ID_MAX)
                        return NULL;
                n_states += json_get_bool(entry, "states", false);
        }
        if (n + n_states > n_fds)
                return NULL;
        size_t next = n;
        for (size_t i = 0; i < n; i++) {
                blocks[i].fd = FD_STEAL(fds[i]);
                /* Page tables are borrowed: they are closed with the request. */
                bool states = json_get_bool(json_object_array_get_idx(list, i), "states", false);
                blocks[i].states_fd = states ? fds[next++] : -EBADF;
        }
        *ret_n = (unsigned) n;
        return g_steal_pointer(&blocks);
}

static int take_fd(int *fds, size_t n_fds, size_t *index, bool present) {
        if (!present || *index >= n_fds)
                return -EBADF;
        size_t at = (*index)++;
        return FD_STEAL(fds[at]);
}

/* How many descriptors of a request the blocks take. */
static size_t block_fds(const EngineRamBlock *blocks, unsigned n_blocks) {
        size_t n = n_blocks;
        for (unsigned i = 0; i < n_blocks; i++)
                n += blocks[i].states_fd >= 0;
        return n;
}

static void parse_listen(json_object *arguments, EngineDestArgs *args) {
        args->listen_address = json_get_string(arguments, "listen-address");
        args->port_min = (unsigned) json_get_uint64(arguments, "port-min", 0);
        args->port_max = (unsigned) json_get_uint64(arguments, "port-max", 0);
        args->unix_path = json_get_string(arguments, "unix-path");
        args->idle_timeout_usec = json_get_uint64(arguments, "idle-timeout", 0);
}

/* Both ways to a destination. The userfaultfd is borrowed. NULL: the request was answered with an error. */
static EngineRamBlock *parse_dest(Helper *helper, CtlCall *call, json_object *arguments, bool adopt, int *fds,
                                  size_t n_fds, EngineDestArgs *ret_args) {
        EngineDestArgs args = { .device_state_fd = -EBADF, .commit_fd = -EBADF, .uffd = -EBADF };
        if (helper->source || helper->dest || !parse_token(arguments, args.token)) {
                reply_error(call, VIR_ERR_INVALID_ARG,
                            _("the migration engine was asked for something that it cannot do"));
                return NULL;
        }
        EngineRamBlock *blocks = parse_blocks(arguments, fds, n_fds, &args.n_blocks);
        if (!blocks) {
                reply_error(call, VIR_ERR_INVALID_ARG, _("the migration engine was given no usable memory layout"));
                return NULL;
        }
        size_t index = block_fds(blocks, args.n_blocks);
        args.blocks = blocks;
        args.device_state_fd = take_fd(fds, n_fds, &index, !adopt);
        args.commit_fd = take_fd(fds, n_fds, &index, json_get_bool(arguments, "commit-record", false));
        args.postcopy = json_get_bool(arguments, "postcopy", false);
        if (args.postcopy && index < n_fds)
                args.uffd = fds[index];
        args.qemu_pid = (pid_t) json_get_int64(arguments, "pid", -1);
        args.device_state_max_bytes = json_get_uint64(arguments, "device-state-max", 0);
        *ret_args = args;
        return blocks;
}

static void cmd_dest_listen(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineDestArgs args;
        g_autofree EngineRamBlock *blocks = parse_dest(helper, call, arguments, false, fds, n_fds, &args);
        if (!blocks)
                return;
        parse_listen(arguments, &args);

        g_autoptr(GError) error = NULL;
        unsigned port = 0;
        if (dest_new(&args, helper->ctl, &helper->dest, &port, &error) < 0)
                return ctl_reply_error(call, error);
        ctl_reply(call, json_add_uint64(json_object_new_object(), "port", port));
}

static void cmd_dest_adopt(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineDestArgs args;
        g_autofree EngineRamBlock *blocks = parse_dest(helper, call, arguments, true, fds, n_fds, &args);
        if (!blocks)
                return;
        g_autoptr(GError) error = NULL;
        bool running = json_get_bool(arguments, "running", false);
        if (!args.postcopy)
                return reply_error(call, VIR_ERR_INVALID_ARG,
                                   _("the migration engine was asked for something that it cannot do"));
        if (dest_adopt(&args, running, helper->ctl, &helper->dest, &error) < 0)
                return ctl_reply_error(call, error);
        ctl_reply(call, NULL);
}

static void cmd_dest_recover(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineDestArgs args = { 0 };
        g_autoptr(GError) error = NULL;
        unsigned port = 0;
        parse_listen(arguments, &args);
        if (!parse_token(arguments, args.token))
                return reply_error(call, VIR_ERR_INVALID_ARG,
                                   _("the migration engine was asked for something that it cannot do"));
        if (dest_recover(helper->dest, &args, &port, &error) < 0)
                return ctl_reply_error(call, error);
        ctl_reply(call, json_add_uint64(json_object_new_object(), "port", port));
}

static void cmd_postcopy_pause(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        g_autoptr(GError) error = NULL;
        if (helper->source)
                (void) source_pause(helper->source, call);
        else if (!helper->dest)
                reply_error(call, VIR_ERR_OPERATION_INVALID, _("the migration engine has no such job"));
        else if (dest_pause(helper->dest, &error) < 0)
                ctl_reply_error(call, error);
        else
                ctl_reply(call, NULL);
}

static EngineState helper_state(Helper *helper, bool *ret_postcopy) {
        *ret_postcopy = false;
        if (helper->source)
                return source_engine_state(helper->source, ret_postcopy);
        return helper->dest ? dest_engine_state(helper->dest, ret_postcopy) : ENGINE_STATE_IDLE;
}

static void cmd_status(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        bool postcopy;
        EngineStats stats = { 0 };
        EngineState state = helper_state(helper, &postcopy);
        if (helper->source)
                source_stats(helper->source, &stats);
        else if (helper->dest)
                dest_stats(helper->dest, &stats);
        json_object *result = json_object_new_object();
        json_add_string(result, "state", engine_state_name(state));
        json_add_bool(result, "source", helper->source != NULL);
        json_add_bool(result, "postcopy", postcopy);
        json_add(result, "stats", stats_to_json(&stats));
        ctl_reply(call, result);
}

static void cmd_listen_control(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        const char *path = json_get_string(arguments, "path");
        g_autoptr(GError) error = NULL;
        unsigned port = 0;
        int fd = -EBADF;
        if (!path || helper->listen_fd >= 0)
                return reply_error(call, VIR_ERR_INVALID_ARG,
                                   _("the migration engine was asked for something that it cannot do"));
        /* Only its owner may open it; nobody is in between, this process has no other thread that makes files. */
        mode_t mask = umask(0177);
        int r = channel_listen(NULL, 0, 0, path, &fd, &port, &error);
        (void) umask(mask);
        if (r < 0)
                return ctl_reply_error(call, error);
        helper->listen_fd = fd;
        helper->listen_path = g_strdup(path);
        ctl_reply(call, NULL);
}

static void cmd_dest_loaded(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        g_autoptr(GError) error = NULL;
        if (dest_loaded(helper->dest, &error) < 0)
                return ctl_reply_error(call, error);
        ctl_reply(call, NULL);
}

static void cmd_dest_running(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        g_autoptr(GError) error = NULL;
        if (dest_running(helper->dest, json_get_uint64(arguments, "resume-usec", 0), &error) < 0)
                return ctl_reply_error(call, error);
        ctl_reply(call, NULL);
}

static void cmd_dest_abandon(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        g_autoptr(GError) error = NULL;
        const char *reason = json_get_string(arguments, "reason");
        if (dest_abandon(helper->dest, reason ? reason : "", &error) < 0)
                return ctl_reply_error(call, error);
        ctl_reply(call, NULL);
}

static void cmd_dest_refuse(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        bool committed = false;
        dest_refuse(helper->dest, json_get_string(arguments, "reason"), &committed);
        ctl_reply(call, json_add_bool(json_object_new_object(), "committed", committed));
}

static uint64_t *parse_private_sizes(json_object *arguments, unsigned *ret_n) {
        json_object *list = json_get(arguments, "private-ram");
        size_t n = json_object_is_type(list, json_type_array)
                           ? MIN(json_object_array_length(list), PRIVATE_RAM_BLOCKS_MAX)
                           : 0;
        uint64_t *sizes = g_new0(uint64_t, n + 1);
        for (size_t i = 0; i < n; i++)
                sizes[i] = MIN((uint64_t) MAX(json_object_get_int64(json_object_array_get_idx(list, i)), 0),
                               PRIVATE_RAM_BLOCK_BYTES_MAX);
        *ret_n = (unsigned) n;
        return sizes;
}

static void parse_source(json_object *arguments, EngineSourceArgs *args) {
        args->qemu_pid = (pid_t) json_get_int64(arguments, "pid", -1);
        args->host = json_get_string(arguments, "host");
        args->port = (unsigned) json_get_uint64(arguments, "port", 0);
        args->unix_path = json_get_string(arguments, "unix-path");
        args->bandwidth_bytes_per_sec = json_get_uint64(arguments, "bandwidth", 0);
        args->postcopy = json_get_bool(arguments, "postcopy", false);
        args->postcopy_bandwidth_bytes_per_sec = json_get_uint64(arguments, "postcopy-bandwidth", 0);
        args->connect_timeout_usec = json_get_uint64(arguments, "connect-timeout", 0);
        args->idle_timeout_usec = json_get_uint64(arguments, "idle-timeout", 0);
        args->device_state_estimate_bytes = json_get_uint64(arguments, "device-state-estimate", 0);
}

static void begin_source(Helper *helper, CtlCall *call, json_object *arguments, bool adopt, int *fds, size_t n_fds) {
        EngineSourceArgs args = { 0 };
        if (helper->source || helper->dest || !parse_token(arguments, args.token))
                return reply_error(call, VIR_ERR_INVALID_ARG,
                                   _("the migration engine was asked for something that it cannot do"));
        g_autofree EngineRamBlock *blocks = parse_blocks(arguments, fds, n_fds, &args.n_blocks);
        if (!blocks)
                return reply_error(call, VIR_ERR_INVALID_ARG,
                                   _("the migration engine was given no usable memory layout"));
        size_t index = block_fds(blocks, args.n_blocks);
        args.blocks = blocks;
        args.uffd_async = take_fd(fds, n_fds, &index, json_get_bool(arguments, "async", false));
        args.uffd_sync = take_fd(fds, n_fds, &index, json_get_bool(arguments, "sync", false));
        parse_source(arguments, &args);
        g_autofree uint64_t *private_sizes = parse_private_sizes(arguments, &args.n_private_ram);
        args.private_ram_sizes = private_sizes;
        helper->source = adopt ? source_adopt(&args, helper->ctl, call) : source_start(&args, helper->ctl, call);
}

static void cmd_source_start(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        begin_source(helper, call, arguments, false, fds, n_fds);
}

static void cmd_source_recover(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineSourceArgs args = { 0 };
        if (!helper->source)
                return begin_source(helper, call, arguments, true, fds, n_fds);
        if (!parse_token(arguments, args.token))
                return reply_error(call, VIR_ERR_INVALID_ARG,
                                   _("the migration engine was asked for something that it cannot do"));
        parse_source(arguments, &args);
        source_recover(helper->source, &args, call);
}

static void cmd_source_set_postcopy_bandwidth(Helper *helper, CtlCall *call, json_object *arguments, int *fds,
                                              size_t n_fds) {
        source_set_postcopy_bandwidth(helper->source, json_get_uint64(arguments, "bandwidth", 0));
        ctl_reply(call, NULL);
}

static void cmd_source_set_bandwidth(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        source_set_bandwidth(helper->source, json_get_uint64(arguments, "bandwidth", 0));
        ctl_reply(call, NULL);
}

static void cmd_source_set_throttle(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        source_set_throttle(helper->source, (unsigned) json_get_uint64(arguments, "percent", 0), call);
}

static void cmd_source_stop_and_copy(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        if (n_fds != 1)
                return reply_error(call, VIR_ERR_INVALID_ARG,
                                   _("the migration engine was given no source of the device state"));
        bool postcopy = json_get_bool(arguments, "postcopy", false);
        source_stop_and_copy(helper->source, FD_STEAL(fds[0]), postcopy, call);
}

static void cmd_source_commit(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        source_commit(helper->source, call);
}

static void cmd_source_cancel(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        source_cancel(helper->source, call);
}

/* Blocks and image of a save or a load; *index is the first descriptor after them. NULL when they make no sense. */
static EngineRamBlock *parse_image(Helper *helper, json_object *arguments, int *fds, size_t n_fds, unsigned *ret_n,
                                   int *ret_image_fd, size_t *index) {
        if (helper->source || helper->dest || helper->save || helper->load)
                return NULL;
        g_autofree EngineRamBlock *blocks = parse_blocks(arguments, fds, n_fds, ret_n);
        if (!blocks)
                return NULL;
        *index = *ret_n;
        *ret_image_fd = take_fd(fds, n_fds, index, true);
        return *ret_image_fd >= 0 ? g_steal_pointer(&blocks) : NULL;
}

static void cmd_save(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineSaveArgs args = {
                .compression = (ImageCompression) json_get_uint64(arguments, "compression", 0),
                .running = json_get_bool(arguments, "running", false),
                .xml = json_get_string(arguments, "xml"),
        };
        size_t index = 0;
        g_autofree EngineRamBlock *blocks = NULL;
        if (args.xml && args.compression < IMAGE_COMPRESSION_MAX_)
                blocks = parse_image(helper, arguments, fds, n_fds, &args.n_blocks, &args.image_fd, &index);
        if (!blocks)
                return reply_error(call, VIR_ERR_INVALID_ARG,
                                   _("the migration engine was asked for something that it cannot do"));
        args.blocks = blocks;
        args.device_state_fd = take_fd(fds, n_fds, &index, true);
        helper->save = save_start(&args, helper->ctl, call);
}

static void cmd_load(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineLoadArgs args = {
                .lazy = json_get_bool(arguments, "lazy", false),
                .adopt = json_get_bool(arguments, "adopt", false),
                .keep_order = json_get_bool(arguments, "order", false),
                .qemu_pid = (pid_t) json_get_int64(arguments, "pid", -1),
        };
        size_t index = 0;
        g_autofree EngineRamBlock *blocks =
                parse_image(helper, arguments, fds, n_fds, &args.n_blocks, &args.image_fd, &index);
        if (!blocks || (args.adopt && !args.lazy))
                return reply_error(call, VIR_ERR_INVALID_ARG,
                                   _("the migration engine was asked for something that it cannot do"));
        args.blocks = blocks;
        args.device_state_fd = take_fd(fds, n_fds, &index, !args.adopt);
        for (unsigned i = 0; i < args.n_blocks; i++)
                blocks[i].states_fd = take_fd(fds, n_fds, &index, args.lazy);
        args.uffd = take_fd(fds, n_fds, &index, args.lazy);
        if (index != n_fds)
                log_debug("%zu descriptors too many, ignoring", n_fds - index);
        helper->load = load_start(&args, helper->ctl, call);
}

static void cmd_load_rest(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        if (!helper->load)
                return reply_error(call, VIR_ERR_OPERATION_INVALID, _("the migration engine has no such job"));
        load_go(helper->load, call);
}

static void cmd_query_pending(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        if (helper->source)
                return source_query_pending(helper->source, json_get_bool(arguments, "exact", false), call);
        EngineStats stats = { 0 };
        if (helper->dest)
                dest_stats(helper->dest, &stats);
        if (helper->save)
                save_stats(helper->save, &stats);
        if (helper->load)
                load_stats(helper->load, &stats);
        ctl_reply(call, stats_to_json(&stats));
}

static const struct {
        const char *name;
        CommandFunc func;
        enum { NEED_NOTHING, NEED_SOURCE, NEED_DEST } need;
} commands[] = {
        { "dest-listen", cmd_dest_listen, NEED_NOTHING },
        { "dest-loaded", cmd_dest_loaded, NEED_DEST },
        { "dest-running", cmd_dest_running, NEED_DEST },
        { "dest-abandon", cmd_dest_abandon, NEED_DEST },
        { "dest-refuse", cmd_dest_refuse, NEED_DEST },
        { "source-start", cmd_source_start, NEED_NOTHING },
        { "source-set-bandwidth", cmd_source_set_bandwidth, NEED_SOURCE },
        { "source-set-throttle", cmd_source_set_throttle, NEED_SOURCE },
        { "source-stop-and-copy", cmd_source_stop_and_copy, NEED_SOURCE },
        { "source-commit", cmd_source_commit, NEED_SOURCE },
        { "source-cancel", cmd_source_cancel, NEED_SOURCE },
        { "save", cmd_save, NEED_NOTHING },
        { "load", cmd_load, NEED_NOTHING },
        { "load-rest", cmd_load_rest, NEED_NOTHING },
        { "query-pending", cmd_query_pending, NEED_NOTHING },
        { "dest-adopt", cmd_dest_adopt, NEED_NOTHING },
        { "dest-recover", cmd_dest_recover, NEED_DEST },
        { "source-recover", cmd_source_recover, NEED_NOTHING },
        { "source-set-postcopy-bandwidth", cmd_source_set_postcopy_bandwidth, NEED_SOURCE },
        { "postcopy-pause", cmd_postcopy_pause, NEED_NOTHING },
        { "status", cmd_status, NEED_NOTHING },
        { "listen-control", cmd_listen_control, NEED_NOTHING },
};

static void handle(CtlCall *call, const char *command, json_object *arguments, int *fds, size_t n_fds, void *userdata) {
        Helper *helper = userdata;
        for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
                if (strcmp(commands[i].name, command) != 0)
                        continue;
                if ((commands[i].need == NEED_SOURCE && !helper->source) ||
                    (commands[i].need == NEED_DEST && !helper->dest))
                        return reply_error(call, VIR_ERR_OPERATION_INVALID, _("the migration engine has no such job"));
                return commands[i].func(helper, call, arguments, fds, n_fds);
        }
        reply_error(call, VIR_ERR_OPERATION_UNSUPPORTED, _("the migration engine does not know that command"));
}

static void daemon_lost(Helper *helper) {
        log_warning("%s", _("the daemon is gone: copying goes on, but nothing will be switched over"));
        helper->daemon_gone = true;
        helper->orphan_usec = clock_monotonic_usec();
        ctl_abandon(helper->ctl);
        if (helper->dest)
                dest_daemon_gone(helper->dest, helper->listen_fd < 0);
}

static void take_daemon(Helper *helper) {
        _cleanup_fd_ int fd = accept4(helper->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct ucred peer = { 0 };
        socklen_t length = sizeof(peer);
        if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
                return;
        if (peer.uid != geteuid() && peer.uid != 0)
                return;
        log_debug("process %d attaches", (int) peer.pid);
        ctl_attach(helper->ctl, FD_STEAL(fd));
        helper->daemon_gone = false;
        if (helper->dest)
                dest_daemon_back(helper->dest);
}

/* Nobody is there to decide: whether this job still has a use. */
static bool orphan_is_over(Helper *helper) {
        bool keep = helper->listen_fd >= 0, postcopy = false;
        EngineState state = helper_state(helper, &postcopy);
        if (state == ENGINE_STATE_IDLE)
                return true;
        if (state == ENGINE_STATE_FAILED)
                return !helper->dest || dest_failed(helper->dest);
        if (postcopy && state >= ENGINE_STATE_COMMITTING && state <= ENGINE_STATE_PAUSED)
                return helper->dest && helper->guest_gone; /* the guest needs it */
        if (postcopy && (state == ENGINE_STATE_DONE || (helper->source && state == ENGINE_STATE_CANCELLED)))
                return !keep || helper->guest_gone; /* somebody may want to hear of it */
        if (helper->dest && (dest_link_lost(helper->dest) || (!keep && !dest_connected(helper->dest))))
                return true;
        return clock_monotonic_usec() - helper->orphan_usec > (keep ? KEPT_ORPHAN_USEC : ORPHAN_USEC);
}

/* Whether nothing is left to do. */
static bool is_over(Helper *helper) {
        /* An image that nobody waits for is of no use to anybody. */
        if (helper->save)
                return helper->daemon_gone || save_finished(helper->save);
        if (helper->load)
                return (helper->daemon_gone && !load_outlives_daemon(helper->load)) || load_finished(helper->load);
        if ((helper->source && source_finished(helper->source)) || (helper->dest && dest_finished(helper->dest)))
                return true;
        return helper->daemon_gone && orphan_is_over(helper);
}

static int guest_fd(const Helper *helper) {
        if (helper->guest_gone)
                return -EBADF;
        return helper->source ? source_guest_fd(helper->source) : helper->dest ? dest_guest_fd(helper->dest) : -EBADF;
}

static void tick(Helper *helper) {
        uint64_t now = clock_monotonic_usec();
        if (now - helper->last_tick_usec < TICK_MSEC * USEC_PER_MSEC)
                return;
        helper->last_tick_usec = now;
        if (helper->source)
                source_tick(helper->source);
        if (helper->dest)
                dest_tick(helper->dest);
}

static void turn(Helper *helper) {
        struct pollfd fds[] = {
                { .fd = ctl_queue_fd(helper->ctl), .events = POLLIN },
                { .fd = helper->daemon_gone ? -1 : ctl_fd(helper->ctl), .events = POLLIN },
                { .fd = guest_fd(helper), .events = POLLIN },
                { .fd = helper->listen_fd, .events = POLLIN },
        };
        if (ctl_wants_write(helper->ctl))
                fds[1].events |= POLLOUT;
        if (poll(fds, G_N_ELEMENTS(fds), TICK_MSEC) < 0 && errno != EINTR)
                abort();

        if (fds[1].revents & (POLLIN | POLLHUP | POLLERR) && ctl_read(helper->ctl) < 0)
                daemon_lost(helper);
        if (fds[2].revents) {
                helper->guest_gone = true;
                if (helper->source)
                        source_guest_gone(helper->source);
        }
        if (fds[3].revents)
                take_daemon(helper);
        tick(helper);
        if (helper->load)
                load_tick(helper->load);
        if (helper->dest)
                dest_service(helper->dest);
        if (ctl_flush(helper->ctl) < 0 && !helper->daemon_gone)
                daemon_lost(helper);
}

static void last_flush(Ctl *ctl) {
        struct pollfd pollfd = { .fd = ctl_fd(ctl), .events = POLLOUT };
        while (ctl_wants_write(ctl) && poll(&pollfd, 1, LAST_FLUSH_MSEC) > 0)
                if (ctl_flush(ctl) < 0)
                        return;
}

static int run(int control_fd) {
        Helper helper = { .listen_fd = -EBADF };
        helper.ctl = ctl_new(control_fd, handle, &helper);
        while (!is_over(&helper))
                turn(&helper);
        last_flush(helper.ctl);
        /* Giving a guest's memory back takes a while, just when the guest starts somewhere: it goes first. */
        worker_yield();
        /* Also takes off what write protection is left. */
        helper.source = source_free(helper.source);
        helper.dest = dest_free(helper.dest);
        helper.save = save_free(helper.save);
        helper.load = load_free(helper.load);
        last_flush(helper.ctl);
        helper.ctl = ctl_free(helper.ctl);
        fd_close(helper.listen_fd);
        if (helper.listen_path)
                (void) unlink(helper.listen_path);
        g_free(helper.listen_path);
        return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                { "control-fd", required_argument, NULL, 'c' },
                { "name", required_argument, NULL, 'n' },
                { "version", no_argument, NULL, 'V' },
                { "help", no_argument, NULL, 'h' },
                { 0 },
        };
        int control_fd = -EBADF;

        setlocale(LC_ALL, "");
        bindtextdomain(FERRY_GETTEXT_DOMAIN, FERRY_LOCALE_DIR);
        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                switch (c) {
                case 'c':
                        control_fd = atoi(optarg);
                        break;
                case 'n':
                        prctl(PR_SET_NAME, optarg);
                        break;
                case 'V':
                        printf("virt-ferry-engine %s\n", FERRY_VERSION);
                        return EXIT_SUCCESS;
                case 'h':
                        printf(_(
                                "virt-ferry-engine moves a guest's memory for virtferryd, which starts it.\n"
                                "  --control-fd=N  the control socket\n  --name=TEXT     the job's name, for listings "
                                "of processes\n"));
                        return EXIT_SUCCESS;
                default:
                        return EXIT_FAILURE;
                }
        if (control_fd < 0) {
                fprintf(stderr, "%s\n", _("virt-ferry-engine is started by virtferryd, not by hand"));
                return EXIT_FAILURE;
        }
        if (secure_getenv("FERRY_DEBUG"))
                log_set_level(LOG_DEBUG);
        signal(SIGPIPE, SIG_IGN);
        (void) fd_set_cloexec(control_fd, true);
        return run(control_fd);
}
