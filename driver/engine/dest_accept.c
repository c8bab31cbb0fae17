/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The destination's connections: who listens, who has proven the token, and for what. The first channel (index 0)
 * carries the job; with postcopy a second one (index 1) carries pages that somebody waits for. Listening ends when all
 * that is expected is there.
 */

#include "driver/engine/dest_internal.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/log.h"
#include "driver/engine/frame.h"
#include "driver/engine/handshake.h"

#define KNOCK_USEC (5 * USEC_PER_SEC)
#define LAST_WORDS_USEC USEC_PER_SEC
#define IDLE_DEFAULT_USEC (10 * USEC_PER_SEC)

typedef enum KnockUse {
        KNOCK_NO_ROOM,
        KNOCK_JOB,    /* the job's channel */
        KNOCK_AGAIN,  /* the same after a broken link */
        KNOCK_URGENT,
} KnockUse;

/* What a connection that has proven the token is good for; from then on it counts as a receiver. */
static KnockUse assign(Dest *dest, Channel *channel, unsigned index) {
        KnockUse use = KNOCK_NO_ROOM;
        pthread_mutex_lock(&dest->lock);
        if (index == 0 && !dest->channel) {
                if (dest->switched && dest->accepting_again)
                        use = KNOCK_AGAIN;
                else if (!dest->switched && dest_set_state_locked(dest, DEST_RECEIVING))
                        use = KNOCK_JOB;
                if (use != KNOCK_NO_ROOM)
                        dest->channel = channel_ref(channel);
        } else if (index == 1 && dest->fault && dest->channel && !dest->urgent) {
                use = KNOCK_URGENT;
                dest->urgent = channel_ref(channel);
        }
        if (use != KNOCK_NO_ROOM)
                dest->n_links++;
        bool all = dest->channel && (!dest->fault || dest->urgent);
        pthread_mutex_unlock(&dest->lock);
        if (all)
                (void) eventfd_write(dest->stop_fd, 1);
        return use;
}

static void knock_worker(void *userdata) {
        DestKnock *knock = userdata;
        Dest *dest = knock->dest;
        g_autoptr(GError) error = NULL;
        unsigned index = 0;

        int r = handshake_destination(knock->channel, dest->token, &index, &error);
        if (r >= 0 && index > (dest->fault ? 1 : 0)) {
                (void) frame_send_text(knock->channel, WIRE_ERROR, VIR_ERR_OPERATION_UNSUPPORTED,
                                       _("this destination does not take so many data channels"));
                r = -EPROTO;
        }
        KnockUse use = r >= 0 ? assign(dest, knock->channel, index) : KNOCK_NO_ROOM;
        if (use != KNOCK_NO_ROOM)
                channel_set_idle_timeout(knock->channel, dest->idle_timeout_usec);
        if (use == KNOCK_JOB || use == KNOCK_AGAIN)
                dest_receive(dest, use == KNOCK_AGAIN);
        else if (use == KNOCK_URGENT)
                dest_urgent_receive(dest, knock->channel);
        else if (r < 0) {
                log_debug("a connection was turned away: %s", error ? error->message : "wrong channel");
                channel_linger(knock->channel, LAST_WORDS_USEC);
        }
        /* Who has given the job up says why, on this channel, and then ends it. */
        DestState state = dest_get_state(dest);
        if (use != KNOCK_JOB || (state != DEST_FAILED && state != DEST_REFUSED))
                channel_shutdown(knock->channel);
        atomic_store(&knock->ended, true);
}

static char *peer_name(int fd) {
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);
        char host[NI_MAXHOST], port[NI_MAXSERV];
        if (getpeername(fd, (struct sockaddr *) &address, &length) < 0 || address.ss_family == AF_UNIX ||
            getnameinfo((struct sockaddr *) &address, length, host, sizeof(host), port, sizeof(port),
                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
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

int dest_accept_start(Dest *dest, const EngineDestArgs *args, unsigned *ret_port, GError **reterr) {
        dest->idle_timeout_usec = args->idle_timeout_usec ?: IDLE_DEFAULT_USEC;
        memcpy(dest->token, args->token, sizeof(dest->token));
        g_free(dest->unix_path);
        dest->unix_path = g_strdup(args->unix_path);
        eventfd_t ignored;
        (void) eventfd_read(dest->stop_fd, &ignored);
        unsigned port = 0;
        int r = channel_listen(args->listen_address, args->port_min, args->port_max, args->unix_path, &dest->listen_fd,
                               &port, reterr);
        if (r < 0)
                return r;
        r = worker_start(&dest->acceptor, "acceptor", acceptor_worker, dest);
        if (r < 0) {
                dest->listen_fd = fd_close(dest->listen_fd);
                return error_set_errno(reterr, r, _("cannot start a thread"));
        }
        *ret_port = port;
        return 0;
}

void dest_accept_stop(Dest *dest) {
        if (dest->stop_fd >= 0)
                (void) eventfd_write(dest->stop_fd, 1);
        worker_join(&dest->acceptor);
}

void dest_accept_cut(Dest *dest) {
        for (unsigned i = 0; i < DEST_KNOCKS_MAX; i++)
                if (dest->knocks[i].channel)
                        channel_shutdown(dest->knocks[i].channel);
        for (unsigned i = 0; i < DEST_KNOCKS_MAX; i++) {
                worker_join(&dest->knocks[i].worker);
                dest->knocks[i].channel = channel_free(dest->knocks[i].channel);
        }
}
