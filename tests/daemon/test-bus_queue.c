/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dbus/bus_queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "driver/base/clock.h"
#include "driver/base/fiber.h"

#define WAIT_USEC (20 * USEC_PER_SEC)

typedef struct Bed {
        sd_event *event;
        BusQueue *queue;
        GString *log;
        unsigned n_ready, not_ready; /* asked; how often the answer is no */
} Bed;

/* A call that takes so many turns, each of them in its fiber. */
typedef struct Job {
        Bed *bed;
        BusLane *lane;
        const char *name;
        unsigned parts;
        bool started, resumed;
        FiberCond resume;
        BusTurn turn;
} Job;

static void job_run(void *userdata) {
        Job *job = userdata;

        for (unsigned i = 0; i < job->parts; i++) {
                if (i > 0) {
                        job->resumed = false;
                        bus_queue_prepend(job->bed->queue, job->lane, &job->turn);
                        while (!job->resumed)
                                assert_int_equal(fiber_cond_wait(&job->resume, WAIT_USEC), 0);
                }
                g_string_append(job->bed->log, job->name);
        }
}

static void job_turn(void *userdata) {
        Job *job = userdata;

        if (job->started) {
                job->resumed = true;
                fiber_cond_broadcast(&job->resume);
        } else {
                job->started = true;
                assert_int_equal(fiber_start(job->bed->event, job->name, job_run, job), 0);
        }
}

static void job_begin(Job *job, Bed *bed, BusLane *lane, const char *name, unsigned parts) {
        *job = (Job) { .bed = bed, .lane = lane, .name = name, .parts = parts, .turn = { job_turn, job } };
        bus_queue_append(bed->queue, lane, &job->turn);
}

static bool bed_ready(void *userdata) {
        Bed *bed = userdata;

        return ++bed->n_ready > bed->not_ready;
}

static int setup(void **state) {
        Bed *bed = g_new0(Bed, 1);

        assert_true(sd_event_new(&bed->event) >= 0);
        bed->queue = bus_queue_new(bed->event, bed_ready, bed);
        bed->log = g_string_new(NULL);
        *state = bed;
        return 0;
}

static int teardown(void **state) {
        Bed *bed = *state;

        assert_null(bus_queue_free(bed->queue));
        sd_event_unref(bed->event);
        g_string_free(bed->log, TRUE);
        g_free(bed);
        return 0;
}

/* Until nothing is due any more; or until the log has so many letters. */
static void run(Bed *bed, size_t letters) {
        while (bed->log->len < letters && sd_event_run(bed->event, letters == SIZE_MAX ? 0 : WAIT_USEC) > 0)
                ;
}

/* Twenty long calls of one caller and a short one of another: it waits for one part. A caller's own calls keep their order. */
static void test_round(void **state) {
        Bed *bed = *state;
        BusLane heavy = { 0 }, other = { 0 };
        Job jobs[20], cheap[2];

        job_begin(&jobs[0], bed, &heavy, "a", 3);
        job_begin(&jobs[1], bed, &heavy, "b", 3);
        for (unsigned i = 2; i < G_N_ELEMENTS(jobs); i++)
                job_begin(&jobs[i], bed, &heavy, "c", 2);
        job_begin(&cheap[0], bed, &other, "X", 1);
        job_begin(&cheap[1], bed, &other, "Y", 1);
        run(bed, SIZE_MAX);
        assert_string_equal(bed->log->str, "aXaYabbb"
                                           "cccccccccccccccccccccccccccccccccccc");
        assert_true(g_queue_is_empty(&heavy.turns) && g_queue_is_empty(&other.turns));
}

/* A caller that comes while another's call is under way. */
static void test_late(void **state) {
        Bed *bed = *state;
        BusLane heavy = { 0 }, other = { 0 };
        Job job, cheap;

        job_begin(&job, bed, &heavy, "a", 100);
        run(bed, 10);
        job_begin(&cheap, bed, &other, "X", 1);
        run(bed, SIZE_MAX);
        assert_int_equal(bed->log->len, 101);
        assert_in_range(strchr(bed->log->str, 'X') - bed->log->str, 10, 12);
}

static void test_held(void **state) {
        Bed *bed = *state;
        BusLane held = { 0 }, other = { 0 };
        Job jobs[2], cheap;

        job_begin(&jobs[0], bed, &held, "a", 1);
        bus_queue_hold(bed->queue, &held, true);
        job_begin(&jobs[1], bed, &held, "b", 1);
        job_begin(&cheap, bed, &other, "X", 1);
        run(bed, SIZE_MAX);
        assert_string_equal(bed->log->str, "X");
        bus_queue_hold(bed->queue, &held, false);
        run(bed, SIZE_MAX);
        assert_string_equal(bed->log->str, "Xab");
}

/* While nobody takes replies there are no turns, and no busy loop either. */
static void test_not_ready(void **state) {
        Bed *bed = *state;
        BusLane lane = { 0 };
        Job job;

        bed->not_ready = 3;
        job_begin(&job, bed, &lane, "a", 1);
        run(bed, 1);
        assert_string_equal(bed->log->str, "a");
        assert_int_equal(bed->n_ready, 4);
}

static int on_foreign(sd_event_source *source, void *userdata) {
        Bed *bed = userdata;

        g_string_append(bed->log, "!");
        return 0;
}

/* What else the loop has to do does not wait until all turns have been taken. */
static void test_foreign(void **state) {
        Bed *bed = *state;
        sd_event_source *foreign = NULL;
        BusLane lane = { 0 };
        Job job;

        job_begin(&job, bed, &lane, "a", 50);
        run(bed, 5);
        assert_true(sd_event_add_defer(bed->event, &foreign, on_foreign, bed) >= 0);
        run(bed, SIZE_MAX);
        assert_in_range(strchr(bed->log->str, '!') - bed->log->str, 5, 7);
        sd_event_source_unref(foreign);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_round, setup, teardown),
                cmocka_unit_test_setup_teardown(test_late, setup, teardown),
                cmocka_unit_test_setup_teardown(test_held, setup, teardown),
                cmocka_unit_test_setup_teardown(test_not_ready, setup, teardown),
                cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
