/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <libvirt/libvirt.h>

#include "daemon/rpc/params.h"

/*
 * Jobs and migration. Protocol version 3 exists in two forms: with typed parameters (302 to 307), and with a fixed set
 * of arguments (213 to 218), which clients use for their older calls. Both come down to the same driver calls.
 */

HANDLER(get_job_info) {
        const remote_domain_get_job_info_args *args = argp;
        remote_domain_get_job_info_ret *ret = retp;
        virDomainJobInfo info = { 0 };
        int r = driver_domain_job_info(call->driver, dispatch_uuid(&args->dom), &info, reterr);
        if (r < 0)
                return r;
        *ret = (remote_domain_get_job_info_ret) {
                .type = info.type,
                .timeElapsed = info.timeElapsed,
                .timeRemaining = info.timeRemaining,
                .dataTotal = info.dataTotal,
                .dataProcessed = info.dataProcessed,
                .dataRemaining = info.dataRemaining,
                .memTotal = info.memTotal,
                .memProcessed = info.memProcessed,
                .memRemaining = info.memRemaining,
                .fileTotal = info.fileTotal,
                .fileProcessed = info.fileProcessed,
                .fileRemaining = info.fileRemaining,
        };
        return 0;
}

HANDLER(get_job_stats) {
        const remote_domain_get_job_stats_args *args = argp;
        remote_domain_get_job_stats_ret *ret = retp;
        virTypedParameterPtr params = NULL;
        int n = 0;

        int r = driver_domain_job_stats(call->driver, dispatch_uuid(&args->dom), args->flags, &ret->type, &params, &n,
                                        reterr);
        if (r < 0)
                return r;
        ret->params.params_val = params_to_wire(params, n, REMOTE_DOMAIN_JOB_STATS_MAX, &ret->params.params_len);
        virTypedParamsFree(params, n);
        return 0;
}

HANDLER(abort_job) {
        const remote_domain_abort_job_args *args = argp;
        return driver_domain_job_abort(call->driver, dispatch_uuid(&args->dom), 0, reterr);
}

HANDLER(abort_job_flags) {
        const remote_domain_abort_job_flags_args *args = argp;
        return driver_domain_job_abort(call->driver, dispatch_uuid(&args->dom), args->flags, reterr);
}

HANDLER(set_max_downtime) {
        const remote_domain_migrate_set_max_downtime_args *args = argp;
        return driver_migrate_set_max_downtime(call->driver, dispatch_uuid(&args->dom), args->downtime, args->flags,
                                               reterr);
}

HANDLER(get_max_downtime) {
        const remote_domain_migrate_get_max_downtime_args *args = argp;
        remote_domain_migrate_get_max_downtime_ret *ret = retp;
        uint64_t msec = 0;
        int r = driver_migrate_get_max_downtime(call->driver, dispatch_uuid(&args->dom), &msec, args->flags, reterr);
        ret->downtime = msec;
        return r;
}

HANDLER(set_max_speed) {
        const remote_domain_migrate_set_max_speed_args *args = argp;
        return driver_migrate_set_max_speed(call->driver, dispatch_uuid(&args->dom), args->bandwidth, args->flags,
                                            reterr);
}

HANDLER(get_max_speed) {
        const remote_domain_migrate_get_max_speed_args *args = argp;
        remote_domain_migrate_get_max_speed_ret *ret = retp;
        uint64_t mib = 0;
        int r = driver_migrate_get_max_speed(call->driver, dispatch_uuid(&args->dom), &mib, args->flags, reterr);
        ret->bandwidth = mib;
        return r;
}

HANDLER(start_post_copy) {
        const remote_domain_migrate_start_post_copy_args *args = argp;
        return driver_migrate_start_postcopy(call->driver, dispatch_uuid(&args->dom), args->flags, reterr);
}

/* ---- the phases ---- */

static void migrate_args_clear(DriverMigrateArgs *args) {
        virTypedParamsFree(args->params, args->n_params);
        *args = (DriverMigrateArgs) { 0 };
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DriverMigrateArgs, migrate_args_clear)

/* The cookie of a request, and the place of that of its answer; each message has a type of its own for them. */
#define COOKIE_IN(args) (args)->cookie_in.cookie_in_val, (args)->cookie_in.cookie_in_len
#define COOKIE_OUT(ret) (CookieOut){ &(ret)->cookie_out.cookie_out_val, &(ret)->cookie_out.cookie_out_len }

typedef struct CookieOut {
        char **data;
        u_int *length;
} CookieOut;

static void cookie_out(CookieOut out, const DriverCookie *cookie) {
        *out.data = cookie->data;
        *out.length = cookie->length;
}

static int begin(RpcCall *call, const remote_nonnull_domain *dom, const DriverMigrateArgs *args, CookieOut out,
                 char **ret_xml, GError **reterr) {
        DriverCookie cookie = { 0 };
        int r = driver_migrate_begin(call->driver, dispatch_uuid(dom), args, &cookie, ret_xml, reterr);

        cookie_out(out, &cookie);
        return r;
}

static int prepare(RpcCall *call, const DriverMigrateArgs *args, CookieOut out, remote_string *ret_uri,
                   GError **reterr) {
        DriverCookie cookie = { 0 };
        char *uri = NULL;
        int r = driver_migrate_prepare(call->driver, args, &cookie, &uri, reterr);

        cookie_out(out, &cookie);
        *ret_uri = dispatch_optional_new(uri);
        return r;
}

static int perform(RpcCall *call, const remote_nonnull_domain *dom, const remote_string dconnuri,
                   const DriverMigrateArgs *args, CookieOut out, GError **reterr) {
        DriverCookie cookie = { 0 };
        int r = driver_migrate_perform(call->driver, dispatch_uuid(dom), dispatch_optional(dconnuri), args, &cookie,
                                       reterr);

        cookie_out(out, &cookie);
        return r;
}

static int finish(RpcCall *call, const DriverMigrateArgs *args, int cancelled, CookieOut out,
                  remote_nonnull_domain *ret_dom, GError **reterr) {
        g_auto(DomainRef) ref = { 0 };
        DriverCookie cookie = { 0 };
        int r = driver_migrate_finish(call->driver, args, cancelled != 0, &ref, &cookie, reterr);

        if (r >= 0)
                dispatch_take_ref(&ref, ret_dom);
        cookie_out(out, &cookie);
        return r;
}

static int confirm(RpcCall *call, const remote_nonnull_domain *dom, const DriverMigrateArgs *args, int cancelled,
                   GError **reterr) {
        return driver_migrate_confirm(call->driver, dispatch_uuid(dom), args, cancelled != 0, reterr);
}

/* ---- with typed parameters ---- */

/* Cookies are borrowed. */
static int args_init(DriverMigrateArgs *args, const remote_typed_param *params, unsigned n_params, const char *cookie,
                     unsigned cookie_length, unsigned flags, GError **reterr) {
        args->cookie_in = cookie;
        args->cookie_in_length = cookie_length;
        args->flags = flags;
        return params_from_wire(params, n_params, &args->params, &args->n_params, reterr);
}

#define PARAMS(args) (args)->params.params_val, (args)->params.params_len

HANDLER(begin3_params) {
        const remote_domain_migrate_begin3_params_args *args = argp;
        remote_domain_migrate_begin3_params_ret *ret = retp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        int r = args_init(&migrate, PARAMS(args), NULL, 0, args->flags, reterr);

        return r < 0 ? r : begin(call, &args->dom, &migrate, COOKIE_OUT(ret), &ret->xml, reterr);
}

HANDLER(prepare3_params) {
        const remote_domain_migrate_prepare3_params_args *args = argp;
        remote_domain_migrate_prepare3_params_ret *ret = retp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        int r = args_init(&migrate, PARAMS(args), COOKIE_IN(args), args->flags, reterr);

        return r < 0 ? r : prepare(call, &migrate, COOKIE_OUT(ret), &ret->uri_out, reterr);
}

HANDLER(perform3_params) {
        const remote_domain_migrate_perform3_params_args *args = argp;
        remote_domain_migrate_perform3_params_ret *ret = retp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        int r = args_init(&migrate, PARAMS(args), COOKIE_IN(args), args->flags, reterr);

        return r < 0 ? r : perform(call, &args->dom, args->dconnuri, &migrate, COOKIE_OUT(ret), reterr);
}

HANDLER(finish3_params) {
        const remote_domain_migrate_finish3_params_args *args = argp;
        remote_domain_migrate_finish3_params_ret *ret = retp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        int r = args_init(&migrate, PARAMS(args), COOKIE_IN(args), args->flags, reterr);

        return r < 0 ? r : finish(call, &migrate, args->cancelled, COOKIE_OUT(ret), &ret->dom, reterr);
}

HANDLER(confirm3_params) {
        const remote_domain_migrate_confirm3_params_args *args = argp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        int r = args_init(&migrate, PARAMS(args), COOKIE_IN(args), args->flags, reterr);

        return r < 0 ? r : confirm(call, &args->dom, &migrate, args->cancelled, reterr);
}

/* ---- with fixed arguments ---- */

/* What the fixed form can say; NULL and 0: not said. */
typedef struct FixedArgs {
        const char *xml, *name, *uri;
        uint64_t bandwidth; /* MiB/s */
} FixedArgs;

static int args_init_fixed(DriverMigrateArgs *args, const FixedArgs *fixed, const char *cookie, unsigned cookie_length,
                           uint64_t flags, GError **reterr) {
        const struct {
                const char *name, *value;
        } strings[] = {
                { VIR_MIGRATE_PARAM_DEST_XML, fixed->xml },
                { VIR_MIGRATE_PARAM_DEST_NAME, fixed->name },
                { VIR_MIGRATE_PARAM_URI, fixed->uri },
        };
        int max = 0, r = 0;

        if (flags > UINT32_MAX)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("unsupported migration flags 0x%llx"),
                                 (unsigned long long) flags);
        args->cookie_in = cookie;
        args->cookie_in_length = cookie_length;
        args->flags = (unsigned) flags;
        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(strings); i++)
                if (strings[i].value)
                        r = virTypedParamsAddString(&args->params, &args->n_params, &max, strings[i].name,
                                                    strings[i].value);
        if (r >= 0 && fixed->bandwidth)
                r = virTypedParamsAddULLong(&args->params, &args->n_params, &max, VIR_MIGRATE_PARAM_BANDWIDTH,
                                            fixed->bandwidth);
        if (r < 0)
                return error_set(reterr, VIR_ERR_INVALID_ARG, _("the migration's parameters are not valid"));
        return 0;
}

HANDLER(begin3) {
        const remote_domain_migrate_begin3_args *args = argp;
        remote_domain_migrate_begin3_ret *ret = retp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        const FixedArgs fixed = { .xml = dispatch_optional(args->xmlin),
                                  .name = dispatch_optional(args->dname),
                                  .bandwidth = args->resource };
        int r = args_init_fixed(&migrate, &fixed, NULL, 0, args->flags, reterr);

        return r < 0 ? r : begin(call, &args->dom, &migrate, COOKIE_OUT(ret), &ret->xml, reterr);
}

HANDLER(prepare3) {
        const remote_domain_migrate_prepare3_args *args = argp;
        remote_domain_migrate_prepare3_ret *ret = retp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        const FixedArgs fixed = { .xml = args->dom_xml,
                                  .name = dispatch_optional(args->dname),
                                  .uri = dispatch_optional(args->uri_in),
                                  .bandwidth = args->resource };
        int r = args_init_fixed(&migrate, &fixed, COOKIE_IN(args), args->flags, reterr);

        return r < 0 ? r : prepare(call, &migrate, COOKIE_OUT(ret), &ret->uri_out, reterr);
}

HANDLER(perform3) {
        const remote_domain_migrate_perform3_args *args = argp;
        remote_domain_migrate_perform3_ret *ret = retp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        const FixedArgs fixed = { .xml = dispatch_optional(args->xmlin),
                                  .name = dispatch_optional(args->dname),
                                  .uri = dispatch_optional(args->uri),
                                  .bandwidth = args->resource };
        int r = args_init_fixed(&migrate, &fixed, COOKIE_IN(args), args->flags, reterr);

        return r < 0 ? r : perform(call, &args->dom, args->dconnuri, &migrate, COOKIE_OUT(ret), reterr);
}

HANDLER(finish3) {
        const remote_domain_migrate_finish3_args *args = argp;
        remote_domain_migrate_finish3_ret *ret = retp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        const FixedArgs fixed = { .name = args->dname, .uri = dispatch_optional(args->uri) };
        int r = args_init_fixed(&migrate, &fixed, COOKIE_IN(args), args->flags, reterr);

        return r < 0 ? r : finish(call, &migrate, args->cancelled, COOKIE_OUT(ret), &ret->dom, reterr);
}

HANDLER(confirm3) {
        const remote_domain_migrate_confirm3_args *args = argp;
        g_auto(DriverMigrateArgs) migrate = { 0 };
        int r = args_init_fixed(&migrate, &(FixedArgs){ 0 }, COOKIE_IN(args), args->flags, reterr);

        return r < 0 ? r : confirm(call, &args->dom, &migrate, args->cancelled, reterr);
}

static const Procedure procedures[] = {
        { PROCEDURE(DOMAIN_GET_JOB_INFO), ARGS(remote_domain_get_job_info_args), RET(remote_domain_get_job_info_ret),
          .func = get_job_info },
        { PROCEDURE(DOMAIN_ABORT_JOB), ARGS(remote_domain_abort_job_args), .func = abort_job },
        { PROCEDURE(DOMAIN_MIGRATE_SET_MAX_DOWNTIME), ARGS(remote_domain_migrate_set_max_downtime_args),
          .func = set_max_downtime },
        { PROCEDURE(DOMAIN_MIGRATE_SET_MAX_SPEED), ARGS(remote_domain_migrate_set_max_speed_args),
          .func = set_max_speed },
        { PROCEDURE(DOMAIN_MIGRATE_BEGIN3), ARGS(remote_domain_migrate_begin3_args),
          RET(remote_domain_migrate_begin3_ret),
          .func = begin3 },
        { PROCEDURE(DOMAIN_MIGRATE_PREPARE3), ARGS(remote_domain_migrate_prepare3_args),
          RET(remote_domain_migrate_prepare3_ret),
          .func = prepare3 },
        { PROCEDURE(DOMAIN_MIGRATE_PERFORM3), ARGS(remote_domain_migrate_perform3_args),
          RET(remote_domain_migrate_perform3_ret),
          .func = perform3 },
        { PROCEDURE(DOMAIN_MIGRATE_FINISH3), ARGS(remote_domain_migrate_finish3_args),
          RET(remote_domain_migrate_finish3_ret),
          .func = finish3 },
        { PROCEDURE(DOMAIN_MIGRATE_CONFIRM3), ARGS(remote_domain_migrate_confirm3_args), .func = confirm3 },
        { PROCEDURE(DOMAIN_MIGRATE_GET_MAX_SPEED), ARGS(remote_domain_migrate_get_max_speed_args),
          RET(remote_domain_migrate_get_max_speed_ret), .func = get_max_speed },
        { PROCEDURE(DOMAIN_GET_JOB_STATS), ARGS(remote_domain_get_job_stats_args), RET(remote_domain_get_job_stats_ret),
          .func = get_job_stats },
        { PROCEDURE(DOMAIN_MIGRATE_BEGIN3_PARAMS), ARGS(remote_domain_migrate_begin3_params_args),
          RET(remote_domain_migrate_begin3_params_ret), .func = begin3_params },
        { PROCEDURE(DOMAIN_MIGRATE_PREPARE3_PARAMS), ARGS(remote_domain_migrate_prepare3_params_args),
          RET(remote_domain_migrate_prepare3_params_ret), .func = prepare3_params },
        { PROCEDURE(DOMAIN_MIGRATE_PERFORM3_PARAMS), ARGS(remote_domain_migrate_perform3_params_args),
          RET(remote_domain_migrate_perform3_params_ret), .func = perform3_params },
        { PROCEDURE(DOMAIN_MIGRATE_FINISH3_PARAMS), ARGS(remote_domain_migrate_finish3_params_args),
          RET(remote_domain_migrate_finish3_params_ret), .func = finish3_params },
        { PROCEDURE(DOMAIN_MIGRATE_CONFIRM3_PARAMS), ARGS(remote_domain_migrate_confirm3_params_args),
          .func = confirm3_params },
        { PROCEDURE(DOMAIN_MIGRATE_START_POST_COPY), ARGS(remote_domain_migrate_start_post_copy_args),
          .func = start_post_copy },
        { PROCEDURE(DOMAIN_MIGRATE_GET_MAX_DOWNTIME), ARGS(remote_domain_migrate_get_max_downtime_args),
          RET(remote_domain_migrate_get_max_downtime_ret), .func = get_max_downtime },
        { PROCEDURE(DOMAIN_ABORT_JOB_FLAGS), ARGS(remote_domain_abort_job_flags_args), .func = abort_job_flags },
};
const ProcedureTable migrate_procedures = { procedures, G_N_ELEMENTS(procedures) };
