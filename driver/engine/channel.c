/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/channel.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"

#define CHANNEL_IOV_MAX 1024

struct Channel {
        /* fixed after channel_new() */
        int fd;
        char *peer;
        /* any thread */
        atomic_uint n_ref;
        atomic_uint_least64_t idle_timeout_usec;
        atomic_uint_least64_t sent_bytes, received_bytes;
        atomic_int silence; /* -ETIMEDOUT once a sender has given up: receivers then report the same */
        /* held for one message */
        pthread_mutex_t send_lock;
};

Channel *channel_new(int fd, const char *peer, uint64_t idle_timeout_usec) {
        Channel *channel = g_new0(Channel, 1);
        channel->fd = fd;
        atomic_init(&channel->n_ref, 1);
        channel->peer = g_strdup(peer);
        pthread_mutex_init(&channel->send_lock, NULL);
        channel_set_idle_timeout(channel, idle_timeout_usec);
        (void) fd_set_nonblock(fd, true);
        int one = 1;
        /* A unix socket refuses both; it needs neither. */
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        return channel;
}

Channel *channel_ref(Channel *channel) {
        atomic_fetch_add(&channel->n_ref, 1);
        return channel;
}

Channel *channel_free(Channel *channel) {
        if (!channel || atomic_fetch_sub(&channel->n_ref, 1) > 1)
                return NULL;
        fd_close(channel->fd);
        g_free(channel->peer);
        pthread_mutex_destroy(&channel->send_lock);
        g_free(channel);
        return NULL;
}

const char *channel_peer(const Channel *channel) {
        return channel->peer;
}

void channel_set_idle_timeout(Channel *channel, uint64_t idle_timeout_usec) {
        atomic_store(&channel->idle_timeout_usec, idle_timeout_usec);
        unsigned msec = (unsigned) MIN(idle_timeout_usec / USEC_PER_MSEC, UINT_MAX);
        (void) setsockopt(channel->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &msec, sizeof(msec));
}

static int wait_for(const Channel *channel, short events) {
        struct pollfd pollfd = { .fd = channel->fd, .events = events };
        uint64_t until = clock_monotonic_usec() + atomic_load(&channel->idle_timeout_usec);
        for (;;) {
                uint64_t now = clock_monotonic_usec();
                if (now >= until)
                        return -ETIMEDOUT;
                int n = poll(&pollfd, 1, (int) MIN((until - now + USEC_PER_MSEC - 1) / USEC_PER_MSEC, INT_MAX));
                if (n > 0)
                        return 0;
                if (n < 0 && errno != EINTR)
                        return -errno;
        }
}

/* Moves iov past n bytes; returns what is left of it. */
static struct iovec *advance(struct iovec *iov, unsigned *n_iov, size_t n) {
        while (*n_iov > 0 && n >= iov->iov_len) {
                n -= iov->iov_len;
                iov++;
                (*n_iov)--;
        }
        if (*n_iov > 0) {
                iov->iov_base = (char *) iov->iov_base + n;
                iov->iov_len -= n;
        }
        return iov;
}

static int send_locked(Channel *channel, struct iovec *iov, unsigned n_iov) {
        while (n_iov > 0) {
                struct msghdr message = { .msg_iov = iov, .msg_iovlen = MIN(n_iov, CHANNEL_IOV_MAX) };
                ssize_t n = sendmsg(channel->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN) {
                        int r = wait_for(channel, POLLOUT);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (n < 0)
                        return -errno;
                atomic_fetch_add(&channel->sent_bytes, (uint64_t) n);
                iov = advance(iov, &n_iov, (size_t) n);
        }
        return 0;
}

int channel_send(Channel *channel, struct iovec *iov, unsigned n_iov) {
        pthread_mutex_lock(&channel->send_lock);
        int r = send_locked(channel, iov, n_iov);
        if (r == -ETIMEDOUT)
                atomic_store(&channel->silence, r);
        if (r < 0) /* a message may be half out: nothing can follow it */
                channel_shutdown(channel);
        pthread_mutex_unlock(&channel->send_lock);
        return r;
}

int channel_try_send(Channel *channel, const void *data, size_t length) {
        if (pthread_mutex_trylock(&channel->send_lock) != 0)
                return 0;
        int r = 0;
        ssize_t n = send(channel->fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
                atomic_fetch_add(&channel->sent_bytes, (uint64_t) n);
                if ((size_t) n < length) {
                        struct iovec rest = { (char *) data + n, length - (size_t) n };
                        r = send_locked(channel, &rest, 1);
                }
        } else if (n < 0 && errno != EAGAIN && errno != EINTR)
                r = -errno;
        pthread_mutex_unlock(&channel->send_lock);
        return r;
}

int channel_recv(Channel *channel, struct iovec *iov, unsigned n_iov) {
        while (n_iov > 0) {
                struct msghdr message = { .msg_iov = iov, .msg_iovlen = MIN(n_iov, CHANNEL_IOV_MAX) };
                ssize_t n = recvmsg(channel->fd, &message, MSG_DONTWAIT);
                if (n == 0)
                        return atomic_load(&channel->silence) ?: -ENODATA;
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN) {
                        int r = wait_for(channel, POLLIN);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (n < 0)
                        return -errno;
                atomic_fetch_add(&channel->received_bytes, (uint64_t) n);
                iov = advance(iov, &n_iov, (size_t) n);
        }
        return 0;
}

int channel_recv_bytes(Channel *channel, void *data, size_t length) {
        struct iovec iov = { data, length };
        return length > 0 ? channel_recv(channel, &iov, 1) : 0;
}

void channel_shutdown(Channel *channel) {
        (void) shutdown(channel->fd, SHUT_RDWR);
}

void channel_linger(Channel *channel, uint64_t timeout_usec) {
        static const size_t waste_bytes = 65536;
        g_autofree char *waste = g_malloc(waste_bytes);
        uint64_t until = clock_monotonic_usec() + timeout_usec;

        (void) shutdown(channel->fd, SHUT_WR);
        for (uint64_t now; (now = clock_monotonic_usec()) < until;) {
                struct pollfd pollfd = { .fd = channel->fd, .events = POLLIN };
                if (poll(&pollfd, 1, (int) ((until - now) / USEC_PER_MSEC) + 1) <= 0)
                        return;
                ssize_t n = recv(channel->fd, waste, waste_bytes, MSG_DONTWAIT);
                if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                        return;
        }
}

uint64_t channel_sent_bytes(const Channel *channel) {
        return atomic_load(&channel->sent_bytes);
}

uint64_t channel_received_bytes(const Channel *channel) {
        return atomic_load(&channel->received_bytes);
}

bool channel_has_input(const Channel *channel) {
        struct pollfd pollfd = { .fd = channel->fd, .events = POLLIN };
        return poll(&pollfd, 1, 0) > 0;
}

uint64_t channel_queued_bytes(const Channel *channel) {
        int queued = 0;
        return ioctl(channel->fd, SIOCOUTQ, &queued) < 0 || queued < 0 ? 0 : (uint64_t) queued;
}

int channel_error(const Channel *channel, int error, const char *doing, GError **reterr) {
        if (error == -ENODATA)
                error_set(reterr, VIR_ERR_OPERATION_FAILED, _("'%s' closed the data connection while %s"),
                          channel->peer, doing);
        else if (error == -ETIMEDOUT)
                error_set(reterr, VIR_ERR_OPERATION_TIMEOUT,
                          _("'%s' has been silent for %.1f seconds while %s: the link is taken for dead"),
                          channel->peer, (double) atomic_load(&channel->idle_timeout_usec) / USEC_PER_SEC, doing);
        else if (error == -EPROTO)
                error_set(reterr, VIR_ERR_OPERATION_FAILED,
                          _("'%s' sent something that is not Ferry's memory protocol while %s"), channel->peer, doing);
        else
                error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the data connection to '%s' broke while %s: %s"),
                          channel->peer, doing, g_strerror(-error));
        return error;
}
