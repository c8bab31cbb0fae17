/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/wording.h"

#include <string.h>

#include "driver/base/error.h"
#include "driver/base/i18n.h"

/* Foreign text may be long and in any encoding; clients expect UTF-8 and libvirt's own limit is 4 MiB. */
#define DETAIL_BYTES_MAX 16384

static const Wording wordings[] = {
        { VIR_ERR_INTERNAL_ERROR, VIR_FROM_QEMU, "internal error: %s" },
        { VIR_ERR_NO_MEMORY, VIR_FROM_QEMU, "out of memory: %s" },
        { VIR_ERR_NO_SUPPORT, VIR_FROM_QEMU, "this function is not supported by the connection driver: %s" },
        { VIR_ERR_UNKNOWN_HOST, VIR_FROM_QEMU, "unknown host %s" },
        { VIR_ERR_NO_CONNECT, VIR_FROM_QEMU, "no connection driver available for %s" },
        { VIR_ERR_INVALID_CONN, VIR_FROM_QEMU, "invalid connection pointer in %s" },
        { VIR_ERR_INVALID_DOMAIN, VIR_FROM_QEMU, "invalid domain pointer in %s" },
        { VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, "invalid argument: %s" },
        { VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, "operation failed: %s" },
        { VIR_ERR_OS_TYPE, VIR_FROM_QEMU, "unknown OS type %s" },
        { VIR_ERR_CALL_FAILED, VIR_FROM_QEMU, "library call failed: %s" },
        { VIR_ERR_XML_ERROR, VIR_FROM_XML, "XML error: %s" },
        { VIR_ERR_DOM_EXIST, VIR_FROM_QEMU, "domain %s exists already" },
        { VIR_ERR_OPERATION_DENIED, VIR_FROM_QEMU, "operation forbidden: %s" },
        { VIR_ERR_XML_DETAIL, VIR_FROM_QEMU, "%s" },
        { VIR_ERR_INVALID_NETWORK, VIR_FROM_NETWORK, "invalid network pointer in %s" },
        { VIR_ERR_NETWORK_EXIST, VIR_FROM_NETWORK, "network %s exists already" },
        { VIR_ERR_SYSTEM_ERROR, VIR_FROM_QEMU, "%s" },
        { VIR_ERR_RPC, VIR_FROM_RPC, "%s" },
        { VIR_ERR_GNUTLS_ERROR, VIR_FROM_QEMU, "%s" },
        { VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, "Domain not found: %s" },
        { VIR_ERR_NO_NETWORK, VIR_FROM_NETWORK, "Network not found: %s" },
        { VIR_ERR_INVALID_MAC, VIR_FROM_QEMU, "invalid MAC address: %s" },
        { VIR_ERR_AUTH_FAILED, VIR_FROM_RPC, "authentication failed: %s" },
        { VIR_ERR_INVALID_STORAGE_POOL, VIR_FROM_STORAGE, "invalid storage pool pointer in %s" },
        { VIR_ERR_INVALID_STORAGE_VOL, VIR_FROM_STORAGE, "invalid storage volume pointer in %s" },
        { VIR_ERR_NO_STORAGE_POOL, VIR_FROM_STORAGE, "Storage pool not found: %s" },
        { VIR_ERR_NO_STORAGE_VOL, VIR_FROM_STORAGE, "Storage volume not found: %s" },
        { VIR_ERR_INVALID_NODE_DEVICE, VIR_FROM_NODEDEV, "invalid node device pointer in %s" },
        { VIR_ERR_NO_NODE_DEVICE, VIR_FROM_NODEDEV, "Node device not found: %s" },
        { VIR_ERR_NO_SECURITY_MODEL, VIR_FROM_QEMU, "Security model not found: %s" },
        { VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU, "Requested operation is not valid: %s" },
        { VIR_ERR_NO_INTERFACE, VIR_FROM_INTERFACE, "Interface not found: %s" },
        { VIR_ERR_INVALID_INTERFACE, VIR_FROM_INTERFACE, "invalid interface pointer in %s" },
        { VIR_ERR_MULTIPLE_INTERFACES, VIR_FROM_QEMU, "multiple matching interfaces found: %s" },
        { VIR_ERR_INVALID_NWFILTER, VIR_FROM_NWFILTER, "Invalid network filter: %s" },
        { VIR_ERR_NO_NWFILTER, VIR_FROM_NWFILTER, "Network filter not found: %s" },
        { VIR_ERR_BUILD_FIREWALL, VIR_FROM_QEMU, "Error while building firewall: %s" },
        { VIR_ERR_INVALID_SECRET, VIR_FROM_SECRET, "Invalid secret: %s" },
        { VIR_ERR_NO_SECRET, VIR_FROM_SECRET, "Secret not found: %s" },
        { VIR_ERR_CONFIG_UNSUPPORTED, VIR_FROM_QEMU, "unsupported configuration: %s" },
        { VIR_ERR_OPERATION_TIMEOUT, VIR_FROM_QEMU, "Timed out during operation: %s" },
        { VIR_ERR_MIGRATE_PERSIST_FAILED, VIR_FROM_QEMU, "Failed to make domain persistent after migration: %s" },
        { VIR_ERR_HOOK_SCRIPT_FAILED, VIR_FROM_QEMU, "Hook script execution failed: %s" },
        { VIR_ERR_INVALID_DOMAIN_SNAPSHOT, VIR_FROM_DOMAIN_SNAPSHOT, "Invalid domain snapshot: %s" },
        { VIR_ERR_NO_DOMAIN_SNAPSHOT, VIR_FROM_DOMAIN_SNAPSHOT, "Domain snapshot not found: %s" },
        { VIR_ERR_INVALID_STREAM, VIR_FROM_QEMU, "invalid stream pointer in %s" },
        { VIR_ERR_ARGUMENT_UNSUPPORTED, VIR_FROM_QEMU, "argument unsupported: %s" },
        { VIR_ERR_STORAGE_PROBE_FAILED, VIR_FROM_QEMU, "Storage pool probe failed: %s" },
        { VIR_ERR_STORAGE_POOL_BUILT, VIR_FROM_QEMU, "Storage pool already built: %s" },
        { VIR_ERR_SNAPSHOT_REVERT_RISKY, VIR_FROM_QEMU, "revert requires force: %s" },
        { VIR_ERR_OPERATION_ABORTED, VIR_FROM_QEMU, "operation aborted: %s" },
        { VIR_ERR_AUTH_CANCELLED, VIR_FROM_QEMU, "authentication cancelled: %s" },
        { VIR_ERR_NO_DOMAIN_METADATA, VIR_FROM_QEMU, "metadata not found: %s" },
        { VIR_ERR_MIGRATE_UNSAFE, VIR_FROM_QEMU, "Unsafe migration: %s" },
        { VIR_ERR_OVERFLOW, VIR_FROM_QEMU, "numerical overflow: %s" },
        { VIR_ERR_BLOCK_COPY_ACTIVE, VIR_FROM_QEMU, "block copy still active: %s" },
        { VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU, "Operation not supported: %s" },
        { VIR_ERR_SSH, VIR_FROM_QEMU, "SSH transport error: %s" },
        { VIR_ERR_AGENT_UNRESPONSIVE, VIR_FROM_QEMU, "Guest agent is not responding: %s" },
        { VIR_ERR_RESOURCE_BUSY, VIR_FROM_QEMU, "resource busy: %s" },
        { VIR_ERR_ACCESS_DENIED, VIR_FROM_QEMU, "access denied: %s" },
        { VIR_ERR_DBUS_SERVICE, VIR_FROM_QEMU, "error from service: %s" },
        { VIR_ERR_STORAGE_VOL_EXIST, VIR_FROM_STORAGE, "storage volume %s exists already" },
        { VIR_ERR_CPU_INCOMPATIBLE, VIR_FROM_QEMU, "the CPU is incompatible with host CPU: %s" },
        { VIR_ERR_XML_INVALID_SCHEMA, VIR_FROM_XML, "XML document failed to validate against schema: %s" },
        { VIR_ERR_MIGRATE_FINISH_OK, VIR_FROM_QEMU, "migration successfully aborted: %s" },
        { VIR_ERR_AUTH_UNAVAILABLE, VIR_FROM_QEMU, "authentication unavailable: %s" },
        { VIR_ERR_NO_SERVER, VIR_FROM_QEMU, "Server not found: %s" },
        { VIR_ERR_NO_CLIENT, VIR_FROM_QEMU, "Client not found: %s" },
        { VIR_ERR_AGENT_UNSYNCED, VIR_FROM_QEMU, "guest agent replied with wrong id to guest-sync command: %s" },
        { VIR_ERR_LIBSSH, VIR_FROM_QEMU, "libssh transport error: %s" },
        { VIR_ERR_DEVICE_MISSING, VIR_FROM_QEMU, "device not found: %s" },
        { VIR_ERR_INVALID_NWFILTER_BINDING, VIR_FROM_NWFILTER, "Invalid network filter binding: %s" },
        { VIR_ERR_NO_NWFILTER_BINDING, VIR_FROM_NWFILTER, "Network filter binding not found: %s" },
        { VIR_ERR_INVALID_DOMAIN_CHECKPOINT, VIR_FROM_DOMAIN_CHECKPOINT, "Invalid domain checkpoint: %s" },
        { VIR_ERR_NO_DOMAIN_CHECKPOINT, VIR_FROM_DOMAIN_CHECKPOINT, "Domain checkpoint not found: %s" },
        { VIR_ERR_NO_DOMAIN_BACKUP, VIR_FROM_QEMU, "Domain backup job id not found: %s" },
        { VIR_ERR_NO_HOSTNAME, VIR_FROM_QEMU, "no hostname found: %s" },
        { VIR_ERR_CHECKPOINT_INCONSISTENT, VIR_FROM_QEMU, "checkpoint inconsistent: %s" },
        { VIR_ERR_MULTIPLE_DOMAINS, VIR_FROM_QEMU, "multiple matching domains found: %s" },
};

const Wording *wording_find(virErrorNumber code) {
        for (size_t i = 0; i < G_N_ELEMENTS(wordings); i++)
                if (wordings[i].code == code)
                        return &wordings[i];
        return &wordings[0]; /* internal error */
}

char *wording_detail(const GError *error) {
        g_autofree char *bounded =
                g_strndup(error ? error->message : _("the call failed without a reason"), DETAIL_BYTES_MAX);

        return g_utf8_make_valid(bounded, -1);
}

char *wording_apply(const Wording *wording, const char *detail) {
        const char *mark = strstr(wording->format, "%s");

        /* The formats are ours, the detail may hold anything. */
        return g_strdup_printf("%.*s%s%s", (int) (mark - wording->format), wording->format, detail, mark + 2);
}

char *wording_sentence(const GError *error) {
        g_autofree char *detail = wording_detail(error);

        return wording_apply(wording_find(error ? error_code(error) : VIR_ERR_INTERNAL_ERROR), detail);
}
