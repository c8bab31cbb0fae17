/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Theory of operation
 *
 * virt-ferry-prealloc: allocates all pages of a RAM file, in N processes side by side. The daemon starts it and waits
 * in a fiber, so its loop goes on while hundreds of GiB are cleared. Processes do what threads would (the pages belong
 * to the file, not to them), and memory that cannot be had kills or fails one of them, never the daemon.
 *
 *   virt-ferry-prealloc FD SIZE PAGE PROCESSES POLICY [NODE...]
 *
 * SIZE and PAGE in bytes; POLICY and NODEs as for mbind(2), 0: none. The policy is set on the mapping before anything
 * is populated; for tmpfs and memfd the kernel keeps it with the file. Each process takes 64 MiB pieces in turn (at
 * least one page), so that all of them end at about the same time. Exit status 0, or 1 with a sentence on stderr.
 */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

#define PREALLOC_PIECE_BYTES (UINT64_C(64) << 20)
#define PREALLOC_MAX_PROCESSES 256
#define PREALLOC_MAX_NODES 1024
#define NODE_MASK_WORD_BITS (sizeof(unsigned long) * CHAR_BIT)

typedef struct Prealloc {
        uint8_t *memory;
        uint64_t size;
        uint64_t page;
        unsigned processes;
} Prealloc;

static int prealloc_fail(const char *what, int errnum) {
        (void) fprintf(stderr, "virt-ferry-prealloc: %s: %s\n", what, strerror(errnum));
        return 1;
}

static bool prealloc_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret) {
        char *end = NULL;
        errno = 0;
        unsigned long long value = strtoull(text, &end, 10);
        if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < min || value > max)
                return false;
        *ret = value;
        return true;
}

/* Before Linux 5.14: an atomic "or 0" allocates the page and cannot lose what another process writes at the same time.
 */
static void prealloc_touch(uint8_t *memory, uint64_t length, uint64_t page) {
        for (uint64_t offset = 0; offset < length; offset += page)
                (void) __atomic_fetch_or(memory + offset, 0, __ATOMIC_RELAXED);
}

static int prealloc_worker(const Prealloc *job, unsigned index) {
        uint64_t piece = job->page > PREALLOC_PIECE_BYTES ? job->page : PREALLOC_PIECE_BYTES;

        for (uint64_t offset = index * piece; offset < job->size; offset += job->processes * piece) {
                uint64_t length = job->size - offset < piece ? job->size - offset : piece;
                int r;
                do
                        r = madvise(job->memory + offset, length, MADV_POPULATE_WRITE);
                while (r < 0 && (errno == EINTR || errno == EAGAIN));
                if (r < 0 && errno == EINVAL)
                        prealloc_touch(job->memory + offset, length, job->page);
                else if (r < 0)
                        return prealloc_fail("cannot allocate memory", errno == EFAULT ? ENOMEM : errno);
        }
        return 0;
}

static int prealloc_bind(const Prealloc *job, int policy, char *const *nodes, int n_nodes) {
        unsigned long mask[PREALLOC_MAX_NODES / NODE_MASK_WORD_BITS] = {};

        for (int i = 0; i < n_nodes; i++) {
                uint64_t node;
                if (!prealloc_parse(nodes[i], 0, PREALLOC_MAX_NODES - 1, &node))
                        return prealloc_fail("bad node", EINVAL);
                mask[node / NODE_MASK_WORD_BITS] |= 1UL << (node % NODE_MASK_WORD_BITS);
        }
        /* The kernel counts one bit less than it is told. */
        if (syscall(SYS_mbind, job->memory, job->size, policy, mask, (unsigned long) PREALLOC_MAX_NODES + 1, 0U) < 0)
                return prealloc_fail("cannot set the NUMA policy", errno);
        return 0;
}

static int prealloc_run(const Prealloc *job) {
        pid_t parent = getpid();
        int result = 0;

        for (unsigned i = 0; i < job->processes; i++) {
                pid_t pid = fork();
                if (pid < 0) {
                        result = prealloc_fail("cannot fork", errno);
                        break;
                }
                if (pid == 0) {
                        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                                _exit(1);
                        _exit(prealloc_worker(job, i));
                }
        }
        for (;;) {
                int status;
                pid_t pid = wait(&status);
                if (pid < 0 && errno == EINTR)
                        continue;
                if (pid < 0)
                        return result;
                if (WIFSIGNALED(status))
                        result = prealloc_fail(strsignal(WTERMSIG(status)), ENOMEM);
                else if (WEXITSTATUS(status) != 0)
                        result = 1;
        }
}

int main(int argc, char *argv[]) {
        uint64_t fd, size, page, processes, policy;

        if (argc < 6 || !prealloc_parse(argv[1], 0, INT_MAX, &fd) || !prealloc_parse(argv[2], 1, INT64_MAX, &size) ||
            !prealloc_parse(argv[3], 4096, UINT64_C(1) << 40, &page) ||
            !prealloc_parse(argv[4], 1, PREALLOC_MAX_PROCESSES, &processes) || !prealloc_parse(argv[5], 0, 3, &policy))
                return prealloc_fail("usage: FD SIZE PAGE PROCESSES POLICY [NODE...]", EINVAL);

        Prealloc job = {.size = size, .page = page, .processes = (unsigned) processes};
        job.memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, (int) fd, 0);
        if (job.memory == MAP_FAILED)
                return prealloc_fail("cannot map the RAM file", errno);
        /* Our tmpfs may be mounted huge=advise: large folios cost a tenth. Without THP this fails, and nothing is lost.
         */
        (void) madvise(job.memory, size, MADV_HUGEPAGE);

        if (policy != 0 && prealloc_bind(&job, (int) policy, argv + 6, argc - 6) != 0)
                return 1;
        return prealloc_run(&job);
}
