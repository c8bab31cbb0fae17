/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "driver/engine/populate.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/base/uapi.h"
#include "driver/engine/worker.h"

#define POPULATE_THREADS_MAX 4

typedef enum RegionState {
        REGION_NONE = 0,
        REGION_QUEUED,
        REGION_TAKEN, /* somebody populates it */
        REGION_DONE,
        REGION_UNABLE, /* this kernel, or this file, has no such call */
        REGION_FAILED, /* no memory */
} RegionState;

typedef struct Region {
        unsigned block;
        uint64_t index;
} Region;

struct Populate {
        /* fixed after populate_new() */
        const RamBlock **blocks;
        unsigned n_blocks;
        Worker workers[POPULATE_THREADS_MAX];

        /* under lock; never held while memory is populated */
        pthread_mutex_t lock;
        pthread_cond_t changed;
        unsigned char **states; /* per block, a RegionState per region: pages of zeros that cost nothing until used */
        GArray *queue;          /* Region, in the order of the announcements */
        guint next;             /* the first in the queue that no thread has looked at */
        int error;              /* of the first that failed */
        bool stop;
};

static int populate_region(const RamBlock *block, uint64_t region) {
        uint64_t offset = region * RAM_BLOCK_LARGE_BYTES;
        if (madvise(block->map_large + offset, RAM_BLOCK_LARGE_BYTES, MADV_POPULATE_WRITE) >= 0)
                return 0;
        return -errno;
}

/* Does a region that is QUEUED. Under lock, which is let go meanwhile. */
static void take_locked(Populate *populate, unsigned block, uint64_t region) {
        populate->states[block][region] = REGION_TAKEN;
        pthread_mutex_unlock(&populate->lock);
        int r = populate_region(populate->blocks[block], region);
        pthread_mutex_lock(&populate->lock);
        if (r < 0 && r != -EINVAL && populate->error == 0)
                populate->error = r;
        populate->states[block][region] = r >= 0 ? REGION_DONE : r == -EINVAL ? REGION_UNABLE : REGION_FAILED;
        pthread_cond_broadcast(&populate->changed);
}

static void populate_worker(void *userdata) {
        Populate *populate = userdata;
        pthread_mutex_lock(&populate->lock);
        while (!populate->stop) {
                if (populate->next >= populate->queue->len) {
                        g_array_set_size(populate->queue, 0);
                        populate->next = 0;
                        pthread_cond_wait(&populate->changed, &populate->lock);
                        continue;
                }
                Region region = g_array_index(populate->queue, Region, populate->next++);
                if (populate->states[region.block][region.index] == REGION_QUEUED)
                        take_locked(populate, region.block, region.index);
        }
        pthread_mutex_unlock(&populate->lock);
}

static uint64_t n_regions(const RamBlock *block) {
        return block->size_bytes / RAM_BLOCK_LARGE_BYTES + 1;
}

Populate *populate_new(const RamBlock *const *blocks, unsigned n_blocks) {
        Populate *populate = g_new0(Populate, 1);
        pthread_mutex_init(&populate->lock, NULL);
        pthread_cond_init(&populate->changed, NULL);
        populate->queue = g_array_new(FALSE, FALSE, sizeof(Region));
        populate->n_blocks = n_blocks;
        populate->blocks = g_new0(const RamBlock *, n_blocks);
        populate->states = g_new0(unsigned char *, n_blocks);
        for (unsigned i = 0; i < n_blocks; i++) {
                populate->blocks[i] = blocks[i];
                populate->states[i] = g_malloc0(n_regions(blocks[i]));
        }
        /* The receiver is one more. */
        long n_threads = CLAMP(sysconf(_SC_NPROCESSORS_ONLN) - 1, 1, POPULATE_THREADS_MAX);
        for (long i = 0; i < n_threads; i++)
                (void) worker_start(&populate->workers[i], "populate", populate_worker, populate);
        return populate;
}

Populate *populate_free(Populate *populate) {
        if (!populate)
                return NULL;
        pthread_mutex_lock(&populate->lock);
        populate->stop = true;
        pthread_cond_broadcast(&populate->changed);
        pthread_mutex_unlock(&populate->lock);
        for (unsigned i = 0; i < POPULATE_THREADS_MAX; i++)
                worker_join(&populate->workers[i]);
        for (unsigned i = 0; i < populate->n_blocks; i++)
                g_free(populate->states[i]);
        g_free(populate->states);
        g_free(populate->blocks);
        g_array_unref(populate->queue);
        pthread_mutex_destroy(&populate->lock);
        pthread_cond_destroy(&populate->changed);
        g_free(populate);
        return NULL;
}

void populate_announce(Populate *populate, unsigned block, uint64_t region) {
        Region entry = { block, region };
        pthread_mutex_lock(&populate->lock);
        if (populate->states[block][region] == REGION_NONE) {
                populate->states[block][region] = REGION_QUEUED;
                g_array_append_val(populate->queue, entry);
                pthread_cond_broadcast(&populate->changed);
        }
        pthread_mutex_unlock(&populate->lock);
}

int populate_wait(Populate *populate, unsigned block, uint64_t region) {
        pthread_mutex_lock(&populate->lock);
        if (populate->states[block][region] == REGION_QUEUED)
                take_locked(populate, block, region);
        while (populate->states[block][region] == REGION_TAKEN)
                pthread_cond_wait(&populate->changed, &populate->lock);
        RegionState state = populate->states[block][region];
        int error = populate->error;
        pthread_mutex_unlock(&populate->lock);
        return state == REGION_DONE ? 1 : state == REGION_FAILED ? error : 0;
}
