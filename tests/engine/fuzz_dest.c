/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* All that a source can say after it has proven the token, fed to the real receiver over a small piece of RAM. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/base/clock.h"
#include "driver/base/io.h"
#include "driver/base/units.h"
#include "driver/engine/dest_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_BYTES (4 * MIB)

static void no_command(CtlCall *call, const char *command, json_object *arguments, int *fds, size_t n_fds,
                       void *userdata) {
        abort();
}

static void require(bool condition) {
        if (!condition)
                abort();
}

static int make_memfd(uint64_t bytes) {
        int fd = memfd_create("fuzz", MFD_CLOEXEC);
        require(fd >= 0 && ftruncate(fd, (off_t) bytes) >= 0);
        return fd;
}

static void open_dest(Dest *dest, Ctl *ctl, int socket) {
        *dest = (Dest) {
                .ctl = ctl,
                .n_blocks = 1,
                .idle_timeout_usec = USEC_PER_SEC,
                .device_max_bytes = 100000,
                .device_fd = make_memfd(0),
                .spool_fd = make_memfd(0),
                .stop_fd = -EBADF,
                .listen_fd = -EBADF,
                .commit_fd = -EBADF,
                .guest_pidfd = -EBADF,
                .state = DEST_RECEIVING,
        };
        pthread_mutex_init(&dest->lock, NULL);
        dest->blocks = g_new0(DestBlock, 1);
        EngineRamBlock config = { .id = "ram0", .size_bytes = RAM_BYTES, .page_bytes = 4096 };
        require(ram_block_init(&dest->blocks[0].ram, &config, make_memfd(RAM_BYTES), RAM_BLOCK_WRITE, NULL) >= 0);
        require(page_states_init(&dest->blocks[0].states, dest->blocks[0].ram.n_pages) >= 0);
        require(page_set_init(&dest->blocks[0].large, RAM_BYTES / WIRE_LARGE_BYTES + 1) >= 0);
        require(page_set_init(&dest->blocks[0].announced, RAM_BYTES / WIRE_LARGE_BYTES + 1) >= 0);
        dest->n_links = 1;
        dest->blocks[0].wire = (WireBlock) { .size_bytes = RAM_BYTES, .page_bytes = 4096, .id = "ram0" };
        dest->channel = channel_new(socket, "fuzz", USEC_PER_SEC);
}

static void close_dest(Dest *dest) {
        channel_free(dest->channel);
        dest_frame_free(dest->frame);
        page_states_deinit(&dest->blocks[0].states);
        populate_free(dest->populate);
        page_set_deinit(&dest->blocks[0].large);
        page_set_deinit(&dest->blocks[0].announced);
        ram_block_deinit(&dest->blocks[0].ram);
        g_free(dest->blocks);
        fd_close(dest->device_fd);
        fd_close(dest->spool_fd);
        pthread_mutex_destroy(&dest->lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        int pair[2], control[2];
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) >= 0);
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) >= 0);
        /* What does not fit into the socket is cut off: the receiver reads only after this. */
        (void) send(pair[0], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void) shutdown(pair[0], SHUT_WR);

        Ctl *ctl = ctl_new(control[1], no_command, NULL);
        Dest dest;
        open_dest(&dest, ctl, pair[1]);
        dest_receive(&dest, false);

        /* The stream has ended without COMMIT being possible: nobody asked for READY. */
        require(dest.state == DEST_FAILED);
        require(ram_block_allocated(&dest.blocks[0].ram) <= RAM_BYTES);
        require(dest.device_bytes <= dest.device_max_bytes);
        close_dest(&dest);
        ctl_free(ctl);
        close(control[0]);
        close(pair[0]);
        return 0;
}
