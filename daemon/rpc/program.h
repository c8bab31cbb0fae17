/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What we serve: tables of procedures, one per family (dispatch_*.c), found by program and number.
 */

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/rpc/frame.h"

typedef struct RpcCall RpcCall;

/*
 * Serves one call. Runs in a fiber of its own. @args: decoded, borrowed, may be changed but not freed; NULL if there
 * are none.
 * @ret: zeroed; what is put in there is freed by its XDR filter, also after an error, so strings come from g_malloc()
 * (which is malloc()). 0 or negative with reterr.
 */
typedef int (*ProcedureFunc)(RpcCall *call, void *args, void *ret, GError **reterr);

typedef struct Procedure {
        int32_t number;
        const char *name; /* libvirt's, without the REMOTE_PROC_ or QEMU_PROC_ */
        const char *args_name, *ret_name; /* types in the .x file, NULL: void */
        size_t args_size, ret_size;
        xdrproc_t args_filter, ret_filter; /* NULL: void */
        ProcedureFunc func;
        bool before_open; /* allowed before CONNECT_OPEN */
} Procedure;

#define PROCEDURE(name_) .number = REMOTE_PROC_##name_, .name = #name_
#define PROCEDURE_QEMU(name_) .number = QEMU_PROC_##name_, .name = #name_
#define ARGS(type) .args_name = #type, .args_size = sizeof(type), .args_filter = (xdrproc_t) xdr_##type
#define RET(type) .ret_name = #type, .ret_size = sizeof(type), .ret_filter = (xdrproc_t) xdr_##type

/* Sorted by number. */
typedef struct ProcedureTable {
        const Procedure *procedures;
        size_t n;
} ProcedureTable;

typedef struct Program {
        uint32_t number, version;
        const ProcedureTable *const *tables;
        size_t n_tables;
} Program;

/* NULL: we do not have it. */
const Program *program_find(uint32_t number, uint32_t version);
const Procedure *program_procedure(const Program *program, int32_t number);

extern const ProcedureTable connect_procedures;  /* dispatch_connect.c */
extern const ProcedureTable host_procedures;     /* dispatch_host.c */
extern const ProcedureTable lookup_procedures;   /* dispatch_lookup.c */
extern const ProcedureTable domain_procedures;   /* dispatch_domain.c */
extern const ProcedureTable info_procedures;     /* dispatch_info.c */
extern const ProcedureTable stats_procedures;    /* dispatch_stats.c */
extern const ProcedureTable migrate_procedures;  /* dispatch_migrate.c */
extern const ProcedureTable event_procedures;    /* dispatch_event.c */
extern const ProcedureTable empty_procedures;    /* dispatch_empty.c */
extern const ProcedureTable volume_procedures;   /* dispatch_volume.c */
extern const ProcedureTable save_procedures;     /* dispatch_save.c */
extern const ProcedureTable qemu_procedures;     /* dispatch_qemu.c */
