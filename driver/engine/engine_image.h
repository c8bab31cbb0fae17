/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The engine's other trade, seen from the daemon: guests into save images (driver/image) and out of them. All calls on
 * the loop's thread. */

#include "driver/engine/engine.h"
#include "driver/image/image_format.h"

typedef struct EngineSaveArgs {
        const EngineRamBlock *blocks;
        unsigned n_blocks;
        int image_fd;        /* a new, empty file, read-write, perhaps O_DIRECT; not consumed */
        int device_state_fd; /* QEMU's device state is read from here until its end; not consumed */
        ImageCompression compression;
        bool running;        /* what the image says: the guest runs after it was restored */
        const char *xml;
} EngineSaveArgs;

/* Saves the guest, which is stopped and stays so. Never populates a page of its RAM. Returns when the whole image is on
 * disk and marked as complete. engine_stats() tells meanwhile: resident_bytes, pending_bytes, transferred_bytes,
 * normal_pages, zero_pages. engine_kill() from elsewhere cancels. Fiber. */
int engine_save(Engine *engine, const EngineSaveArgs *args, GError **reterr);

typedef struct EngineLoadArgs {
        const EngineRamBlock *blocks; /* fresh: nobody has written to them. states_fd: with lazy */
        unsigned n_blocks;
        int image_fd;        /* read-only or read-write, perhaps O_DIRECT; not consumed */
        int device_state_fd; /* the device state is written here, followed by its end; not consumed; not with adopt */
        bool lazy;           /* the guest runs while its memory is still in the image */
        bool keep_order;     /* lazy: note in the image what the guest touches first, for its next restore */
        pid_t qemu_pid;      /* lazy */
        int uffd;            /* lazy: the shim's synchronous userfaultfd; not consumed */
        /* lazy: in place of an engine that ended: page tables and memory are as that one left them */
        bool adopt;
} EngineLoadArgs;

/* Loads an image: memory first, then the device state, which QEMU must be reading. Returns when QEMU has been given
 * everything. Fiber. OPERATION_FAILED with what is wrong with the image; the memory is unusable then. With lazy, memory
 * is not read, but what is touched of it is; *ret_lazy (may be NULL) is false if that was not possible, and everything
 * was loaded. */
int engine_load(Engine *engine, const EngineLoadArgs *args, bool *ret_lazy, GError **reterr);
/* After a lazy engine_load(): the guest runs now; reads everything else. `postcopy_complete` is called when all is
 * there, and the helper ends; `failed`, if something of the image cannot be read (or the helper has gone, see adopt).
 * From here on the helper goes on if the daemon ends. Fiber. */
int engine_load_rest(Engine *engine, GError **reterr);
