/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/kernel/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/base/io.h"
#include "driver/base/kernel.h"
#include "driver/base/uapi.h"

#define REPLY_MSEC 10000

typedef struct Request {
        bool write;
        uint8_t value;
        size_t page;
} Request;

static G_GNUC_NORETURN void skip_all(const char *reason) {
        printf("%s\n", reason);
        exit(77);
}

/* The other process. */
static G_GNUC_NORETURN void serve(int control, int memfd, size_t n_pages) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        volatile uint8_t *memory = mmap(NULL, n_pages * GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
        int uffd = kernel_userfaultfd(false);
        uint64_t address = (uintptr_t) memory;
        if (memory == MAP_FAILED || fd_send_with_fds(control, &address, sizeof(address), &uffd, uffd >= 0) < 0)
                _exit(1);
        Request request;
        while (fd_read_all(control, &request, sizeof(request)) >= 0) {
                if (request.write)
                        memory[request.page * GUEST_PAGE] = request.value;
                uint8_t value = memory[request.page * GUEST_PAGE];
                if (fd_write_all(control, &value, sizeof(value)) < 0)
                        break;
        }
        _exit(0);
}

void guest_start(Guest *guest, size_t n_pages) {
        int sockets[2];
        *guest = (Guest) { .uffd = -EBADF, .n_pages = n_pages };
        guest->memfd = memfd_create("guest", MFD_CLOEXEC);
        assert_true(guest->memfd >= 0);
        assert_int_equal(ftruncate(guest->memfd, (off_t) (n_pages * GUEST_PAGE)), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
        guest->pid = fork();
        assert_true(guest->pid >= 0);
        if (guest->pid == 0)
                serve(sockets[1], guest->memfd, n_pages);
        close(sockets[1]);
        guest->control = sockets[0];

        size_t n_fds = 0;
        ssize_t n = fd_recv_with_fds(guest->control, &guest->address, sizeof(guest->address), &guest->uffd, 1, &n_fds);
        assert_int_equal(n, sizeof(guest->address));
        if (n_fds == 0)
                skip_all("userfaultfd is not allowed: run as root, or set the sysctl vm.unprivileged_userfaultfd to 1");
}

void guest_end(Guest *guest) {
        int status;
        kill(guest->pid, SIGKILL);
        assert_int_equal(waitpid(guest->pid, &status, 0), guest->pid);
        guest->uffd = fd_close(guest->uffd);
        guest->memfd = fd_close(guest->memfd);
        guest->control = fd_close(guest->control);
}

void guest_enable(const Guest *guest, uint64_t features) {
        struct uffdio_api api = { .api = UFFD_API, .features = features };
        if (ioctl(guest->uffd, UFFDIO_API, &api) < 0) {
                printf("this kernel has not all userfaultfd features of 0x%llx\n", (unsigned long long) features);
                exit(77);
        }
}

void guest_register(const Guest *guest, uint64_t mode) {
        struct uffdio_register reg = { .range = { guest->address, guest->n_pages * GUEST_PAGE }, .mode = mode };
        assert_int_equal(ioctl(guest->uffd, UFFDIO_REGISTER, &reg), 0);
}

void guest_protect(const Guest *guest, size_t page, size_t n, bool on) {
        struct uffdio_writeprotect wp = {
                .range = { guest->address + page * GUEST_PAGE, n * GUEST_PAGE },
                .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
        };
        assert_int_equal(ioctl(guest->uffd, UFFDIO_WRITEPROTECT, &wp), 0);
}

static void ask(const Guest *guest, Request request) {
        assert_true(request.page < guest->n_pages);
        assert_true(fd_write_all(guest->control, &request, sizeof(request)) >= 0);
}

static uint8_t reply(const Guest *guest) {
        uint8_t value;
        assert_true(fd_read_all(guest->control, &value, sizeof(value)) >= 0);
        return value;
}

void guest_write_begin(const Guest *guest, size_t page, uint8_t value) {
        ask(guest, (Request) { .write = true, .value = value, .page = page });
}

bool guest_wait(const Guest *guest, int timeout_msec) {
        struct pollfd control = { .fd = guest->control, .events = POLLIN };
        if (poll(&control, 1, timeout_msec) <= 0)
                return false;
        (void) reply(guest);
        return true;
}

void guest_write(const Guest *guest, size_t page, uint8_t value) {
        guest_write_begin(guest, page, value);
        assert_true(guest_wait(guest, REPLY_MSEC));
}

uint8_t guest_read(const Guest *guest, size_t page) {
        ask(guest, (Request) { .page = page });
        return reply(guest);
}

char *guest_scan(const Guest *guest, uint64_t flags) {
        g_autofree char *path = g_strdup_printf("/proc/%d/pagemap", (int) guest->pid);
        _cleanup_fd_ int pagemap = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(pagemap >= 0);
        UapiPageRegion regions[64];
        UapiPmScanArg arg = {
                .size = sizeof(arg),
                .flags = flags,
                .start = guest->address,
                .end = guest->address + guest->n_pages * GUEST_PAGE,
                .vec = (uintptr_t) regions,
                .vec_len = G_N_ELEMENTS(regions),
                .category_mask = PAGE_IS_WRITTEN,
                .return_mask = PAGE_IS_WRITTEN,
        };
        int n = ioctl(pagemap, PAGEMAP_SCAN, &arg);
        if (n < 0 && errno == ENOTTY)
                skip_all("this kernel has no PAGEMAP_SCAN (Linux 6.7)");
        assert_true(n >= 0);
        assert_int_equal(arg.walk_end, arg.end);

        char *map = g_strnfill(guest->n_pages, '.');
        for (int i = 0; i < n; i++)
                for (uint64_t at = regions[i].start; at < regions[i].end; at += GUEST_PAGE)
                        map[(at - guest->address) / GUEST_PAGE] = 'w';
        return map;
}

size_t file_pages(int fd) {
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        return (size_t) st.st_blocks * 512 / GUEST_PAGE;
}
