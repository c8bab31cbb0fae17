/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "disk.h"

#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_BYTES 4096U
#define BLOCK_WORDS (BLOCK_BYTES / sizeof(uint64_t))
#define CHUNK_BLOCKS 256U
#define SLOTS_PER_THREAD 256U
#define THREADS_MAX 32U
#define SEED 0x6469736bULL

typedef struct Slot {
        uint64_t block;
        uint32_t version;
        bool filled;
} Slot;

typedef struct Worker {
        Disk *disk;
        unsigned index; /* it works on the blocks b with b % n_workers == index, so that each block has one writer */
        pthread_t thread;
        uint64_t *pages; /* SLOTS_PER_THREAD, and one more to write from */
        Slot slots[SLOTS_PER_THREAD];
        uint64_t reads, writes, errors;
} Worker;

struct Disk {
        int fd;
        uint64_t n_blocks;
        uint32_t *versions;
        atomic_bool stop;
        _Atomic uint64_t operations;
        unsigned n_workers;
        Worker workers[THREADS_MAX];
};

static uint64_t *pages_new(uint64_t n) {
        void *pages =
                mmap(NULL, n * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

        return pages == MAP_FAILED ? NULL : pages;
}

static uint64_t next_random(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

static void worker_read(Worker *worker, uint64_t block, unsigned slot) {
        Disk *disk = worker->disk;
        uint64_t *page = worker->pages + slot * BLOCK_WORDS;

        if (pread(disk->fd, page, BLOCK_BYTES, (off_t) (block * BLOCK_BYTES)) != (ssize_t) BLOCK_BYTES) {
                worker->errors++;
                worker->slots[slot].filled = false;
                return;
        }
        worker->slots[slot] = (Slot) { .block = block, .version = disk->versions[block], .filled = true };
        worker->reads++;
}

static void worker_write(Worker *worker, uint64_t block) {
        Disk *disk = worker->disk;
        uint64_t *page = worker->pages + SLOTS_PER_THREAD * BLOCK_WORDS;

        memory_pattern(page, BLOCK_WORDS, SEED, block, disk->versions[block] + 1);
        if (pwrite(disk->fd, page, BLOCK_BYTES, (off_t) (block * BLOCK_BYTES)) != (ssize_t) BLOCK_BYTES) {
                worker->errors++;
                return;
        }
        disk->versions[block]++;
        worker->writes++;
}

static void *worker_main(void *userdata) {
        Worker *worker = userdata;
        Disk *disk = worker->disk;
        uint64_t random = 88172645463325252ULL + worker->index, n_own = disk->n_blocks / disk->n_workers;
        unsigned slot = 0;

        while (!disk->stop) {
                uint64_t block = next_random(&random) % n_own * disk->n_workers + worker->index;

                if (next_random(&random) % 4 == 0)
                        worker_write(worker, block);
                else {
                        worker_read(worker, block, slot);
                        slot = (slot + 1) % SLOTS_PER_THREAD;
                }
                disk->operations++;
        }
        return NULL;
}

static void disk_free(Disk *disk) {
        for (unsigned i = 0; i < disk->n_workers; i++)
                if (disk->workers[i].pages)
                        munmap(disk->workers[i].pages, (SLOTS_PER_THREAD + 1) * BLOCK_BYTES);
        if (disk->fd >= 0)
                close(disk->fd);
        free(disk->versions);
        free(disk);
}

static int disk_format(Disk *disk) {
        uint64_t *chunk = pages_new(CHUNK_BLOCKS);
        int r = 0;

        if (!chunk)
                return -ENOMEM;
        for (uint64_t block = 0; r == 0 && block < disk->n_blocks; block += CHUNK_BLOCKS) {
                for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
                        memory_pattern(chunk + i * BLOCK_WORDS, BLOCK_WORDS, SEED, block + i, 0);
                if (pwrite(disk->fd, chunk, CHUNK_BLOCKS * BLOCK_BYTES, (off_t) (block * BLOCK_BYTES)) !=
                    CHUNK_BLOCKS * BLOCK_BYTES)
                        r = -EIO;
        }
        munmap(chunk, CHUNK_BLOCKS * BLOCK_BYTES);
        return r;
}

int disk_start(const char *device, uint64_t mib, unsigned n_threads, Disk **ret_disk) {
        Disk *disk;
        int r;

        if (mib == 0 || mib > 4096 || n_threads == 0 || n_threads > THREADS_MAX)
                return -ERANGE;
        disk = calloc(1, sizeof(Disk));
        if (!disk)
                return -ENOMEM;
        disk->n_blocks = mib * CHUNK_BLOCKS;
        disk->versions = calloc(disk->n_blocks, sizeof(*disk->versions));
        disk->fd = open(device, O_RDWR | O_DIRECT | O_CLOEXEC);
        r = disk->fd < 0 ? -errno : !disk->versions ? -ENOMEM : disk_format(disk);
        for (unsigned i = 0; r == 0 && i < n_threads; i++) {
                disk->workers[i].disk = disk;
                disk->workers[i].index = i;
                disk->workers[i].pages = pages_new(SLOTS_PER_THREAD + 1);
                if (!disk->workers[i].pages)
                        r = -ENOMEM;
                disk->n_workers++;
        }
        if (r < 0) {
                disk_free(disk);
                return r;
        }
        for (unsigned i = 0; i < n_threads; i++)
                pthread_create(&disk->workers[i].thread, NULL, worker_main, &disk->workers[i]);
        *ret_disk = disk;
        return 0;
}

uint64_t disk_operations(const Disk *disk) {
        return disk->operations;
}

static void verify_slots(const Worker *worker, DiskVerdict *verdict) {
        for (unsigned i = 0; i < SLOTS_PER_THREAD; i++) {
                const Slot *slot = &worker->slots[i];

                if (!slot->filled)
                        continue;
                verdict->slots++;
                if (!memory_pattern_matches(worker->pages + i * BLOCK_WORDS, BLOCK_WORDS, SEED, slot->block,
                                            slot->version))
                        verdict->bad_slots++;
        }
}

int disk_verify(Disk *disk, DiskVerdict *ret_verdict) {
        DiskVerdict verdict = {};
        uint64_t *chunk = pages_new(CHUNK_BLOCKS);

        disk->stop = true;
        for (unsigned i = 0; i < disk->n_workers; i++) {
                Worker *worker = &disk->workers[i];

                pthread_join(worker->thread, NULL);
                verdict.reads += worker->reads;
                verdict.writes += worker->writes;
                verdict.io_errors += worker->errors;
                verify_slots(worker, &verdict);
        }
        for (uint64_t block = 0; chunk && block < disk->n_blocks; block += CHUNK_BLOCKS) {
                if (pread(disk->fd, chunk, CHUNK_BLOCKS * BLOCK_BYTES, (off_t) (block * BLOCK_BYTES)) !=
                    CHUNK_BLOCKS * BLOCK_BYTES) {
                        verdict.io_errors++;
                        continue;
                }
                for (unsigned i = 0; i < CHUNK_BLOCKS; i++, verdict.blocks++)
                        if (!memory_pattern_matches(chunk + i * BLOCK_WORDS, BLOCK_WORDS, SEED, block + i,
                                                    disk->versions[block + i]))
                                verdict.bad_blocks++;
        }
        if (chunk)
                munmap(chunk, CHUNK_BLOCKS * BLOCK_BYTES);
        disk_free(disk);
        *ret_verdict = verdict;
        return chunk ? 0 : -ENOMEM;
}
