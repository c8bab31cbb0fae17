/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/wire.h"

#include <endian.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

typedef struct __attribute__((packed)) HelloBytes {
        char magic[8];
        uint16_t version;
        uint16_t compat_version;
        uint16_t role;
        uint16_t channel;
        unsigned char nonce[WIRE_NONCE_BYTES];
        unsigned char reserved[16];
} HelloBytes;
_Static_assert(sizeof(HelloBytes) == WIRE_HELLO_BYTES, "size of the hello");
_Static_assert(offsetof(HelloBytes, nonce) == 16, "layout of the hello");

typedef struct __attribute__((packed)) HeaderBytes {
        uint16_t type;
        uint16_t reserved;
        uint32_t count;
        uint64_t length_bytes;
} HeaderBytes;
_Static_assert(sizeof(HeaderBytes) == WIRE_HEADER_BYTES, "size of a frame header");

typedef struct __attribute__((packed)) BlockBytes {
        uint64_t size_bytes;
        uint64_t page_bytes;
        char id[WIRE_BLOCK_ID_MAX + 1];
} BlockBytes;
_Static_assert(sizeof(BlockBytes) == WIRE_BLOCK_BYTES, "size of a RAM block's entry");

typedef struct __attribute__((packed)) RunBytes {
        uint64_t offset_bytes;
        uint32_t pages;
        uint16_t block;
        uint8_t kind;
        uint8_t reserved;
} RunBytes;
_Static_assert(sizeof(RunBytes) == WIRE_RUN_BYTES, "size of a run");

typedef struct __attribute__((packed)) EndBytes {
        uint64_t data_pages;
        uint64_t zero_pages;
        uint64_t device_bytes;
        uint64_t reserved;
} EndBytes;
_Static_assert(sizeof(EndBytes) == WIRE_END_BYTES, "size of the end frame");

/* What a frame of each type may carry. */
static const struct {
        const char *name;
        uint32_t count_min, count_max;
        uint64_t length_min, length_max;
        uint32_t entry_bytes; /* length holds at least count of these */
} frame_types[] = {
        [WIRE_PROOF] = { "PROOF", 0, 0, WIRE_PROOF_BYTES, WIRE_PROOF_BYTES, 0 },
        [WIRE_RAM_TABLE] = { "RAM-TABLE", 1, WIRE_BLOCKS_MAX, WIRE_BLOCK_BYTES, WIRE_BLOCKS_MAX *WIRE_BLOCK_BYTES,
                             WIRE_BLOCK_BYTES },
        [WIRE_ACCEPT] = { "ACCEPT", 0, 0, 0, 0, 0 },
        [WIRE_ERROR] = { "ERROR", 0, UINT32_MAX, 0, WIRE_TEXT_MAX, 0 },
        [WIRE_PAGES] = { "PAGES", 1, WIRE_RUNS_MAX, WIRE_RUN_BYTES, WIRE_RUNS_MAX *WIRE_RUN_BYTES + WIRE_PAYLOAD_MAX,
                         WIRE_RUN_BYTES },
        [WIRE_DEVICE] = { "DEVICE", 0, 0, 1, WIRE_DEVICE_MAX, 0 },
        [WIRE_END] = { "END", 0, 0, WIRE_END_BYTES, WIRE_END_BYTES, 0 },
        [WIRE_READY] = { "READY", 0, 0, 0, 0, 0 },
        [WIRE_COMMIT] = { "COMMIT", 0, 0, 0, 0, 0 },
        [WIRE_COMMIT_ACK] = { "COMMIT-ACK", 0, 0, 0, 0, 0 },
        [WIRE_RUNNING] = { "RUNNING", 0, 0, 8, 8, 0 },
        [WIRE_KEEPALIVE] = { "KEEPALIVE", 0, 0, 0, 0, 0 },
        [WIRE_ABORT] = { "ABORT", 0, 0, 0, WIRE_TEXT_MAX, 0 },
        [WIRE_BYE] = { "BYE", 0, 0, 0, 0, 0 },
        [WIRE_ABANDON] = { "ABANDON", 0, 0, 0, WIRE_TEXT_MAX, 0 },
        [WIRE_MARK] = { "MARK", 0, UINT32_MAX, 0, 0, 0 },
        [WIRE_MARK_ACK] = { "MARK-ACK", 0, UINT32_MAX, 0, 0, 0 },
        [WIRE_RAM_FINAL] = { "RAM-FINAL", 0, 0, 0, 0, 0 },
        [WIRE_STALE] = { "STALE", 0, WIRE_BLOCKS_MAX - 1, WIRE_SET_HEAD_BYTES, WIRE_SET_MAX, 0 },
        [WIRE_POSTCOPY] = { "POSTCOPY", 0, 0, 8, 8, 0 },
        [WIRE_REQUEST] = { "REQUEST", 1, WIRE_REQUESTS_MAX, WIRE_RUN_BYTES, WIRE_REQUESTS_MAX * WIRE_RUN_BYTES,
                           WIRE_RUN_BYTES },
        [WIRE_COMPLETE] = { "COMPLETE", 0, 0, 0, 0, 0 },
        [WIRE_RESUME] = { "RESUME", 0, 0, 0, 0, 0 },
        [WIRE_LACKING] = { "LACKING", 0, WIRE_BLOCKS_MAX - 1, WIRE_SET_HEAD_BYTES, WIRE_SET_MAX, 0 },
        [WIRE_RESUME_ACK] = { "RESUME-ACK", 0, 1, 8, 8, 0 },
};
_Static_assert(G_N_ELEMENTS(frame_types) == WIRE_TYPE_MAX_, "each frame type has its limits");

const char *wire_type_name(unsigned type) {
        return type > 0 && type < WIRE_TYPE_MAX_ ? frame_types[type].name : "unknown";
}

void wire_hello_encode(const WireHello *hello, unsigned char *ret_bytes) {
        HelloBytes raw = {
                .version = htole16(hello->version),
                .compat_version = htole16(hello->compat_version),
                .role = htole16(hello->role),
                .channel = htole16(hello->channel),
        };
        memcpy(raw.magic, WIRE_MAGIC, sizeof(raw.magic));
        memcpy(raw.nonce, hello->nonce, sizeof(raw.nonce));
        memcpy(ret_bytes, &raw, sizeof(raw));
}

int wire_hello_decode(const unsigned char *bytes, WireHello *ret_hello) {
        HelloBytes raw;
        memcpy(&raw, bytes, sizeof(raw));
        if (memcmp(raw.magic, WIRE_MAGIC, sizeof(raw.magic)) != 0)
                return -EPROTO;

        WireHello hello = {
                .version = le16toh(raw.version),
                .compat_version = le16toh(raw.compat_version),
                .role = le16toh(raw.role),
                .channel = le16toh(raw.channel),
        };
        memcpy(hello.nonce, raw.nonce, sizeof(hello.nonce));
        if (hello.version == 0 || hello.compat_version > hello.version)
                return -EPROTO;
        if (hello.role != WIRE_ROLE_SOURCE && hello.role != WIRE_ROLE_DESTINATION)
                return -EPROTO;
        *ret_hello = hello;
        if (hello.compat_version > WIRE_VERSION || hello.version < WIRE_COMPAT_VERSION)
                return -EPROTONOSUPPORT;
        return 0;
}

void wire_header_encode(const WireHeader *header, unsigned char *ret_bytes) {
        HeaderBytes raw = {
                .type = htole16(header->type),
                .count = htole32(header->count),
                .length_bytes = htole64(header->length_bytes),
        };
        memcpy(ret_bytes, &raw, sizeof(raw));
}

int wire_header_decode(const unsigned char *bytes, WireHeader *ret_header) {
        HeaderBytes raw;
        memcpy(&raw, bytes, sizeof(raw));
        WireHeader header = {
                .type = le16toh(raw.type),
                .count = le32toh(raw.count),
                .length_bytes = le64toh(raw.length_bytes),
        };
        if (header.type == 0 || header.type >= WIRE_TYPE_MAX_)
                return -EPROTO;
        if (header.count < frame_types[header.type].count_min || header.count > frame_types[header.type].count_max)
                return -EPROTO;
        if (header.length_bytes < frame_types[header.type].length_min ||
            header.length_bytes > frame_types[header.type].length_max)
                return -EPROTO;
        if (header.length_bytes < (uint64_t) header.count * frame_types[header.type].entry_bytes)
                return -EPROTO;
        if (header.type == WIRE_REQUEST && header.length_bytes != (uint64_t) header.count * WIRE_RUN_BYTES)
                return -EPROTO;
        if (header.type == WIRE_RAM_TABLE && header.length_bytes != (uint64_t) header.count * WIRE_BLOCK_BYTES)
                return -EPROTO;
        if (header.type == WIRE_PAGES &&
            (header.length_bytes - (uint64_t) header.count * WIRE_RUN_BYTES) > WIRE_PAYLOAD_MAX)
                return -EPROTO;
        *ret_header = header;
        return 0;
}

void wire_block_encode(const WireBlock *block, unsigned char *ret_bytes) {
        BlockBytes raw = {
                .size_bytes = htole64(block->size_bytes),
                .page_bytes = htole64(block->page_bytes),
        };
        g_strlcpy(raw.id, block->id, sizeof(raw.id));
        memcpy(ret_bytes, &raw, sizeof(raw));
}

int wire_block_decode(const unsigned char *bytes, WireBlock *ret_block) {
        BlockBytes raw;
        memcpy(&raw, bytes, sizeof(raw));
        WireBlock block = {
                .size_bytes = le64toh(raw.size_bytes),
                .page_bytes = le64toh(raw.page_bytes),
        };
        if (raw.id[0] == '\0' || !memchr(raw.id, '\0', sizeof(raw.id)))
                return -EPROTO;
        if (block.page_bytes < WIRE_PAGE_BYTES || block.page_bytes > UINT64_C(1) << 30 ||
            (block.page_bytes & (block.page_bytes - 1)) != 0)
                return -EPROTO;
        if (block.size_bytes == 0 || block.size_bytes > INT64_MAX || block.size_bytes % block.page_bytes != 0)
                return -EPROTO;
        memcpy(block.id, raw.id, sizeof(block.id));
        *ret_block = block;
        return 0;
}

void wire_run_encode(const WireRun *run, unsigned char *ret_bytes) {
        RunBytes raw = {
                .offset_bytes = htole64(run->offset_bytes),
                .pages = htole32(run->pages),
                .block = htole16(run->block),
                .kind = run->kind,
        };
        memcpy(ret_bytes, &raw, sizeof(raw));
}

int wire_run_decode(const unsigned char *bytes, const WireBlock *blocks, unsigned n_blocks, WireRun *ret_run) {
        RunBytes raw;
        memcpy(&raw, bytes, sizeof(raw));
        WireRun run = {
                .offset_bytes = le64toh(raw.offset_bytes),
                .pages = le32toh(raw.pages),
                .block = le16toh(raw.block),
                .kind = raw.kind,
        };
        if (run.kind != WIRE_KIND_DATA && run.kind != WIRE_KIND_ZERO && run.kind != WIRE_KIND_LARGE)
                return -EPROTO;
        if (run.block >= n_blocks || run.pages == 0 || run.offset_bytes % WIRE_PAGE_BYTES != 0)
                return -EPROTO;
        uint64_t size = blocks[run.block].size_bytes;
        if (run.offset_bytes >= size || wire_run_bytes(&run) > size - run.offset_bytes)
                return -EPROTO;
        if (run.kind == WIRE_KIND_DATA && wire_run_bytes(&run) > WIRE_PAYLOAD_MAX)
                return -EPROTO;
        if (run.kind == WIRE_KIND_LARGE &&
            (run.offset_bytes % WIRE_LARGE_BYTES != 0 || wire_run_bytes(&run) != WIRE_LARGE_BYTES))
                return -EPROTO;
        *ret_run = run;
        return 0;
}

void wire_end_encode(const WireEnd *end, unsigned char *ret_bytes) {
        EndBytes raw = {
                .data_pages = htole64(end->data_pages),
                .zero_pages = htole64(end->zero_pages),
                .device_bytes = htole64(end->device_bytes),
        };
        memcpy(ret_bytes, &raw, sizeof(raw));
}

void wire_end_decode(const unsigned char *bytes, WireEnd *ret_end) {
        EndBytes raw;
        memcpy(&raw, bytes, sizeof(raw));
        *ret_end = (WireEnd) {
                .data_pages = le64toh(raw.data_pages),
                .zero_pages = le64toh(raw.zero_pages),
                .device_bytes = le64toh(raw.device_bytes),
        };
}

void wire_u64_encode(uint64_t value, unsigned char *ret_bytes) {
        uint64_t raw = htole64(value);
        memcpy(ret_bytes, &raw, sizeof(raw));
}

uint64_t wire_u64_decode(const unsigned char *bytes) {
        uint64_t raw;
        memcpy(&raw, bytes, sizeof(raw));
        return le64toh(raw);
}
