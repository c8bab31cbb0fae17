/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: the receiving side.
 *
 * (dest_accept.c) The acceptor thread takes connections; each gets a thread (at most DEST_KNOCKS_MAX at once) in which
 * it must prove the token within KNOCK_USEC. The first that does becomes the job's data channel, its thread the
 * receiver, and listening ends; all others are closed. So a stranger on the port can neither end the job nor hold it
 * up. What comes after a switch to postcopy is in dest_postcopy.c.
 *
 * Who runs the guest is decided once, under the lock: COMMIT moves READY to COMMITTED, dest_refuse() moves any earlier
 * state to REFUSED; only one of them can win. A COMMIT that arrives after a refusal is not answered. Nothing here ever
 * starts a guest: that is the daemon's, on `committed`.
 */

#include "driver/engine/dest_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/base/units.h"
#include "driver/engine/frame.h"
#include "driver/engine/stats.h"

#define DEVICE_MAX_DEFAULT_BYTES (1 * GIB)
#define LAST_WORDS_USEC USEC_PER_SEC

static const struct {
        const char *name;
        const char *doing;
        unsigned next;
} states[] = {
#define BIT(state) (1u << DEST_##state)
        [DEST_LISTENING] = { "listening", N_("waiting for the source"), BIT(RECEIVING) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_RECEIVING] = { "receiving", N_("receiving memory"), BIT(LOADING) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_LOADING] = { "loading", N_("handing the device state to QEMU"),
                           BIT(LOADED) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_LOADED] = { "loaded", N_("loading the device state"), BIT(READY) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_READY] = { "ready", N_("waiting for the source to hand the guest over"),
                         BIT(COMMITTED) | BIT(REFUSED) | BIT(FAILED) },
        [DEST_COMMITTED] = { "committed", N_("starting the guest"), BIT(RUNNING) | BIT(DONE) },
        [DEST_RUNNING] = { "running", N_("finishing"), BIT(DONE) },
        [DEST_DONE] = { "done", N_("finishing"), 0 },
        [DEST_REFUSED] = { "refused", N_("giving up"), 0 },
        [DEST_FAILED] = { "failed", N_("failing"), BIT(REFUSED) },
#undef BIT
};
_Static_assert(G_N_ELEMENTS(states) == DEST_STATE_MAX_, "each state of the destination is described");

const char *dest_doing(DestState state) {
        return _(states[state].doing);
}

/* Under lock. */
bool dest_set_state_locked(Dest *dest, DestState state) {
        bool allowed = states[dest->state].next & (1u << state);
        log_debug("destination: %s -> %s%s", states[dest->state].name, states[state].name, allowed ? "" : " refused");
        if (allowed)
                dest->state = state;
        return allowed;
}

bool dest_set_state(Dest *dest, DestState state) {
        pthread_mutex_lock(&dest->lock);
        bool done = dest_set_state_locked(dest, state);
        pthread_mutex_unlock(&dest->lock);
        return done;
}

DestState dest_get_state(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        DestState state = dest->state;
        pthread_mutex_unlock(&dest->lock);
        return state;
}

static Channel *get_ref(Dest *dest, Channel **which) {
        pthread_mutex_lock(&dest->lock);
        Channel *channel = *which ? channel_ref(*which) : NULL;
        pthread_mutex_unlock(&dest->lock);
        return channel;
}

Channel *dest_get_channel(Dest *dest) {
        return get_ref(dest, &dest->channel);
}

Channel *dest_get_urgent(Dest *dest) {
        return get_ref(dest, &dest->urgent);
}

static void say_why(Dest *dest, const GError *error) {
        json_object *data = json_object_new_object();
        json_add_string(data, "desc", error->message);
        json_add_int64(data, "virt-code", error_code(error));
        ctl_event(dest->ctl, "failed", data, false);
        g_autoptr(Channel) channel = dest_get_channel(dest);
        if (!channel)
                return;
        (void) frame_send_text(channel, WIRE_ERROR, (uint32_t) error_code(error), error->message);
        channel_linger(channel, LAST_WORDS_USEC);
        channel_shutdown(channel);
}

void dest_fail(Dest *dest, const GError *error) {
        if (!dest_set_state(dest, DEST_FAILED))
                return;
        say_why(dest, error);
        /* Only now the process may end: the source must not have to guess whether its COMMIT was taken. */
        pthread_mutex_lock(&dest->lock);
        dest->said_why = true;
        pthread_mutex_unlock(&dest->lock);
        ctl_wake(dest->ctl);
}

/* ---- requests ---- */

static int init_block(DestBlock *block, const EngineRamBlock *config, bool fresh, GError **reterr) {
        int r = ram_block_init(&block->ram, config, config->fd, RAM_BLOCK_WRITE, reterr);
        if (r < 0)
                return r;
        if (strlen(config->id) > WIRE_BLOCK_ID_MAX)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the name of RAM block '%s' is too long"), config->id);
        block->wire = (WireBlock) { .size_bytes = config->size_bytes, .page_bytes = config->page_bytes };
        g_strlcpy(block->wire.id, config->id, sizeof(block->wire.id));
        if (config->states_fd <= 0)
                r = page_states_init(&block->states, block->ram.n_pages);
        else if (fresh && ftruncate(config->states_fd, 0) < 0)
                r = -errno;
        else
                r = page_states_open(&block->states, block->ram.n_pages, fcntl(config->states_fd, F_DUPFD_CLOEXEC, 3));
        /* Claims of an engine that is gone: half of their content may be there. Before any fault can be answered. */
        for (uint64_t page = 0; r >= 0 && !fresh && page < block->ram.n_pages; page++)
                (void) page_states_move(&block->states, page, PAGE_INFLIGHT, PAGE_STALE);
        if (r >= 0)
                r = page_set_init(&block->large, config->size_bytes / WIRE_LARGE_BYTES + 1);
        if (r >= 0)
                r = page_set_init(&block->announced, config->size_bytes / WIRE_LARGE_BYTES + 1);
        if (r >= 0)
                r = page_set_init(&block->stale, block->ram.n_pages);
        return r < 0 ? error_set_errno(reterr, r, _("cannot allocate the page table of RAM block '%s'"), config->id)
                     : 0;
}

/* What every destination has, also one that takes over from another engine. */
static int init_dest(const EngineDestArgs *args, Ctl *ctl, bool fresh, Dest **ret_dest, GError **reterr) {
        g_autoptr(Dest) dest = g_new0(Dest, 1);
        pthread_mutex_init(&dest->lock, NULL);
        pthread_mutex_init(&dest->request_lock, NULL);
        dest->ctl = ctl;
        dest->listen_fd = dest->stop_fd = dest->spool_fd = dest->guest_pidfd = -EBADF;
        dest->device_fd = args->device_state_fd;
        dest->commit_fd = args->commit_fd;
        dest->device_max_bytes = args->device_state_max_bytes ?: DEVICE_MAX_DEFAULT_BYTES;
        dest->n_blocks = args->n_blocks;
        dest->blocks = g_new0(DestBlock, args->n_blocks);
        int result = 0;
        for (unsigned i = 0; i < args->n_blocks; i++) {
                int r = init_block(&dest->blocks[i], &args->blocks[i], fresh, result < 0 ? NULL : reterr);
                result = result < 0 ? result : r;
                dest->stats.total_bytes += args->blocks[i].size_bytes;
        }
        if (result < 0)
                return result;
        dest->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        dest->spool_fd = memfd_create("ferry-device-state", MFD_CLOEXEC);
        if (dest->stop_fd < 0 || dest->spool_fd < 0)
                return error_set_errno(reterr, errno, _("cannot keep the device state"));
        if (args->postcopy) {
                g_autofree FaultBlock *blocks = g_new0(FaultBlock, dest->n_blocks);
                for (unsigned i = 0; i < dest->n_blocks; i++)
                        blocks[i] = (FaultBlock) { &dest->blocks[i].ram, &dest->blocks[i].states };
                dest->guest_pidfd = (int) syscall(SYS_pidfd_open, args->qemu_pid, 0);
                if (dest->guest_pidfd < 0)
                        return error_set(reterr, VIR_ERR_OPERATION_FAILED, _("the QEMU process %d is gone"),
                                         (int) args->qemu_pid);
                int r = fault_new(blocks, dest->n_blocks, args->qemu_pid, args->uffd, &dest_fault_source, dest,
                                  &dest->fault, reterr);
                if (r < 0)
                        return r;
        }
        *ret_dest = g_steal_pointer(&dest);
        return 0;
}

int dest_new(const EngineDestArgs *args, Ctl *ctl, Dest **ret_dest, unsigned *ret_port, GError **reterr) {
        g_autoptr(Dest) dest = NULL;
        int r = init_dest(args, ctl, true, &dest, reterr);
        if (r >= 0)
                r = dest_accept_start(dest, args, ret_port, reterr);
        if (r < 0)
                return r;
        *ret_dest = g_steal_pointer(&dest);
        return 0;
}

int dest_adopt(const EngineDestArgs *args, bool running, Ctl *ctl, Dest **ret_dest, GError **reterr) {
        g_autoptr(Dest) dest = NULL;
        int r = init_dest(args, ctl, false, &dest, reterr);
        if (r < 0)
                return r;
        /* Nobody else knows it yet: no lock, and no steps in between. */
        dest->state = running ? DEST_RUNNING : DEST_COMMITTED;
        dest->ram_final = dest->switched = dest->paused = dest->link_lost = true;
        r = fault_start(dest->fault);
        if (r < 0)
                return error_set_errno(reterr, r, _("the guest's page faults cannot be taken over"));
        *ret_dest = g_steal_pointer(&dest);
        return 0;
}

Dest *dest_free(Dest *dest) {
        if (!dest)
                return NULL;
        (void) dest_set_state(dest, DEST_REFUSED);
        dest_accept_stop(dest);
        dest_accept_cut(dest);
        populate_free(dest->populate);
        /* A guest that runs here must not read what is not there: it waits for the next engine. */
        bool lives = dest->switched && dest->state >= DEST_COMMITTED && dest->state <= DEST_DONE && !dest->finished;
        if (dest->fault && lives)
                dest->fault = fault_detach(dest->fault);
        else
                dest->fault = fault_free(dest->fault);
        for (unsigned i = 0; i < dest->n_blocks; i++) {
                page_states_deinit(&dest->blocks[i].states);
                page_set_deinit(&dest->blocks[i].announced);
                page_set_deinit(&dest->blocks[i].large);
                page_set_deinit(&dest->blocks[i].stale);
                ram_block_deinit(&dest->blocks[i].ram);
        }
        g_free(dest->blocks);
        dest_frame_free(dest->frame);
        dest_place_frame_free(dest->place);
        channel_free(dest->channel);
        channel_free(dest->urgent);
        g_clear_error(&dest->link_error);
        fd_close(dest->listen_fd);
        fd_close(dest->stop_fd);
        fd_close(dest->device_fd);
        fd_close(dest->spool_fd);
        fd_close(dest->commit_fd);
        fd_close(dest->guest_pidfd);
        g_free(dest->unix_path);
        pthread_mutex_destroy(&dest->lock);
        pthread_mutex_destroy(&dest->request_lock);
        g_free(dest);
        return NULL;
}

static int refuse_request(Dest *dest, GError **reterr) {
        return error_set(reterr, VIR_ERR_OPERATION_INVALID, _("the migration engine cannot do that while it is %s"),
                         dest_doing(dest_get_state(dest)));
}

int dest_loaded(Dest *dest, GError **reterr) {
        if (!dest_set_state(dest, DEST_READY))
                return refuse_request(dest, reterr);
        g_autoptr(Channel) channel = dest_get_channel(dest);
        int r = frame_send(channel, WIRE_READY, 0, NULL, 0);
        return r < 0 ? channel_error(channel, r, dest_doing(DEST_READY), reterr) : 0;
}

int dest_running(Dest *dest, uint64_t resume_usec, GError **reterr) {
        pthread_mutex_lock(&dest->lock);
        bool ok = dest_set_state_locked(dest, DEST_RUNNING), lost = dest->link_lost;
        if (ok && lost && !dest->switched)
                dest_set_state_locked(dest, DEST_DONE);
        pthread_mutex_unlock(&dest->lock);
        if (!ok)
                return refuse_request(dest, reterr);
        if (!lost) {
                unsigned char bytes[8];
                wire_u64_encode(resume_usec, bytes);
                g_autoptr(Channel) channel = dest_get_channel(dest);
                if (channel)
                        (void) frame_send(channel, WIRE_RUNNING, 0, bytes, sizeof(bytes));
        }
        return 0;
}

int dest_abandon(Dest *dest, const char *reason, GError **reterr) {
        pthread_mutex_lock(&dest->lock);
        bool ok = dest->state == DEST_COMMITTED && dest_set_state_locked(dest, DEST_DONE), lost = dest->link_lost;
        pthread_mutex_unlock(&dest->lock);
        if (!ok)
                return refuse_request(dest, reterr);
        if (!lost) {
                g_autoptr(Channel) channel = dest_get_channel(dest);
                (void) frame_send_text(channel, WIRE_ABANDON, 0, reason);
                channel_linger(channel, LAST_WORDS_USEC);
        }
        return 0;
}

void dest_refuse(Dest *dest, const char *reason, bool *ret_committed) {
        pthread_mutex_lock(&dest->lock);
        bool committed = dest->state == DEST_COMMITTED || dest->state == DEST_RUNNING || dest->state == DEST_DONE;
        if (!committed)
                dest_set_state_locked(dest, DEST_REFUSED);
        pthread_mutex_unlock(&dest->lock);
        *ret_committed = committed;
        if (committed)
                return;
        (void) eventfd_write(dest->stop_fd, 1);
        g_autoptr(Channel) channel = dest_get_channel(dest);
        if (channel) {
                (void) frame_send_text(channel, WIRE_ERROR, VIR_ERR_OPERATION_ABORTED,
                                       reason ?: _("the destination has given up the migration"));
                channel_shutdown(channel);
        }
}

void dest_daemon_back(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        dest->daemon_gone = false;
        pthread_mutex_unlock(&dest->lock);
}

void dest_daemon_gone(Dest *dest, bool for_good) {
        pthread_mutex_lock(&dest->lock);
        dest->daemon_gone = true;
        pthread_mutex_unlock(&dest->lock);
        if (!for_good)
                return;
        /* Before COMMIT the source has the guest and should hear now, not when it has stopped it and waits for
         * READY. */
        g_autoptr(GError) error = NULL;
        error_set(&error, VIR_ERR_OPERATION_FAILED, _("the destination's daemon has ended"));
        dest_fail(dest, error);
}

void dest_tick(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        bool alive = dest->state >= DEST_RECEIVING && dest->state <= DEST_RUNNING;
        pthread_mutex_unlock(&dest->lock);
        g_autoptr(Channel) channel = dest_get_channel(dest), urgent = dest_get_urgent(dest);
        if (alive && channel)
                (void) frame_send_keepalive(channel);
        if (alive && urgent)
                (void) frame_send_keepalive(urgent);
}

/* Everything is here and the guest runs: nothing needs to be watched any more. */
static void finish_postcopy(Dest *dest) {
        fault_finish(dest->fault);
        pthread_mutex_lock(&dest->lock);
        dest->finished = true;
        dest->paused = false;
        if (!dest->channel)
                dest_set_state_locked(dest, DEST_DONE);
        pthread_mutex_unlock(&dest->lock);
        g_autoptr(Channel) channel = dest_get_channel(dest);
        if (channel)
                (void) frame_send(channel, WIRE_COMPLETE, 0, NULL, 0);
        EngineStats stats = { 0 };
        dest_stats(dest, &stats);
        ctl_event(dest->ctl, "postcopy-complete", stats_to_json(&stats), false);
}

void dest_service(Dest *dest) {
        if (!atomic_load(&dest->complete))
                return;
        pthread_mutex_lock(&dest->lock);
        bool finish = dest->state == DEST_RUNNING && !dest->finished;
        pthread_mutex_unlock(&dest->lock);
        if (finish)
                finish_postcopy(dest);
}

int dest_recover(Dest *dest, const EngineDestArgs *args, unsigned *ret_port, GError **reterr) {
        pthread_mutex_lock(&dest->lock);
        bool ok = dest->switched && dest->state >= DEST_COMMITTED && dest->state <= DEST_DONE;
        pthread_mutex_unlock(&dest->lock);
        if (!ok)
                return refuse_request(dest, reterr);
        dest_accept_stop(dest);
        dest_accept_cut(dest);
        pthread_mutex_lock(&dest->lock);
        dest->accepting_again = true;
        pthread_mutex_unlock(&dest->lock);
        return dest_accept_start(dest, args, ret_port, reterr);
}

int dest_pause(Dest *dest, GError **reterr) {
        pthread_mutex_lock(&dest->lock);
        bool ok = dest->switched && dest->state >= DEST_COMMITTED && dest->state <= DEST_RUNNING;
        if (ok && !dest->link_error)
                error_set(&dest->link_error, VIR_ERR_OPERATION_ABORTED, _("postcopy was paused on request"));
        pthread_mutex_unlock(&dest->lock);
        if (!ok)
                return refuse_request(dest, reterr);
        dest_accept_stop(dest);
        dest_accept_cut(dest);
        return 0;
}

void dest_stats(Dest *dest, EngineStats *ret_stats) {
        pthread_mutex_lock(&dest->lock);
        *ret_stats = dest->stats;
        if (dest->switched) {
                uint64_t received = dest->old_received_bytes;
                received += dest->channel ? channel_received_bytes(dest->channel) : 0;
                received += dest->urgent ? channel_received_bytes(dest->urgent) : 0;
                ret_stats->received_bytes = ret_stats->transferred_bytes = received;
                ret_stats->device_state_bytes = dest->device_bytes;
                ret_stats->postcopy_recoveries = dest->n_recoveries;
        }
        bool switched = dest->switched;
        pthread_mutex_unlock(&dest->lock);
        if (!switched)
                return;
        fault_stats(dest->fault, ret_stats);
        uint64_t bytes = 0;
        for (unsigned i = 0; i < dest->n_blocks; i++)
                bytes = MAX(bytes, dest->blocks[i].ram.page_bytes);
        ret_stats->postcopy_bytes = ret_stats->pending_bytes = fault_lacking(dest->fault) * bytes;
}

int dest_guest_fd(const Dest *dest) {
        return dest->guest_pidfd;
}

EngineState dest_engine_state(Dest *dest, bool *ret_postcopy) {
        static const EngineState names[] = {
                [DEST_LISTENING] = ENGINE_STATE_SETUP,    [DEST_RECEIVING] = ENGINE_STATE_PRECOPY,
                [DEST_LOADING] = ENGINE_STATE_SWITCHING,  [DEST_LOADED] = ENGINE_STATE_LOADED,
                [DEST_READY] = ENGINE_STATE_READY,        [DEST_COMMITTED] = ENGINE_STATE_COMMITTED,
                [DEST_RUNNING] = ENGINE_STATE_DONE,       [DEST_DONE] = ENGINE_STATE_DONE,
                [DEST_REFUSED] = ENGINE_STATE_CANCELLED,  [DEST_FAILED] = ENGINE_STATE_FAILED,
        };
        _Static_assert(G_N_ELEMENTS(names) == DEST_STATE_MAX_, "each state of the destination has one for the daemon");
        pthread_mutex_lock(&dest->lock);
        EngineState state = names[dest->state];
        if (dest->switched && dest->state == DEST_RUNNING && !dest->finished)
                state = dest->paused ? ENGINE_STATE_PAUSED : ENGINE_STATE_POSTCOPY;
        *ret_postcopy = dest->switched;
        pthread_mutex_unlock(&dest->lock);
        return state;
}

bool dest_failed(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        bool failed = dest->state == DEST_FAILED && dest->said_why;
        pthread_mutex_unlock(&dest->lock);
        return failed;
}

bool dest_connected(Dest *dest) {
        return dest_get_state(dest) != DEST_LISTENING;
}

bool dest_link_lost(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        bool lost = dest->link_lost && !dest->switched;
        pthread_mutex_unlock(&dest->lock);
        return lost;
}

bool dest_finished(Dest *dest) {
        pthread_mutex_lock(&dest->lock);
        /* After postcopy somebody may still want to hear how it went. */
        bool finished = (dest->state == DEST_DONE && !dest->switched) || dest->state == DEST_REFUSED;
        pthread_mutex_unlock(&dest->lock);
        return finished;
}
