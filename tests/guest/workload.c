/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The program that runs inside the test guest.
 *
 * Theory of operation
 *
 * Two serial lines. The console (ttyS0) is for people: it takes the commands below and answers them. The control line
 * (ttyS1) takes the same commands and carries the heartbeat besides: a line H <beat> <milliseconds of the guest's
 * monotonic clock> <page writes>      (hexadecimal) every few milliseconds, from a real-time thread. How long the guest
 * stood still is what the host sees between two of them.
 *
 * A command is a line `<tag> <word> <argument>...`; its answer is one line `R <tag> ok|error ...` with the same tag, so
 * that an answer which was under way while the guest moved is never taken for another's.
 *
 *         ping                         fill MIB [SPARSE_MIB [SEED]]         write PAGES_PER_SEC WSS_MIB (0: as fast as
 * it can) probe (reads random pages of the filled area) probed (ends that; reads by log2 of nanoseconds) stop flip
 * (next stage of the sparse area) verify stats heartbeat MSEC (0: none) disk DEVICE MIB THREADS diskverify poweroff
 * reboot crash
 *
 * ACPI's power button, which is what `virsh shutdown` presses, powers off.
 */

#include "disk.h"
#include "memory.h"
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/input.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/reboot.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 256
#define HEARTBEAT_DEFAULT_MSEC 5
#define KLOG_CONSOLE_LEVEL 8

typedef struct Line {
        int fd;
        pthread_mutex_t lock; /* one line at a time goes out */
} Line;

typedef struct Workload {
        Memory *memory;
        Disk *disk;
        Probe *probe;
        pthread_mutex_t command_lock; /* one command at a time, from whichever line */
        Line console, control;
        atomic_uint heartbeat_msec;
        _Atomic uint64_t beats;
} Workload;

static void nap(long msec) {
        const struct timespec time = { .tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000L };

        nanosleep(&time, NULL);
}

static uint64_t monotonic_msec(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* ---- lines ---- */

static int line_open(Line *line, const char *path) {
        struct termios settings;

        pthread_mutex_init(&line->lock, NULL);
        line->fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (line->fd < 0)
                return -errno;
        if (tcgetattr(line->fd, &settings) < 0)
                return -errno;
        cfmakeraw(&settings);
        cfsetspeed(&settings, B115200);
        settings.c_cflag |= CLOCAL;
        settings.c_cflag &= ~(tcflag_t) CRTSCTS;
        return tcsetattr(line->fd, TCSANOW, &settings) < 0 ? -errno : 0;
}

static void line_put(Line *line, const char *text, size_t length) {
        pthread_mutex_lock(&line->lock);
        while (length > 0) {
                ssize_t n = write(line->fd, text, length);

                if (n < 0 && errno != EINTR)
                        break;
                if (n > 0) {
                        text += n;
                        length -= (size_t) n;
                }
        }
        pthread_mutex_unlock(&line->lock);
}

__attribute__((format(printf, 2, 3))) static void line_printf(Line *line, const char *format, ...) {
        char text[LINE_MAX_BYTES];
        va_list args;
        int n;

        va_start(args, format);
        n = vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (n > 0)
                line_put(line, text, (size_t) n < sizeof(text) ? (size_t) n : sizeof(text) - 1);
}

/* ---- the heartbeat ---- */

static void *heartbeat_main(void *userdata) {
        Workload *workload = userdata;
        const struct sched_param priority = { .sched_priority = 10 };
        struct timespec next;

        pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
        clock_gettime(CLOCK_MONOTONIC, &next);
        for (;;) {
                unsigned msec = workload->heartbeat_msec;
                struct timespec now;

                if (msec == 0) {
                        nap(100);
                        clock_gettime(CLOCK_MONOTONIC, &next);
                        continue;
                }
                next.tv_nsec += (long) msec * 1000000L;
                next.tv_sec += next.tv_nsec / 1000000000L;
                next.tv_nsec %= 1000000000L;
                clock_gettime(CLOCK_MONOTONIC, &now);
                if (now.tv_sec > next.tv_sec || (now.tv_sec == next.tv_sec && now.tv_nsec > next.tv_nsec))
                        next = now; /* late: beat at once, do not catch up with a burst */
                else
                        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
                line_printf(&workload->control, "H %llx %llx %llx\n", (unsigned long long) ++workload->beats,
                            (unsigned long long) monotonic_msec(),
                            (unsigned long long) memory_writes(workload->memory));
        }
        return NULL;
}

/* ---- commands ---- */

typedef struct Command {
        Workload *workload;
        Line *line;
        const char *tag;
        unsigned n_args;
        char *args[4];
} Command;

static uint64_t command_number(const Command *command, unsigned index, uint64_t fallback) {
        return index < command->n_args ? strtoull(command->args[index], NULL, 0) : fallback;
}

static void command_result(const Command *command, int r) {
        if (r < 0)
                line_printf(command->line, "R %s error %s\n", command->tag, strerror(-r));
        else
                line_printf(command->line, "R %s ok\n", command->tag);
}

static void command_ping(const Command *command) {
        command_result(command, 0);
}

static void command_fill(const Command *command) {
        command_result(command, memory_fill(command->workload->memory, command_number(command, 0, 0),
                                            command_number(command, 1, 0), command_number(command, 2, 1)));
}

static void command_write(const Command *command) {
        command_result(command, memory_write(command->workload->memory, command_number(command, 0, 0),
                                             command_number(command, 1, 0)));
}

static void command_stop(const Command *command) {
        memory_stop(command->workload->memory);
        command_result(command, 0);
}

static void command_flip(const Command *command) {
        command_result(command, memory_flip(command->workload->memory));
}

static void command_verify(const Command *command) {
        MemoryVerdict verdict;
        uint64_t start = monotonic_msec();

        memory_verify(command->workload->memory, &verdict);
        line_printf(
                command->line,
                "R %s ok pages=%llu data=%llu zero=%llu bad=%llu writes=%llu msec=%llu first_bad=%llu got=%llx "
                "want=%llx\n",
                command->tag, (unsigned long long) verdict.pages, (unsigned long long) verdict.data,
                (unsigned long long) verdict.zero, (unsigned long long) verdict.bad,
                (unsigned long long) verdict.writes, (unsigned long long) (monotonic_msec() - start),
                (unsigned long long) verdict.first_bad, (unsigned long long) verdict.got,
                (unsigned long long) verdict.want);
}

static void command_stats(const Command *command) {
        Workload *workload = command->workload;
        struct sysinfo info = {};

        sysinfo(&info);
        line_printf(command->line,
                    "R %s ok msec=%llu beats=%llu writes=%llu total_kib=%llu free_kib=%llu cpus=%ld disk=%llu\n",
                    command->tag, (unsigned long long) monotonic_msec(), (unsigned long long) workload->beats,
                    (unsigned long long) memory_writes(workload->memory),
                    (unsigned long long) info.totalram * info.mem_unit / 1024,
                    (unsigned long long) info.freeram * info.mem_unit / 1024, sysconf(_SC_NPROCESSORS_ONLN),
                    (unsigned long long) (workload->disk ? disk_operations(workload->disk) : 0));
}

static void command_heartbeat(const Command *command) {
        command->workload->heartbeat_msec = (unsigned) command_number(command, 0, HEARTBEAT_DEFAULT_MSEC);
        command_result(command, 0);
}

static void command_disk(const Command *command) {
        Workload *workload = command->workload;
        int r = -EINVAL;

        if (workload->disk)
                r = -EBUSY;
        else if (command->n_args > 0)
                r = disk_start(command->args[0], command_number(command, 1, 16),
                               (unsigned) command_number(command, 2, 4), &workload->disk);
        command_result(command, r);
}

static void command_diskverify(const Command *command) {
        Workload *workload = command->workload;
        DiskVerdict verdict;
        int r;

        if (!workload->disk) {
                command_result(command, -ENODEV);
                return;
        }
        r = disk_verify(workload->disk, &verdict);
        workload->disk = NULL;
        if (r < 0) {
                command_result(command, r);
                return;
        }
        line_printf(
                command->line,
                "R %s ok reads=%llu writes=%llu slots=%llu bad_slots=%llu blocks=%llu bad_blocks=%llu io_errors=%llu\n",
                command->tag, (unsigned long long) verdict.reads, (unsigned long long) verdict.writes,
                (unsigned long long) verdict.slots, (unsigned long long) verdict.bad_slots,
                (unsigned long long) verdict.blocks, (unsigned long long) verdict.bad_blocks,
                (unsigned long long) verdict.io_errors);
}

static void command_probe(const Command *command) {
        Workload *workload = command->workload;
        uint64_t n_pages = 0;
        const void *memory = memory_filled(workload->memory, &n_pages);
        int r = 0;

        if (workload->probe)
                r = -EBUSY;
        else if (!memory || n_pages == 0)
                r = -EINVAL;
        else
                workload->probe = probe_start(memory, n_pages);
        command_result(command, r < 0 || workload->probe ? r : -ENOMEM);
}

static void command_probed(const Command *command) {
        Workload *workload = command->workload;
        char text[LINE_MAX_BYTES];
        ProbeResult result;
        size_t n = 0;

        if (!workload->probe) {
                command_result(command, -EINVAL);
                return;
        }
        probe_stop(workload->probe, &result);
        workload->probe = NULL;
        for (unsigned i = 0; i < PROBE_BUCKETS && n < sizeof(text); i++)
                n += (size_t) snprintf(text + n, sizeof(text) - n, i ? ",%llu" : "%llu",
                                       (unsigned long long) result.counts[i]);
        line_printf(command->line, "R %s ok reads=%llu histogram=%.*s\n", command->tag,
                    (unsigned long long) result.reads, (int) sizeof(text) - 64, text);
}

static void command_poweroff(const Command *command) {
        command_result(command, 0);
        tcdrain(command->line->fd);
        reboot(RB_POWER_OFF);
}

static void command_reboot(const Command *command) {
        command_result(command, 0);
        tcdrain(command->line->fd);
        reboot(RB_AUTOBOOT);
}

static void command_crash(const Command *command) {
        int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

        command_result(command, fd < 0 ? -errno : 0);
        tcdrain(command->line->fd);
        if (fd >= 0 && write(fd, "c", 1) < 0)
                line_printf(command->line, "crash: %s\n", strerror(errno));
}

static void command_run(Workload *workload, Line *line, char *text) {
        static const struct {
                const char *word;
                void (*run)(const Command *command);
        } commands[] = {
                { "ping", command_ping },       { "fill", command_fill },           { "write", command_write },
                { "stop", command_stop },       { "flip", command_flip },           { "verify", command_verify },
                { "stats", command_stats },     { "heartbeat", command_heartbeat }, { "disk", command_disk },
                { "poweroff", command_poweroff }, { "diskverify", command_diskverify }, { "reboot", command_reboot },
                { "crash", command_crash },     { "probe", command_probe },         { "probed", command_probed },
        };
        Command command = { .workload = workload, .line = line };
        char *state = NULL, *word;

        command.tag = strtok_r(text, " \r\t", &state);
        if (!command.tag)
                return;
        word = strtok_r(NULL, " \r\t", &state);
        while (command.n_args < 4 && (command.args[command.n_args] = strtok_r(NULL, " \r\t", &state)))
                command.n_args++;
        for (size_t i = 0; word && i < sizeof(commands) / sizeof(commands[0]); i++)
                if (strcmp(word, commands[i].word) == 0) {
                        pthread_mutex_lock(&workload->command_lock);
                        commands[i].run(&command);
                        pthread_mutex_unlock(&workload->command_lock);
                        return;
                }
        line_printf(line, "R %s error unknown command; a command is: TAG WORD ARGUMENT...\n", command.tag);
}

/* Reads commands for ever. */
static void serve(Workload *workload, Line *line) {
        char text[LINE_MAX_BYTES];
        size_t n = 0;

        for (;;) {
                char c;
                ssize_t r = read(line->fd, &c, 1);

                if (r <= 0) {
                        nap(10);
                        continue;
                }
                if (c != '\n' && c != '\r') {
                        if (n < sizeof(text) - 1)
                                text[n++] = c;
                        continue;
                }
                text[n] = 0;
                n = 0;
                command_run(workload, line, text);
        }
}

static void *console_main(void *userdata) {
        Workload *workload = userdata;

        serve(workload, &workload->console);
        return NULL;
}

/* ---- the power button ---- */

static void *button_main(void *userdata) {
        const char *path = userdata;
        struct input_event event;
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        while (fd >= 0 && read(fd, &event, sizeof(event)) == (ssize_t) sizeof(event))
                if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) {
                        sync();
                        reboot(RB_POWER_OFF);
                }
        return NULL;
}

static void watch_buttons(void) {
        glob_t found = {};
        pthread_t thread;

        if (glob("/dev/input/event*", 0, NULL, &found) != 0)
                return;
        for (size_t i = 0; i < found.gl_pathc; i++) /* found stays allocated: the threads use its strings */
                if (pthread_create(&thread, NULL, button_main, found.gl_pathv[i]) == 0)
                        pthread_detach(thread);
}

int main(int argc, char *argv[]) {
        static Workload workload = { .command_lock = PTHREAD_MUTEX_INITIALIZER,
                                     .heartbeat_msec = HEARTBEAT_DEFAULT_MSEC };
        pthread_t thread;

        workload.memory = memory_new();
        if (!workload.memory)
                return EXIT_FAILURE;
        klogctl(KLOG_CONSOLE_LEVEL, NULL, 1); /* the kernel keeps off the console, except for a panic */
        watch_buttons();
        if (line_open(&workload.console, "/dev/ttyS0") >= 0) {
                line_printf(&workload.console, "\r\nFerry test guest is ready.\r\n");
                pthread_create(&thread, NULL, console_main, &workload);
        }
        if (line_open(&workload.control, "/dev/ttyS1") < 0)
                for (;;)
                        pause(); /* no control line: the console serves */
        line_printf(&workload.control, "READY\n");
        pthread_create(&thread, NULL, heartbeat_main, &workload);
        serve(&workload, &workload.control);
        return EXIT_SUCCESS;
}
