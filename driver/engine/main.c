/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * virt-ferry-engine: the helper process of one migration job.
 *
 * Theory of operation: the main thread serves the control socket (a socketpair that the daemon made, JSON lines) and owns one Source or one
 * Dest, whose threads move the memory. Their replies and events pass through the control queue, so nothing waits for the daemon.
 *
 * When the daemon is away a source keeps copying but never switches over; nobody can come back to this socket, so after ORPHAN_USEC it gives up. A
 * destination gives up at once, unless COMMIT has made the guest its own. Either way the guest is where it was.
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
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
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
        size_t n = json_object_array_length(list);
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
        }
        for (size_t i = 0; i < n; i++)
                blocks[i].fd = FD_STEAL(fds[i]);
        *ret_n = (unsigned) n;
        return g_steal_pointer(&blocks);
}

static int take_fd(int *fds, size_t n_fds, size_t *index, bool present) {
        if (!present || *index >= n_fds)
                return -EBADF;
        size_t at = (*index)++;
        return FD_STEAL(fds[at]);
}

static void cmd_dest_listen(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineDestArgs args = { 0 };
        if (helper->source || helper->dest || !parse_token(arguments, args.token))
                return reply_error(call, VIR_ERR_INVALID_ARG, _("the migration engine was asked for something that it cannot do"));
        g_autofree EngineRamBlock *blocks = parse_blocks(arguments, fds, n_fds, &args.n_blocks);
        if (!blocks)
                return reply_error(call, VIR_ERR_INVALID_ARG, _("the migration engine was given no usable memory layout"));
        size_t index = args.n_blocks;
        args.blocks = blocks;
        args.device_state_fd = take_fd(fds, n_fds, &index, true);
        args.commit_fd = take_fd(fds, n_fds, &index, json_get_bool(arguments, "commit-record", false));
        args.listen_address = json_get_string(arguments, "listen-address");
        args.port_min = (unsigned) json_get_uint64(arguments, "port-min", 0);
        args.port_max = (unsigned) json_get_uint64(arguments, "port-max", 0);
        args.unix_path = json_get_string(arguments, "unix-path");
        args.device_state_max_bytes = json_get_uint64(arguments, "device-state-max", 0);
        args.idle_timeout_usec = json_get_uint64(arguments, "idle-timeout", 0);

        g_autoptr(GError) error = NULL;
        unsigned port = 0;
        if (dest_new(&args, helper->ctl, &helper->dest, &port, &error) < 0)
                return ctl_reply_error(call, error);
        ctl_reply(call, json_add_uint64(json_object_new_object(), "port", port));
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
        dest_refuse(helper->dest, &committed);
        ctl_reply(call, json_add_bool(json_object_new_object(), "committed", committed));
}

static uint64_t *parse_private_sizes(json_object *arguments, unsigned *ret_n) {
        json_object *list = json_get(arguments, "private-ram");
        size_t n = json_object_is_type(list, json_type_array) ? MIN(json_object_array_length(list), PRIVATE_RAM_BLOCKS_MAX) : 0;
        uint64_t *sizes = g_new0(uint64_t, n + 1);
        for (size_t i = 0; i < n; i++)
                sizes[i] = MIN((uint64_t) MAX(json_object_get_int64(json_object_array_get_idx(list, i)), 0), PRIVATE_RAM_BLOCK_BYTES_MAX);
        *ret_n = (unsigned) n;
        return sizes;
}

static void cmd_source_start(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineSourceArgs args = { 0 };
        if (helper->source || helper->dest || !parse_token(arguments, args.token))
                return reply_error(call, VIR_ERR_INVALID_ARG, _("the migration engine was asked for something that it cannot do"));
        g_autofree EngineRamBlock *blocks = parse_blocks(arguments, fds, n_fds, &args.n_blocks);
        if (!blocks)
                return reply_error(call, VIR_ERR_INVALID_ARG, _("the migration engine was given no usable memory layout"));
        size_t index = args.n_blocks;
        args.blocks = blocks;
        args.uffd_async = take_fd(fds, n_fds, &index, json_get_bool(arguments, "async", false));
        args.uffd_sync = take_fd(fds, n_fds, &index, json_get_bool(arguments, "sync", false));
        args.qemu_pid = (pid_t) json_get_int64(arguments, "pid", -1);
        args.host = json_get_string(arguments, "host");
        args.port = (unsigned) json_get_uint64(arguments, "port", 0);
        args.unix_path = json_get_string(arguments, "unix-path");
        args.bandwidth_bytes_per_sec = json_get_uint64(arguments, "bandwidth", 0);
        args.connect_timeout_usec = json_get_uint64(arguments, "connect-timeout", 0);
        args.idle_timeout_usec = json_get_uint64(arguments, "idle-timeout", 0);
        args.device_state_estimate_bytes = json_get_uint64(arguments, "device-state-estimate", 0);
        g_autofree uint64_t *private_sizes = parse_private_sizes(arguments, &args.n_private_ram);
        args.private_ram_sizes = private_sizes;
        helper->source = source_start(&args, helper->ctl, call);
}

static void cmd_source_set_bandwidth(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        source_set_bandwidth(helper->source, json_get_uint64(arguments, "bandwidth", 0));
        ctl_reply(call, NULL);
}

static void cmd_source_stop_and_copy(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        if (n_fds != 1)
                return reply_error(call, VIR_ERR_INVALID_ARG, _("the migration engine was given no source of the device state"));
        source_stop_and_copy(helper->source, FD_STEAL(fds[0]), call);
}

static void cmd_source_commit(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        source_commit(helper->source, call);
}

static void cmd_source_cancel(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        source_cancel(helper->source, call);
}

/* Blocks, image and device state of a save or a load. NULL when they make no sense. */
static EngineRamBlock *parse_image(Helper *helper, json_object *arguments, int *fds, size_t n_fds, unsigned *ret_n, int *ret_image_fd,
                                   int *ret_device_fd) {
        json_object *list = json_get(arguments, "blocks");
        if (helper->source || helper->dest || helper->save || helper->load || !list || !json_object_is_type(list, json_type_array) ||
            n_fds != json_object_array_length(list) + 2)
                return NULL;
        EngineRamBlock *blocks = parse_blocks(arguments, fds, n_fds - 2, ret_n);
        if (!blocks)
                return NULL;
        *ret_image_fd = FD_STEAL(fds[n_fds - 2]);
        *ret_device_fd = FD_STEAL(fds[n_fds - 1]);
        return blocks;
}

static void cmd_save(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineSaveArgs args = {
                .compression = (ImageCompression) json_get_uint64(arguments, "compression", 0),
                .running = json_get_bool(arguments, "running", false),
                .xml = json_get_string(arguments, "xml"),
        };
        g_autofree EngineRamBlock *blocks = NULL;
        if (args.xml && args.compression < IMAGE_COMPRESSION_MAX_)
                blocks = parse_image(helper, arguments, fds, n_fds, &args.n_blocks, &args.image_fd, &args.device_state_fd);
        if (!blocks)
                return reply_error(call, VIR_ERR_INVALID_ARG, _("the migration engine was asked for something that it cannot do"));
        args.blocks = blocks;
        helper->save = save_start(&args, helper->ctl, call);
}

static void cmd_load(Helper *helper, CtlCall *call, json_object *arguments, int *fds, size_t n_fds) {
        EngineLoadArgs args = { 0 };
        g_autofree EngineRamBlock *blocks =
                parse_image(helper, arguments, fds, n_fds, &args.n_blocks, &args.image_fd, &args.device_state_fd);
        if (!blocks)
                return reply_error(call, VIR_ERR_INVALID_ARG, _("the migration engine was asked for something that it cannot do"));
        args.blocks = blocks;
        helper->load = load_start(&args, helper->ctl, call);
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
        { "source-stop-and-copy", cmd_source_stop_and_copy, NEED_SOURCE },
        { "source-commit", cmd_source_commit, NEED_SOURCE },
        { "source-cancel", cmd_source_cancel, NEED_SOURCE },
        { "save", cmd_save, NEED_NOTHING },
        { "load", cmd_load, NEED_NOTHING },
        { "query-pending", cmd_query_pending, NEED_NOTHING },
};

static void handle(CtlCall *call, const char *command, json_object *arguments, int *fds, size_t n_fds, void *userdata) {
        Helper *helper = userdata;
        for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
                if (strcmp(commands[i].name, command) != 0)
                        continue;
                if ((commands[i].need == NEED_SOURCE && !helper->source) || (commands[i].need == NEED_DEST && !helper->dest))
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
                dest_daemon_gone(helper->dest);
}

/* Whether nothing is left to do. */
static bool is_over(Helper *helper) {
        /* An image that nobody waits for is of no use to anybody. */
        if (helper->save || helper->load)
                return helper->daemon_gone || (helper->save && save_finished(helper->save)) || (helper->load && load_finished(helper->load));
        if ((helper->source && source_finished(helper->source)) || (helper->dest && dest_finished(helper->dest)))
                return true;
        if (!helper->daemon_gone)
                return false;
        if (!helper->source && !helper->dest)
                return true;
        if ((helper->source && source_failed(helper->source)) || (helper->dest && (dest_failed(helper->dest) || dest_link_lost(helper->dest) || !dest_connected(helper->dest))))
                return true;
        return clock_monotonic_usec() - helper->orphan_usec > ORPHAN_USEC;
}

static void turn(Helper *helper) {
        struct pollfd fds[3] = {
                { .fd = ctl_queue_fd(helper->ctl), .events = POLLIN },
                { .fd = helper->daemon_gone ? -1 : ctl_fd(helper->ctl), .events = POLLIN },
                { .fd = helper->source && !helper->guest_gone ? source_guest_fd(helper->source) : -1, .events = POLLIN },
        };
        if (ctl_wants_write(helper->ctl))
                fds[1].events |= POLLOUT;
        if (poll(fds, G_N_ELEMENTS(fds), TICK_MSEC) < 0 && errno != EINTR)
                abort();

        if (fds[1].revents & (POLLIN | POLLHUP | POLLERR) && ctl_read(helper->ctl) < 0)
                daemon_lost(helper);
        if (fds[2].revents) {
                helper->guest_gone = true;
                source_guest_gone(helper->source);
        }
        uint64_t now = clock_monotonic_usec();
        if (now - helper->last_tick_usec >= TICK_MSEC * USEC_PER_MSEC) {
                helper->last_tick_usec = now;
                if (helper->source)
                        source_tick(helper->source);
                if (helper->dest)
                        dest_tick(helper->dest);
        }
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
        Helper helper = { 0 };
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
                        printf(_("virt-ferry-engine moves a guest's memory for virtferryd, which starts it.\n"
                                 "  --control-fd=N  the control socket\n  --name=TEXT     the job's name, for listings of processes\n"));
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
