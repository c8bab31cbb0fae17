/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

/*
 * Kinds of objects that this daemon has none of: networks, storage, host devices, interfaces, secrets, network filters.
 * Lists are empty, and looking one up fails with the code of its kind, so that clients that list everything show
 * nothing instead of an error.
 */

/* An empty list, the number 0: what a zeroed result says. */
HANDLER(none) {
        return 0;
}

/* The textual form of a uuid. */
static char *uuid_text(const remote_uuid uuid) {
        GString *text = g_string_sized_new(37);
        for (unsigned i = 0; i < REMOTE_UUID_BUFLEN; i++)
                g_string_append_printf(text, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                                       (unsigned char) uuid[i]);
        return g_string_free(text, FALSE);
}

HANDLER(lookup_network) {
        const remote_network_lookup_by_name_args *args = argp;
        return error_set(reterr, VIR_ERR_NO_NETWORK, _("there is no network '%s': networks belong to another daemon"),
                         args->name);
}

HANDLER(lookup_network_uuid) {
        const remote_network_lookup_by_uuid_args *args = argp;
        g_autofree char *uuid = uuid_text(args->uuid);
        return error_set(reterr, VIR_ERR_NO_NETWORK,
                         _("there is no network with uuid '%s': networks belong to another daemon"),
                         uuid);
}

HANDLER(lookup_pool) {
        const remote_storage_pool_lookup_by_name_args *args = argp;
        return error_set(reterr, VIR_ERR_NO_STORAGE_POOL,
                         _("there is no storage pool '%s': storage belongs to another daemon"),
                         args->name);
}

HANDLER(lookup_pool_uuid) {
        const remote_storage_pool_lookup_by_uuid_args *args = argp;
        g_autofree char *uuid = uuid_text(args->uuid);
        return error_set(reterr, VIR_ERR_NO_STORAGE_POOL,
                         _("there is no storage pool with uuid '%s': storage belongs to another daemon"),
                         uuid);
}

HANDLER(lookup_node_device) {
        const remote_node_device_lookup_by_name_args *args = argp;
        return error_set(reterr, VIR_ERR_NO_NODE_DEVICE,
                         _("there is no node device '%s': host devices belong to another daemon"),
                         args->name);
}

HANDLER(lookup_interface) {
        const remote_interface_lookup_by_name_args *args = argp;
        return error_set(reterr, VIR_ERR_NO_INTERFACE,
                         _("there is no interface '%s': host interfaces belong to another daemon"),
                         args->name);
}

HANDLER(lookup_interface_mac) {
        const remote_interface_lookup_by_mac_string_args *args = argp;
        return error_set(reterr, VIR_ERR_NO_INTERFACE,
                         _("there is no interface with address '%s': host interfaces belong to another daemon"),
                         args->mac);
}

HANDLER(lookup_secret_uuid) {
        const remote_secret_lookup_by_uuid_args *args = argp;
        g_autofree char *uuid = uuid_text(args->uuid);
        return error_set(reterr, VIR_ERR_NO_SECRET,
                         _("there is no secret with uuid '%s': secrets belong to another daemon"),
                         uuid);
}

HANDLER(lookup_secret_usage) {
        const remote_secret_lookup_by_usage_args *args = argp;
        return error_set(reterr, VIR_ERR_NO_SECRET, _("there is no secret for '%s': secrets belong to another daemon"),
                         args->usageID);
}

HANDLER(lookup_nwfilter) {
        const remote_nwfilter_lookup_by_name_args *args = argp;
        return error_set(reterr, VIR_ERR_NO_NWFILTER,
                         _("there is no network filter '%s': filters belong to another daemon"),
                         args->name);
}

HANDLER(lookup_nwfilter_uuid) {
        const remote_nwfilter_lookup_by_uuid_args *args = argp;
        g_autofree char *uuid = uuid_text(args->uuid);
        return error_set(reterr, VIR_ERR_NO_NWFILTER,
                         _("there is no network filter with uuid '%s': filters belong to another daemon"),
                         uuid);
}

HANDLER(lookup_pool_path) {
        const remote_storage_pool_lookup_by_target_path_args *args = argp;
        return error_set(reterr, VIR_ERR_NO_STORAGE_POOL,
                         _("there is no storage pool for '%s': storage belongs to another daemon"),
                         args->path);
}

static const Procedure procedures[] = {
        { PROCEDURE(CONNECT_LIST_DEFINED_NETWORKS), ARGS(remote_connect_list_defined_networks_args),
          RET(remote_connect_list_defined_networks_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_NETWORKS), ARGS(remote_connect_list_networks_args),
          RET(remote_connect_list_networks_ret), .func = none },
        { PROCEDURE(NETWORK_LOOKUP_BY_NAME), ARGS(remote_network_lookup_by_name_args),
          RET(remote_network_lookup_by_name_ret), .func = lookup_network },
        { PROCEDURE(NETWORK_LOOKUP_BY_UUID), ARGS(remote_network_lookup_by_uuid_args),
          RET(remote_network_lookup_by_uuid_ret), .func = lookup_network_uuid },
        { PROCEDURE(CONNECT_NUM_OF_DEFINED_NETWORKS), RET(remote_connect_num_of_defined_networks_ret), .func = none },
        { PROCEDURE(CONNECT_NUM_OF_NETWORKS), RET(remote_connect_num_of_networks_ret), .func = none },
        { PROCEDURE(CONNECT_NUM_OF_STORAGE_POOLS), RET(remote_connect_num_of_storage_pools_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_STORAGE_POOLS), ARGS(remote_connect_list_storage_pools_args),
          RET(remote_connect_list_storage_pools_ret), .func = none },
        { PROCEDURE(CONNECT_NUM_OF_DEFINED_STORAGE_POOLS), RET(remote_connect_num_of_defined_storage_pools_ret),
          .func = none },
        { PROCEDURE(CONNECT_LIST_DEFINED_STORAGE_POOLS), ARGS(remote_connect_list_defined_storage_pools_args),
          RET(remote_connect_list_defined_storage_pools_ret), .func = none },
        { PROCEDURE(STORAGE_POOL_LOOKUP_BY_NAME), ARGS(remote_storage_pool_lookup_by_name_args),
          RET(remote_storage_pool_lookup_by_name_ret), .func = lookup_pool },
        { PROCEDURE(STORAGE_POOL_LOOKUP_BY_UUID), ARGS(remote_storage_pool_lookup_by_uuid_args),
          RET(remote_storage_pool_lookup_by_uuid_ret), .func = lookup_pool_uuid },
        { PROCEDURE(NODE_NUM_OF_DEVICES), ARGS(remote_node_num_of_devices_args), RET(remote_node_num_of_devices_ret),
          .func = none },
        { PROCEDURE(NODE_LIST_DEVICES), ARGS(remote_node_list_devices_args), RET(remote_node_list_devices_ret),
          .func = none },
        { PROCEDURE(NODE_DEVICE_LOOKUP_BY_NAME), ARGS(remote_node_device_lookup_by_name_args),
          RET(remote_node_device_lookup_by_name_ret), .func = lookup_node_device },
        { PROCEDURE(CONNECT_NUM_OF_INTERFACES), RET(remote_connect_num_of_interfaces_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_INTERFACES), ARGS(remote_connect_list_interfaces_args),
          RET(remote_connect_list_interfaces_ret), .func = none },
        { PROCEDURE(INTERFACE_LOOKUP_BY_NAME), ARGS(remote_interface_lookup_by_name_args),
          RET(remote_interface_lookup_by_name_ret), .func = lookup_interface },
        { PROCEDURE(INTERFACE_LOOKUP_BY_MAC_STRING), ARGS(remote_interface_lookup_by_mac_string_args),
          RET(remote_interface_lookup_by_mac_string_ret), .func = lookup_interface_mac },
        { PROCEDURE(CONNECT_NUM_OF_DEFINED_INTERFACES), RET(remote_connect_num_of_defined_interfaces_ret),
          .func = none },
        { PROCEDURE(CONNECT_LIST_DEFINED_INTERFACES), ARGS(remote_connect_list_defined_interfaces_args),
          RET(remote_connect_list_defined_interfaces_ret), .func = none },
        { PROCEDURE(CONNECT_NUM_OF_SECRETS), RET(remote_connect_num_of_secrets_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_SECRETS), ARGS(remote_connect_list_secrets_args), RET(remote_connect_list_secrets_ret),
          .func = none },
        { PROCEDURE(SECRET_LOOKUP_BY_UUID), ARGS(remote_secret_lookup_by_uuid_args),
          RET(remote_secret_lookup_by_uuid_ret), .func = lookup_secret_uuid },
        { PROCEDURE(SECRET_LOOKUP_BY_USAGE), ARGS(remote_secret_lookup_by_usage_args),
          RET(remote_secret_lookup_by_usage_ret), .func = lookup_secret_usage },
        { PROCEDURE(NWFILTER_LOOKUP_BY_NAME), ARGS(remote_nwfilter_lookup_by_name_args),
          RET(remote_nwfilter_lookup_by_name_ret), .func = lookup_nwfilter },
        { PROCEDURE(NWFILTER_LOOKUP_BY_UUID), ARGS(remote_nwfilter_lookup_by_uuid_args),
          RET(remote_nwfilter_lookup_by_uuid_ret), .func = lookup_nwfilter_uuid },
        { PROCEDURE(CONNECT_NUM_OF_NWFILTERS), RET(remote_connect_num_of_nwfilters_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_NWFILTERS), ARGS(remote_connect_list_nwfilters_args),
          RET(remote_connect_list_nwfilters_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_ALL_STORAGE_POOLS), ARGS(remote_connect_list_all_storage_pools_args),
          RET(remote_connect_list_all_storage_pools_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_ALL_NETWORKS), ARGS(remote_connect_list_all_networks_args),
          RET(remote_connect_list_all_networks_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_ALL_INTERFACES), ARGS(remote_connect_list_all_interfaces_args),
          RET(remote_connect_list_all_interfaces_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_ALL_NODE_DEVICES), ARGS(remote_connect_list_all_node_devices_args),
          RET(remote_connect_list_all_node_devices_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_ALL_NWFILTERS), ARGS(remote_connect_list_all_nwfilters_args),
          RET(remote_connect_list_all_nwfilters_ret), .func = none },
        { PROCEDURE(CONNECT_LIST_ALL_SECRETS), ARGS(remote_connect_list_all_secrets_args),
          RET(remote_connect_list_all_secrets_ret), .func = none },
        { PROCEDURE(STORAGE_POOL_LOOKUP_BY_TARGET_PATH), ARGS(remote_storage_pool_lookup_by_target_path_args),
          RET(remote_storage_pool_lookup_by_target_path_ret), .func = lookup_pool_path },
        { PROCEDURE(CONNECT_LIST_ALL_NWFILTER_BINDINGS), ARGS(remote_connect_list_all_nwfilter_bindings_args),
          RET(remote_connect_list_all_nwfilter_bindings_ret), .func = none },
};
const ProcedureTable empty_procedures = { procedures, G_N_ELEMENTS(procedures) };
