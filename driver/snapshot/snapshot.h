/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Guests into save images and back: the jobs behind save, managedsave, restore, and start from a managed save. All
 * calls on the loop's thread.
 */

#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/engine/engine_image.h"
#include "driver/guest/guest.h"
#include "driver/image/image_reader.h"

/* Each is written to the domain's status file before it acts, so that a restarted daemon knows what to settle
 * (snapshot_recover()). */
typedef enum SnapshotPhase {
        SNAPSHOT_PHASE_SAVING,   /* the image is being written; the guest, paused, is ours */
        SNAPSHOT_PHASE_NAMING,   /* the image is complete and gets its name; with it the guest belongs to the image */
        SNAPSHOT_PHASE_LOADING,  /* memory and device state are being loaded; the guest belongs to the image */
        SNAPSHOT_PHASE_RESUMING, /* everything is there, or comes when it is touched: the guest may run already */
        SNAPSHOT_PHASE_LAZY,     /* it does, and the rest of its memory is being read */
        _SNAPSHOT_PHASE_MAX,
        _SNAPSHOT_PHASE_INVALID = -22,
} SnapshotPhase;

/* Names as in the status file; _SNAPSHOT_PHASE_INVALID for one that is none. */
const char *snapshot_phase_to_string(SnapshotPhase phase);
SnapshotPhase snapshot_phase_from_string(const char *name);

/* What all jobs of a driver share; fixed after start. */
typedef struct SnapshotContext {
        GuestManager *guests;
        const char *engine_helper;
        const char *dir;              /* of managed saves */
        ImageCompression compression; /* of images that nobody asked to be otherwise */
        bool lazy;                    /* guests run before their memory is read, where that is possible */
} SnapshotContext;

#define SNAPSHOT_QEMU_FD "ferry-image" /* QEMU's name for the image's descriptor that it keeps */

struct Snapshot {
        unsigned refs;
        SnapshotContext *context;
        Domain *domain;             /* a reference */
        bool restore;               /* else save */
        SnapshotPhase phase;
        char *path, *temporary;     /* of the image; temporary: its name while it is written */
        unsigned char image_id[IMAGE_ID_BYTES];
        bool managed;               /* the image goes when the guest runs again */
        /* restore: not all memory has been read when the guest runs. The image's file is then also open in QEMU, so
         * that neither its removal nor the end of engine and daemon loses it; inode names it there. */
        bool lazy;
        uint64_t device, inode;
        unsigned n_restarts;        /* of the engine */
        bool run;                   /* restore: the guest is to run. save: it ran before */

        Engine *engine;
        GError *failure;            /* the first */
        bool abort_requested, guest_exited, qemu_killed; /* qemu_killed: by us, since failure says why */
        uint64_t started_usec, ended_usec, stopped_usec; /* monotonic; 0: not yet */
        EngineStats stats;
};

/* Makes the job of a domain (which must have none) and takes the domain's job. */
int snapshot_new(SnapshotContext *context, Domain *domain, bool restore, const char *path, Snapshot **ret_snapshot,
                 GError **reterr);
Snapshot *snapshot_ref(Snapshot *snapshot);
Snapshot *snapshot_unref(Snapshot *snapshot);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Snapshot, snapshot_unref)
/* Moves on; saves the domain's status. 0, or negative errno if that could not be saved (the phase has moved all the
 * same). */
int snapshot_set_phase(Snapshot *snapshot, SnapshotPhase phase);
/* The job is over: the engine is ended, the domain is free for others. Idempotent. */
void snapshot_end(Snapshot *snapshot);
/* Whether something speaks against going on: an abort, the guest's end, a failure. 0, or negative with reterr. */
int snapshot_check(Snapshot *snapshot, GError **reterr);
/* A user wants it to end (domjobabort). OPERATION_INVALID when it is too late. */
int snapshot_abort(Snapshot *snapshot, GError **reterr);
/* driver/guest says that the guest has ended. */
void snapshot_guest_exited(Snapshot *snapshot);
/* A new engine for the job. Fiber. */
int snapshot_start_engine(Snapshot *snapshot, GError **reterr);

/* ---- files (snapshot_file.c) ---- */

/* Opens an image and reads its beginning. Errors name the file. direct: with O_DIRECT. */
int snapshot_file_open(const char *path, bool direct, ImageReader **ret_reader, GError **reterr);
/* A new file beside path, locked against a second save to the same place; what an interrupted one has left there is
 * emptied. *ret_temporary is its name. Refused if path is something else than a regular file. */
int snapshot_file_create(const char *path, bool direct, int *ret_fd, char **ret_temporary, GError **reterr);
/* Gives the finished file its name, replacing what has it, and has that written to disk. 0 or negative errno: then it
 * does not have the name. */
int snapshot_file_publish(const char *temporary, const char *path);
/* The path of the domain's managed save. Owned by the caller. */
char *snapshot_managed_path(const SnapshotContext *context, const char *name);
/* Whether the image at path is the one with this id. */
bool snapshot_file_is(const char *path, const unsigned char *id);

/* ---- statistics (snapshot_stats.c) ---- */

/* What domjobinfo shows of it. */
void snapshot_stats_info(const Snapshot *snapshot, virDomainJobInfo *ret_info);
/* Typed parameters; the caller frees them with virTypedParamsFree(). */
int snapshot_stats_params(const Snapshot *snapshot, virTypedParameterPtr *ret_params, int *ret_n, GError **reterr);
/* Keeps the numbers as those of the domain's last job, and emits job-completed. */
void snapshot_stats_complete(Snapshot *snapshot, bool success);

/* ---- the jobs ---- */

typedef struct SnapshotSaveArgs {
        const char *path;
        const char *xml;     /* instead of the guest's own definition; must be compatible. NULL: its own */
        ImageCompression compression;
        bool bypass_cache;
        bool managed;
        int running;         /* what the image says: 1, 0; -1: as the guest is now */
} SnapshotSaveArgs;

/* Saves a running or paused guest and ends it. If anything fails it goes on here. Fiber. */
int snapshot_save(SnapshotContext *context, Domain *domain, const SnapshotSaveArgs *args, GError **reterr);

typedef struct SnapshotRestoreArgs {
        const char *path;
        bool bypass_cache;
        bool managed;        /* the file is removed when the guest runs (or is paused, as asked) */
        int running;         /* 1, 0; -1: as the image says */
} SnapshotRestoreArgs;

/* Starts an inactive domain from an image. def is consumed. If anything fails, the domain is inactive and the image as
 * it was. Fiber. */
int snapshot_restore(SnapshotContext *context, Domain *domain, DomainDef *def, const SnapshotRestoreArgs *args,
                     GError **reterr);

/* What the job's engine says (loop): everything has been read; it cannot go on, or has ended. Handled on a fiber of
 * their own. */
void snapshot_lazy_complete(Snapshot *snapshot);
void snapshot_lazy_failed(Snapshot *snapshot, bool gone);
/* A new engine in place of one that ended. Fiber. */
int snapshot_lazy_adopt(Snapshot *snapshot, GError **reterr);
/* RAM blocks with their page tables; *ret_tables holds the tables' descriptors, to be freed with g_array_unref(). NULL
 * with an error. Owned by the caller. */
EngineRamBlock *snapshot_lazy_blocks(Snapshot *snapshot, unsigned *ret_n, GArray **ret_tables, GError **reterr);

/* Settles what an earlier daemon has left (domain->snapshot_saved). Fiber. */
void snapshot_recover(SnapshotContext *context, Domain *domain);
