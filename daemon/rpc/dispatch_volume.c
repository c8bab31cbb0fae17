/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/rpc/dispatch.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <string.h>
#include <sys/statvfs.h>

#include "daemon/rpc/volume.h"

/*
 * Image files that exist, seen as volumes.
 *
 * Storage belongs to another daemon. But tools that install guests ask for an image's volume, its pool and their XML
 * before they use its path, to learn its format and size. So a file or block device that is there is a volume with its
 * path as the key, in a pool that is its folder and is named by it. Nothing is kept, listed or changed. It reads files
 * with the daemon's rights, so it is not for read-only connections.
 */

static int probe(RpcCall *call, const char *path, Volume *ret_volume, GError **reterr) {
        int r = dispatch_require_write(call, reterr);
        return r < 0 ? r : volume_probe(path, ret_volume, reterr);
}

static int lookup(RpcCall *call, const char *path, remote_nonnull_storage_vol *ret_vol, GError **reterr) {
        Volume volume = { 0 };
        int r = probe(call, path, &volume, reterr);
        if (r < 0)
                return r;
        ret_vol->pool = g_path_get_dirname(path);
        ret_vol->name = g_path_get_basename(path);
        ret_vol->key = g_strdup(path);
        return 0;
}

HANDLER(vol_lookup_by_key) {
        const remote_storage_vol_lookup_by_key_args *args = argp;
        remote_storage_vol_lookup_by_key_ret *ret = retp;
        return lookup(call, args->key, &ret->vol, reterr);
}

HANDLER(vol_lookup_by_path) {
        const remote_storage_vol_lookup_by_path_args *args = argp;
        remote_storage_vol_lookup_by_path_ret *ret = retp;
        return lookup(call, args->path, &ret->vol, reterr);
}

HANDLER(vol_get_info) {
        const remote_storage_vol_get_info_args *args = argp;
        remote_storage_vol_get_info_ret *ret = retp;
        Volume volume = { 0 };
        int r = probe(call, args->vol.key, &volume, reterr);
        if (r < 0)
                return r;
        ret->type = volume.block ? VIR_STORAGE_VOL_BLOCK : VIR_STORAGE_VOL_FILE;
        ret->capacity = volume.capacity_bytes;
        ret->allocation = volume.allocation_bytes;
        return 0;
}

HANDLER(vol_get_xml_desc) {
        const remote_storage_vol_get_xml_desc_args *args = argp;
        remote_storage_vol_get_xml_desc_ret *ret = retp;
        Volume volume = { 0 };
        int r = probe(call, args->vol.key, &volume, reterr);
        if (r >= 0)
                ret->xml = volume_xml(args->vol.key, &volume);
        return r;
}

HANDLER(vol_get_path) {
        const remote_storage_vol_get_path_args *args = argp;
        remote_storage_vol_get_path_ret *ret = retp;
        Volume volume = { 0 };
        int r = probe(call, args->vol.key, &volume, reterr);
        if (r >= 0)
                ret->name = g_strdup(args->vol.key);
        return r;
}

HANDLER(pool_lookup_by_volume) {
        const remote_storage_pool_lookup_by_volume_args *args = argp;
        remote_storage_pool_lookup_by_volume_ret *ret = retp;
        Volume volume = { 0 };
        int r = probe(call, args->vol.key, &volume, reterr);
        if (r < 0)
                return r;
        ret->pool.name = g_path_get_dirname(args->vol.key);
        volume_pool_uuid(ret->pool.name, (unsigned char *) ret->pool.uuid);
        return 0;
}

/* Whether this is a pool that pool_lookup_by_volume() has named; its file system. */
static int pool_check(RpcCall *call, const remote_nonnull_storage_pool *pool, struct statvfs *ret_fs, GError **reterr) {
        unsigned char uuid[REMOTE_UUID_BUFLEN];

        int r = dispatch_require_write(call, reterr);
        if (r < 0)
                return r;
        volume_pool_uuid(pool->name, uuid);
        if (!g_path_is_absolute(pool->name) || memcmp(uuid, pool->uuid, sizeof(uuid)) != 0 ||
            statvfs(pool->name, ret_fs) < 0)
                return error_set(reterr, VIR_ERR_NO_STORAGE_POOL,
                                 _("there is no storage pool '%s': storage belongs to another daemon"), pool->name);
        return 0;
}

HANDLER(pool_get_info) {
        const remote_storage_pool_get_info_args *args = argp;
        remote_storage_pool_get_info_ret *ret = retp;
        struct statvfs fs = { 0 };
        int r = pool_check(call, &args->pool, &fs, reterr);
        if (r < 0)
                return r;
        ret->state = VIR_STORAGE_POOL_RUNNING;
        ret->capacity = (uint64_t) fs.f_blocks * fs.f_frsize;
        ret->available = (uint64_t) fs.f_bavail * fs.f_frsize;
        ret->allocation = ret->capacity - (uint64_t) fs.f_bfree * fs.f_frsize;
        return 0;
}

HANDLER(pool_get_xml_desc) {
        const remote_storage_pool_get_xml_desc_args *args = argp;
        remote_storage_pool_get_xml_desc_ret *ret = retp;
        struct statvfs fs = { 0 };
        int r = pool_check(call, &args->pool, &fs, reterr);
        if (r >= 0)
                ret->xml = volume_pool_xml(args->pool.name, (const unsigned char *) args->pool.uuid);
        return r;
}

static const Procedure procedures[] = {
        { PROCEDURE(STORAGE_POOL_LOOKUP_BY_VOLUME), ARGS(remote_storage_pool_lookup_by_volume_args),
          RET(remote_storage_pool_lookup_by_volume_ret), .func = pool_lookup_by_volume },
        { PROCEDURE(STORAGE_POOL_GET_INFO), ARGS(remote_storage_pool_get_info_args),
          RET(remote_storage_pool_get_info_ret),
          .func = pool_get_info },
        { PROCEDURE(STORAGE_POOL_GET_XML_DESC), ARGS(remote_storage_pool_get_xml_desc_args),
          RET(remote_storage_pool_get_xml_desc_ret), .func = pool_get_xml_desc },
        { PROCEDURE(STORAGE_VOL_LOOKUP_BY_KEY), ARGS(remote_storage_vol_lookup_by_key_args),
          RET(remote_storage_vol_lookup_by_key_ret), .func = vol_lookup_by_key },
        { PROCEDURE(STORAGE_VOL_LOOKUP_BY_PATH), ARGS(remote_storage_vol_lookup_by_path_args),
          RET(remote_storage_vol_lookup_by_path_ret), .func = vol_lookup_by_path },
        { PROCEDURE(STORAGE_VOL_GET_INFO), ARGS(remote_storage_vol_get_info_args), RET(remote_storage_vol_get_info_ret),
          .func = vol_get_info },
        { PROCEDURE(STORAGE_VOL_GET_XML_DESC), ARGS(remote_storage_vol_get_xml_desc_args),
          RET(remote_storage_vol_get_xml_desc_ret), .func = vol_get_xml_desc },
        { PROCEDURE(STORAGE_VOL_GET_PATH), ARGS(remote_storage_vol_get_path_args), RET(remote_storage_vol_get_path_ret),
          .func = vol_get_path },
};
const ProcedureTable volume_procedures = { procedures, G_N_ELEMENTS(procedures) };
