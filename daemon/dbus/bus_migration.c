/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.virtferry.Migration1: one migration job, running or finished. */

#include "daemon/dbus/bus_util.h"

/* ---- properties ---- */

/* Each getter is one line: the field of the job's information, and how it is appended. */
#define GET_FIELD(name, signature, value) \
        BUS_GET(name) { \
                const DriverJobInfo *job = NULL; \
                int r = bus_call_job(call, &job, reterr); \
                return r < 0 ? r : bus_done(sd_bus_message_append(reply, signature, value), reterr); \
        }
#define GET_TEXT(name, value) \
        BUS_GET(name) { \
                const DriverJobInfo *job = NULL; \
                int r = bus_call_job(call, &job, reterr); \
                return r < 0 ? r : bus_append_text(reply, value, reterr); \
        }

GET_FIELD(get_number, "t", job->number)
GET_TEXT(get_domain_name, job->domain)
GET_TEXT(get_direction, job->incoming ? "in" : "out")
GET_TEXT(get_peer, job->peer)
GET_FIELD(get_started, "t", job->started_usec)
GET_TEXT(get_outcome, driver_job_outcome_to_string(job->outcome))
GET_TEXT(get_phase, job->phase)
GET_FIELD(get_paused, "b", (int) job->paused)
GET_FIELD(get_elapsed, "t", job->elapsed_usec)
GET_FIELD(get_round, "t", job->round)
GET_FIELD(get_total_bytes, "t", job->total_bytes)
GET_FIELD(get_transferred_bytes, "t", job->transferred_bytes)
GET_FIELD(get_bandwidth, "t", job->bandwidth_bytes_per_sec)
GET_FIELD(get_bandwidth_limit, "t", job->bandwidth_limit_bytes_per_sec)
GET_FIELD(get_dirty_rate, "t", job->dirty_bytes_per_sec)
GET_FIELD(get_expected_blackout, "t", job->expected_blackout_usec)
GET_FIELD(get_blackout, "t", job->blackout_usec)
GET_FIELD(get_max_downtime, "t", job->max_downtime_msec)
GET_FIELD(get_throttle, "u", (uint32_t) job->throttle_percent)
GET_TEXT(get_policy, job->policy)
GET_TEXT(get_decision, job->decision)
GET_TEXT(get_decision_reason, job->reason)
GET_FIELD(get_faults, "t", job->faults)
GET_FIELD(get_vcpu_block_time, "t", job->vcpu_block_usec)
GET_FIELD(get_error_code, "i", (int32_t) job->error_code)
GET_TEXT(get_error, job->error)

BUS_GET(get_domain) {
        const DriverJobInfo *job = NULL;
        char path[BUS_PATH_SIZE];
        int r = bus_call_job(call, &job, reterr);

        return r < 0 ? r : bus_done(sd_bus_message_append(reply, "o", bus_domain_path(job->uuid, path)), reterr);
}

BUS_GET(get_pending) {
        const DriverJobInfo *job = NULL;
        int r = bus_call_job(call, &job, reterr);

        if (r < 0)
                return r;
        return bus_done(sd_bus_message_append(reply, "a{st}", 4, "precopy", job->precopy_bytes, "postcopy",
                                              job->postcopy_bytes, "stopcopy", job->stopcopy_bytes, "total",
                                              job->pending_bytes),
                        reterr);
}

BUS_GET(get_page_states) {
        const DriverJobInfo *job = NULL;
        int r = bus_call_job(call, &job, reterr);

        if (r < 0)
                return r;
        return bus_done(sd_bus_message_append(reply, "a{st}", 4, "never", job->pages[DRIVER_PAGES_NEVER], "valid",
                                              job->pages[DRIVER_PAGES_VALID], "stale", job->pages[DRIVER_PAGES_STALE],
                                              "inflight", job->pages[DRIVER_PAGES_INFLIGHT]),
                        reterr);
}

BUS_GET(get_fault_histogram) {
        const DriverJobInfo *job = NULL;
        int r = bus_call_job(call, &job, reterr);

        if (r < 0)
                return r;
        return bus_done(sd_bus_message_append_array(reply, 't', job->fault_histogram, sizeof(job->fault_histogram)),
                        reterr);
}

static const BusProperty properties[] = {
        { "Number", "t", "const", get_number },
        { "Domain", "o", "const", get_domain },
        { "DomainName", "s", "const", get_domain_name },
        { "Direction", "s", "const", get_direction },
        { "Peer", "s", "const", get_peer },
        { "Started", "t", "const", get_started },
        { "Outcome", "s", NULL, get_outcome },
        { "Phase", "s", NULL, get_phase },
        { "Paused", "b", NULL, get_paused },
        { "Elapsed", "t", NULL, get_elapsed },
        { "Round", "t", NULL, get_round },
        { "TotalBytes", "t", NULL, get_total_bytes },
        { "TransferredBytes", "t", NULL, get_transferred_bytes },
        { "Pending", "a{st}", NULL, get_pending },
        { "Bandwidth", "t", NULL, get_bandwidth },
        { "BandwidthLimit", "t", NULL, get_bandwidth_limit },
        { "DirtyRate", "t", NULL, get_dirty_rate },
        { "ExpectedBlackout", "t", NULL, get_expected_blackout },
        { "Blackout", "t", NULL, get_blackout },
        { "MaxDowntime", "t", NULL, get_max_downtime },
        { "Throttle", "u", NULL, get_throttle },
        { "Policy", "s", NULL, get_policy },
        { "Decision", "s", NULL, get_decision },
        { "DecisionReason", "s", NULL, get_decision_reason },
        { "PageStates", "a{st}", NULL, get_page_states },
        { "Faults", "t", NULL, get_faults },
        { "FaultHistogram", "at", NULL, get_fault_histogram },
        { "VcpuBlockTime", "t", NULL, get_vcpu_block_time },
        { "ErrorCode", "i", NULL, get_error_code },
        { "Error", "s", NULL, get_error },
};

/* ---- methods ---- */

/* The domain of a job that still runs here: what steers it goes by the domain. */
static int running_uuid(BusCall *call, unsigned char *ret_uuid, GError **reterr) {
        const DriverJobInfo *job = NULL;
        int r = bus_call_job(call, &job, reterr);

        if (r >= 0 && job->outcome != DRIVER_JOB_RUNNING)
                r = error_set(reterr, VIR_ERR_OPERATION_INVALID, _("migration job %llu has ended"),
                              (unsigned long long) job->number);
        if (r >= 0)
                memcpy(ret_uuid, job->uuid, VIR_UUID_BUFLEN);
        return r;
}

BUS_METHOD(set_policy) {
        const char *policy = NULL;
        int r = bus_read_string(message, &policy, reterr);

        return r < 0 ? r : driver_migration_job_set_policy(call->driver, call->object.number, policy, reterr);
}

BUS_METHOD(set_max_downtime) {
        unsigned char uuid[VIR_UUID_BUFLEN];
        uint64_t msec = 0;
        int r = bus_done(sd_bus_message_read(message, "t", &msec), reterr);

        if (r >= 0)
                r = running_uuid(call, uuid, reterr);
        return r < 0 ? r : driver_migrate_set_max_downtime(call->driver, uuid, msec, 0, reterr);
}

BUS_METHOD(set_bandwidth) {
        unsigned char uuid[VIR_UUID_BUFLEN];
        uint64_t mib = 0;
        int r = bus_done(sd_bus_message_read(message, "t", &mib), reterr);

        if (r >= 0)
                r = running_uuid(call, uuid, reterr);
        return r < 0 ? r : driver_migrate_set_max_speed(call->driver, uuid, mib, 0, reterr);
}

BUS_METHOD(start_postcopy) {
        unsigned char uuid[VIR_UUID_BUFLEN];
        int r = running_uuid(call, uuid, reterr);

        return r < 0 ? r : driver_migrate_start_postcopy(call->driver, uuid, 0, reterr);
}

BUS_METHOD(cancel) {
        return driver_migration_job_cancel(call->driver, call->object.number, reterr);
}

BUS_METHOD(pause_job) {
        return driver_migration_job_pause(call->driver, call->object.number, true, reterr);
}

BUS_METHOD(resume_job) {
        return driver_migration_job_pause(call->driver, call->object.number, false, reterr);
}

static const BusMethod methods[] = {
        { "SetPolicy", "s", "policy", "", NULL, BUS_RIGHT_MIGRATE, set_policy },
        { "SetMaxDowntime", "t", "msec", "", NULL, BUS_RIGHT_MIGRATE, set_max_downtime },
        { "SetBandwidth", "t", "mib_per_sec", "", NULL, BUS_RIGHT_MIGRATE, set_bandwidth },
        { "StartPostcopy", "", NULL, "", NULL, BUS_RIGHT_MIGRATE, start_postcopy },
        { "Cancel", "", NULL, "", NULL, BUS_RIGHT_MIGRATE, cancel },
        { "Pause", "", NULL, "", NULL, BUS_RIGHT_MIGRATE, pause_job },
        { "Resume", "", NULL, "", NULL, BUS_RIGHT_MIGRATE, resume_job },
};

static const BusSignal signals[] = {
        { "Iteration", "tttt", "round,pending_bytes,bandwidth,dirty_rate" },
        { "Decision", "sst", "decision,reason,expected_blackout" },
        { "Completed", "bst", "success,error,blackout" },
};

const BusInterface bus_migration_interface = {
        .name = "org.virtferry.Migration1",
        .methods = methods,
        .n_methods = G_N_ELEMENTS(methods),
        .properties = properties,
        .n_properties = G_N_ELEMENTS(properties),
        .signals = signals,
        .n_signals = G_N_ELEMENTS(signals),
};
