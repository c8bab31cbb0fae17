/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The wire format between two engines (docs/wire.md). Pure: bytes in, values out; no I/O, no allocation.
 *
 * All numbers are little-endian and of fixed width; reserved fields are sent as zero and ignored. The numbers below are
 * the protocol: never renumber one, never put an internal enum on the wire.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC "FERRYRAM"
#define WIRE_VERSION 2        /* what we speak */
#define WIRE_COMPAT_VERSION 2 /* the oldest version whose speaker understands us */

#define WIRE_HELLO_BYTES 64
#define WIRE_HEADER_BYTES 16
#define WIRE_BLOCK_BYTES 128
#define WIRE_RUN_BYTES 16
#define WIRE_END_BYTES 32
#define WIRE_NONCE_BYTES 32
#define WIRE_PROOF_BYTES 32

#define WIRE_PAGE_BYTES UINT64_C(4096) /* the unit of runs, on every host */
#define WIRE_LARGE_BYTES UINT64_C(2097152)

#define WIRE_BLOCKS_MAX 64
#define WIRE_BLOCK_ID_MAX 111
#define WIRE_RUNS_MAX 1024                     /* per PAGES frame */
#define WIRE_PAYLOAD_MAX UINT64_C(4194304)     /* page data per PAGES frame */
#define WIRE_DEVICE_MAX UINT64_C(1048576)      /* per DEVICE frame */
#define WIRE_SET_HEAD_BYTES 16
#define WIRE_SET_PAGES_MAX 262144u             /* of the block's own size, per STALE or LACKING frame */
#define WIRE_SET_MAX (WIRE_SET_HEAD_BYTES + WIRE_SET_PAGES_MAX / 8)
#define WIRE_REQUESTS_MAX 64                   /* per REQUEST frame */
#define WIRE_TEXT_MAX 1024                     /* of an ERROR or ABORT */

typedef enum WireRole {
        WIRE_ROLE_SOURCE = 1,
        WIRE_ROLE_DESTINATION = 2,
} WireRole;

typedef enum WireType {
        WIRE_PROOF = 1,      /* both: payload is the HMAC */
        WIRE_RAM_TABLE = 2,  /* source: count blocks */
        WIRE_ACCEPT = 3,     /* destination: the table fits */
        WIRE_ERROR = 4,      /* both: count is libvirt's error number, payload a sentence; the sender is done */
        WIRE_PAGES = 5,      /* source: count runs, then the data of the data runs, in their order */
        WIRE_DEVICE = 6,     /* source: a piece of QEMU's device state */
        WIRE_END = 7,        /* source: totals; RAM and device state are complete */
        WIRE_READY = 8,      /* destination: all loaded, waits for COMMIT */
        WIRE_COMMIT = 9,     /* source: the guest is yours */
        WIRE_COMMIT_ACK = 10, /* destination: taken */
        WIRE_RUNNING = 11,   /* destination: payload is the resume time in usec (8 bytes) */
        WIRE_KEEPALIVE = 12, /* both */
        WIRE_ABORT = 13,     /* source: the job was cancelled; payload a sentence */
        WIRE_BYE = 14,       /* source, after RUNNING: nothing more will come */
        /* destination, after COMMIT: its guest is gone and will never run there; payload a sentence */
        WIRE_ABANDON = 15,
        WIRE_MARK = 16,      /* source: all of a round has been sent; count is the round's number */
        WIRE_MARK_ACK = 17,  /* destination: all that came before the mark is in memory; count as in the mark */
        WIRE_RAM_FINAL = 18, /* source: no page follows any more; QEMU may have the device state as it comes */
        /* source: some pages whose content follows after the switch (wire_set.h); count is the block */
        WIRE_STALE = 19,
        WIRE_POSTCOPY = 20,  /* source: the list is complete (8 bytes: how many); requests are answered from now on */
        WIRE_REQUEST = 21,   /* destination, urgent channel: count runs that somebody waits for */
        WIRE_COMPLETE = 22,  /* destination: it runs and has everything */
        WIRE_RESUME = 23,    /* source, on a new connection after a broken link: go on */
        WIRE_LACKING = 24,   /* destination: some pages that it lacks (wire_set.h); count is the block */
        WIRE_RESUME_ACK = 25, /* destination: that was all (8 bytes: how many); count is 1 if the guest runs */
        WIRE_TYPE_MAX_,
} WireType;

typedef enum WireKind {
        WIRE_KIND_DATA = 1,
        WIRE_KIND_ZERO = 2,
        WIRE_KIND_LARGE = 3, /* no content: these 2 MiB are well populated at the source, one large folio fits */
} WireKind;

typedef struct WireHello {
        uint16_t version;
        uint16_t compat_version;
        uint16_t role;
        uint16_t channel; /* from 0 */
        unsigned char nonce[WIRE_NONCE_BYTES];
} WireHello;

typedef struct WireHeader {
        uint16_t type;
        uint32_t count;
        uint64_t length_bytes; /* that follow the header */
} WireHeader;

typedef struct WireBlock {
        uint64_t size_bytes;
        uint64_t page_bytes;
        char id[WIRE_BLOCK_ID_MAX + 1];
} WireBlock;

typedef struct WireRun {
        uint64_t offset_bytes; /* in the block */
        uint32_t pages;        /* of WIRE_PAGE_BYTES, at least 1 */
        uint16_t block;        /* index in the RAM table */
        uint8_t kind;
} WireRun;

typedef struct WireEnd {
        uint64_t data_pages;
        uint64_t zero_pages;
        uint64_t device_bytes;
} WireEnd;

/* For messages; "unknown" if it is none. */
const char *wire_type_name(unsigned type);

void wire_hello_encode(const WireHello *hello, unsigned char *ret_bytes);
/* 0; -EPROTO: not our protocol; -EPROTONOSUPPORT: no common version (ret_hello is set, so that the caller can name
 * theirs). */
int wire_hello_decode(const unsigned char *bytes, WireHello *ret_hello);

void wire_header_encode(const WireHeader *header, unsigned char *ret_bytes);
/* Checks type, count and length against the limits of the type. 0 or -EPROTO. */
int wire_header_decode(const unsigned char *bytes, WireHeader *ret_header);

void wire_block_encode(const WireBlock *block, unsigned char *ret_bytes);
/* 0 or -EPROTO: no terminated id, size not a multiple of the page size, page size not a power of two from 4 KiB to 1
 * GiB. */
int wire_block_decode(const unsigned char *bytes, WireBlock *ret_block);

void wire_run_encode(const WireRun *run, unsigned char *ret_bytes);
/* Decodes one run and checks it against the RAM table. 0 or -EPROTO. */
int wire_run_decode(const unsigned char *bytes, const WireBlock *blocks, unsigned n_blocks, WireRun *ret_run);
static inline uint64_t wire_run_bytes(const WireRun *run) { return run->pages * WIRE_PAGE_BYTES; }

/* Totals; every value is possible, so decoding cannot fail. */
void wire_end_encode(const WireEnd *end, unsigned char *ret_bytes);
void wire_end_decode(const unsigned char *bytes, WireEnd *ret_end);

/* A bare number of 8 bytes. */
void wire_u64_encode(uint64_t value, unsigned char *ret_bytes);
uint64_t wire_u64_decode(const unsigned char *bytes);
