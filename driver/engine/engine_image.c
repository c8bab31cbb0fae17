/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/engine/engine_image.h"

#include "driver/base/clock.h"
#include "driver/base/error.h"
#include "driver/base/i18n.h"
#include "driver/base/json.h"
#include "driver/engine/engine_internal.h"

#define FDS_MAX 16
#define SHORT_USEC (15 * USEC_PER_SEC)
/* As long as it takes to move the largest guest to or from a slow disk; who cannot wait ends the engine. */
#define CALL_USEC (24 * 3600 * USEC_PER_SEC)

/* The list of blocks and their descriptors. */
static int add_blocks(json_object *arguments, const EngineRamBlock *blocks, unsigned n, int *fds, GError **reterr) {
        json_object *list = json_object_new_array();

        json_add(arguments, "blocks", list);
        if (n == 0 || 2 * n + 3 > FDS_MAX)
                return error_set(reterr, VIR_ERR_CONFIG_UNSUPPORTED,
                                 _("a guest with %u RAM blocks cannot be saved; at most %d are supported"), n,
                                 (FDS_MAX - 3) / 2);
        for (unsigned i = 0; i < n; i++) {
                json_object *entry = json_object_new_object();
                json_add_string(entry, "id", blocks[i].id);
                json_add_uint64(entry, "size", blocks[i].size_bytes);
                json_add_uint64(entry, "page", blocks[i].page_bytes);
                json_add_bool(entry, "populated", blocks[i].policy == ENGINE_RAM_POPULATED);
                json_object_array_add(list, entry);
                fds[i] = blocks[i].fd;
        }
        return 0;
}

int engine_save(Engine *engine, const EngineSaveArgs *args, GError **reterr) {
        g_autoptr(json_object) arguments = json_object_new_object(), result = NULL;
        int fds[FDS_MAX];
        int r = add_blocks(arguments, args->blocks, args->n_blocks, fds, reterr);

        if (r < 0)
                return r;
        fds[args->n_blocks] = args->image_fd;
        fds[args->n_blocks + 1] = args->device_state_fd;
        json_add_uint64(arguments, "compression", args->compression);
        json_add_bool(arguments, "running", args->running);
        json_add_string(arguments, "xml", args->xml);
        r = engine_call(engine, "save", g_steal_pointer(&arguments), fds, args->n_blocks + 2, CALL_USEC, &result,
                        reterr);
        if (r >= 0)
                engine_set_stats(engine, result);
        return r;
}

int engine_load(Engine *engine, const EngineLoadArgs *args, bool *ret_lazy, GError **reterr) {
        g_autoptr(json_object) arguments = json_object_new_object(), result = NULL;
        int fds[FDS_MAX];
        unsigned n_fds = args->n_blocks;
        int r = add_blocks(arguments, args->blocks, args->n_blocks, fds, reterr);

        if (r < 0)
                return r;
        fds[n_fds++] = args->image_fd;
        if (!args->adopt)
                fds[n_fds++] = args->device_state_fd;
        for (unsigned i = 0; args->lazy && i < args->n_blocks; i++)
                fds[n_fds++] = args->blocks[i].states_fd;
        if (args->lazy)
                fds[n_fds++] = args->uffd;
        json_add_bool(arguments, "lazy", args->lazy);
        json_add_bool(arguments, "adopt", args->adopt);
        json_add_bool(arguments, "order", args->keep_order);
        json_add_int64(arguments, "pid", args->qemu_pid);
        r = engine_call(engine, "load", g_steal_pointer(&arguments), fds, n_fds, CALL_USEC, &result, reterr);
        if (r < 0)
                return r;
        engine_set_stats(engine, result);
        if (ret_lazy)
                *ret_lazy = json_get_bool(result, "lazy", false);
        return 0;
}

int engine_load_rest(Engine *engine, GError **reterr) {
        return engine_call(engine, "load-rest", NULL, NULL, 0, SHORT_USEC, NULL, reterr);
}
