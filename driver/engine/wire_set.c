/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/wire_set.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define RUN_BYTES 8

/* On the wire: never renumber. */
enum {
        SET_ALL = 1,    /* nothing follows: each page of the piece */
        SET_BITMAP = 2, /* a bit for each page, the lowest bit of the first byte first */
        /* pairs of 4 bytes: first page (from the start of the piece) and how many; ascending, with gaps */
        SET_RUNS = 3,
};

typedef struct __attribute__((packed)) SetHead {
        uint64_t first;
        uint32_t n_pages;
        uint8_t form;
        unsigned char reserved[3];
} SetHead;
_Static_assert(sizeof(SetHead) == WIRE_SET_HEAD_BYTES, "size of the head of a set");

static uint32_t count_runs(const PageSet *set, uint64_t first, uint64_t end, uint32_t limit) {
        uint32_t n = 0;
        for (uint64_t page = page_set_next(set, first); page < end && n <= limit; n++)
                page = page_set_next(set, page_set_next_gap(set, page));
        return n;
}

static size_t encode_runs(const PageSet *set, uint64_t first, uint64_t end, unsigned char *bytes) {
        size_t length = 0;
        for (uint64_t page = page_set_next(set, first); page < end;) {
                uint64_t stop = MIN(page_set_next_gap(set, page), end);
                uint32_t run[2] = { htole32((uint32_t) (page - first)), htole32((uint32_t) (stop - page)) };
                memcpy(bytes + length, run, sizeof(run));
                length += sizeof(run);
                page = page_set_next(set, stop);
        }
        return length;
}

static size_t encode_bitmap(const PageSet *set, uint64_t first, uint32_t n_pages, unsigned char *bytes) {
        size_t length = (n_pages + 7) / 8;
        for (size_t done = 0; done < length; done += sizeof(uint64_t)) {
                uint64_t word = htole64(set->words[first / 64 + done / sizeof(uint64_t)]);
                memcpy(bytes + done, &word, MIN(sizeof(word), length - done));
        }
        return length;
}

size_t wire_set_encode(const PageSet *set, uint64_t first, unsigned char *ret_bytes) {
        uint32_t n_pages = (uint32_t) MIN(set->n_pages - first, WIRE_SET_PAGES_MAX);
        uint64_t n_set = page_set_count(set, first, n_pages);
        if (n_set == 0)
                return 0;
        SetHead head = { .first = htole64(first), .n_pages = htole32(n_pages), .form = SET_ALL };
        size_t length = 0;
        if (n_set < n_pages) {
                uint32_t runs_max = (n_pages + 7) / 8 / RUN_BYTES;
                head.form = count_runs(set, first, first + n_pages, runs_max) <= runs_max ? SET_RUNS : SET_BITMAP;
                unsigned char *at = ret_bytes + sizeof(head);
                length = head.form == SET_RUNS ? encode_runs(set, first, first + n_pages, at)
                                               : encode_bitmap(set, first, n_pages, at);
        }
        memcpy(ret_bytes, &head, sizeof(head));
        return sizeof(head) + length;
}

static int decode_runs(const unsigned char *bytes, size_t length, uint64_t first, uint32_t n_pages, PageSet *set) {
        uint32_t next = 0;
        if (length == 0 || length % RUN_BYTES != 0)
                return -EPROTO;
        for (size_t at = 0; at < length; at += RUN_BYTES) {
                uint32_t run[2];
                memcpy(run, bytes + at, sizeof(run));
                uint32_t start = le32toh(run[0]), count = le32toh(run[1]);
                if (count == 0 || start < next || start >= n_pages || count > n_pages - start)
                        return -EPROTO;
                page_set_add(set, first + start, count);
                next = start + count;
        }
        return 0;
}

static int decode_bitmap(const unsigned char *bytes, size_t length, uint64_t first, uint32_t n_pages, PageSet *set) {
        if (length != (n_pages + 7) / 8)
                return -EPROTO;
        if (n_pages % 8 != 0 && bytes[length - 1] >> (n_pages % 8) != 0)
                return -EPROTO;
        for (uint32_t page = 0; page < n_pages; page++) {
                uint32_t start = page;
                while (page < n_pages && (bytes[page / 8] >> (page % 8) & 1))
                        page++;
                if (page > start)
                        page_set_add(set, first + start, page - start);
        }
        return 0;
}

int wire_set_decode(const unsigned char *bytes, size_t length, PageSet *set) {
        SetHead head;
        if (length < sizeof(head) || length > WIRE_SET_MAX)
                return -EPROTO;
        memcpy(&head, bytes, sizeof(head));
        uint64_t first = le64toh(head.first);
        uint32_t n_pages = le32toh(head.n_pages);
        if (n_pages == 0 || n_pages > WIRE_SET_PAGES_MAX || first % WIRE_SET_PAGES_MAX != 0 || first >= set->n_pages ||
            n_pages > set->n_pages - first)
                return -EPROTO;
        bytes += sizeof(head);
        length -= sizeof(head);
        switch (head.form) {
        case SET_ALL:
                if (length != 0)
                        return -EPROTO;
                page_set_add(set, first, n_pages);
                return 0;
        case SET_BITMAP:
                return decode_bitmap(bytes, length, first, n_pages, set);
        case SET_RUNS:
                return decode_runs(bytes, length, first, n_pages, set);
        default:
                return -EPROTO;
        }
}
