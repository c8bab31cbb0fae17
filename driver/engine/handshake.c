/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/handshake.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/engine/frame.h"

#define PROOF_LABEL "ferry data channel 1"

void handshake_proof(const unsigned char *token, WireRole role, const unsigned char *source_hello,
                     const unsigned char *destination_hello, unsigned char *ret_proof) {
        unsigned char text[sizeof(PROOF_LABEL) - 1 + 1 + 2 * WIRE_HELLO_BYTES], *at = text;
        memcpy(at, PROOF_LABEL, sizeof(PROOF_LABEL) - 1);
        at += sizeof(PROOF_LABEL) - 1;
        *at++ = (unsigned char) role;
        memcpy(at, source_hello, WIRE_HELLO_BYTES);
        memcpy(at + WIRE_HELLO_BYTES, destination_hello, WIRE_HELLO_BYTES);
        _Static_assert(WIRE_PROOF_BYTES == 32, "SHA-256");
        /* Fails only for an algorithm that the library does not have: then the proof stays zero, which no peer
         * accepts. */
        memset(ret_proof, 0, WIRE_PROOF_BYTES);
        (void) gnutls_hmac_fast(GNUTLS_MAC_SHA256, token, ENGINE_TOKEN_BYTES, text, sizeof(text), ret_proof);
}

static int proof_check(const unsigned char *token, WireRole role, const unsigned char *source_hello,
                       const unsigned char *destination_hello, const unsigned char *proof) {
        static const unsigned char none[WIRE_PROOF_BYTES];
        unsigned char expected[WIRE_PROOF_BYTES];
        handshake_proof(token, role, source_hello, destination_hello, expected);
        if (gnutls_memcmp(expected, none, sizeof(expected)) == 0)
                return -EACCES;
        return gnutls_memcmp(expected, proof, sizeof(expected)) == 0 ? 0 : -EACCES;
}

static int make_hello(WireRole role, unsigned index, unsigned char *ret_bytes) {
        WireHello hello = { .version = WIRE_VERSION,
                            .compat_version = WIRE_COMPAT_VERSION,
                            .role = (uint16_t) role,
                            .channel = (uint16_t) index };
        if (gnutls_rnd(GNUTLS_RND_NONCE, hello.nonce, sizeof(hello.nonce)) < 0)
                return -EIO;
        wire_hello_encode(&hello, ret_bytes);
        return 0;
}

/* Receives the peer's hello. */
static int take_hello(Channel *channel, WireRole role, WireHello *ret_hello, unsigned char *ret_bytes,
                      GError **reterr) {
        int r = channel_recv_bytes(channel, ret_bytes, WIRE_HELLO_BYTES);
        if (r >= 0)
                r = wire_hello_decode(ret_bytes, ret_hello);
        if (r == -EPROTONOSUPPORT) {
                error_set(
                        reterr, VIR_ERR_OPERATION_UNSUPPORTED,
                        _("'%s' speaks version %u of the memory protocol, this host version %u, and neither knows the "
                          "other"),
                        channel_peer(channel), ret_hello->version, WIRE_VERSION);
                return r;
        }
        if (r >= 0 && ret_hello->role != role)
                r = -EPROTO;
        return r < 0 ? channel_error(channel, r, _("greeting"), reterr) : 0;
}

static int send_bytes(Channel *channel, const unsigned char *bytes, size_t length, GError **reterr) {
        struct iovec iov = { (void *) bytes, length };
        int r = channel_send(channel, &iov, 1);
        return r < 0 ? channel_error(channel, r, _("greeting"), reterr) : 0;
}

static int send_proof(Channel *channel, const unsigned char *proof, GError **reterr) {
        int r = frame_send(channel, WIRE_PROOF, 0, proof, WIRE_PROOF_BYTES);
        return r < 0 ? channel_error(channel, r, _("proving the token"), reterr) : 0;
}

int handshake_source(Channel *channel, const unsigned char *token, unsigned index, GError **reterr) {
        unsigned char mine[WIRE_HELLO_BYTES], theirs[WIRE_HELLO_BYTES], proof[WIRE_PROOF_BYTES];
        WireHello hello = { 0 };
        int r = make_hello(WIRE_ROLE_SOURCE, index, mine);
        if (r < 0)
                return error_set_errno(reterr, r, _("no random numbers are available"));
        r = send_bytes(channel, mine, sizeof(mine), reterr);
        if (r < 0)
                return r;
        r = take_hello(channel, WIRE_ROLE_DESTINATION, &hello, theirs, reterr);
        if (r < 0)
                return r;
        handshake_proof(token, WIRE_ROLE_SOURCE, mine, theirs, proof);
        r = send_proof(channel, proof, reterr);
        if (r < 0)
                return r;
        r = frame_expect(channel, WIRE_PROOF, proof, WIRE_PROOF_BYTES, _("proving the token"), reterr);
        if (r < 0)
                return r;
        if (proof_check(token, WIRE_ROLE_DESTINATION, mine, theirs, proof) < 0) {
                error_set(
                        reterr, VIR_ERR_AUTH_FAILED,
                        _("'%s' does not know the token of this migration: it is not the destination that was "
                          "prepared"),
                        channel_peer(channel));
                return -EACCES;
        }
        return 0;
}

int handshake_destination(Channel *channel, const unsigned char *token, unsigned *ret_index, GError **reterr) {
        unsigned char mine[WIRE_HELLO_BYTES], theirs[WIRE_HELLO_BYTES], proof[WIRE_PROOF_BYTES];
        WireHello hello = { 0 };
        int r = take_hello(channel, WIRE_ROLE_SOURCE, &hello, theirs, reterr);
        if (r < 0 && r != -EPROTONOSUPPORT)
                return r;
        int version = r;
        r = make_hello(WIRE_ROLE_DESTINATION, hello.channel, mine);
        if (r < 0)
                return error_set_errno(reterr, r, _("no random numbers are available"));
        r = send_bytes(channel, mine, sizeof(mine), version < 0 ? NULL : reterr);
        if (version < 0) /* answered, so that they can name both versions too */
                return version;
        if (r < 0)
                return r;
        r = frame_expect(channel, WIRE_PROOF, proof, WIRE_PROOF_BYTES, _("proving the token"), reterr);
        if (r < 0)
                return r;
        if (proof_check(token, WIRE_ROLE_SOURCE, theirs, mine, proof) < 0) {
                (void) frame_send_text(channel, WIRE_ERROR, VIR_ERR_AUTH_FAILED,
                                       _("the token of this migration is wrong"));
                error_set(reterr, VIR_ERR_AUTH_FAILED, _("'%s' does not know the token of this migration"),
                          channel_peer(channel));
                return -EACCES;
        }
        handshake_proof(token, WIRE_ROLE_DESTINATION, theirs, mine, proof);
        r = send_proof(channel, proof, reterr);
        if (r < 0)
                return r;
        *ret_index = hello.channel;
        return 0;
}
