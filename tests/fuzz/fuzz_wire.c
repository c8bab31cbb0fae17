/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdlib.h>
#include <string.h>

#include "driver/engine/wire.h"
#include "driver/engine/wire_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const WireBlock blocks[] = {
        { .size_bytes = UINT64_C(1) << 32, .page_bytes = 4096, .id = "ram0" },
        { .size_bytes = UINT64_C(2) << 21, .page_bytes = 2097152, .id = "ram1" },
};

static void check_hello(const uint8_t *data) {
        WireHello hello;
        unsigned char back[WIRE_HELLO_BYTES];
        if (wire_hello_decode(data, &hello) != 0)
                return;
        wire_hello_encode(&hello, back);
        if (memcmp(back, data, 48) != 0) /* behind that it is reserved */
                abort();
}

/* A frame as the destination takes it: header, runs, and how much data must follow. */
static void check_frame(const uint8_t *data, size_t size) {
        WireHeader header;
        if (wire_header_decode(data, &header) < 0)
                return;
        if (header.type >= WIRE_TYPE_MAX_ || header.length_bytes > WIRE_RUNS_MAX * WIRE_RUN_BYTES + WIRE_PAYLOAD_MAX)
                abort();
        if (header.type != WIRE_PAGES)
                return;
        uint64_t payload = 0;
        for (uint32_t i = 0; i < header.count; i++) {
                WireRun run;
                if (size < WIRE_HEADER_BYTES + (size_t) (i + 1) * WIRE_RUN_BYTES)
                        return;
                if (wire_run_decode(data + WIRE_HEADER_BYTES + (size_t) i * WIRE_RUN_BYTES, blocks, 2, &run) < 0)
                        return;
                if (run.block > 1 || run.offset_bytes + wire_run_bytes(&run) > blocks[run.block].size_bytes ||
                    run.offset_bytes % WIRE_PAGE_BYTES != 0)
                        abort();
                if (run.kind == WIRE_KIND_DATA)
                        payload += wire_run_bytes(&run);
        }
        if (payload > (uint64_t) header.count * WIRE_PAYLOAD_MAX)
                abort();
}

/* What is decoded can be encoded, to the same set. */
static void check_set(const uint8_t *data, size_t size) {
        static const uint64_t n_pages = WIRE_SET_PAGES_MAX + 1000;
        static unsigned char bytes[WIRE_SET_MAX];
        g_auto(PageSet) set = { 0 }, back = { 0 };
        if (page_set_init(&set, n_pages) < 0 || page_set_init(&back, n_pages) < 0)
                abort();
        if (wire_set_decode(data, size, &set) < 0)
                return;
        for (uint64_t first = 0; first < n_pages; first += WIRE_SET_PAGES_MAX) {
                size_t length = wire_set_encode(&set, first, bytes);
                if (length > 0 && wire_set_decode(bytes, length, &back) < 0)
                        abort();
        }
        if (back.n_set != set.n_set || page_set_count(&set, 0, n_pages) != set.n_set)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        check_set(data, size);
        if (size >= WIRE_HELLO_BYTES)
                check_hello(data);
        if (size >= WIRE_HEADER_BYTES)
                check_frame(data, size);
        if (size >= WIRE_BLOCK_BYTES) {
                WireBlock block;
                if (wire_block_decode(data, &block) == 0 &&
                    (strlen(block.id) > WIRE_BLOCK_ID_MAX || block.size_bytes % block.page_bytes != 0))
                        abort();
        }
        return 0;
}
