/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Another process with a shared mapping of a memfd and a userfaultfd of its own, as QEMU with the shim is to the
 * engine: it reads and writes its memory on request, and the test looks at it from outside.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GUEST_PAGE 4096

typedef struct Guest {
        pid_t pid;
        int control;      /* requests and replies */
        int memfd;
        int uffd;         /* made by the other process, CLOEXEC and non-blocking, UFFDIO_API not done */
        uint64_t address; /* of the mapping, in the other process */
        size_t n_pages;
} Guest;

/* Starts it. Ends the whole test with 77 and a reason where userfaultfd is not allowed. */
void guest_start(Guest *guest, size_t n_pages);
void guest_end(Guest *guest);

/* Enables the context with these features, or ends the test with 77: this kernel does not have them. */
void guest_enable(const Guest *guest, uint64_t features);
void guest_register(const Guest *guest, uint64_t mode);
/* UFFDIO_WRITEPROTECT, on or off. */
void guest_protect(const Guest *guest, size_t page, size_t n, bool on);

/* Writes value into the first byte of a page, and waits until that is done. */
void guest_write(const Guest *guest, size_t page, uint8_t value);
uint8_t guest_read(const Guest *guest, size_t page);
/* Asks for the write and does not wait; guest_wait() does, and returns false after the timeout. */
void guest_write_begin(const Guest *guest, size_t page, uint8_t value);
bool guest_wait(const Guest *guest, int timeout_msec);

/* The pages that PAGEMAP_SCAN reports as written, as a string of '.' and 'w'. flags: PM_SCAN_*. The caller frees it. */
char *guest_scan(const Guest *guest, uint64_t flags);

/* Pages allocated in a file. */
size_t file_pages(int fd);
