/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Records of migration jobs: each has a number by which front ends name it, also before it has begun and after it has
 * ended. Every change is told on the event bus (DRIVER_EVENT_JOB). Finished ones are kept, as many as JOB_RECORDS_KEPT;
 * the oldest goes first.
 */

#include "driver/domain/event.h"
#include "driver/domain/job_info.h"
#include "driver/migration/migration.h"

#define JOB_RECORDS_KEPT 32

typedef struct JobRecords JobRecords;
typedef struct JobRecord JobRecord;

/* No records. bus is borrowed. free accepts NULL and returns NULL; no job may run any more. */
JobRecords *job_records_new(EventBus *bus);
JobRecords *job_records_free(JobRecords *records);

/* Announces that this daemon is about to migrate the domain to peer: the record is there before Begin, which adopts it.
 * Returns its number. */
uint64_t job_records_expect(JobRecords *records, const Domain *domain, const char *peer);
/* That attempt is over. Nothing happens if its job has come to an end already; else it ends here, with error (NULL:
 * none). */
void job_records_attempt_over(JobRecords *records, uint64_t number, const GError *error);

/* The job exists: its record, new or the one that was announced. Borrowed by the migration until job_record_end(). */
JobRecord *job_record_begin(JobRecords *records, Migration *migration);
/* Something has changed. record may be NULL. */
void job_record_changed(JobRecord *record, DriverJobChange change);
/* The job is over; numbers and error are taken from it for the last time. record may be NULL. */
void job_record_end(JobRecord *record, bool success);

/* The number of a migration's record. */
uint64_t job_record_number(const JobRecord *record);
/* Numbers of all records, oldest first; n of them, owned by the caller. */
uint64_t *job_records_list(const JobRecords *records, unsigned *ret_n);
/* What is known now; *ret_info is overwritten. ret_migration (may be NULL) gets the running job, borrowed, or NULL.
 * -ENOENT. */
int job_records_get(const JobRecords *records, uint64_t number, DriverJobInfo *ret_info, Migration **ret_migration);
