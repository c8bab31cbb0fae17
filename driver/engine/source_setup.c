/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From nothing to round 1: connection, token, RAM table, dirty tracking. */

#include "driver/engine/source_internal.h"

#include <string.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/log.h"
#include "driver/engine/frame.h"
#include "driver/engine/handshake.h"
#include "driver/engine/stats.h"

static int send_table(Source *source, GError **reterr) {
        g_autofree unsigned char *bytes = g_malloc0_n(source->n_blocks, WIRE_BLOCK_BYTES);
        for (unsigned i = 0; i < source->n_blocks; i++) {
                WireBlock block = { .size_bytes = source->blocks[i].size_bytes,
                                    .page_bytes = source->blocks[i].page_bytes };
                g_strlcpy(block.id, source->blocks[i].id, sizeof(block.id));
                wire_block_encode(&block, bytes + i * WIRE_BLOCK_BYTES);
        }
        int r = frame_send(source->channel, WIRE_RAM_TABLE, source->n_blocks, bytes,
                           (size_t) source->n_blocks * WIRE_BLOCK_BYTES);
        if (r < 0)
                return channel_error(source->channel, r, _("agreeing on the memory layout"), reterr);
        return frame_expect(source->channel, WIRE_ACCEPT, NULL, 0, _("agreeing on the memory layout"), reterr);
}

/* One connection with the token proven. */
static int connect_one(Source *source, unsigned index, Channel **where, GError **reterr) {
        int fd = -EBADF;
        g_autofree char *peer = NULL;
        uint64_t connect_timeout = source->args.connect_timeout_usec ?: SOURCE_TIMEOUT_USEC;
        int r = channel_connect(source->host, source->args.port, source->unix_path, connect_timeout, &fd, &peer,
                                reterr);
        if (r < 0)
                return r;
        pthread_mutex_lock(&source->lock);
        *where = channel_new(fd, peer, connect_timeout);
        if (source->cancelled)
                channel_shutdown(*where);
        pthread_mutex_unlock(&source->lock);
        return handshake_source(*where, source->args.token, index, reterr);
}

int source_connect(Source *source, GError **reterr) {
        uint64_t idle_timeout = source->args.idle_timeout_usec ?: SOURCE_TIMEOUT_USEC;
        int r = connect_one(source, 0, &source->channel, reterr);
        if (r >= 0)
                r = send_table(source, reterr);
        if (r >= 0 && source->args.postcopy)
                r = connect_one(source, 1, &source->urgent, reterr);
        if (r < 0)
                return r;
        channel_set_idle_timeout(source->channel, idle_timeout);
        if (source->urgent)
                channel_set_idle_timeout(source->urgent, idle_timeout);
        pthread_mutex_lock(&source->lock);
        source->link_up = true;
        pthread_mutex_unlock(&source->lock);
        return 0;
}

int source_setup_sets(Source *source, GError **reterr) {
        source->current = g_new0(PageSet, source->n_blocks);
        source->next = g_new0(PageSet, source->n_blocks);
        source->exists = g_new0(PageSet, source->n_blocks);
        for (unsigned i = 0; i < source->n_blocks; i++) {
                if (source->args.postcopy && source->blocks[i].page_bytes > WIRE_PAYLOAD_MAX)
                        return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                         _("RAM block '%s' has pages that are too large for postcopy"),
                                         source->blocks[i].id);
                int r = page_set_init(&source->current[i], source->blocks[i].n_pages);
                if (r >= 0)
                        r = page_set_init(&source->next[i], source->blocks[i].n_pages);
                if (r >= 0)
                        r = page_set_init(&source->exists[i], source->blocks[i].n_pages);
                if (r < 0)
                        return error_set_errno(reterr, r, _("cannot allocate the page table of RAM block '%s'"),
                                               source->blocks[i].id);
        }
        return 0;
}

int source_setup(Source *source, GError **reterr) {
        int r = source_setup_sets(source, reterr);
        if (r < 0)
                return r;
        r = source_connect(source, reterr);
        if (r < 0)
                return r;
        r = dirty_new(source->blocks, source->n_blocks, source->args.qemu_pid, source->args.uffd_async,
                      source->args.uffd_sync, DIRTY_AUTO, &source->dirty, reterr);
        if (r < 0)
                return r;
        log_debug("dirty tracking: %s", source->dirty->ops->name);
        EngineStats stats = { .round = 1 };
        for (unsigned i = 0; i < source->n_blocks; i++) {
                page_set_merge(&source->current[i], &source->dirty->blocks[i].known);
                stats.total_bytes += source->blocks[i].size_bytes;
                stats.resident_bytes += ram_block_allocated(&source->blocks[i]);
        }
        source->batch = send_batch_new();
        r = source_pending(source, false, false, &stats, reterr);
        if (r < 0)
                return r;
        uint64_t now = clock_monotonic_usec();
        stats.setup_usec = now - source->start_usec;
        source->round_start_usec = source->last_sync_usec = now;

        pthread_mutex_lock(&source->lock);
        source->stats = stats;
        CtlCall *call = NULL;
        if (!source->cancelled && source_set_state_locked(source, SOURCE_PRECOPY))
                call = g_steal_pointer(&source->start_call);
        pthread_mutex_unlock(&source->lock);
        if (!call)
                return -ECANCELED;
        r = worker_start(&source->returner, "return-path", source_return_worker, source);
        if (r < 0) {
                error_set_errno(reterr, r, _("cannot start a thread"));
                ctl_reply_error(call, reterr ? *reterr : NULL);
                return r;
        }
        ctl_reply(call, stats_to_json(&stats));
        return 0;
}
