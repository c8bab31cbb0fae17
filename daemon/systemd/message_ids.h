/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the journal can be searched for: MESSAGE_ID of each kind of message, made once by `journalctl --new-id128` and
 * never changed. Each has an entry in virtferry.catalog.
 */

#define MESSAGE_DAEMON_READY "ef3158d76017468dbe77ebb5f76b6bdd"
#define MESSAGE_DAEMON_STOPPING "962c989606b44bb0bad43e1e532c529f"
#define MESSAGE_CONFIG_RELOADED "dc2fa8e587c246e2b426e464350248fe"
#define MESSAGE_CONFIG_REFUSED "34847e8373444ef6841780c0fb0ddd68"
#define MESSAGE_GUEST_STARTED "873ee1ec916b4713a60174314ec54002"
#define MESSAGE_GUEST_STOPPED "70f57890a70c49bc967316557d993d1b"
#define MESSAGE_GUEST_CRASHED "aa17a0f0199f40f59e6e95334929e7b9"
#define MESSAGE_GUEST_IO_ERROR "d22a480eea344dbd8a26831fb027519c"
#define MESSAGE_MIGRATION_STARTED "fb0a934b47cd44dc8ccf5c78f9ba94fa"
#define MESSAGE_MIGRATION_PHASE "1adebbaf1a5048cb92876929721ce499"
#define MESSAGE_MIGRATION_COMPLETED "6ae409df8f63470ea490f21c66a32dd5"
#define MESSAGE_MIGRATION_FAILED "e96adc51c5b04ec796773f6f04caa2e1"
