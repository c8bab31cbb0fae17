/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation: the sending side.
 *
 * One sender thread does everything in order: connect, prove the token, agree on the RAM table, start dirty tracking,
 * then rounds:
 *
 *      current = all that exists
 *      repeat:  send all of current  ->  exact sync of all modules into next  ->  counter + 1  ->  iteration event  ->
 * current = next
 *
 * A round in which nothing was sent is not a round: with nothing left the sender looks again every IDLE_USEC, and only
 * tells that it is idle. A query for exact numbers in the middle of a round fills next, never current, so a round ends
 * when what was pending at its start has gone out.
 *
 * The switch is the daemon's decision alone. After stop_and_copy the sender syncs a last time with several threads and
 * sends what is left, while another thread reads QEMU's device state and sends it in between; then END. The return
 * thread takes READY, COMMIT-ACK, RUNNING and errors. COMMIT goes out only on request. When the daemon is away nothing
 * of that happens: the sender goes on copying.
 *
 * Whatever the end is, the write protection comes off before the sender ends, since the guest may live on here.
 */

#include "driver/engine/source_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/io.h"
#include "driver/base/json.h"
#include "driver/base/log.h"
#include "driver/engine/frame.h"
#include "driver/engine/stats.h"

#define LAST_WORDS_USEC USEC_PER_SEC /* how long a broken sender waits for the destination's own reason */

static const struct {
        const char *name;
        const char *doing;
        unsigned next; /* bits of the states that may follow */
} states[] = {
#define BIT(state) (1u << SOURCE_##state)
        [SOURCE_SETUP] = { "setup", N_("setting up"), BIT(PRECOPY) | BIT(CANCELLED) | BIT(FAILED) },
        [SOURCE_PRECOPY] = { "precopy", N_("copying memory"), BIT(STOPPING) | BIT(CANCELLED) | BIT(FAILED) },
        [SOURCE_STOPPING] = { "stopping", N_("sending the last of the memory and the device state"),
                              BIT(SENT) | BIT(CANCELLED) | BIT(FAILED) },
        [SOURCE_SENT] = { "sent", N_("waiting for the destination to load the device state"),
                          BIT(READY) | BIT(CANCELLED) | BIT(FAILED) },
        [SOURCE_READY] = { "ready", N_("waiting for the decision to switch over"),
                           BIT(COMMITTING) | BIT(CANCELLED) | BIT(FAILED) },
        [SOURCE_COMMITTING] = { "committing", N_("switching over"),
                                BIT(COMMITTED) | BIT(PAUSED) | BIT(DONE) | BIT(FAILED) },
        [SOURCE_COMMITTED] = { "committed", N_("waiting for the guest to run on the destination"),
                               BIT(POSTCOPY) | BIT(PAUSED) | BIT(DONE) | BIT(FAILED) },
        [SOURCE_POSTCOPY] = { "postcopy", N_("sending memory that the running guest still lacks"),
                              BIT(DONE) | BIT(PAUSED) },
        [SOURCE_PAUSED] = { "paused", N_("waiting for the link to come back"),
                            BIT(POSTCOPY) | BIT(COMMITTED) | BIT(CANCELLED) },
        [SOURCE_DONE] = { "done", N_("finishing"), 0 },
        [SOURCE_CANCELLED] = { "cancelled", N_("cancelling"), 0 },
        [SOURCE_FAILED] = { "failed", N_("failing"), 0 },
#undef BIT
};
_Static_assert(G_N_ELEMENTS(states) == SOURCE_STATE_MAX_, "each state of the source is described");

const char *source_state_name(SourceState state) {
        return states[state].name;
}

const char *source_doing(SourceState state) {
        return _(states[state].doing);
}

/* Under lock. */
bool source_set_state_locked(Source *source, SourceState state) {
        if (!(states[source->state].next & (1u << state))) {
                log_debug("source: %s -> %s refused", states[source->state].name, states[state].name);
                return false;
        }
        log_debug("source: %s -> %s", states[source->state].name, states[state].name);
        source->state = state;
        pthread_cond_broadcast(&source->changed);
        return true;
}

bool source_set_state(Source *source, SourceState state) {
        pthread_mutex_lock(&source->lock);
        bool done = source_set_state_locked(source, state);
        pthread_mutex_unlock(&source->lock);
        return done;
}

SourceState source_get_state(Source *source) {
        pthread_mutex_lock(&source->lock);
        SourceState state = source->state;
        pthread_mutex_unlock(&source->lock);
        return state;
}

bool source_interrupted(Source *source) {
        pthread_mutex_lock(&source->lock);
        bool interrupted = source->cancelled || source->state == SOURCE_FAILED || source->state == SOURCE_CANCELLED;
        pthread_mutex_unlock(&source->lock);
        return interrupted;
}

void source_fail(Source *source, const GError *error) {
        if (source_break(source, error))
                return;
        g_autoptr(GPtrArray) calls = g_ptr_array_new();
        CtlCall *unknown = NULL;

        pthread_mutex_lock(&source->lock);
        /* COMMIT may have arrived or not: nobody here can know. */
        if (source->state == SOURCE_COMMITTING)
                unknown = g_steal_pointer(&source->commit_call);
        bool first = source_set_state_locked(source, SOURCE_FAILED);
        if (first) {
                source->failure = g_error_copy(error);
                source->give_up_usec = clock_monotonic_usec() + LAST_WORDS_USEC;
                CtlCall **open_calls[] = { &source->start_call, &source->stop_call, &source->commit_call,
                                           &source->throttle_call };
                for (size_t i = 0; i < G_N_ELEMENTS(open_calls); i++)
                        if (*open_calls[i])
                                g_ptr_array_add(calls, g_steal_pointer(open_calls[i]));
                while (source->exact_calls->len > 0)
                        g_ptr_array_add(calls, g_ptr_array_steal_index(source->exact_calls, 0));
        }
        pthread_mutex_unlock(&source->lock);
        if (unknown)
                ctl_reply(unknown, json_add_string(json_object_new_object(), "outcome", "unknown"));
        if (!first)
                return;

        for (guint i = 0; i < calls->len; i++)
                ctl_reply_error(g_ptr_array_index(calls, i), error);
        json_object *data = json_object_new_object();
        json_add_string(data, "desc", error->message);
        json_add_int64(data, "virt-code", error_code(error));
        ctl_event(source->ctl, "failed", data, false);
}

/* Waits for a change or for usec. Under lock. */
void source_wait_locked(Source *source, uint64_t usec) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t nsec = (uint64_t) until.tv_nsec + usec % USEC_PER_SEC * NSEC_PER_USEC;
        until.tv_sec += (time_t) (usec / USEC_PER_SEC + nsec / 1000000000u);
        until.tv_nsec = (long) (nsec % 1000000000u);
        pthread_cond_timedwait(&source->changed, &source->lock, &until);
}

/* ---- the sender ---- */

/* The destination may have said why before the link broke. */
static void wait_for_last_words(Source *source) {
        uint64_t until = clock_monotonic_usec() + LAST_WORDS_USEC, now;
        pthread_mutex_lock(&source->lock);
        while (source->returner.started && !source->return_ended && (now = clock_monotonic_usec()) < until)
                source_wait_locked(source, until - now);
        pthread_mutex_unlock(&source->lock);
}

/* Tells the destination how it ended here, and makes a failure known. */
static void end_job(Source *source, int result, const GError *error) {
        pthread_mutex_lock(&source->lock);
        bool cancelled = source->cancelled && source_set_state_locked(source, SOURCE_CANCELLED);
        pthread_mutex_unlock(&source->lock);

        if (cancelled) {
                if (source->channel)
                        (void) frame_send_text(source->channel, WIRE_ABORT, 0, _("it was cancelled there"));
        } else if (source_get_state(source) != SOURCE_DONE) {
                if (result < 0 && result != -ECANCELED)
                        wait_for_last_words(source);
                if (error)
                        source_fail(source, error);
                if (source->channel && source->failure)
                        (void) frame_send_text(source->channel, WIRE_ERROR, (uint32_t) source->failure->code,
                                               source->failure->message);
        } else
                return;
        if (source->channel)
                channel_shutdown(source->channel);
}

/* Postcopy if it came to that, and the end. error is taken over. */
static void end_sender(Source *source, int r, GError *taken) {
        g_autoptr(GError) error = taken;
        if (r < 0 && error && source_break(source, error))
                g_clear_error(&error);
        pthread_mutex_lock(&source->lock);
        bool postcopy = source->switched && source->state >= SOURCE_COMMITTED && source->state <= SOURCE_PAUSED;
        pthread_mutex_unlock(&source->lock);
        if (postcopy)
                source_postcopy(source);
        if (source_get_state(source) == SOURCE_DONE)
                worker_yield();
        /* The guest may live on here: first of all its writes are free again. */
        source->dirty = dirty_free(source->dirty);
        end_job(source, r, error);
        worker_join(&source->device);
        worker_join(&source->returner);
        if (source->urgent)
                channel_shutdown(source->urgent);
        worker_join(&source->urgent_worker);

        g_clear_error(&error);
        error_set(&error, VIR_ERR_OPERATION_ABORTED, _("the migration was cancelled"));
        pthread_mutex_lock(&source->lock);
        source->sender_ended = true;
        CtlCall *calls[] = { g_steal_pointer(&source->start_call), g_steal_pointer(&source->stop_call),
                             g_steal_pointer(&source->commit_call), g_steal_pointer(&source->throttle_call) };
        CtlCall *recover_call = g_steal_pointer(&source->recover_call);
        CtlCall *cancel_call = g_steal_pointer(&source->cancel_call);
        pthread_mutex_unlock(&source->lock);
        for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
                if (calls[i])
                        ctl_reply_error(calls[i], error);
        if (recover_call)
                ctl_reply_error(recover_call, error);
        source_answer_exact(source, NULL, error);
        if (cancel_call)
                ctl_reply(cancel_call, NULL);
        ctl_wake(source->ctl);
}

static void sender_worker(void *userdata) {
        Source *source = userdata;
        GError *error = NULL;
        int r = source_setup(source, &error);
        if (r >= 0)
                r = source_precopy(source, &error);
        if (r >= 0)
                r = source_switch_over(source, &error);
        if (r >= 0)
                r = source_finish(source, &error);
        end_sender(source, r, error);
}

/* The sender of a source that takes over: paused from the start. */
static void adopted_worker(void *userdata) {
        Source *source = userdata;
        GError *error = NULL;
        int r = source_setup_sets(source, &error);
        if (r >= 0)
                r = source_adopt_memory(source, &error);
        end_sender(source, r, error);
}

/* ---- requests, on the main thread ---- */

static Source *new_source(const EngineSourceArgs *args, Ctl *ctl) {
        Source *source = g_new0(Source, 1);
        source->ctl = ctl;
        source->start_usec = clock_monotonic_usec();
        source->args = *args;
        source->host = g_strdup(args->host);
        source->unix_path = g_strdup(args->unix_path);
        source->device_fd = -EBADF;
        source->n_blocks = args->n_blocks;
        source->blocks = g_new0(RamBlock, source->n_blocks);
        source->bandwidth_bytes_per_sec = args->bandwidth_bytes_per_sec;
        source->postcopy_bandwidth = args->postcopy_bandwidth_bytes_per_sec;
        source->exact_calls = g_ptr_array_new();
        source->modules = g_string_new(NULL);
        source->private_sizes = g_memdup2(args->private_ram_sizes, args->n_private_ram * sizeof(uint64_t));
        source->n_private = args->n_private_ram;
        source->args.private_ram_sizes = NULL;
        pace_set(&source->pace, source->bandwidth_bytes_per_sec, source->start_usec);
        pace_set(&source->postcopy_pace, source->postcopy_bandwidth, source->start_usec);

        pthread_mutex_init(&source->lock, NULL);
        pthread_mutex_init(&source->left_lock, NULL);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&source->changed, &attr);
        pthread_condattr_destroy(&attr);
        return source;
}

/* Maps the RAM and starts the sender; the job fails if that does not work. */
static void start_sender(Source *source, const EngineSourceArgs *args, bool need_guest,
                         void (*worker)(void *userdata)) {
        source->guest_pidfd = (int) syscall(SYS_pidfd_open, source->args.qemu_pid, 0);
        g_autoptr(GError) error = NULL;
        int r = 0;
        for (unsigned i = 0; i < source->n_blocks; i++) {
                int block_r = ram_block_init(&source->blocks[i], &args->blocks[i], args->blocks[i].fd, RAM_BLOCK_READ,
                                             r < 0 ? NULL : &error);
                r = r < 0 ? r : block_r;
        }
        if (r >= 0 && need_guest && source->guest_pidfd < 0)
                r = error_set(&error, VIR_ERR_OPERATION_FAILED, _("the QEMU process %d is gone"),
                              (int) source->args.qemu_pid);
        if (r >= 0) {
                r = worker_start(&source->sender, "sender", worker, source);
                if (r < 0)
                        error_set_errno(&error, r, _("cannot start a thread"));
        }
        if (r < 0) {
                source->sender_ended = true;
                source_fail(source, error);
        }
}

Source *source_start(const EngineSourceArgs *args, Ctl *ctl, CtlCall *call) {
        Source *source = new_source(args, ctl);
        source->start_call = call;
        start_sender(source, args, true, sender_worker);
        return source;
}

Source *source_adopt(const EngineSourceArgs *args, Ctl *ctl, CtlCall *call) {
        Source *source = new_source(args, ctl);
        source->args.postcopy = true;
        source->recover_call = call;
        source->state = SOURCE_PAUSED;
        source->switched = source->postcopy_requested = source->commit_known = true;
        start_sender(source, args, false, adopted_worker);
        return source;
}

Source *source_free(Source *source) {
        if (!source)
                return NULL;
        pthread_mutex_lock(&source->lock);
        source->cancelled = true;
        pthread_cond_broadcast(&source->changed);
        if (source->channel)
                channel_shutdown(source->channel);
        if (source->urgent)
                channel_shutdown(source->urgent);
        pthread_mutex_unlock(&source->lock);
        worker_join(&source->sender);

        for (unsigned i = 0; i < source->n_blocks; i++) {
                ram_block_deinit(&source->blocks[i]);
                if (source->current)
                        page_set_deinit(&source->current[i]);
                if (source->next)
                        page_set_deinit(&source->next[i]);
                if (source->exists)
                        page_set_deinit(&source->exists[i]);
        }
        g_free(source->blocks);
        g_free(source->current);
        g_free(source->next);
        g_free(source->exists);
        send_batch_free(source->batch);
        lookahead_free(source->lookahead);
        g_aligned_free(source->huge_chunk);
        channel_free(source->channel);
        channel_free(source->urgent);
        fd_close(source->args.uffd_async);
        fd_close(source->args.uffd_sync);
        fd_close(source->guest_pidfd);
        fd_close(source->device_fd);
        g_clear_error(&source->device_failure);
        g_clear_error(&source->failure);
        g_ptr_array_unref(source->exact_calls);
        g_free(source->private_sizes);
        g_string_free(source->modules, TRUE);
        g_free(source->host);
        g_free(source->unix_path);
        pthread_mutex_destroy(&source->lock);
        pthread_mutex_destroy(&source->left_lock);
        pthread_cond_destroy(&source->changed);
        g_free(source);
        return NULL;
}

int source_guest_fd(const Source *source) {
        return source->guest_pidfd;
}

bool source_failed(Source *source) {
        pthread_mutex_lock(&source->lock);
        bool failed = source->sender_ended && source->state == SOURCE_FAILED;
        pthread_mutex_unlock(&source->lock);
        return failed;
}

bool source_finished(Source *source) {
        pthread_mutex_lock(&source->lock);
        bool finished = source->sender_ended &&
                        ((source->state == SOURCE_DONE && !source->switched) || source->cancelled);
        pthread_mutex_unlock(&source->lock);
        return finished;
}

static void refuse(CtlCall *call, SourceState state) {
        g_autoptr(GError) error = NULL;
        error_set(&error, VIR_ERR_OPERATION_INVALID, _("the migration engine cannot do that while it is %s"),
                  source_doing(state));
        ctl_reply_error(call, error);
}

void source_set_throttle(Source *source, unsigned percent, CtlCall *call) {
        pthread_mutex_lock(&source->lock);
        bool later = source->state == SOURCE_PRECOPY && !source->sender_ended && !source->throttle_call;
        if (later) {
                source->throttle_call = call;
                source->throttle_percent = percent;
                pthread_cond_broadcast(&source->changed);
        }
        SourceState state = source->state;
        pthread_mutex_unlock(&source->lock);
        if (!later)
                refuse(call, state);
}

void source_set_bandwidth(Source *source, uint64_t bytes_per_sec) {
        pthread_mutex_lock(&source->lock);
        source->bandwidth_bytes_per_sec = bytes_per_sec;
        source->new_bandwidth = true;
        pthread_cond_broadcast(&source->changed);
        pthread_mutex_unlock(&source->lock);
}

void source_query_pending(Source *source, bool exact, CtlCall *call) {
        pthread_mutex_lock(&source->lock);
        bool postcopy = source->switched && source->state >= SOURCE_COMMITTED;
        bool later = exact && source->state == SOURCE_PRECOPY && !source->sender_ended;
        EngineStats stats = source->stats;
        if (later) {
                g_ptr_array_add(source->exact_calls, call);
                pthread_cond_broadcast(&source->changed);
        }
        pthread_mutex_unlock(&source->lock);
        if (postcopy)
                source_postcopy_stats(source, &stats);
        if (!later)
                ctl_reply(call, stats_to_json(&stats));
}

void source_stop_and_copy(Source *source, int device_state_fd, bool postcopy, CtlCall *call) {
        pthread_mutex_lock(&source->lock);
        SourceState state = source->state;
        bool ok = state == SOURCE_PRECOPY && !source->stop_requested && !source->cancelled;
        ok = ok && (!postcopy || source->urgent);
        if (ok) {
                source->postcopy_requested = postcopy;
                source->device_fd = device_state_fd;
                source->stop_call = call;
                source->stop_requested = true;
                pthread_cond_broadcast(&source->changed);
        }
        pthread_mutex_unlock(&source->lock);
        if (!ok) {
                fd_close(device_state_fd);
                refuse(call, state);
        }
}

void source_commit(Source *source, CtlCall *call) {
        pthread_mutex_lock(&source->lock);
        SourceState state = source->state;
        bool ok = state == SOURCE_READY && !source->commit_call && !source->cancelled;
        if (ok) {
                source->commit_call = call;
                pthread_cond_broadcast(&source->changed);
        }
        pthread_mutex_unlock(&source->lock);
        if (!ok)
                refuse(call, state);
}

void source_cancel(Source *source, CtlCall *call) {
        pthread_mutex_lock(&source->lock);
        SourceState state = source->state;
        bool ok = (state < SOURCE_COMMITTING && !source->commit_call && !source->cancelled) || state == SOURCE_FAILED;
        /* COMMIT may not have arrived; whoever asks for this has found out that it has not. */
        ok = ok || (state == SOURCE_PAUSED && !source->commit_known && !source->cancelled);
        bool now = false;
        if (ok) {
                source->cancelled = true;
                source->give_up_usec = clock_monotonic_usec() + LAST_WORDS_USEC;
                /* Without a connection nothing is protected yet. */
                now = source->sender_ended || !source->channel || source->cancel_call;
                if (!now)
                        source->cancel_call = call;
                pthread_cond_broadcast(&source->changed);
        }
        pthread_mutex_unlock(&source->lock);
        if (now)
                ctl_reply(call, NULL);
        else if (!ok)
                refuse(call, state);
}

void source_tick(Source *source) {
        pthread_mutex_lock(&source->lock);
        bool stuck = source->give_up_usec > 0 && clock_monotonic_usec() >= source->give_up_usec && source->channel;
        bool alive = source->link_up && source->state < SOURCE_DONE;
        g_autoptr(Channel) channel = source->channel ? channel_ref(source->channel) : NULL;
        g_autoptr(Channel) urgent = source->urgent ? channel_ref(source->urgent) : NULL;
        pthread_mutex_unlock(&source->lock);
        if (stuck)
                channel_shutdown(channel);
        else if (alive) { /* the sender may be in a long scan, or waiting for QEMU */
                (void) frame_send_keepalive(channel);
                if (urgent)
                        (void) frame_send_keepalive(urgent);
        }
}

void source_set_postcopy_bandwidth(Source *source, uint64_t bytes_per_sec) {
        pthread_mutex_lock(&source->lock);
        source->postcopy_bandwidth = bytes_per_sec;
        source->new_postcopy_bandwidth = true;
        pthread_cond_broadcast(&source->changed);
        pthread_mutex_unlock(&source->lock);
}

bool source_pause(Source *source, CtlCall *call) {
        g_autoptr(GError) error = NULL;
        SourceState state = source_get_state(source);
        error_set(&error, VIR_ERR_OPERATION_ABORTED, _("postcopy was paused on request"));
        bool ok = source_break(source, error);
        if (call && ok)
                ctl_reply(call, NULL);
        else if (call)
                refuse(call, state);
        return ok;
}

void source_recover(Source *source, const EngineSourceArgs *args, CtlCall *call) {
        if (!source_pause(source, NULL))
                return refuse(call, source_get_state(source));
        pthread_mutex_lock(&source->lock);
        bool busy = source->recover_call != NULL || source->recovering;
        if (!busy) {
                g_free(source->host);
                g_free(source->unix_path);
                source->host = g_strdup(args->host);
                source->unix_path = g_strdup(args->unix_path);
                source->args.port = args->port;
                source->args.connect_timeout_usec = args->connect_timeout_usec;
                source->args.idle_timeout_usec = args->idle_timeout_usec;
                memcpy(source->args.token, args->token, sizeof(source->args.token));
                source->postcopy_bandwidth = args->postcopy_bandwidth_bytes_per_sec;
                source->new_postcopy_bandwidth = true;
                source->recover_call = call;
                pthread_cond_broadcast(&source->changed);
        }
        pthread_mutex_unlock(&source->lock);
        if (busy)
                refuse(call, SOURCE_PAUSED);
}

void source_stats(Source *source, EngineStats *ret_stats) {
        pthread_mutex_lock(&source->lock);
        *ret_stats = source->stats;
        bool postcopy = source->switched && source->state >= SOURCE_COMMITTED && source->current;
        pthread_mutex_unlock(&source->lock);
        if (postcopy)
                source_postcopy_stats(source, ret_stats);
}

EngineState source_engine_state(Source *source, bool *ret_postcopy) {
        static const EngineState names[] = {
                [SOURCE_SETUP] = ENGINE_STATE_SETUP,           [SOURCE_PRECOPY] = ENGINE_STATE_PRECOPY,
                [SOURCE_STOPPING] = ENGINE_STATE_SWITCHING,    [SOURCE_SENT] = ENGINE_STATE_SWITCHING,
                [SOURCE_READY] = ENGINE_STATE_READY,           [SOURCE_COMMITTING] = ENGINE_STATE_COMMITTING,
                [SOURCE_COMMITTED] = ENGINE_STATE_COMMITTED,   [SOURCE_POSTCOPY] = ENGINE_STATE_POSTCOPY,
                [SOURCE_PAUSED] = ENGINE_STATE_PAUSED,         [SOURCE_DONE] = ENGINE_STATE_DONE,
                [SOURCE_CANCELLED] = ENGINE_STATE_CANCELLED,   [SOURCE_FAILED] = ENGINE_STATE_FAILED,
        };
        _Static_assert(G_N_ELEMENTS(names) == SOURCE_STATE_MAX_, "each state of the source has one for the daemon");
        pthread_mutex_lock(&source->lock);
        SourceState state = source->state;
        bool abandoned = source->abandoned;
        *ret_postcopy = source->postcopy_requested;
        pthread_mutex_unlock(&source->lock);
        return abandoned ? ENGINE_STATE_CANCELLED : names[state];
}

void source_guest_gone(Source *source) {
        pthread_mutex_lock(&source->lock);
        /* Memory outlives it, and it would never run again here. */
        bool needed = !source->switched || source->state < SOURCE_COMMITTING;
        pthread_mutex_unlock(&source->lock);
        if (!needed)
                return;
        g_autoptr(GError) error = NULL;
        error_set(&error, VIR_ERR_OPERATION_FAILED, _("the QEMU process %d is gone"), (int) source->args.qemu_pid);
        source_fail(source, error);
}
