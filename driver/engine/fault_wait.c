/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who waits for content, and for how long: the few threads of a guest, so a list does. */

#include "driver/engine/fault_internal.h"

#include "driver/base/clock.h"

static unsigned latency_bucket(uint64_t usec) {
        unsigned bucket = usec == 0 ? 0 : 63 - (unsigned) __builtin_clzll(usec);
        return MIN(bucket, ENGINE_LATENCY_BUCKETS - 1);
}

/* Under lock. */
static FaultThread *find_thread(Fault *fault, uint32_t thread) {
        for (unsigned i = 0; i < fault->n_threads; i++)
                if (fault->threads[i].thread == thread)
                        return &fault->threads[i];
        if (fault->n_threads == ENGINE_THREADS_MAX)
                return &fault->threads[ENGINE_THREADS_MAX - 1];
        fault->threads[fault->n_threads] = (FaultThread) { .thread = thread };
        return &fault->threads[fault->n_threads++];
}

bool fault_wait_add(Fault *fault, unsigned block, uint64_t page, uint32_t thread) {
        bool first = true, known = false;
        pthread_mutex_lock(&fault->lock);
        for (guint i = 0; i < fault->waits->len; i++) {
                const FaultWait *wait = &g_array_index(fault->waits, FaultWait, i);
                if (wait->block != block || wait->page != page)
                        continue;
                first = false;
                /* It was woken and has come back (fault_map_wake()): its time runs on. */
                known = known || (thread != 0 && wait->thread == thread);
        }
        if (!known) {
                uint64_t now = clock_monotonic_usec();
                FaultWait wait = { .block = block, .page = page, .thread = thread, .start_usec = now };
                g_array_append_val(fault->waits, wait);
                find_thread(fault, thread)->count++;
                atomic_store(&fault->n_waits, fault->waits->len);
        }
        pthread_mutex_unlock(&fault->lock);
        return first;
}

void fault_wait_done(Fault *fault, unsigned block, uint64_t first, uint64_t count) {
        if (atomic_load(&fault->n_waits) == 0)
                return;
        uint64_t now = clock_monotonic_usec();
        pthread_mutex_lock(&fault->lock);
        for (guint i = 0; i < fault->waits->len;) {
                const FaultWait *wait = &g_array_index(fault->waits, FaultWait, i);
                if (wait->block != block || wait->page < first || wait->page - first >= count) {
                        i++;
                        continue;
                }
                uint64_t usec = now - wait->start_usec;
                find_thread(fault, wait->thread)->block_usec += usec;
                fault->latency[latency_bucket(usec)]++;
                fault->block_usec += usec;
                fault->max_usec = MAX(fault->max_usec, usec);
                g_array_remove_index_fast(fault->waits, i);
        }
        atomic_store(&fault->n_waits, fault->waits->len);
        pthread_mutex_unlock(&fault->lock);
}

GArray *fault_wait_pages(Fault *fault, unsigned block, uint64_t first, uint64_t count) {
        GArray *pages = g_array_new(FALSE, FALSE, sizeof(uint64_t));
        if (atomic_load(&fault->n_waits) == 0)
                return pages;
        pthread_mutex_lock(&fault->lock);
        for (guint i = 0; i < fault->waits->len; i++) {
                const FaultWait *wait = &g_array_index(fault->waits, FaultWait, i);
                if (wait->block != block || wait->page < first || wait->page - first >= count)
                        continue;
                bool twice = false;
                for (guint j = 0; j < pages->len && !twice; j++)
                        twice = g_array_index(pages, uint64_t, j) == wait->page;
                if (!twice)
                        g_array_append_val(pages, wait->page);
        }
        pthread_mutex_unlock(&fault->lock);
        return pages;
}

void fault_stats(Fault *fault, EngineStats *stats) {
        uint64_t now = clock_monotonic_usec();
        uint64_t lacking = atomic_load(&fault->lacking), inflight = MIN(atomic_load(&fault->inflight), lacking);
        stats->faults = atomic_load(&fault->faults);
        stats->faults_present = atomic_load(&fault->present);
        stats->faults_zero = atomic_load(&fault->zero);
        stats->faults_requested = atomic_load(&fault->requested);
        if (atomic_load(&fault->started)) {
                stats->inflight_pages = inflight;
                stats->stale_pages = lacking - inflight;
                stats->never_pages = fault->n_never;
                stats->valid_pages = fault->n_pages - fault->n_never - lacking;
        }
        pthread_mutex_lock(&fault->lock);
        stats->fault_block_usec = fault->block_usec;
        stats->fault_max_usec = fault->max_usec;
        for (unsigned i = 0; i < ENGINE_LATENCY_BUCKETS; i++)
                stats->fault_latency[i] = fault->latency[i];
        stats->fault_threads = fault->n_threads;
        for (unsigned i = 0; i < fault->n_threads; i++) {
                stats->fault_thread_ids[i] = fault->threads[i].thread;
                stats->fault_thread_usec[i] = fault->threads[i].block_usec;
                stats->fault_thread_count[i] = fault->threads[i].count;
        }
        for (guint i = 0; i < fault->waits->len; i++) {
                const FaultWait *wait = &g_array_index(fault->waits, FaultWait, i);
                stats->fault_block_usec += now - wait->start_usec;
                stats->fault_max_usec = MAX(stats->fault_max_usec, now - wait->start_usec);
                for (unsigned j = 0; j < fault->n_threads; j++)
                        if (fault->threads[j].thread == wait->thread)
                                stats->fault_thread_usec[j] += now - wait->start_usec;
        }
        pthread_mutex_unlock(&fault->lock);
}
