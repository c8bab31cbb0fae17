/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: the receiving side.
 *
 * The acceptor thread takes connections; each gets a thread (at most DEST_KNOCKS_MAX at once) in which it must prove the token within
 * KNOCK_USEC. The first that does becomes the job's data channel, its thread the receiver, and listening ends; all others are closed. So a
 * stranger on the port can neither end the job nor hold it up.
 *
 * Who runs the guest is decided once, under the lock: COMMIT moves READY to COMMITTED, dest_refuse() moves any earlier state to REFUSED; only one of
 * them can win. A COMMIT that arrives after a refusal is not answered. Nothing here ever starts a guest: that is the daemon's, on `committed`.
 */

#include "driver/engine/dest_internal.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/units.h"
#include "driver/engine/frame.h"
#include "driver/engine/handshake.h"

#define KNOCK_USEC (5 * USEC_PER_SEC)
#define IDLE_DEFAULT_USEC (10 * USEC_PER_SEC)
#define DEVICE_MAX_DEFAULT_BYTES (1 * GIB)
#define LAST_WORDS_USEC USEC_PER_SEC

static const struct {
        const char *name;
        const char *doing;
        unsigned next;
} states[] = {
#define BIT(state) (1u << DEST_##state)
        [DEST_LISTENING] = { "listening", N_("waiting for the source"), BIT(RECEIVING) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_RECEIVING] = { "receiving", N_("receiving memory"), BIT(LOADING) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_LOADING] = { "loading", N_("handing the device state to QEMU"), BIT(LOADED) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_LOADED] = { "loaded", N_("loading the device state"), BIT(READY) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_READY] = { "ready", N_("waiting for the source to hand the guest over"), BIT(COMMITTED) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_COMMITTED] = { "committed", N_("starting the guest"), BIT(RUNNING) | BIT(DONE) },
        [DEST_RUNNING] = { "running", N_("finishing"), BIT(DONE) },
        [DEST_DONE] = { "done", N_("finishing"), 0 },
        [DEST_REFUSED] = { "refused", N_("giving up"), 0 },
        [DEST_FAILED] = { "failed", N_("failing"), BIT(REFUSED) },
#undef BIT
};
_Static_assert(G_N_ELEMENTS(states) == DEST_STATE_MAX_, "each state of the destination is described");

const char *dest_doing(DestState state) {
        return _(states[state].doing);
}

/* Under lock. */
static bool set_state_locked(Dest *dest, DestState state) {
        bool allowed = states[dest->state].next & (1u << state);
        log_debug("destination: %s -> %s%s", states[dest->state].name, states[state].name, allowed ? "" : " refused");
        if (allowed)
                dest->state = state;
        return allowed;
}

bool dest_set_state(Dest *dest, DestState state) {
        pthread_mutex_lock(&dest->lock);
        bool done = set_state_locked(dest, state);
        pthread_mutex_unlock(&dest->lock);
        return done;
}

DestState dest_get_state(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        DestState state = dest->state;
        pthread_mutex_unlock(&dest->lock);
        return state;
}

static Channel *get_channel(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        Channel *channel = dest->channel;
        pthread_mutex_unlock(&dest->lock);
        return channel;
}

void dest_fail(Dest *dest, const GError *error) {
        if (!dest_set_state(dest, DEST_FAILED))
                return;
        json_object *data = json_object_new_object();
        json_add_string(data, "desc", error->message);
        json_add_int64(data, "virt-code", error_code(error));
        ctl_event(dest->ctl, "failed", data, false);
        Channel *channel = get_channel(dest);
        if (!channel)
                return;
        (void) frame_send_text(channel, WIRE_ERROR, (uint32_t) error_code(error), error->message);
        channel_linger(channel, LAST_WORDS_USEC);
        channel_shutdown(channel);
}

/* ---- connections ---- */

static void knock_worker(void *userdata) {
        DestKnock *knock = userdata;
        Dest *dest = knock->dest;
        g_autoptr(GError) error = NULL;
        unsigned index = 0;

        int r = handshake_destination(knock->channel, dest->token, &index, &error);
        if (r >= 0 && index != 0) {
                (void) frame_send_text(knock->channel, WIRE_ERROR, VIR_ERR_OPERATION_UNSUPPORTED, _("this destination takes one data channel"));
                r = -EPROTO;
        }
        if (r >= 0) {
                pthread_mutex_lock(&dest->lock);
                bool mine = !dest->channel && set_state_locked(dest, DEST_RECEIVING);
                if (mine)
                        dest->channel = knock->channel;
                pthread_mutex_unlock(&dest->lock);
                if (mine) {
                        channel_set_idle_timeout(knock->channel, dest->idle_timeout_usec);
                        (void) eventfd_write(dest->stop_fd, 1);
                        dest_receive(dest);
                }
        } else {
                log_debug("a connection was turned away: %s", error ? error->message : "wrong channel");
                channel_linger(knock->channel, LAST_WORDS_USEC);
        }
        channel_shutdown(knock->channel);
        atomic_store(&knock->ended, true);
}

static char *peer_name(int fd) {
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);
        char host[NI_MAXHOST], port[NI_MAXSERV];
        if (getpeername(fd, (struct sockaddr *) &address, &length) < 0 || address.ss_family == AF_UNIX ||
            getnameinfo((struct sockaddr *) &address, length, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
                return g_strdup(_("the source"));
        return g_strdup_printf("%s:%s", host, port);
}

static void take_connection(Dest *dest) {
        _cleanup_fd_ int fd = accept4(dest->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
                return;
        for (unsigned i = 0; i < DEST_KNOCKS_MAX; i++) {
                DestKnock *knock = &dest->knocks[i];
                if (knock->channel && !atomic_load(&knock->ended))
                        continue;
                worker_join(&knock->worker);
                channel_free(knock->channel);
                g_autofree char *peer = peer_name(fd);
                *knock = (DestKnock) { .dest = dest, .channel = channel_new(FD_STEAL(fd), peer, KNOCK_USEC) };
                if (worker_start(&knock->worker, "receiver", knock_worker, knock) < 0)
                        knock->channel = channel_free(knock->channel);
                return;
        }
        /* All places taken: closed at once. */
}

static void acceptor_worker(void *userdata) {
        Dest *dest = userdata;
        struct pollfd fds[] = {
                { .fd = dest->listen_fd, .events = POLLIN },
                { .fd = dest->stop_fd, .events = POLLIN },
        };
        for (;;) {
                if (poll(fds, G_N_ELEMENTS(fds), -1) < 0 && errno != EINTR)
                        break;
                if (fds[1].revents)
                        break;
                if (fds[0].revents)
                        take_connection(dest);
        }
        dest->listen_fd = fd_close(dest->listen_fd);
        if (dest->unix_path)
                (void) unlink(dest->unix_path);
}

/* ---- requests ---- */

static int init_block(DestBlock *block, const EngineRamBlock *config, GError **reterr) {
        int r = ram_block_init(&block->ram, config, config->fd, RAM_BLOCK_WRITE, reterr);
        if (r < 0)
                return r;
        if (strlen(config->id) > WIRE_BLOCK_ID_MAX)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the name of RAM block '%s' is too long"), config->id);
        block->wire = (WireBlock) { .size_bytes = config->size_bytes, .page_bytes = config->page_bytes };
        g_strlcpy(block->wire.id, config->id, sizeof(block->wire.id));
        r = page_states_init(&block->states, block->ram.n_pages);
        if (r >= 0)
                r = page_set_init(&block->large, config->size_bytes / WIRE_LARGE_BYTES + 1);
        if (r >= 0)
                r = page_set_init(&block->announced, config->size_bytes / WIRE_LARGE_BYTES + 1);
        return r < 0 ? error_set_errno(reterr, r, _("cannot allocate the page table of RAM block '%s'"), config->id) : 0;
}

int dest_new(const EngineDestArgs *args, Ctl *ctl, Dest **ret_dest, unsigned *ret_port, GError **reterr) {
        g_autoptr(Dest) dest = g_new0(Dest, 1);
        pthread_mutex_init(&dest->lock, NULL);
        dest->ctl = ctl;
        dest->listen_fd = dest->stop_fd = dest->spool_fd = -EBADF;
        dest->device_fd = args->device_state_fd;
        dest->commit_fd = args->commit_fd;
        dest->unix_path = g_strdup(args->unix_path);
        dest->idle_timeout_usec = args->idle_timeout_usec ?: IDLE_DEFAULT_USEC;
        dest->device_max_bytes = args->device_state_max_bytes ?: DEVICE_MAX_DEFAULT_BYTES;
        memcpy(dest->token, args->token, sizeof(dest->token));

        dest->n_blocks = args->n_blocks;
        dest->blocks = g_new0(DestBlock, args->n_blocks);
        int result = 0;
        for (unsigned i = 0; i < args->n_blocks; i++) {
                int r = init_block(&dest->blocks[i], &args->blocks[i], result < 0 ? NULL : reterr);
                result = result < 0 ? result : r;
                dest->stats.total_bytes += args->blocks[i].size_bytes;
        }
        if (result < 0)
                return result;

        dest->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        dest->spool_fd = memfd_create("ferry-device-state", MFD_CLOEXEC);
        if (dest->stop_fd < 0 || dest->spool_fd < 0)
                return error_set_errno(reterr, errno, _("cannot keep the device state"));
        unsigned port = 0;
        int r = channel_listen(args->listen_address, args->port_min, args->port_max, args->unix_path, &dest->listen_fd, &port, reterr);
        if (r < 0)
                return r;
        r = worker_start(&dest->acceptor, "acceptor", acceptor_worker, dest);
        if (r < 0)
                return error_set_errno(reterr, r, _("cannot start a thread"));
        *ret_port = port;
        *ret_dest = g_steal_pointer(&dest);
        return 0;
}

Dest *dest_free(Dest *dest) {
        if (!dest)
                return NULL;
        (void) dest_set_state(dest, DEST_REFUSED);
        if (dest->stop_fd >= 0)
                (void) eventfd_write(dest->stop_fd, 1);
        worker_join(&dest->acceptor);
        for (unsigned i = 0; i < DEST_KNOCKS_MAX; i++)
                if (dest->knocks[i].channel)
                        channel_shutdown(dest->knocks[i].channel);
        for (unsigned i = 0; i < DEST_KNOCKS_MAX; i++) {
                worker_join(&dest->knocks[i].worker);
                channel_free(dest->knocks[i].channel);
        }
        populate_free(dest->populate);
        for (unsigned i = 0; i < dest->n_blocks; i++) {
                page_states_deinit(&dest->blocks[i].states);
                page_set_deinit(&dest->blocks[i].announced);
                page_set_deinit(&dest->blocks[i].large);
                ram_block_deinit(&dest->blocks[i].ram);
        }
        g_free(dest->blocks);
        dest_frame_free(dest->frame);
        fd_close(dest->listen_fd);
        fd_close(dest->stop_fd);
        fd_close(dest->device_fd);
        fd_close(dest->spool_fd);
        fd_close(dest->commit_fd);
        g_free(dest->unix_path);
        pthread_mutex_destroy(&dest->lock);
        g_free(dest);
        return NULL;
}

static int refuse_request(Dest *dest, GError **reterr) {
        return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("the migration engine cannot do that while it is %s"), dest_doing(dest_get_state(dest)));
}

int dest_loaded(Dest *dest, GError **reterr) {
        if (!dest_set_state(dest, DEST_READY))
                return refuse_request(dest, reterr);
        Channel *channel = get_channel(dest);
        int r = frame_send(channel, WIRE_READY, 0, NULL, 0);
        return r < 0 ? channel_error(channel, r, dest_doing(DEST_READY), reterr) : 0;
}

int dest_running(Dest *dest, uint64_t resume_usec, GError **reterr) {
        pthread_mutex_lock(&dest->lock);
        bool ok = set_state_locked(dest, DEST_RUNNING), lost = dest->link_lost;
        if (ok && lost)
                set_state_locked(dest, DEST_DONE);
        pthread_mutex_unlock(&dest->lock);
        if (!ok)
                return refuse_request(dest, reterr);
        if (!lost) {
                unsigned char bytes[8];
                wire_u64_encode(resume_usec, bytes);
                (void) frame_send(get_channel(dest), WIRE_RUNNING, 0, bytes, sizeof(bytes));
        }
        return 0;
}

int dest_abandon(Dest *dest, const char *reason, GError **reterr) {
        pthread_mutex_lock(&dest->lock);
        bool ok = dest->state == DEST_COMMITTED && set_state_locked(dest, DEST_DONE), lost = dest->link_lost;
        pthread_mutex_unlock(&dest->lock);
        if (!ok)
                return refuse_request(dest, reterr);
        if (!lost) {
                Channel *channel = get_channel(dest);
                (void) frame_send_text(channel, WIRE_ABANDON, 0, reason);
                channel_linger(channel, LAST_WORDS_USEC);
        }
        return 0;
}

void dest_refuse(Dest *dest, bool *ret_committed) {
        pthread_mutex_lock(&dest->lock);
        bool committed = dest->state == DEST_COMMITTED || dest->state == DEST_RUNNING || dest->state == DEST_DONE;
        if (!committed)
                set_state_locked(dest, DEST_REFUSED);
        pthread_mutex_unlock(&dest->lock);
        *ret_committed = committed;
        if (committed)
                return;
        (void) eventfd_write(dest->stop_fd, 1);
        Channel *channel = get_channel(dest);
        if (channel) {
                (void) frame_send_text(channel, WIRE_ERROR, VIR_ERR_OPERATION_ABORTED, _("the destination has given up the migration"));
                channel_shutdown(channel);
        }
}

void dest_daemon_gone(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        dest->daemon_gone = true;
        pthread_mutex_unlock(&dest->lock);
        /* Before COMMIT the source has the guest and should hear now, not when it has stopped it and waits for READY. */
        g_autoptr(GError) error = NULL;
        error_set(&error, VIR_ERR_OPERATION_FAILED, _("the destination's daemon has ended"));
        dest_fail(dest, error);
}

void dest_tick(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        bool alive = dest->channel && dest->state >= DEST_RECEIVING && dest->state <= DEST_RUNNING && !dest->link_lost;
        pthread_mutex_unlock(&dest->lock);
        if (alive)
                (void) frame_send_keepalive(get_channel(dest));
}

void dest_stats(Dest *dest, EngineStats *ret_stats) {
        pthread_mutex_lock(&dest->lock);
        *ret_stats = dest->stats;
        pthread_mutex_unlock(&dest->lock);
}

bool dest_failed(Dest *dest) {
        return dest_get_state(dest) == DEST_FAILED;
}

bool dest_connected(Dest *dest) {
        return dest_get_state(dest) != DEST_LISTENING;
}

bool dest_link_lost(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        bool lost = dest->link_lost;
        pthread_mutex_unlock(&dest->lock);
        return lost;
}

bool dest_finished(Dest *dest) {
        DestState state = dest_get_state(dest);
        return state == DEST_DONE || state == DEST_REFUSED;
}
