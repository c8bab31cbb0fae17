/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A connected data channel: whole messages in, whole messages out, with a limit on silence.
 *
 * Threads: one may receive and several may send at the same time (senders take turns per message); channel_shutdown()
 * from anywhere wakes them all. Errors are errno values only; who calls knows the phase and makes the sentence
 * (channel_error()).
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct Channel Channel;

/* Takes the connected stream socket fd over. peer appears in messages. */
Channel *channel_new(int fd, const char *peer, uint64_t idle_timeout_usec);
/* Another reference: whoever uses a channel that may be replaced meanwhile holds one. Any thread. */
Channel *channel_ref(Channel *channel);
/* Drops a reference; the last one closes and frees. */
Channel *channel_free(Channel *channel);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Channel, channel_free)

/* What channel_new() was given; lives as long as the channel. Any thread. */
const char *channel_peer(const Channel *channel);
/* How long the peer may be silent (or take nothing) from now on. Any thread. */
void channel_set_idle_timeout(Channel *channel, uint64_t idle_timeout_usec);

/* Sends all of iov (which is changed) as one message. 0; -ETIMEDOUT: the peer took nothing for the idle timeout;
 * -EPIPE, -ECONNRESET, ... */
int channel_send(Channel *channel, struct iovec *iov, unsigned n_iov);
/* The same if no other thread is sending, else nothing (somebody else's bytes keep the link alive). Never blocks for
 * long. */
int channel_try_send(Channel *channel, const void *data, size_t length);
/* Receives exactly what iov (which is changed) holds. 0; -ENODATA: the peer closed the connection; -ETIMEDOUT:
 * silence. */
int channel_recv(Channel *channel, struct iovec *iov, unsigned n_iov);
int channel_recv_bytes(Channel *channel, void *data, size_t length);

/* Ends the connection in both directions; all that wait on it return. */
void channel_shutdown(Channel *channel);
/* Says that nothing more will be sent, then throws away what still comes for at most timeout_usec, so that the last
 * message is not lost to a reset. */
void channel_linger(Channel *channel, uint64_t timeout_usec);

/* Whether something can be received at once. */
bool channel_has_input(const Channel *channel);

/* What has gone through, headers included. Any thread. */
uint64_t channel_sent_bytes(const Channel *channel);
uint64_t channel_received_bytes(const Channel *channel);
/* Bytes that the kernel holds and the peer has not acknowledged yet. */
uint64_t channel_queued_bytes(const Channel *channel);

/* One sentence about a broken link: doing says what for, e.g. _("copying memory"). Returns error. */
int channel_error(const Channel *channel, int error, const char *doing, GError **reterr);

/* Connects to host:port, or to unix_path when it is not NULL. */
int channel_connect(const char *host, unsigned port, const char *unix_path, uint64_t timeout_usec, int *ret_fd,
                    char **ret_peer, GError **reterr);
/* Listens on address (numeric; NULL: everywhere) and the first free port of [port_min, port_max], or on unix_path.
 * *ret_port is 0 for unix. */
int channel_listen(const char *address, unsigned port_min, unsigned port_max, const char *unix_path, int *ret_fd,
                   unsigned *ret_port, GError **reterr);
